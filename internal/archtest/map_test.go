package archtest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// folder matches a folder in the first column of the map: "." or a path that ends in a slash. Its
// last part may be "*", for a row of several packages of one kind.
var folder = regexp.MustCompile("`(\\.|[a-z0-9/]+/(?:\\*/)?)`")

func TestMapNamesEveryPackage(t *testing.T) {
	t.Parallel()
	listed := readMap(t)
	for _, dir := range packageFolders(t) {
		kind := path.Join(path.Dir(dir), "*")
		if !slices.Contains(listed, dir) && !slices.Contains(listed, kind) {
			t.Errorf("CONTRIBUTING.md: the map has no row for %s", dir)
		}
	}
}

func TestMapNamesNoMissingFolder(t *testing.T) {
	t.Parallel()
	for _, dir := range readMap(t) {
		if found, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), ".")); err != nil || len(found) == 0 {
			t.Errorf("CONTRIBUTING.md: the map names %s, which is not a folder", dir)
		}
	}
}

func TestMapNamesFoldersOnce(t *testing.T) {
	t.Parallel()
	listed := readMap(t)
	slices.Sort(listed)
	for i := 1; i < len(listed); i++ {
		if listed[i] == listed[i-1] {
			t.Errorf("CONTRIBUTING.md: the map names %s twice", listed[i])
		}
	}
}

// readMap returns the folders in the first column of the table below "## Map" in CONTRIBUTING.md.
func readMap(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Map\n")
	if !found {
		t.Fatal(`CONTRIBUTING.md has no section "## Map"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var dirs []string
	for line := range strings.Lines(section) {
		row, ok := strings.CutPrefix(line, "| ")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(row, " | ")
		for _, m := range folder.FindAllStringSubmatch(first, -1) {
			dirs = append(dirs, path.Clean(m[1]))
		}
	}
	if len(dirs) < 20 {
		t.Fatalf("CONTRIBUTING.md: only %d folders found in the map", len(dirs))
	}
	return dirs
}

// packageFolders returns every folder with Go files, relative to the root, without test data.
func packageFolders(t *testing.T) []string {
	t.Helper()
	root := filepath.Join("..", "..")
	var dirs []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".") && file != root) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if dir := filepath.ToSlash(rel); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
