package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDurationsAndSizes(t *testing.T) {
	t.Parallel()
	durations := map[string]time.Duration{
		"30s": 30 * time.Second, "2m": 2 * time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0": 0,
	}
	for text, want := range durations {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "d", "-1d", "1.5d", "1d-1h", "1d1d", "99999d", "65535d2562047h", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
	sizes := map[string]int64{"0": 0, "65536": 65536, "64KiB": 65536, "2 MiB": 2 << 20, "1gb": 1e9, "10b": 10, "5kb": 5000}
	for text, want := range sizes {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "9223372036854775807KiB", "1e3", "5m"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestSecretsThatContainAComma(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"lines": "first,with a comma\r\n\n second,too \n", "one": "new-secret-1,old-secret-1\n"})
	for name, c := range map[string]struct {
		env  string
		want []Secret
	}{
		"split at commas":              {"WEBHOOK_SECRET=new-secret-1, old-secret-1", []Secret{"new-secret-1", "old-secret-1"}},
		"an escaped comma":             {`WEBHOOK_SECRET=new\,secret-1,old-secret-1`, []Secret{"new,secret-1", "old-secret-1"}},
		"other backslashes are plain":  {`WEBHOOK_SECRET=new\secret\\1,old-secret-1\`, []Secret{`new\secret\\1`, `old-secret-1\`}},
		"a file of one line":           {"WEBHOOK_SECRET_FILE=one", []Secret{"new-secret-1", "old-secret-1"}},
		"a file with a secret a line":  {"WEBHOOK_SECRET_FILE=lines", []Secret{"first,with a comma", "second,too"}},
		"only one, with a comma in it": {`WEBHOOK_SECRET=a\,b`, []Secret{"a,b"}},
	} {
		c2 := load(t, LoadOptions{Dir: dir, Environ: []string{c.env}})
		if diff := cmp.Diff(c.want, c2.WebhookSecrets, cmp.Transformer("text", func(s Secret) string { return string(s) })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(c2.Warnings) > 0 {
			t.Errorf("%s: %q", name, c2.Warnings)
		}
	}
}

func TestFragmentsOfSecretsAreSuspected(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": "lastframe_webhook_secret: 'a-long-secret,b'\n", "lines": "first,\nsecond\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"WEBHOOK_SECRET=Zk3,9fQ_long_rest_of_it", "FAL_WEBHOOK_SECRET=short"}})
	want := []string{
		`LASTFRAME_WEBHOOK_SECRET was split at its commas, and secret 2 of 2 is only 1 bytes long; write a comma that belongs to a secret as \,`,
		`WEBHOOK_SECRET was split at its commas, and secret 1 of 2 is only 3 bytes long; write a comma that belongs to a secret as \,`,
	}
	slices.Sort(c.Warnings)
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
	_, err := Load(LoadOptions{Dir: dir, Environ: []string{"WEBHOOK_SECRET_FILE=lines"}})
	if err == nil || !strings.Contains(err.Error(), "one secret a line, without commas") {
		t.Errorf("lines that end with commas: %v", err)
	}
}
