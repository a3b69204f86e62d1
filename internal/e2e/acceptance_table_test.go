//go:build acceptance

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gaff/internal/standin"
)

// officialClients are the packages of docs/clients.md, from npm.
var officialClients = []string{
	"@fal-ai/client@1", "@fal-ai/serverless-client@0.15", "ai@7", "@ai-sdk/fal@3", "replicate@1", "openai@7", "svix@1", "standardwebhooks@1", "cloudevents@10",
}

// measured is the outcome of an operation of a client.
type measured struct{ Client, Operation, Error string }

func (m measured) row() string {
	outcome := "works"
	if m.Error != "" {
		outcome = "fails: " + m.Error
	}
	return fmt.Sprintf("| %s | %s | %s |\n", m.Client, m.Operation, outcome)
}

// knownFailures are operations that gaff or its stand-in for fal does not serve, with the reason for
// the table.
var knownFailures = map[string]string{}

// npmApp makes a folder with packages of npm.
func npmApp(t *testing.T, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true,"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, nil, "npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}, packages...)...)
	return dir
}

// TestAcceptanceClients runs each operation of each official client against the gateway. docs/clients.md
// has the outcomes; UPDATE_DOCS=1 writes it.
func TestAcceptanceClients(t *testing.T) {
	dir := npmApp(t, officialClients...)
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "clients.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clients.mjs"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	_, fal, settings := playFal(t, p.addr, standin.Options{Queue: 20 * time.Millisecond})
	p.env = append(environment(p.dir, p.addr, settings...), "GAFF_LOG_LEVEL=error", "GAFF_FAL_RUN_URL="+fal+standin.RunPath, "NEW="+newSecret)
	receiver, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`destinations:
  envelope: {url: "http://%[1]s/envelope", events: ["gaff:job.completed"], secrets: ["env:NEW"]}
  structured: {url: "http://%[1]s/structured", events: ["gaff:job.completed"], format: cloudevents}
  binary: {url: "http://%[1]s/binary", events: ["gaff:job.completed"], format: cloudevents-binary}
`, receiver)
	if err := os.WriteFile(filepath.Join(p.dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.open(t)
	_, port, _ := strings.Cut(receiver, ":")
	env := []string{"GAFF_URL=" + p.url, "GAFF_TOKEN=" + adminToken, "GAFF_SECRET=" + newSecret, "PORT=" + port, "STANDIN_URL=" + fal}

	list := append(operationsOf(t, nodeProgram(t, dir, env)), operationsOf(t, pythonProgram(t, env))...)
	var table strings.Builder
	for _, m := range list {
		if reason, known := knownFailures[m.Client[:strings.LastIndex(m.Client, " ")]+" "+m.Operation]; known {
			if m.Error == "" {
				t.Errorf("%s: %s works; remove it from knownFailures", m.Client, m.Operation)
			}
			m.Error = reason
		} else if m.Error != "" {
			t.Errorf("%s: %s: %s", m.Client, m.Operation, m.Error)
		}
		table.WriteString(m.row())
	}
	compareTable(t, "clients.md", table.String())
}

func nodeProgram(t *testing.T, dir string, env []string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "clients.mjs")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return cmd
}

func pythonProgram(t *testing.T, env []string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "clients", "clients.py"))
	if err != nil {
		t.Fatal(err)
	}
	return python(t, env, path)
}

// operationsOf runs a program, which prints a line for each operation.
func operationsOf(t *testing.T, cmd *exec.Cmd) (list []measured) {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	for line := range strings.Lines(string(out)) {
		var m measured
		if json.Unmarshal([]byte(line), &m) == nil && m.Client != "" { // other lines are warnings
			list = append(list, m)
		}
	}
	return list
}

// versions are of the packages: the test accepts other ones.
var versions = regexp.MustCompile(` \d+\.\d+\.\d+`)

// compareTable compares the table of a page of docs with the measured one.
func compareTable(t *testing.T, page, table string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", page)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| client | operation | |\n|---|---|---|\n"
	before, rest, ok := strings.Cut(string(text), head)
	if !ok {
		t.Fatalf("%s has no table", path)
	}
	written, after, _ := strings.Cut(rest, "\n\n")
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(before+head+strings.TrimSuffix(table, "\n")+"\n\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if versions.ReplaceAllString(written+"\n", "") != versions.ReplaceAllString(table, "") {
		t.Errorf("docs/%s has\n%s\nmeasured:\n%s\nUPDATE_DOCS=1 writes it", page, written, table)
	}
}
