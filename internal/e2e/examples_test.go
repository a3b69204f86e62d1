package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/standin"
)

// playExample runs a server of the folder examples behind a gateway: a picture is requested, and the
// server prints the job's end once.
func playExample(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, _, settings := playFal(t, addr, standin.Options{Queue: 50 * time.Millisecond})
	env := []string{"GAFF_URL=http://" + addr, "GAFF_TOKEN=" + adminToken, "GAFF_SECRET=" + newSecret}
	example := startProgram(t, dir, env, name, args...)
	data := t.TempDir()
	config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"gaff:job.finished\"], secrets: [\"env:NEW\"]}\n", example.url+"/gaff")
	if err := os.WriteFile(filepath.Join(data, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := serve(data, environment(data, addr, append(settings, "NEW="+newSecret)...), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)

	res, err := http.Post(example.url+"/pictures", "application/json", strings.NewReader(`{"prompt":"a dog"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var job struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&job); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("the submit is answered %d, %v", res.StatusCode, err)
	}
	if diff := cmp.Diff(map[string]any{"job": job.ID, "status": "completed", "files": 1.0}, example.next(t)); diff != "" {
		t.Error(diff)
	}
	forged, err := http.Post(example.url+"/gaff", "application/json", strings.NewReader(`{"source":"gaff","type":"job.completed"}`))
	if err != nil {
		t.Fatal(err)
	}
	forged.Body.Close()
	if forged.StatusCode != http.StatusUnauthorized {
		t.Errorf("a forged event is answered %d, want 401", forged.StatusCode)
	}
}

func TestExampleForGo(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/go").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	playExample(t, t.TempDir(), program)
}

func TestExampleForExpress(t *testing.T) {
	t.Parallel()
	dir := nodeFolder(t)
	text, err := os.ReadFile("../../examples/express/server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "example.mjs"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	playExample(t, dir, "node", "example.mjs")
}

func TestExamplesAreShort(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"express/server.mjs", "fastapi/app.py", "hono/server.mjs", "go/main.go"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(text), "\n"); lines >= 60 {
			t.Errorf("%s has %d lines, want fewer than 60", name, lines)
		}
	}
}
