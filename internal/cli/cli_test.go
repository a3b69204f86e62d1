package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/app"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/fuzzseed"
	"gaff/sender"
	"gaff/verify"
)

var update = flag.Bool("update", false, "write the golden files anew")

const token = "t0ken-of-the-test"

var testNow = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// cmdline is one run of the command line in a test.
type cmdline struct {
	args     []string
	environ  []string
	files    map[string]string
	stdin    string
	terminal bool
	parts    parts
}

type result struct {
	code           int
	stdout, stderr string
}

func (c cmdline) run(t *testing.T, ctx context.Context) result {
	t.Helper()
	dir := t.TempDir()
	for name, text := range c.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ps := c.parts
	if ps.sources == nil {
		ps.sources = fakeSources(t)
	}
	ps.terminal = func(any) bool { return c.terminal }
	ps.now = func() time.Time { return testNow }
	var stdout, stderr lockedBuffer
	code := run(ctx, Env{
		Args: c.args, Environ: c.environ, Dir: dir,
		Stdin: strings.NewReader(c.stdin), Stdout: &stdout, Stderr: &stderr,
	}, ps)
	return result{code, stdout.String(), stderr.String()}
}

// lockedBuffer may be read while the command still writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// want checks the exit code, and that the streams hold these texts.
func (r result) want(t *testing.T, code int, stdout, stderr []string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range stdout {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("stdout lacks %q", text)
		}
	}
	for _, text := range stderr {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr lacks %q", text)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

var shopScheme = verify.Scheme{
	Kind: "signature", Algorithm: "hmac-sha256", Signed: "{ts}.{body}", Encoding: "hex",
	Signature: verify.Signatures{{Location: verify.Location{In: "header", Name: "X-Shop-Signature"}}},
	Timestamp: &verify.Timestamp{Location: verify.Location{In: "header", Name: "X-Shop-Time"}},
	Tolerance: &verify.Tolerance{Past: 300},
	ID:        &verify.Location{In: "json", Pointer: "/id"},
}

type shopParser struct{}

func (shopParser) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	var body struct{ ID, Type string }
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return gaff.Envelope{}, errors.New("the body is no JSON")
	}
	return gaff.Envelope{Type: body.Type, ID: body.ID}, nil
}

// fakeSources are "shop", which signs with "s3cret"; "keyed", whose key is its sender's;
// and "mute", which has no secret.
func fakeSources(t *testing.T) func(*config.Config, *slog.Logger) ([]app.Source, error) {
	t.Helper()
	verifier, err := sender.New(sender.Description{Scheme: shopScheme}, verify.Options{Secrets: []string{"s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	return func(*config.Config, *slog.Logger) ([]app.Source, error) {
		var made int
		shop := app.Source{
			Source:  gaff.Source{Name: "shop", Verifier: verifier, Parser: shopParser{}},
			Address: "https://hooks.example.com/api/v1/webhooks/shop",
			Types:   []string{"order.paid", "order.sent"},
			Sign: func(r *gaff.Request, at time.Time, secret string) error {
				v := verifier
				if secret != "" {
					if v, err = sender.New(sender.Description{Scheme: shopScheme}, verify.Options{Secrets: []string{secret}}); err != nil {
						return err
					}
				}
				return v.Sign(r, at)
			},
			Sample: func(typ string) ([]byte, error) {
				if typ == "" {
					typ = "order.paid"
				}
				if !slices.Contains([]string{"order.paid", "order.sent"}, typ) {
					return nil, fmt.Errorf("no sample of type %q", typ)
				}
				made++
				return fmt.Appendf(nil, `{"id":"ord_%d","type":%q}`, made, typ), nil
			},
		}
		return []app.Source{
			shop,
			{Source: gaff.Source{Name: "keyed"}},
			{Source: gaff.Source{Name: "mute", DisabledReason: "MUTE_SECRET is not set"}},
		}, nil
	}
}

// api is a stand-in for a running gateway.
func api(t *testing.T, routes map[string]http.HandlerFunc) (base string) {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				problem(w, http.StatusUnauthorized, "no such token")
				return
			}
			handler(w, r)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func client2(base string, args ...string) cmdline {
	return cmdline{args: args, environ: []string{"GAFF_URL=" + base, "GAFF_TOKEN=" + token}}
}

// The tree of help is what people are promised; a change of it is seen in review.
func TestHelpGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		res := cmdline{args: append(path, "--help")}.run(t, t.Context())
		if res.code != 0 || res.stderr != "" {
			t.Errorf("%s --help: %d %s", cmd.CommandPath(), res.code, res.stderr)
		}
		fmt.Fprintf(&b, "$ %s --help\n%s\n", cmd.CommandPath(), res.stdout)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&program{settings: map[string]*string{}}).root())
	const name = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("run go test ./internal/cli -update if this is meant:\n%s", diff)
	}
	if res := (cmdline{}).run(t, t.Context()); res.code != 0 || !strings.Contains(res.stdout, "The gateway:") {
		t.Errorf("gaff alone: %d\n%s%s", res.code, res.stdout, res.stderr)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args string
		want string
	}{
		"unknown command":      {"evnts", `no command "evnts"; did you mean events?`},
		"unknown subcommand":   {"jobs wach", "did you mean watch?"},
		"unknown flag":         {"events list --nope", "unknown flag: --nope"},
		"no number":            {"send shop --count many", "many"},
		"argument missing":     {"events show", "gaff events show needs one ID"},
		"too many arguments":   {"events show a b", `takes one ID; unexpected argument "b"`},
		"no argument wanted":   {"serve now", `takes no argument; "now" is one`},
		"status":               {"events list --status done", "want pending, success or error"},
		"job status":           {"jobs list --status done", "want queued"},
		"since":                {"events list --since then", "write 2h (ago)"},
		"limit":                {"events list --limit -1", "0 is for all"},
		"nothing chosen":       {"events retry", "name events, or choose them"},
		"both chosen":          {"events replay evt_1 --source fal", "not both"},
		"verify what":          {"verify --source shop", "--request FILE"},
		"verify both":          {"verify --vectors a --source b", "--vectors goes with none"},
		"verify argument":      {"verify a", "without --vectors"},
		"at":                   {"sign shop - --at then", "write unix seconds"},
		"source":               {"send nobody", `no source "nobody"; configured are shop, keyed, mute`},
		"count":                {"send shop --count 0", "at least 1"},
		"type of data":         {"send shop --data - --type x", "leave one"},
		"type":                 {"send shop --to http://h/ --type x", "known are order.paid, order.sent"},
		"target":               {"send shop --to nowhere", "is no address"},
		"address of a gateway": {"events list --url nowhere --token x", "is no address of a gateway"},
		"host without scheme":  {"events list --url gaff.internal:3000 --token x", "is no address of a gateway"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := cmdline{args: strings.Fields(test.args)}.run(t, t.Context())
			res.want(t, exitUsage, nil, []string{"gaff: ", test.want, "--help'."})
		})
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	serve := func(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) error {
		log.DebugContext(ctx, "started", "addr", cfg.Addr)
		fmt.Fprintf(out, "%s %s %d", cfg.DataDir, cfg.ProviderValues().List("FAL_WEBHOOK_SECRET")[0], cfg.Limits.Workers)
		return nil
	}
	c := cmdline{
		args:    []string{"serve", "--addr", ":4000", "--config", "other.yaml", "--log-level=debug"},
		environ: []string{"GAFF_ADDR=:5000", "GAFF_DATA_DIR=/data", "GAFF_DATADIR=/x"},
		files:   map[string]string{".env": "FAL_WEBHOOK_SECRET=one,two", "other.yaml": "limits: {workers: 3}\nlog_format: json\n"},
		parts:   parts{serve: serve},
	}
	res := c.run(t, t.Context())
	res.want(t, exitDone, []string{"/data one 3"}, []string{`"msg":"started","addr":":4000"`, "did you mean GAFF_DATA_DIR?"})

	c.args = []string{"serve", "--addr", "nowhere"}
	c.environ = []string{"GAFF_RECONCILE_AFTER=soon"}
	c.run(t, t.Context()).want(t, exitFailed, nil, []string{`GAFF_ADDR="nowhere" (--addr)`, `GAFF_RECONCILE_AFTER="soon"`})

	c = cmdline{args: []string{"serve"}, parts: parts{serve: func(context.Context, *config.Config, *slog.Logger, io.Writer) error {
		return errors.New("listen: \x1b[31mtaken")
	}}}
	c.run(t, t.Context()).want(t, exitFailed, nil, []string{`gaff: listen: \x1b[31mtaken`})

	c = cmdline{args: []string{"migrate", "--data-dir", "/d"}, parts: parts{migrate: func(_ context.Context, cfg *config.Config, out io.Writer) error {
		_, err := fmt.Fprintln(out, "migrated "+cfg.DataDir)
		return err
	}}}
	c.run(t, t.Context()).want(t, exitDone, []string{"migrated /d"}, nil)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := cmdline{args: []string{"config", "check"}, files: map[string]string{"gaff.yaml": "addr: :1\nfal_key: hush\n"}}
	good.run(t, t.Context()).want(t, exitDone, []string{"warning: source mute refuses everything: MUTE_SECRET is not set\nok\n"}, nil)

	good.args = []string{"config", "show"}
	res := good.run(t, t.Context())
	res.want(t, exitDone, []string{"GAFF_ADDR", "gaff.yaml:1", "[redacted]"}, nil)
	if strings.Contains(res.stdout, "hush") {
		t.Error("a secret is shown")
	}
	good.args = []string{"config", "show", "--json", "--addr=:2"}
	var settings []config.Setting
	if err := json.Unmarshal([]byte(good.run(t, t.Context()).stdout), &settings); err != nil || settings[0].Value != ":2" || settings[0].From != "--addr" {
		t.Errorf("%v %+v", err, settings)
	}

	bad := cmdline{args: []string{"config", "check"}, environ: []string{"PORT=x", "FAL_KEY=hush\x01"}}
	res = bad.run(t, t.Context())
	res.want(t, exitFailed, []string{`fault: GAFF_ADDR="x" (environment (PORT)): is not a listen address`, "fault: FAL_KEY (environment)"}, nil)
	bad.args = append(bad.args, "--json")
	var report struct {
		OK     bool
		Faults []struct{ Name, Value, From, Problem string }
	}
	res = bad.run(t, t.Context())
	if err := json.Unmarshal([]byte(res.stdout), &report); err != nil || report.OK || len(report.Faults) != 2 || res.code != exitFailed {
		t.Errorf("%v %+v", err, report)
	}
	if strings.Contains(res.stdout, "hush") {
		t.Error("a secret is shown")
	}
	broken := cmdline{args: []string{"config", "check"}, parts: parts{sources: func(*config.Config, *slog.Logger) ([]app.Source, error) {
		return nil, errors.New("two sources of one name")
	}}}
	broken.run(t, t.Context()).want(t, exitFailed, []string{"fault: sources: two sources of one name"}, nil)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	cmdline{args: []string{"version"}}.run(t, t.Context()).want(t, exitDone, []string{"gaff", "platform"}, nil)
	cmdline{args: []string{"version", "--json"}}.run(t, t.Context()).want(t, exitDone, []string{`"version":`, `"platform":`}, nil)
	for _, flag := range []string{"--version", "-v"} {
		cmdline{args: []string{flag}}.run(t, t.Context()).want(t, exitDone, []string{"gaff version " + buildinfo.Get().String() + "\n"}, nil)
	}
	cmdline{args: []string{"completion", "bash"}}.run(t, t.Context()).want(t, exitDone, []string{"__start_gaff"}, nil)
}

func TestFindGateway(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": answer(`{"docs":[],"nextCursor":null}`)})
	elsewhere := api(t, nil)
	none := cmdline{args: []string{"jobs", "list"}}
	none.run(t, t.Context()).want(t, exitFailed, nil, []string{"no gateway found: gaff-data/url is not there", "GAFF_URL"})

	folder := map[string]string{"gaff-data/url": base + "/\n", "gaff-data/admin-token": token + "\n"}
	cmdline{args: []string{"jobs", "list"}, files: folder}.run(t, t.Context()).want(t, exitDone, nil, []string{"none found"})

	other := map[string]string{"d/url": base, "d/admin-token": token}
	cmdline{args: []string{"jobs", "list", "--data-dir", "d"}, files: other}.run(t, t.Context()).want(t, exitDone, nil, nil)

	// A configuration that only the server would refuse does not stand in the way.
	folder["gaff.yaml"] = "sources: {x: {}}\nnonsense: 1\n"
	cmdline{args: []string{"jobs", "list"}, files: folder}.run(t, t.Context()).want(t, exitDone, nil, nil)
	cmdline{args: []string{"jobs", "list"}, files: folder, environ: []string{"GAFF_URL=ftp://x"}}.run(t, t.Context()).
		want(t, exitFailed, nil, []string{`GAFF_URL="ftp://x"`})

	wrong := client2(base, "jobs", "list", "--token", "wrong")
	wrong.run(t, t.Context()).want(t, exitFailed, nil, []string{"401", "no such token", "Set GAFF_TOKEN"})

	// The token of this machine's gateway is not sent to another host.
	far := cmdline{args: []string{"jobs", "list"}, files: folder, environ: []string{"GAFF_URL=http://far.example.com"}}
	far.run(t, t.Context()).want(t, exitFailed, nil, []string{"no token for http://far.example.com"})

	// A scheme that was left out is http, on this machine.
	client2(base, "jobs", "list", "--url", strings.TrimPrefix(base, "http://")).run(t, t.Context()).want(t, exitDone, nil, []string{"none found"})

	unsent := cmdline{args: []string{"send", "fal"}, environ: []string{"FAL_WEBHOOK_SECRET=x"}, parts: parts{sources: app.Sources}}
	unsent.run(t, t.Context()).want(t, exitFailed, nil, []string{"no gateway found: gaff-data/url is not there", "set GAFF_URL or --to"})

	secret := client2(base, "jobs", "list")
	secret.environ = []string{"GAFF_URL=" + base, "GAFF_TOKEN_FILE=tok"}
	secret.files = map[string]string{"tok": token + "\n"}
	secret.run(t, t.Context()).want(t, exitDone, nil, nil)

	client2(elsewhere, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"404"})
	missing := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs/": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"title":"Not Found","detail":"job x: not found"}`)
	}})
	client2(missing, "jobs", "show", "x").run(t, t.Context()).want(t, exitFailed, nil, []string{"gaff: the gateway answered 404: job x: not found. "})
	client2("http://127.0.0.1:1", "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"no answer from http://127.0.0.1:1", "Does gaff serve run there?"})

	redirect := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusFound)
	}})
	client2(redirect, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"302", "It points to " + elsewhere})

	page := api(t, map[string]http.HandlerFunc{"GET /api/v1/jobs": answer("<html>")})
	client2(page, "jobs", "list").run(t, t.Context()).want(t, exitFailed, nil, []string{"is no JSON"})
}

// An unset variable of a script must not widen what is shown, retried or deleted.
func TestEmptyFlagsAreRefused(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{})
	for _, args := range [][]string{{"events", "list", "--source", ""}, {"jobs", "list", "--project="}, {"bulk", "start", "retry", "--source", "", "--yes"}} {
		client2(base, args...).run(t, t.Context()).want(t, exitUsage, nil, []string{"is empty: give it a value, or leave it out"})
	}
}

// A search looks at a part of the log at a time: pages before the match are empty.
func TestListFollowsEmptyPages(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("cursor") {
		case "":
			answer(`{"docs":[],"nextCursor":"n2"}`)(w, r)
		case "n2":
			answer(`{"docs":[],"nextCursor":"n3"}`)(w, r)
		default:
			fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_old", "success"))
		}
	}})
	client2(base, "events", "list", "--q", "old").run(t, t.Context()).want(t, exitDone, []string{"evt_old"}, nil)
	client2(base, "events", "list", "--q", "old", "--limit", "0", "--json").run(t, t.Context()).want(t, exitDone, []string{`"evt_old"`}, nil)
}

const hostile = "\\u001b]0;owned\\u0007\\u202e\u009b31m\\n"

func eventDoc(id, status string) string {
	return fmt.Sprintf(`{"id":%q,"webhookId":"w%s","source":"fal","type":"generation.completed","status":%q,"unhandled":true,"error":"boom %s",`+
		`"retryCount":3,"duplicates":0,"conflict":true,"correlationId":"c","receivedAt":"2026-01-31T11:00:00.123Z","processedAt":null}`, id, id, status, hostile)
}

func TestEventsList(t *testing.T) {
	t.Parallel()
	var queries []string
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		if r.URL.Query().Get("cursor") == "" {
			fmt.Fprintf(w, `{"docs":[%s,%s],"nextCursor":"n2"}`, eventDoc("evt_1", "error"), eventDoc("evt_2", "pending"))
			return
		}
		fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_3", "success"))
	}})
	res := client2(base, "events", "list", "--source=fal", "--type=t", "--status", "error", "--q", "a b", "--since", "1d", "--until", "2026-01-31T10:00:00Z").run(t, t.Context())
	at := time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC).Local().Format(time.RFC3339)
	res.want(t, exitDone, []string{"ID     SOURCE  TYPE", "evt_3", "success (unhandled) (conflict)", at, `boom \x1b]0;owned\x07\u202e\x9b31m\n`}, nil)
	want := []string{
		"limit=50&q=a+b&since=2026-01-30T12%3A00%3A00Z&source=fal&status=error&type=t&until=2026-01-31T10%3A00%3A00Z",
		"cursor=n2&limit=48&q=a+b&since=2026-01-30T12%3A00%3A00Z&source=fal&status=error&type=t&until=2026-01-31T10%3A00%3A00Z",
	}
	if diff := cmp.Diff(want, queries); diff != "" {
		t.Error(diff)
	}
	res = client2(base, "events", "list", "--limit", "2").run(t, t.Context())
	res.want(t, exitDone, nil, []string{"the newest 2 are shown; --limit 0 shows all"})
	if strings.Contains(res.stdout, "evt_3") {
		t.Error("more than the limit")
	}
	res = client2(base, "events", "list", "--limit", "0", "--json").run(t, t.Context())
	lines := strings.Split(strings.TrimSpace(res.stdout), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), res.stdout)
	}
	checkTerminalSafe(t, res.stdout)
	var got, sent any
	if json.Unmarshal([]byte(lines[2]), &got) != nil || json.Unmarshal([]byte(eventDoc("evt_3", "success")), &sent) != nil || !cmp.Equal(got, sent) {
		t.Error(cmp.Diff(sent, got))
	}
}

func checkTerminalSafe(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && unsafeRune(r) {
			t.Fatalf("%U reaches the terminal in %q", r, text)
		}
	}
}

const shownEvent = `{"id":"evt_1","source":"fal","type":"generation.completed","status":"error","error":"no \u001b[2J","retryCount":1,"duplicates":2,
 "webhookId":"req-1","correlationId":"req-1","receivedAt":"2026-01-31T11:00:00Z","processedAt":"2026-01-31T11:00:05Z",
 "proof":{"scheme":"hmac-sha256","keyId":"ab12"},"data":{"a":1},
 "request":{"method":"POST","url":"https://h/api/v1/webhooks/fal","remoteAddr":"1.2.3.4","headers":{"Content-Type":["application/json"],"X-Evil":["\u001b[31m"]},"body":"{\"a\":\n\"\u009b2J\"}","bodyBase64":""},
 "deliveries":[{"id":"dlv_1-0","handler":"effects","state":"retrying","attempts":1,"maxAttempts":8,"runAt":"2026-01-31T12:00:00Z","error":"no","createdAt":"2026-01-31T11:00:00Z","finishedAt":null,
   "tries":[{"number":1,"outcome":"failed","startedAt":"2026-01-31T11:00:01Z","durationMs":12.5,"error":"dial tcp","detail":"","changes":null},
   {"number":2,"outcome":"failed","startedAt":"2026-01-31T11:00:09Z","durationMs":12.5,"error":"dial tcp","detail":"","changes":[]},
   {"number":3,"outcome":"failed","startedAt":"2026-01-31T11:00:19Z","durationMs":12.5,"error":"502","detail":"","changes":[{"field":"error"},{"field":"response.status"}]}]}],
 "copies":[],"children":[]}`

func TestEventsShow(t *testing.T) {
	t.Parallel()
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/events/evt_1": answer(shownEvent),
		"GET /api/v1/events/bin":   answer(`{"id":"bin","request":{"method":"POST","url":"/","headers":{"A":["b"]},"bodyBase64":"/wA="}}`),
		"GET /api/v1/events/inner": answer(`{"id":"inner","request":null,"data":{"job":"job_1"}}`),
		"GET /api/v1/events/none":  func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, "no event none") },
	})
	res := client2(base, "events", "show", "evt_1").run(t, t.Context())
	res.want(t, exitDone, []string{
		"evt_1", `no \x1b[2J`, "duplicates    2", "proof scheme  hmac-sha256", "delivery dlv_1-0 to effects: retrying, 1 of 8 attempts, next at ", "as before", "differs in error, response.status",
		"failed", "13ms", "dial tcp", "POST https://h/api/v1/webhooks/fal", `X-Evil: \x1b[31m`, "{\"a\":\n\"\\x9b2J\"}",
	}, nil)
	checkTerminalSafe(t, res.stdout)
	client2(base, "events", "show", "bin").run(t, t.Context()).want(t, exitDone, []string{"A: b", "2 bytes that are no text"}, nil)
	client2(base, "events", "show", "inner").run(t, t.Context()).want(t, exitDone, []string{`{"job":"job_1"}`}, nil)
	client2(base, "events", "show", "none").run(t, t.Context()).want(t, exitFailed, nil, []string{"404", "no event none"})
	res = client2(base, "events", "show", "evt_1", "--json").run(t, t.Context())
	checkTerminalSafe(t, res.stdout)
	var got, sent any
	if json.Unmarshal([]byte(res.stdout), &got) != nil || json.Unmarshal([]byte(shownEvent), &sent) != nil || !cmp.Equal(got, sent) {
		t.Error(cmp.Diff(sent, got))
	}
}

func TestEventsRetry(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 30 {
		many = append(many, eventDoc(fmt.Sprintf("evt_%02d", i), "error"))
	}
	var posts atomic.Int32
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/events": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Get("source") == "empty":
				answer(`{"docs":[],"nextCursor":null}`)(w, r)
			case r.URL.Query().Get("status") == "error":
				fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, strings.Join(many, ","))
			default:
				fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, eventDoc("evt_1", "success"))
			}
		},
		"POST /api/v1/events/{id}/retry": func(w http.ResponseWriter, r *http.Request) {
			posts.Add(1)
			if strings.HasSuffix(r.PathValue("id"), "7") {
				problem(w, http.StatusConflict, "not in error")
				return
			}
			answer(`{"deliveries":["dlv_1","dlv_2"]}`)(w, r)
		},
		"POST /api/v1/events/{id}/replay": answer(`{"deliveries":["dlv_9"]}`),
		"POST /api/v1/webhooks/manage": func(w http.ResponseWriter, r *http.Request) {
			var in struct{ WebhookLogID string }
			if json.NewDecoder(r.Body).Decode(&in) != nil || in.WebhookLogID == "evt_bad" {
				w.WriteHeader(http.StatusInternalServerError)
				answer(`{"error":"Retry failed","reason":"handler: still down"}`)(w, r)
				return
			}
			answer(`{"success":true}`)(w, r)
		},
	})
	client2(base, "events", "retry", "evt_1", "evt_7").run(t, t.Context()).
		want(t, exitFailed, []string{"evt_1: retried, 2 deliveries\n", "2 events: 1 retried, 1 failed"}, []string{"evt_7: the gateway answered 409: not in error"})
	client2(base, "events", "retry", "evt_1").run(t, t.Context()).want(t, exitDone, []string{"evt_1: retried"}, nil)
	client2(base, "events", "retry", "--now", "evt_1", "evt_bad").run(t, t.Context()).
		want(t, exitFailed, []string{"evt_1: success", "1 failed"}, []string{"evt_bad: the gateway answered 500: Retry failed: handler: still down"})
	client2(base, "events", "replay", "evt_1").run(t, t.Context()).want(t, exitDone, []string{"evt_1: replayed, 1 delivery\n"}, nil)
	client2(base, "events", "replay", "evt_1", "--json").run(t, t.Context()).
		want(t, exitDone, []string{`{"id":"evt_1","ok":true,"deliveries":["dlv_9"]}`}, nil)
	client2(base, "events", "retry", "evt_1", "--token", "wrong").run(t, t.Context()).want(t, exitFailed, nil, []string{"0 of 1 done before", "401"})

	// Many are asked about first; nobody to ask is no yes.
	before := posts.Load()
	bulk := client2(base, "events", "retry", "--source", "fal", "--since", "2h")
	bulk.run(t, t.Context()).want(t, exitUsage, nil, []string{"30 events match; say --yes"})
	bulk.terminal, bulk.stdin = true, "n\n"
	bulk.run(t, t.Context()).want(t, exitFailed, nil, []string{"30 events match; go on? [y/N]", "nothing was done"})
	if posts.Load() != before {
		t.Error("tried without a yes")
	}
	bulk.stdin = "y\n"
	bulk.run(t, t.Context()).want(t, exitFailed, []string{"30 events: 27 retried, 3 failed"}, []string{"\r30/30, 3 failed", "evt_07: "})
	bulk.terminal, bulk.stdin = false, ""
	bulk.args = append(bulk.args, "--yes")
	res := bulk.run(t, t.Context())
	res.want(t, exitFailed, []string{"30 events: 27 retried, 3 failed"}, []string{"3/30, 0 failed\n", "30/30, 3 failed\n"})
	if n := strings.Count(res.stderr, "/30"); n != 10 {
		t.Errorf("%d lines of progress", n)
	}
	client2(base, "events", "retry", "--source", "empty").run(t, t.Context()).want(t, exitDone, nil, []string{"no event matches"})
	client2(base, "events", "replay", "--source", "fal", "--yes").run(t, t.Context()).want(t, exitDone, []string{"evt_1: replayed"}, nil)
}

// A stream that breaks is taken up again from the last id.
func TestEventsTail(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	resumed := make(chan string, 1)
	base := api(t, map[string]http.HandlerFunc{"GET /api/v1/stream": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if calls.Add(1) == 1 {
			fmt.Fprintf(w, ": hello\n\nevent: event\nid: 41\ndata: %s\n\nevent: job\nid: 42\ndata: {}\n\nevent: event\nid: 43\ndata: {\"id\":\"evt_lost\"", eventDoc("evt_1", "pending"))
			return
		}
		resumed <- r.Header.Get("Last-Event-ID")
		fmt.Fprintf(w, "event: event\r\nid: 43\r\ndata: %s\r\n\r\nevent: event\ndata: {\"id\":\"evt_x\",\"source\":\"other\"}\n\n", eventDoc("evt_2", "success"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if id := <-resumed; id != "42" {
			t.Errorf("resumed after %q", id)
		}
		cancel()
	}()
	res := client2(base, "events", "tail", "--source", "fal").run(t, ctx)
	res.want(t, exitDone, []string{"evt_1  fal", `boom \x1b]0;owned`}, nil)
	if strings.Contains(res.stdout, "evt_lost") || strings.Contains(res.stdout, "evt_x") {
		t.Errorf("half an event, or another source's:\n%s", res.stdout)
	}
	checkTerminalSafe(t, res.stdout)
	client2(base, "events", "tail", "--token", "x").run(t, t.Context()).want(t, exitFailed, nil, []string{"401"})
}

func TestJobs(t *testing.T) {
	t.Parallel()
	doc := func(status string) string {
		return fmt.Sprintf(`{"id":"job_1","provider":"fal","model":"fal-ai/flux/dev","kind":"image","projectId":"p1","userId":"u","requestId":"r1","status":%q,`+
			`"result":{"images":[1]},"error":null,"errorType":null,"settledBy":null,"createdAt":"2026-01-31T11:00:00Z","submittedAt":null,"settledAt":null}`, status)
	}
	current := "queued"
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/jobs": func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.RawQuery; got != "limit=50&projectId=p1&status=queued" {
				t.Errorf("query %s", got)
			}
			fmt.Fprintf(w, `{"docs":[%s],"nextCursor":null}`, doc("queued"))
		},
		"GET /api/v1/jobs/job_1": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, doc(current)) },
		"GET /api/v1/jobs/done":  answer(`{"id":"done","status":"failed","error":"nsfw \u001b"}`),
		"GET /api/v1/stream": func(w http.ResponseWriter, _ *http.Request) {
			for i, status := range []string{"queued", "processing", "completed"} {
				fmt.Fprintf(w, "event: job\nid: %d\ndata: %s\n\nevent: job\ndata: {\"id\":\"job_2\",\"status\":\"failed\"}\n\n", i, doc(status))
			}
			w.(http.Flusher).Flush()
		},
	})
	client2(base, "jobs", "list", "--status", "queued", "--project", "p1").run(t, t.Context()).want(t, exitDone, []string{"job_1  fal", "fal-ai/flux/dev"}, nil)
	client2(base, "jobs", "show", "job_1").run(t, t.Context()).want(t, exitDone, []string{"request id  r1", "result:\n{\n  \"images\""}, nil)
	client2(base, "jobs", "show", "job_1", "--json").run(t, t.Context()).want(t, exitDone, []string{`{"id":"job_1",`}, nil)
	res := client2(base, "jobs", "watch", "job_1").run(t, t.Context())
	res.want(t, exitDone, []string{"job_1  queued", "job_1  processing", "job_1  completed"}, nil)
	if n := strings.Count(res.stdout, "\n"); n != 3 {
		t.Errorf("%d lines:\n%s", n, res.stdout)
	}
	client2(base, "jobs", "watch", "done").run(t, t.Context()).want(t, exitFailed, []string{`failed     nsfw \x1b`}, nil)
	client2(base, "jobs", "watch", "nobody").run(t, t.Context()).want(t, exitFailed, nil, []string{"404"})
}

func TestMediaAndSources(t *testing.T) {
	t.Parallel()
	const fal = `{"name":"fal","address":"https://h.example/api/v1/webhooks/fal","path":"/api/v1/webhooks/fal","quiet":null,"about":{"note":"two dialects","verifier":"ed25519 \u001b"},
		"handlers":[{"name":"effects","type":"*"}],"maxBodyBytes":1048576,"counts":{"success":3}}`
	base := api(t, map[string]http.HandlerFunc{
		"GET /api/v1/media": func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.RawQuery; got != "limit=50&mediaType=generated-image&projectId=p1" {
				t.Errorf("query %s", got)
			}
			answer(`{"docs":[{"id":"med_1","jobId":"job_1","projectId":"p1","url":"https://f/a.png","storedUrl":null,"mediaType":"generated-image","size":12,"createdAt":"2026-01-31T11:00:00Z"}],"nextCursor":null}`)(w, r)
		},
		"GET /api/v1/sources": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				t.Errorf("query %s: the API takes none", r.URL.RawQuery)
			}
			answer(`{"docs":[`+fal+`,{"name":"mute","path":"/api/v1/webhooks/mute","quiet":"no secret"}],"nextCursor":null}`)(w, r)
		},
	})
	client2(base, "media", "list", "--project", "p1", "--type", "generated-image").run(t, t.Context()).
		want(t, exitDone, []string{"med_1  generated-image  12", "https://f/a.png"}, nil)
	client2(base, "sources", "list").run(t, t.Context()).
		want(t, exitDone, []string{"fal", "ready", "https://h.example/api/v1/webhooks/fal", `ed25519 \x1b`, "refuses everything"}, nil)
	client2(base, "sources", "show", "fal").run(t, t.Context()).want(t, exitDone, []string{
		"effects for *", "two dialects", "https://queue.fal.run/MODEL?fal_webhook=https%3A%2F%2Fh.example%2Fapi%2Fv1%2Fwebhooks%2Ffal", "FAL_WEBHOOK_SECRET",
	}, nil)
	client2(base, "sources", "show", "mute").run(t, t.Context()).want(t, exitDone, []string{"no secret", "set WEBHOOK_BASE_URL", "sources.mute.secrets"}, nil)
	client2(base, "sources", "show", "nobody").run(t, t.Context()).want(t, exitFailed, nil, []string{"no source nobody", "fal, mute"})
}

// receiver verifies what is sent to it, as a gateway would.
func receiver(t *testing.T, bodies *[]string) string {
	t.Helper()
	sources, err := fakeSources(t)(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*bodies = append(*bodies, string(body))
		_, err := sources[0].Verifier.Verify(r.Context(), &gaff.Request{Method: r.Method, URL: r.URL.String(), Header: r.Header, Body: body, ReceivedAt: testNow})
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			answer(`{"error":"Invalid signature"}`)(w, r)
			return
		}
		answer("{\"success\":true,\"id\":\"evt_1\"}\n\x1b[2J")(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestSend(t *testing.T) {
	t.Parallel()
	var bodies []string
	base := receiver(t, &bodies)
	to := base + "/api/v1/webhooks/shop"
	cmdline{args: []string{"send", "shop", "--to", to, "--type", "order.sent"}}.run(t, t.Context()).
		want(t, exitDone, []string{"success   true\nstatus    200\n", `response  {"success":true,"id":"evt_1"}\n\x1b[2J`}, nil)
	cmdline{args: []string{"send", "shop", "--json", "--secret", "wrong"}, environ: []string{"GAFF_URL=" + base}}.run(t, t.Context()).
		want(t, exitFailed, []string{`{"success":false,"status":401,"response":"{\"error\":\"Invalid signature\"}"}`}, nil)
	cmdline{args: []string{"send", "shop", "--data", "-"}, stdin: "\xff exact \r\n", files: map[string]string{"gaff-data/url": base}}.run(t, t.Context()).
		want(t, exitDone, []string{"true"}, nil)
	if got := bodies[len(bodies)-1]; got != "\xff exact \r\n" {
		t.Errorf("sent %q", got)
	}
	cmdline{args: []string{"send", "shop", "--to", "http://127.0.0.1:1/"}}.run(t, t.Context()).want(t, exitFailed, []string{"success  false\nerror    "}, nil)
	cmdline{args: []string{"send", "shop", "--json", "--to", "http://127.0.0.1:1/"}}.run(t, t.Context()).want(t, exitFailed, []string{`{"success":false,"error":"`}, nil)
	cmdline{args: []string{"send", "keyed", "--to", to}}.run(t, t.Context()).want(t, exitFailed, nil, []string{"cannot be played"})

	bodies = nil
	cmdline{args: []string{"send", "shop", "--to", to, "--count", "25"}}.run(t, t.Context()).
		want(t, exitDone, []string{"25 sent: 25 success, 0 failed"}, []string{"24/25, 0 failed\n", "25/25"})
	slices.Sort(bodies)
	if n := len(slices.Compact(bodies)); n != 25 {
		t.Errorf("%d different bodies", n)
	}
	cmdline{args: []string{"send", "shop", "--to", to, "--count", "3", "--secret", "x"}}.run(t, t.Context()).
		want(t, exitFailed, []string{"3 sent: 0 success, 3 failed\n  3: 401 Unauthorized\n"}, nil)
}

func TestSignThenVerify(t *testing.T) {
	t.Parallel()
	const body = `{"id":"o1","type":"order.paid"}`
	signed := cmdline{args: []string{"sign", "shop", "body"}, files: map[string]string{"body": body}}.run(t, t.Context())
	signed.want(t, exitDone, []string{"X-Shop-Signature: ", fmt.Sprintf("X-Shop-Time: %d\n", testNow.Unix())}, nil)
	raw := "POST /api/v1/webhooks/shop HTTP/1.1\nHost: h\n" + signed.stdout + "\n" + body
	asJSON := func(body string) string {
		headers := map[string][]string{}
		for line := range strings.Lines(signed.stdout) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			headers[strings.ToLower(name)] = []string{value}
		}
		text, err := json.Marshal(map[string]any{
			"id": "evt_1", "receivedAt": testNow,
			"request": map[string]any{"method": "POST", "url": "https://h/", "headers": headers, "body": body},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	late := fmt.Sprint(testNow.Add(time.Hour).Unix())
	tests := map[string]struct {
		file   string
		source string
		at     string
		code   int
		want   string
	}{
		"raw":            {file: raw, want: "valid"},
		"raw with CRLF":  {file: strings.ReplaceAll(raw, "\n", "\r\n"), want: "o1"},
		"line after":     {file: strings.Replace(raw, "Host: h", fmt.Sprintf("Content-Length: %d", len(body)), 1) + "\n", want: "valid"},
		"event's JSON":   {file: asJSON(body), want: "order.paid"},
		"body altered":   {file: raw + " ", code: exitFailed, want: "does not match"},
		"too late":       {file: raw, at: late, code: exitFailed, want: "outside the tolerance"},
		"by its Date":    {file: strings.Replace(raw, "Host: h", "Date: Sat, 31 Jan 2026 13:00:00 GMT", 1), code: exitFailed, want: "outside the tolerance"},
		"--at over Date": {file: strings.Replace(raw, "Host: h", "Date: Sat, 31 Jan 2026 13:00:00 GMT", 1), at: "2026-01-31T12:00:01Z", want: "valid"},
		"quiet source":   {file: raw, source: "mute", code: exitFailed, want: "refuses everything: MUTE_SECRET is not set"},
		"no verifier":    {file: raw, source: "keyed", code: exitFailed, want: "has no verifier"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := test.source
			if source == "" {
				source = "shop"
			}
			c := cmdline{args: []string{"verify", "--source", source, "--request", "r"}, files: map[string]string{"r": test.file}}
			if test.at != "" {
				c.args = append(c.args, "--at", test.at)
			}
			c.run(t, t.Context()).want(t, test.code, []string{test.want}, nil)
			c.args = append(c.args, "--json")
			c.run(t, t.Context()).want(t, test.code, []string{fmt.Sprintf(`"valid":%v`, test.code == exitDone)}, nil)
		})
	}
	signed = cmdline{args: []string{"sign", "shop", "-", "--json", "--at", "1700000000", "--secret", "other"}, stdin: "not JSON"}.run(t, t.Context())
	signed.want(t, exitDone, []string{`"X-Shop-Time":["1700000000"]`}, nil)
	cmdline{args: []string{"verify", "--source", "shop", "--request", "nowhere"}}.run(t, t.Context()).want(t, exitFailed, nil, []string{"no such file"})
	cmdline{args: []string{"verify", "--source", "shop", "--request", "-"}, stdin: "{}"}.run(t, t.Context()).want(t, exitFailed, nil, []string{"no request in it"})

	authentic := cmdline{args: []string{"sign", "shop", "-"}, stdin: "no JSON"}.run(t, t.Context())
	cmdline{args: []string{"verify", "--source", "shop", "--request", "-"}, stdin: "POST / HTTP/1.1\n" + authentic.stdout + "\nno JSON"}.run(t, t.Context()).
		want(t, exitDone, []string{"valid", "the body is no JSON"}, nil)
}

func TestParseRequestRaw(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text  string
		want  *gaff.Request
		notes int
		err   string
	}{
		"headers twice": {
			text: "PUT /a?b HTTP/1.1\r\nx-a: 1\r\nX-A:2 \r\n\r\n\r\nbody",
			want: &gaff.Request{Method: "PUT", URL: "/a?b", Header: http.Header{"X-A": {"1", "2"}}, Body: []byte("\r\nbody")},
		},
		"chunked": {
			text: "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n4\r\nbody\r\n0\r\n\r\n",
			want: &gaff.Request{Method: "POST", URL: "/", Header: http.Header{"Transfer-Encoding": {"chunked"}}, Body: []byte("body")},
		},
		"said to be chunked": {
			text:  "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nbody",
			want:  &gaff.Request{Method: "POST", URL: "/", Header: http.Header{"Transfer-Encoding": {"chunked"}}, Body: []byte("body")},
			notes: 1,
		},
		"cut short": {
			text:  "POST / HTTP/1.1\nContent-Length: 9\n\nbody",
			want:  &gaff.Request{Method: "POST", URL: "/", Header: http.Header{"Content-Length": {"9"}}, Body: []byte("body")},
			notes: 1,
		},
		"empty":           {text: "", err: "no empty line"},
		"no request line": {text: "\nbody", err: "request line"},
		"headers only":    {text: "X-A: 1\n\nbody", err: "no request line"},
		"no end":          {text: "POST / HTTP/1.1\nX-A: 1", err: "no empty line"},
		"folded":          {text: "POST / HTTP/1.1\nX-A: 1\n more: x\n\n", err: "line 3 is no header"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, notes, err := parseRequest([]byte(test.text))
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, r); diff != "" || len(notes) != test.notes {
				t.Errorf("%s%q", diff, notes)
			}
		})
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	vector := func(id, expect string, normative bool) string {
		return fmt.Sprintf(`{"id":%q,"description":"d","keys":[{"kind":"secret","value":"k"}],"method":"POST","url":"https://h/","headers":[["X-Shop-Signature","00"],["X-Shop-Time","1"]],"body_base64":"e30=","now":1,"expect":%q,"normative":%v,"policy":"p"}`, id, expect, normative)
	}
	scheme, err := json.Marshal(shopScheme)
	if err != nil {
		t.Fatal(err)
	}
	file := func(vectors ...string) string {
		return fmt.Sprintf(`{"format":"gaff-vectors/1","provider":"shop","scheme":%s,"vectors":[%s]}`, scheme, strings.Join(vectors, ","))
	}
	files := map[string]string{
		"good": file(vector("v1", "invalid", true)), "choice": file(vector("v2", "valid", false)),
		"bad": file(vector("v3", "valid", true)), "handshakes": `{"format":"gaff-challenges/1"}`, "broken": "{",
	}
	cmdline{args: []string{"verify", "--vectors", "good", "choice", "--vectors", "handshakes"}, files: files}.run(t, t.Context()).
		want(t, exitDone, []string{"v2 chooses (p): invalid, valid wanted", "1 agree, 0 differ, 1 choose otherwise"}, []string{"handshakes"})
	cmdline{args: []string{"verify", "--vectors", "bad", "--json"}, files: files}.run(t, t.Context()).
		want(t, exitFailed, []string{`{"id":"v3","expect":"valid","got":"invalid","reason":"`, `"normative":true}`}, nil)
	cmdline{args: []string{"verify", "--vectors", "broken"}, files: files}.run(t, t.Context()).want(t, exitFailed, nil, []string{"broken: read vectors"})
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	base := api(t, map[string]http.HandlerFunc{"POST /api/v1/events/{id}/retry": func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "evt_2" {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client left
			cancel()
			<-r.Context().Done()
			return
		}
		answer(`{"deliveries":[]}`)(w, r)
	}})
	client2(base, "events", "retry", "evt_1", "evt_2", "evt_3").run(t, ctx).
		want(t, exitFailed, []string{"3 events: 1 retried, 0 failed, 2 not reached"}, []string{"gaff: interrupted"})
}

func TestClean(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain ünïcode 日本": "plain ünïcode 日本",
		"\x1b[31m\r\n\t":   `\x1b[31m\x0d\n\t`,
		"a\u202eb\u200bc":  `a\u202eb\u200bc`,
		"\u0085\u009b":     `\x85\x9b`,
		"\xff\ufffd":       `\xff` + "\ufffd",
		"\U000e0041":       `\ue0041`,
	}
	for text, want := range tests {
		if got := clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := cleanLines("a\r\nb\tc\rd"); got != "a\nb\tc\\x0dd" {
		t.Errorf("%q", got)
	}
	if got := cut("日本語日本語", 4); got != "日本語…" {
		t.Errorf("%q", got)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nA: b\r\nContent-Length: 4\r\n\r\nbody\n"))
	f.Add([]byte("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n4\r\nbody\r\n0\r\n\r\n"))
	f.Add([]byte(shownEvent))
	f.Add([]byte(`{"headers":{"a":"b"},"bodyBase64":"?"}`))
	for _, text := range fuzzseed.Vary("POST / HTTP/1.1\r\nA: b\r\nContent-Length: 4\r\n\r\nbody\n", shownEvent) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _, err := parseRequest(text)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r == nil {
			return
		}
		if r.Method == "" || r.Header == nil {
			t.Errorf("%+v", r)
		}
		for name := range r.Header {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("header %q", name)
			}
		}
	})
}

func FuzzWriteJSON(f *testing.F) {
	f.Add("a\x1b\u009b\u202e\U000e0041<>&")
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Skip()
		}
		var b strings.Builder
		if err := writeRawJSON(&b, raw); err != nil {
			t.Fatal(err)
		}
		checkTerminalSafe(t, b.String())
		var before, after map[string]string
		if json.Unmarshal(raw, &before) != nil || json.Unmarshal([]byte(b.String()), &after) != nil || !cmp.Equal(before, after) {
			t.Errorf("%q became %q", raw, b.String())
		}
	})
}
