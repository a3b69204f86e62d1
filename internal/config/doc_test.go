package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table in docs/configuration.md anew")

const (
	tableBegins = "-update -->\n"
	tableEnds   = "<!-- end -->"
)

// The table in the documentation is made of the table of settings.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "configuration.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	table, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	want := documentation()
	if *update {
		if err := os.WriteFile(path, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("docs/configuration.md is not of today; run go test ./internal/config -run Documentation -update:\n%s", diff)
	}
}

func documentation() string {
	var environment, file, client strings.Builder
	defaults := Default()
	for i := range settings {
		s := &settings[i]
		value := display(s.field(defaults), s.guarded)
		if value != "" {
			value = "`" + value + "`"
		}
		name := "`" + s.name + "`"
		for _, alias := range s.aliases {
			name += ", `" + alias + "`"
		}
		help := s.help
		if s.secret() && !s.guarded {
			help += " (*secret*)"
		}
		switch {
		case s.fileOnly():
			fmt.Fprintf(&file, "| %s | %s | %s |\n", name, help, value)
		case s.clientOnly:
			fmt.Fprintf(&client, "| %s | %s |\n", name, help)
		default:
			flag := ""
			if s.flag != "" {
				flag = "`--" + s.flag + "`"
			}
			fmt.Fprintf(&environment, "| %s | %s | %s | %s |\n", name, flag, help, value)
		}
	}
	return "\n| name, other names | flag | meaning | default |\n|---|---|---|---|\n" + environment.String() +
		"\nIn `gaff.yaml` only:\n\n| key | meaning | default |\n|---|---|---|\n" + file.String() +
		"\nOf the commands that speak to a running gateway:\n\n| name | meaning |\n|---|---|\n" + client.String() + "\n"
}
