package archtest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// "make module" is run on a copy of the tree, twice: the first home can have been a mistake.
func TestModuleIsRenamedInOneCommand(t *testing.T) {
	t.Parallel()
	dir := copyTree(t)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		// Make hands its own variables down, and the tests may be run by it.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") })
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("make", "module", "MODULE=first.example/gaff")
	run("make", "module", "MODULE=example.org/x/gaff")

	if path := modulePath(t, dir); path != "example.org/x/gaff" {
		t.Errorf("the module is %s", path)
	}
	// It fails if a package is missing, that is, if an import was left as it was.
	run("go", "list", "-test", "-deps", "./...")
	run("go", "vet", "./client", "./internal/id")
	run("go", "test", "-run", "^TestImports$", "./internal/archtest")
	if out := run("make", "-n", "build"); !strings.Contains(out, "-X example.org/x/gaff/internal/buildinfo.version=") {
		t.Errorf("the version would not be stamped in: %s", out)
	}
	checkOldPaths(t, dir, "first.example", `"gaff/verify"`, `"gaff/jobs"`, "go doc gaff", "replace gaff=", "module gaff\n")
}

// checkOldPaths looks for texts that a renamed tree must not have.
func checkOldPaths(t *testing.T, dir string, old ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "module_test.go" || d.Name() == "arch_test.go" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, o := range old {
			if strings.Contains(string(text), o) {
				t.Errorf("%s still has %q", path, o)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyTree copies what "make module" may change and what the build embeds.
func copyTree(t *testing.T) string {
	t.Helper()
	root, dir := filepath.Join("..", ".."), t.TempDir()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name, to := d.Name(), filepath.Join(dir, rel)
		switch {
		case path == root:
			return nil
		case d.IsDir():
			if strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "screenshots" {
				return fs.SkipDir
			}
			return os.Mkdir(to, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
