package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// providerName matches the providers' names, settings, headers and hosts.
var providerName = regexp.MustCompile(`(?i)last[ _-]?frame|\bfal\b|\bfal[-_]|\bx-fal|[/.]fal\.|GAFF_FAL`)

// namesProviders lists the code that may name a provider, and why. A path that ends in a slash
// includes all below it.
var namesProviders = []struct{ path, why string }{
	{"provider/fal/", "the provider"},
	{"provider/lastframe/", "the provider"},
	{"provider/all/all.go", "the list of providers"},
	{"destination/transform.go", "the format spec has the header of fal's webhook, a wire name"},
	{"doc.go", "the example of the package's documentation"},
	{"embed/embed.go", "the example of the package's documentation"},
	{"gafftest/fal.go", "plays this provider for tests of programs"},
	{"internal/wire/", "examples in the tags of the API's documents, which must be constants"},
	{"client/envelope.go", "examples in tags, as in internal/wire"},
	{"internal/standin/", "imitates these two services, and knows nothing of gaff"},
	{"internal/storetest/", "tests"},
	{"internal/bench/", "the load of benchmarks is a sample"},
}

// A provider is one package and one line: no other code, comment or page of the console names it.
func TestOnlyProvidersNameThemselves(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == "testdata" || name == "examples" || name == "tools" || name == "node_modules" || strings.HasPrefix(name, ".") && path != root {
				return fs.SkipDir
			}
			return nil
		}
		code := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, "_templ.go")
		rel, err := filepath.Rel(root, path)
		if err != nil || !code && filepath.Ext(name) != ".templ" || mayNameProviders(filepath.ToSlash(rel)) {
			return err
		}
		text, err := os.ReadFile(path)
		for i, line := range bytes.Split(text, []byte("\n")) {
			if found := providerName.Find(line); found != nil {
				t.Errorf("%s:%d names a provider (%s): ask package provider/all, or the interface of package provider or jobs", rel, i+1, found)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mayNameProviders(path string) bool {
	for _, n := range namesProviders {
		if path == n.path || strings.HasSuffix(n.path, "/") && strings.HasPrefix(path, n.path) {
			return true
		}
	}
	return false
}

func TestProviderNamesAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`Provider: "fal",`: true, "// as fal does": true, "FAL_KEY": true, "X-Fal-Signature": true, "GAFF_FAL_USERS": true, "queue.fal.run": true,
		"fal-ai/flux/dev": true, "Last Frame": true, "LASTFRAME_KEY": true, "lastFrame": true,
		"false": false, "fallback": false, "default": false,
	} {
		if got := providerName.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
