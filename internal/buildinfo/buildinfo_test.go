package buildinfo

import (
	"runtime/debug"
	"testing"
)

const hash = "c9a4632b51933f1776b2ad49c6282bb0b0e9e6cf"

func recorded(mainVersion string, settings ...string) *debug.BuildInfo {
	b := &debug.BuildInfo{Main: debug.Module{Version: mainVersion}}
	for i := 0; i < len(settings); i += 2 {
		b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
	}
	return b
}

func TestMergePrefersStampedValues(t *testing.T) {
	t.Parallel()
	checkout := recorded("v0.0.0-20261129-c9a4632", "vcs.revision", hash, "vcs.time", "2026-11-29T00:00:00Z", "vcs.modified", "true")
	for name, c := range map[string]struct {
		stamped Info
		by      *debug.BuildInfo
		want    Info
	}{
		"make build": {
			Info{Version: "v1.2.0", Commit: "abc", Date: "2026-01-01T00:00:00Z"}, checkout,
			Info{Version: "v1.2.0", Commit: "abc", Date: "2026-01-01T00:00:00Z", Modified: true},
		},
		"go build in a checkout": {Info{}, checkout, Info{Version: "devel", Commit: hash, Date: "2026-11-29T00:00:00Z", Modified: true}},
		"go run":                 {Info{}, recorded("(devel)"), Info{Version: "devel"}},
		"go install of a tag":    {Info{}, recorded("v1.2.0"), Info{Version: "v1.2.0"}},
		"nothing known":          {Info{}, recorded(""), Info{Version: "devel"}},
	} {
		if got := merge(c.stamped, c.by); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestShortNamesTheCommitOnce(t *testing.T) {
	t.Parallel()
	for want, i := range map[string]Info{
		"devel (c9a4632b5193)":  {Version: "devel", Commit: hash},
		"v1.2.0 (c9a4632b5193)": {Version: "v1.2.0", Commit: hash},
		"v1.2.0-3-gc9a4632":     {Version: "v1.2.0-3-gc9a4632", Commit: hash},
		"devel (abc)":           {Version: "devel", Commit: "abc"},
		"devel":                 {Version: "devel"},
	} {
		if got := i.Short(); got != want {
			t.Errorf("%+v: %q, want %q", i, got, want)
		}
	}
}

func TestStringLeavesOutUnknownParts(t *testing.T) {
	t.Parallel()
	for want, i := range map[string]Info{
		"devel":                                 {Version: "devel"},
		"v1 (commit abc, 2026-01-01T00:00:00Z)": {Version: "v1", Commit: "abc", Date: "2026-01-01T00:00:00Z"},
		"v1 (commit abc with changes)":          {Version: "v1", Commit: "abc", Modified: true},
	} {
		if got := i.String(); got != want {
			t.Errorf("%+v: %q, want %q", i, got, want)
		}
	}
}
