// Package e2e tests the real binary: stories of its users, and the state after it was killed.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gaff/internal/api"
	"gaff/internal/apitest"
	"gaff/internal/eventually"
)

// binary is the gateway; in make acceptance as it is shipped.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gaff-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gaff")
	if err := buildGaff(binary); err != nil {
		fmt.Fprintln(os.Stderr, "build the binary:", err)
		return 1
	}
	return m.Run()
}

// Secrets of the gateways under test.
const (
	falSecret       = "fal-test-secret"
	lastFrameSecret = "lastframe-test-secret"
	customSecret    = "custom-test-secret"
	adminToken      = "e2e-token-not-guessed"
)

// gateway is a running binary.
type gateway struct {
	cmd  *exec.Cmd
	url  string
	log  *logBuffer
	done chan error
}

// logBuffer is what a gateway printed, to be read while it runs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// environment is that of every gateway; what it does not name is unset.
func environment(dir, addr string, extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GAFF_DATA_DIR=" + filepath.Join(dir, "data"), "GAFF_ADDR=" + addr,
		"FAL_WEBHOOK_SECRET=" + falSecret, "LASTFRAME_WEBHOOK_SECRET=" + lastFrameSecret, "WEBHOOK_SECRET=" + customSecret,
		"GAFF_ADMIN_TOKEN=" + adminToken, "GAFF_MEDIA_URL=off",
	}, extra...)
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// serve starts the binary in dir and waits until it is ready.
func serve(dir string, env []string, addr string) (*gateway, error) {
	g := &gateway{cmd: exec.Command(binary, "serve"), url: "http://" + addr, log: &logBuffer{}, done: make(chan error, 1)}
	g.cmd.Dir, g.cmd.Env, g.cmd.Stdout, g.cmd.Stderr = dir, env, g.log, g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { g.done <- g.cmd.Wait() }()
	err := poll(eventually.Limit, func() error {
		select {
		case err := <-g.done:
			g.done <- err
			return fatal{fmt.Errorf("the gateway ended: %v\n%s", err, g.log)}
		default:
		}
		resp, err := http.Get(g.url + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", resp.Status)
		}
		return nil
	})
	if err != nil {
		g.kill()
		return nil, err
	}
	return g, nil
}

func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	err := <-g.done
	g.done <- err
}

// stop asks the gateway to end, and returns how it did.
func (g *gateway) stop() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-g.done:
		g.done <- err
		return err
	case <-time.After(eventually.Limit):
		g.kill()
		return fmt.Errorf("the gateway did not end\n%s", g.log)
	}
}

type fatal struct{ error }

// poll asks until there is no error, the error is fatal, or the time is over.
func poll(limit time.Duration, ask func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if f, ok := err.(fatal); ok {
			return f.error
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still after %s: %w", limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// get reads an API resource.
func (g *gateway) get(path string, into any) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, g.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	doc, err := apiDocument()
	if err != nil {
		return err
	}
	if err := doc.Check(http.MethodGet, path, resp.StatusCode, resp.Header, body); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// apiDocument is the OpenAPI document, against which every answer is checked.
var apiDocument = sync.OnceValues(func() (*apitest.Document, error) {
	w := httptest.NewRecorder()
	api.New(api.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	return apitest.Parse(w.Body.Bytes())
})

// each calls fn for every document of a list.
func each[T any](g *gateway, path string, fn func(T)) error {
	cursor := ""
	for {
		var page struct {
			Docs []T     `json:"docs"`
			Next *string `json:"nextCursor"`
		}
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		if err := g.get(path+mark+"limit=500"+cursor, &page); err != nil {
			return err
		}
		for _, doc := range page.Docs {
			fn(doc)
		}
		if page.Next == nil {
			return nil
		}
		cursor = "&cursor=" + *page.Next
	}
}
