package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gaff/internal/eventually"
)

const pythonClient = "../../clients/python"

// python prepares a run of the machine's Python with the client on its path.
func python(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	src, err := filepath.Abs(filepath.Join(pythonClient, "src"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", args...)
	cmd.Dir = pythonClient
	cmd.Env = append(append(os.Environ(), "PYTHONPATH="+src, "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=*"), env...)
	return cmd
}

// token returns the admin token that gaff dev made.
func (g *devGateway) token() string {
	text, _ := os.ReadFile(filepath.Join(g.dir, "gaff-dev", "admin-token"))
	return strings.TrimSpace(string(text))
}

func TestPythonClient(t *testing.T) {
	t.Parallel()
	if said, err := python(t, nil, "-m", "unittest", "discover", "-s", "tests").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestPythonClientWithGateway(t *testing.T) {
	t.Parallel()
	g := dev(t, "--samples=false")
	cmd := python(t, []string{"GAFF_URL=" + g.url, "GAFF_TOKEN=" + g.token()}, "tests/gateway.py")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// The example receives the event of its own job, and its page shows the file.
func TestPythonExample(t *testing.T) {
	t.Parallel()
	g := dev(t, "--samples=false")
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.gaff("destinations", "add", "app", "http://"+addr+"/gaff", "--events", "gaff:job.stored", "--json")
	var made struct{ Secret string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, port, _ := strings.Cut(addr, ":")
	app := python(t, []string{"GAFF_URL=" + g.url, "GAFF_TOKEN=" + g.token(), "GAFF_SECRET=" + made.Secret}, "examples/app.py", port)
	app.Stderr = os.Stderr
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Process.Kill(); _ = app.Wait() })
	submitted := false
	err = poll(eventually.Limit, func() error {
		if !submitted {
			resp, err := http.PostForm("http://"+addr+"/", url.Values{"prompt": {"a dog"}})
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			submitted = true
		}
		resp, err := http.Get("http://" + addr + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(page), `<img src="`+g.url+`/files/`) {
			return fmt.Errorf("page %s, %v", page, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
