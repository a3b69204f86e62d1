package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gaff/internal/eventually"
)

const (
	newSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	oldSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// localImport matches the import of a file of the same application.
var localImport = regexp.MustCompile(`from "(\.[^"]*/lib/[a-z]+)"`)

// receiver is a program of another language; lines are what it prints.
type receiver struct {
	url   string
	lines chan map[string]any
}

// nodeFolder builds the TypeScript client and puts it, the examples and the official
// libraries where node finds them.
func nodeFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	modules, err := filepath.Abs(filepath.Join("..", "..", "tools", "js", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	client := filepath.Join("..", "..", "clients", "typescript")
	buildClient(t, filepath.Join(dir, "node_modules", "@gaff", "client"))
	for _, name := range []string{"express", "standardwebhooks", "svix"} {
		if err := os.Symlink(filepath.Join(modules, name), filepath.Join(dir, "node_modules", name)); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{
		filepath.Join(client, "examples", "express", "server.mjs"):                            filepath.Join(dir, "express.mjs"),
		filepath.Join("testdata", "receivers", "official.mjs"):                                filepath.Join(dir, "official.mjs"),
		filepath.Join("testdata", "receivers", "next.mjs"):                                    filepath.Join(dir, "next.mjs"),
		filepath.Join(client, "examples", "nextjs", "lib", "session.ts"):                      filepath.Join(dir, "src", "nextjs", "lib", "session.ts"),
		filepath.Join(client, "examples", "nextjs", "app", "api", "fal", "proxy", "route.ts"): filepath.Join(dir, "src", "nextjs", "app", "api", "fal", "proxy", "route.ts"),
		filepath.Join(client, "examples", "nextjs", "lib", "store.ts"):                        filepath.Join(dir, "src", "nextjs", "lib", "store.ts"),
		filepath.Join(client, "examples", "nextjs", "app", "api", "gaff", "route.ts"):         filepath.Join(dir, "src", "nextjs", "app", "api", "gaff", "route.ts"),
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		// Node.js wants the extension that an application's bundler does without.
		text = localImport.ReplaceAll(text, []byte(`from "$1.js"`))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The example is compiled as an application would, against the client's types.
	config := `{"compilerOptions":{"target":"es2022","lib":["es2022","dom"],"module":"nodenext","moduleResolution":"nodenext",
		"strict":true,"rootDir":"src","outDir":"out","types":[]},"include":["src"]}`
	for name, text := range map[string]string{"tsconfig.json": config, "package.json": `{"type":"module"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runNode(t, dir, filepath.Join(modules, ".bin", "tsc"), "-p", dir)
	return dir
}

// buildClient copies the TypeScript client to a folder and builds it there.
func buildClient(t *testing.T, folder string) {
	t.Helper()
	client := filepath.Join("..", "..", "clients", "typescript")
	for _, part := range []string{"src", "test"} {
		if err := os.CopyFS(filepath.Join(folder, part), os.DirFS(filepath.Join(client, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package.json", "tsconfig.json", "build.mjs", "README.md"} {
		text, err := os.ReadFile(filepath.Join(client, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runNode(t, folder, "node", "build.mjs")
}

// runNode runs a program with the tools of tools/js in its PATH, and fails the test with its output
// if it fails.
func runNode(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	tools, err := filepath.Abs(filepath.Join("..", "..", "tools", "js", "node_modules", ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// The client's own tests need no gateway: receiving, signatures, the API and the stream against a
// server of the test.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "client")
	buildClient(t, folder)
	runNode(t, folder, "node", "--test", "test/")
}

// start runs a script of the folder until the test's end.
func start(t *testing.T, dir, script string, env ...string) *receiver {
	t.Helper()
	return startProgram(t, dir, env, "node", script)
}

// startProgram runs a program in a folder until the test's end. Its first line names its port.
func startProgram(t *testing.T, dir string, env []string, name string, args ...string) *receiver {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + os.Getenv("PATH"), "PORT=0"}, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &receiver{lines: make(chan map[string]any, 100)}
	go func() {
		defer close(r.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			var line map[string]any
			if json.Unmarshal(in.Bytes(), &line) == nil {
				r.lines <- line
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	first := r.next(t)
	if first["port"] == nil {
		t.Fatalf("%s %v did not start: %s", name, args, stderr.String())
	}
	r.url = fmt.Sprintf("http://127.0.0.1:%v", first["port"])
	return r
}

func (r *receiver) next(t *testing.T) map[string]any {
	t.Helper()
	return eventually.Receive(t, "the receiver prints a line", r.lines)
}

// forwarding starts a gateway with a configuration.
func forwarding(t *testing.T, config string) *gateway {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr, "GAFF_ALLOW_ADDRESSES=127.0.0.1", "NEW="+newSecret, "OLD="+oldSecret), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		<-g.done
		if t.Failed() {
			t.Log(g.log.String())
		}
	})
	return g
}

// falWebhook sends a completed generation in the document's dialect.
func (g *gateway) falWebhook(t *testing.T, n int) (body string) {
	t.Helper()
	body = fmt.Sprintf(`{"id":"w%d","request_id":"r%d","status":"completed","result":{"images":[{"url":"https://example.com/%d.png"}]},"metadata":{"job_id":"job-%d","project_id":"p1","user_id":"u1","generation_type":"image"}}`, n, n, n, n)
	mac := hmac.New(sha256.New, []byte(falSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/api/v1/webhooks/fal", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Fal-Signature", hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("answered %s", res.Status)
	}
	return body
}

// Receivers as people write them: our client in Express and in a Next.js route, and the
// official libraries of Standard Webhooks and Svix.
func TestReceivers(t *testing.T) {
	t.Parallel()
	dir := nodeFolder(t)
	express := start(t, dir, "express.mjs", "GAFF_SECRET="+newSecret)
	next := start(t, dir, "next.mjs", "GAFF_SECRET="+oldSecret+","+newSecret, "FAIL_ONCE=1")
	official := start(t, dir, "official.mjs", "GAFF_SECRET="+oldSecret)
	g := forwarding(t, fmt.Sprintf(`
destinations:
  express: {url: %q, events: ["gaff:job.*"], secrets: ["env:NEW"]}
  next: {url: %q, events: ["gaff:job.*"], first_wait: 1s, secrets: ["env:NEW", "env:OLD"]}
  official: {url: %q, events: ["fal:*"], secrets: ["env:NEW", "env:OLD"]}
`, express.url+"/gaff", next.url+"/api/gaff", official.url+"/any"))
	g.falWebhook(t, 1)

	if got := express.next(t); got["kind"] != "gaff:job.completed" || got["job"] != "completed" || got["media"] != 1.0 || !strings.HasPrefix(fmt.Sprint(got["delivery"]), "dlv_") {
		t.Errorf("Express: %v", got)
	}
	if got := next.next(t); got["status"] != 500.0 || got["saved"] != 0.0 {
		t.Errorf("Next.js, whose database is down: %v", got)
	}
	if got := next.next(t); got["status"] != 204.0 || got["saved"] != 1.0 || got["files"] != 1.0 {
		t.Errorf("Next.js: %v", got)
	}
	if got := official.next(t); got["standardwebhooks"] != "generation.completed" || got["svix"] != "generation.completed" || got["path"] != "/any" {
		t.Errorf("the official libraries: %v", got)
	}

	// Our client rejects requests that are not from the gateway.
	for what, change := range map[string]func(h http.Header, body *string){
		"no signature":    func(h http.Header, _ *string) { h.Del("Webhook-Signature") },
		"another body":    func(_ http.Header, b *string) { *b = strings.Replace(*b, "test", "best", 1) },
		"another secret":  func(h http.Header, _ *string) { h.Set("Webhook-Signature", "v1,AAAA") },
		"nonsense":        func(h http.Header, _ *string) { h.Set("Webhook-Signature", "v1,%%% v2,x") },
		"an old delivery": func(h http.Header, _ *string) { h.Set("Webhook-Timestamp", "1700000000") },
	} {
		body := `{"type":"test","source":"gaff"}`
		header := http.Header{"Webhook-Id": {"x"}, "Webhook-Timestamp": {fmt.Sprint(time.Now().Unix())}, "Webhook-Signature": {"v1,xxxx"}}
		change(header, &body)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, next.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if line := next.next(t); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d, %v", what, res.StatusCode, line)
		}
	}
	// And what the gateway's test command sends is accepted.
	if out, err := g.gaff("destinations", "test", "next"); err != nil || !strings.Contains(out, "204") {
		t.Errorf("gaff destinations test: %v\n%s", err, out)
	}
}

// gaff runs a command against the gateway.
func (g *gateway) gaff(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GAFF_URL=" + g.url, "GAFF_TOKEN=" + adminToken, "HOME=/nonexistent"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// desk is a program on someone's machine that keeps what it is brought.
type desk struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	faults []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(falSecret))
		mac.Write(body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.bodies = append(d.bodies, string(body))
		if r.URL.Path != "/api/v1/webhooks/fal" || r.Header.Get("X-Fal-Signature") != hex.EncodeToString(mac.Sum(nil)) {
			d.faults = append(d.faults, fmt.Sprint(r.URL.Path, r.Header))
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) got() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.bodies)
}

func (d *desk) await(t *testing.T, want []string) {
	t.Helper()
	for deadline := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
		if got := d.got(); slices.Equal(got, want) {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d of %d were brought: %v", len(got), len(want), got)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults != nil {
		t.Errorf("path or signature was not as received: %v", d.faults)
	}
}

// listen runs gaff listen until stop.
func (g *gateway) listen(t *testing.T, name string, args ...string) (stop func() string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"listen", "--server", g.url, "--name", name}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GAFF_TOKEN=" + adminToken, "HOME=/nonexistent"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	once := sync.OnceValue(func() string {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("gaff listen: %v\n%s", err, errs.String())
		}
		return out.String()
	})
	t.Cleanup(func() { once() })
	return once
}

func TestListen(t *testing.T) {
	t.Parallel()
	production := newDesk(t)
	g := forwarding(t, fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"fal:*\"], format: original}\n", production.URL+"/api/v1/webhooks/fal"))
	anna, ben := newDesk(t), newDesk(t)
	var sent []string
	send := func(n int) {
		for range n {
			sent = append(sent, g.falWebhook(t, len(sent)))
		}
	}
	send(2)
	stopAnna := g.listen(t, "anna", "--forward", anna.URL, "--from", "beginning")
	anna.await(t, sent)
	send(3)
	anna.await(t, sent)
	printed := stopAnna()
	if strings.Count(printed, "fal:generation.completed") != 5 || strings.Count(printed, " 200 ") != 5 {
		t.Errorf("printed\n%s", printed)
	}
	// The lid is closed; meanwhile others listen, and production gets what it always does.
	stopBen := g.listen(t, "ben", "--forward", ben.URL, "--filter", `data.id != "w5"`, "--from", "beginning")
	send(4)
	ben.await(t, slices.Concat(sent[:5], sent[6:]))
	stopBen()
	if got := anna.got(); len(got) != 5 {
		t.Errorf("anna was brought %d while she did not listen", len(got))
	}
	g.listen(t, "anna", "--forward", anna.URL)
	anna.await(t, sent)
	slices.Sort(sent)
	for deadline := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
		got := production.got()
		slices.Sort(got)
		if slices.Equal(got, sent) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("production got %d of %d", len(got), len(sent))
		}
	}
}

// The page of gaff listen shows the requests, and sends one to the program again.
func TestListenInspector(t *testing.T) {
	t.Parallel()
	g := forwarding(t, "{}\n")
	anna := newDesk(t)
	sent := g.falWebhook(t, 0)
	cmd := exec.Command(binary, "listen", "--server", g.url, "--name", "anna", "--from", "beginning", "--forward", anna.URL, "--inspect")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GAFF_TOKEN=" + adminToken, "HOME=/nonexistent"}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	page := ""
	for lines := bufio.NewScanner(errs); page == "" && lines.Scan(); {
		_, page, _ = strings.Cut(lines.Text(), "inspect the requests at ")
	}
	if !strings.HasPrefix(page, "http://127.0.0.1:") {
		t.Fatalf("the URL of the page: %q", page)
	}
	anna.await(t, []string{sent})
	get := func(address string) string {
		res, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	eventually.True(t, "the page shows the request", func() bool { return strings.Contains(get(page), "fal:generation.completed") })
	if shown := get(page + "1"); !strings.Contains(shown, "X-Fal-Signature") || !strings.Contains(shown, "job-0") {
		t.Errorf("the page of the request: %s", shown)
	}
	res, err := http.PostForm(page+"1", url.Values{"do": {"same"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	anna.await(t, []string{sent, sent})
}

// What the program is at when listening ends, and then answers, does not come to it again.
func TestListenEndsWithAnAnswer(t *testing.T) {
	t.Parallel()
	g := forwarding(t, "destinations: {}\n")
	came, answer := make(chan string, 10), make(chan struct{})
	program := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came <- string(body)
		<-answer
	}))
	t.Cleanup(program.Close)
	next := func(want string) {
		t.Helper()
		if got := eventually.Receive(t, "the program is called", came); got != want {
			t.Fatalf("brought %s, want %s", got, want)
		}
	}
	first := g.falWebhook(t, 0)
	stop := g.listen(t, "anna", "--forward", program.URL, "--from", "beginning")
	next(first)
	time.AfterFunc(200*time.Millisecond, func() { close(answer) }) // after the interrupt
	if printed := stop(); strings.Count(printed, " 200 ") != 1 {
		t.Errorf("printed\n%s", printed)
	}
	second := g.falWebhook(t, 1)
	g.listen(t, "anna", "--forward", program.URL)
	next(second)
}

// The examples that are printed in the client's documents are compiled, and run, here.
func TestExamplesExist(t *testing.T) {
	t.Parallel()
	n := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "clients", "typescript", "examples"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != 5 {
		t.Errorf("%d files, %v: does TestReceivers compile or run all of them?", n, err)
	}
}
