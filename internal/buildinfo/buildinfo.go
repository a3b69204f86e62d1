// Package buildinfo says which version of gaff runs.
package buildinfo

import (
	"cmp"
	"runtime/debug"
	"strings"
)

// version, commit and date are set by the linker; see LDFLAGS in the Makefile.
var version, commit, date string

// Info describes the build of the running binary. Unknown parts are empty.
type Info struct {
	// Version is a tag or what "git describe" made of it, or "devel" if the build was not
	// stamped with one.
	Version string
	// Commit is the whole hash of the commit.
	Commit string
	// Date is the time of the commit (RFC 3339, UTC), so that a build can be repeated.
	Date string
	// Modified reports whether files differed from the commit.
	Modified bool
}

// Get returns what the linker stamped in, and for the rest what the Go command recorded.
func Get() Info {
	recorded, ok := debug.ReadBuildInfo()
	if !ok {
		recorded = &debug.BuildInfo{}
	}
	return merge(Info{Version: version, Commit: commit, Date: date}, recorded)
}

func merge(stamped Info, recorded *debug.BuildInfo) Info {
	i := stamped
	for _, s := range recorded.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = cmp.Or(i.Commit, s.Value)
		case "vcs.time":
			i.Date = cmp.Or(i.Date, s.Value)
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	// In a checkout the Go command makes up a version of the commit; only a module that was
	// downloaded has a version of its own.
	if i.Commit == "" && recorded.Main.Version != "(devel)" {
		i.Version = cmp.Or(i.Version, recorded.Main.Version)
	}
	i.Version = cmp.Or(i.Version, "devel")
	return i
}

// Short returns the version, and the commit's first digits unless the version has them.
func (i Info) Short() string {
	if i.Commit == "" || strings.Contains(i.Version, i.Commit[:min(7, len(i.Commit))]) {
		return i.Version
	}
	return i.Version + " (" + i.Commit[:min(12, len(i.Commit))] + ")"
}

// String returns version, commit and date in one line.
func (i Info) String() string {
	var more []string
	if i.Commit != "" {
		text := "commit " + i.Commit
		if i.Modified {
			text += " with changes"
		}
		more = append(more, text)
	}
	if i.Date != "" {
		more = append(more, i.Date)
	}
	if len(more) == 0 {
		return i.Version
	}
	return i.Version + " (" + strings.Join(more, ", ") + ")"
}
