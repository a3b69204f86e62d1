package sqlstore

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestMigrationsAreLoggedInOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"0001_inbox"}, "msg=\"schema migrated\" migrations=0001_inbox\n"},
		{[]string{"0001_inbox", "0002_lanes", "0003_access"}, "msg=\"schema migrated\" migrations=\"3, 0001_inbox to 0003_access\"\n"},
	} {
		var out bytes.Buffer
		LogMigrations(slog.New(slog.NewTextHandler(&out, nil)), c.names)
		if _, got, _ := strings.Cut(out.String(), "level=INFO "); got != c.want {
			t.Errorf("%v: logged %q, want %q", c.names, got, c.want)
		}
	}
}
