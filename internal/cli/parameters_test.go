package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"os"
	"path/filepath"
)

// Each list command has a flag for each query parameter of the list in the API, so that none is
// missing on the command line.
func TestListCommandsHaveTheFiltersOfTheAPI(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "api", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]struct {
			Get *struct {
				Parameters []struct{ Name, In string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	commands := map[string]*cobra.Command{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if path := cmd.Annotations[apiPath]; path != "" {
			commands[path] = cmd
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&program{settings: map[string]*string{}}).root())
	// Commands that are not made by listCommand, and lists without a command.
	others := map[string]string{
		"/api/v1/sources": "gaff sources list, of all", "/api/v1/subscriptions": "gaff listen has one", "/api/v1/stats/silence": "gaff status", "/api/v1/webhooks/manage": "of Payload CMS",
	}
	lists := 0
	for path, item := range doc.Paths {
		if item.Get == nil || !slices.ContainsFunc(item.Get.Parameters, func(p struct{ Name, In string }) bool { return p.Name == "cursor" }) {
			continue
		}
		cmd := commands[path]
		if cmd == nil {
			if others[path] == "" {
				t.Errorf("GET %s: no command lists it", path)
			}
			continue
		}
		lists++
		set := []string{"cursor", "limit"}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { set = append(set, f.Annotations[apiParameter]...) })
		for _, p := range item.Get.Parameters {
			given := strings.Contains(cmd.Use, "TEXT") && p.Name == "q" // an argument
			if p.In == "query" && !given && !slices.Contains(set, p.Name) {
				t.Errorf("%s: no flag for the parameter %s of GET %s", strings.TrimSpace(cmd.CommandPath()), p.Name, path)
			}
		}
	}
	if lists < 8 {
		t.Errorf("only %d lists were compared", lists)
	}
}
