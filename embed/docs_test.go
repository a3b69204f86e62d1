package embed_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// surroundings are the declarations that the Go examples of a document assume.
var surroundings = map[string]string{
	"docs/jobs.md":          "func finish(context.Context, []byte) error { return nil }",
	"docs/observability.md": "var (\n\tst gaff.Store\n\tprovider trace.TracerProvider\n)",
	"docs/publishing.md":    "var (\n\tctx context.Context\n\torder struct{ ID string }\n)\n",
	"docs/library.md": "var (\n\tctx context.Context\n\tgw *embed.Gateway\n\tmux *http.ServeMux\n\tpool *pgxpool.Pool\n\tt *testing.T\n" +
		"\tsubmission jobs.Submission\n\tprompt string\n)\n\nfunc resize(string) (string, error) { return \"\", nil }\n",
}

// importable are the packages of examples that show no imports.
var importable = map[string]string{
	"client": "@/client", "context": "context", "embed": "@/embed", "fal": "@/provider/fal", "gaff": "@", "gafftest": "@/gafftest",
	"http": "net/http", "io": "io", "jobs": "@/jobs", "json": "encoding/json", "log": "log", "os": "os", "pgx": "github.com/jackc/pgx/v5",
	"pgxpool": "github.com/jackc/pgx/v5/pgxpool", "slog": "log/slog", "sqlite": "@/store/sqlite", "testing": "testing", "time": "time",
	"trace": "go.opentelemetry.io/otel/trace", "tracing": "@/tracing", "workflow": "@/workflow",
}

var (
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	qualify = regexp.MustCompile(`\b([a-z]+)\.[A-Z]`)
	comment = regexp.MustCompile(`(?m)(^|[ \t])//.*$`)
	decl    = regexp.MustCompile(`^(func [A-Za-z(]|type |var |const )`)
)

// Every Go example of the documents compiles.
func TestExamplesOfDocumentsCompile(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..")
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == "gaff-dev" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return fs.SkipDir
		}
		if err == nil && filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	module, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir, blocks := t.TempDir(), 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(strings.TrimPrefix(file, root+string(filepath.Separator)))
		for i, block := range goBlock.FindAllSubmatch(text, -1) {
			blocks++
			source := filepath.Join(dir, fmt.Sprintf("%s-%d.go", strings.NewReplacer("/", "-", ".", "-").Replace(name), i+1))
			program := wholeProgram(string(block[1]), surroundings[name])
			program = strings.ReplaceAll(program, `"@`, `"`+strings.TrimSpace(string(module)))
			if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "vet", source)
			cmd.Dir = root
			if said, err := cmd.CombinedOutput(); err != nil && !onlyUnused(string(said)) {
				t.Errorf("example %d of %s does not compile:\n%s\n%s", i+1, name, said, program)
			}
		}
	}
	if blocks < 5 {
		t.Errorf("only %d examples were found", blocks)
	}
}

// wholeProgram makes a file of an example: as it is, if it is one.
func wholeProgram(block, around string) string {
	if strings.HasPrefix(block, "package ") {
		return block
	}
	if !decl.MatchString(block) {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if !strings.HasPrefix(lines[len(lines)-1], "return") {
			block += "\nreturn nil\n"
		}
		block = "func example() error {\n" + block + "}\n"
	}
	block += "\n" + around + "\n"
	var imports []string
	for _, m := range qualify.FindAllStringSubmatch(comment.ReplaceAllString(block, ""), -1) {
		if path := importable[m[1]]; path != "" && !slices.Contains(imports, path) {
			imports = append(imports, path)
		}
	}
	return "package example\n\nimport (\n\t\"" + strings.Join(imports, "\"\n\t\"") + "\"\n)\n\n" + block
}

// onlyUnused reports whether the compiler complains only of variables that an excerpt does not use.
func onlyUnused(said string) bool {
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "declared and not used") && !strings.Contains(line, "too many errors") {
			return false
		}
	}
	return true
}
