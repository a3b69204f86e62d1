package ui_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gaff/internal/ui"
)

// Nothing can be done in the console that cannot be done by API and on the command line.
// docs/console.md says how.
func TestParity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(fetch(t, w.browser(t), "GET", w.url+"/api/openapi.json", nil).body), &doc); err != nil {
		t.Fatal(err)
	}
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	commands := read("internal", "cli", "testdata", "help.txt")
	named := regexp.MustCompile("`([^`]+)`")
	in := func(cell string) (names []string) {
		for _, m := range named.FindAllStringSubmatch(cell, -1) {
			names = append(names, m[1])
		}
		return names
	}
	told := map[string]bool{}
	for line := range strings.Lines(read("docs", "console.md")) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		page, operations, commandNames := in(cells[1])[0], in(cells[2]), in(cells[3])
		told[page] = true
		changes := false
		for _, op := range operations {
			method, path, _ := strings.Cut(op, " ")
			changes = changes || method != "GET"
			if doc.Paths[path][strings.ToLower(method)] == nil {
				t.Errorf("%s: the API has no %s", page, op)
			}
		}
		for _, name := range commandNames {
			if !strings.Contains(commands, "$ "+name+" --help\n") {
				t.Errorf("%s: there is no command %s", page, name)
			}
		}
		if len(operations) == 0 || len(commandNames) == 0 || strings.HasPrefix(page, "POST") && !changes {
			t.Errorf("%s: the operation or the command is missing", page)
		}
	}
	own := []string{"GET /", "GET /login", "POST /login", "GET /login/oidc", "GET /login/oidc/callback", "POST /logout", "POST /theme", "GET /static/", "GET /favicon.ico", "GET /robots.txt"}
	all := ui.Patterns()
	for _, pattern := range all {
		if !told[pattern] && !slices.Contains(own, pattern) {
			t.Errorf("docs/console.md does not list the operation and command of %s", pattern)
		}
	}
	for page := range told {
		if !slices.Contains(all, page) {
			t.Errorf("docs/console.md lists %s, which does not exist", page)
		}
	}
}
