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

var update = flag.Bool("update", false, "write the table in docs/configuration.md")

const (
	tableBegins = "-update -->\n"
	tableEnds   = "<!-- end -->"
)

// The table in the documentation is generated from the tags.
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
		t.Errorf("docs/configuration.md is out of date; run go test ./internal/config -run Documentation -update:\n%s", diff)
	}
}

func documentation() string {
	var environment, file, client strings.Builder
	for _, s := range settingsOf(Default()) {
		value := s.display()
		if value != "" {
			value = "`" + value + "`"
		}
		name := "`" + s.name + "`"
		for _, alias := range s.env[min(len(s.env), 1):] {
			name += ", `" + alias + "`"
		}
		help := s.help
		if s.secret() && s.guarded != "password" {
			help += " (*secret*)"
		}
		switch {
		case s.env == nil:
			fmt.Fprintf(&file, "| %s | %s | %s |\n", name, help, value)
		case s.clientOnly():
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
		"\nFor commands that use a running gateway:\n\n| name | meaning |\n|---|---|\n" + client.String() + "\n"
}
