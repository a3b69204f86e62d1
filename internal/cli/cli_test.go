package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "update the golden files")

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
		"no argument wanted":   {"serve now", `takes no argument; unexpected argument "now"`},
		"status":               {"events list --status done", "want pending, success or error"},
		"job status":           {"jobs list --status done", "want queued"},
		"since":                {"events list --since then", "write 2h (ago)"},
		"limit":                {"events list --limit -1", "0 is for all"},
		"nothing chosen":       {"events retry", "name events, or choose them"},
		"both chosen":          {"events replay evt_1 --source fal", "not both"},
		"verify what":          {"verify --source shop", "--request FILE"},
		"verify both":          {"verify --vectors a --source b", "--vectors cannot be combined"},
		"verify argument":      {"verify a", "without --vectors"},
		"at":                   {"sign shop - --at then", "write Unix seconds"},
		"source":               {"send nobody", `no source "nobody"; configured are shop, keyed, mute`},
		"count":                {"send shop --count 0", "at least 1"},
		"no whole number":      {"send shop --count few", `--count "few": want a whole number`},
		"no truth value":       {"events list --json=maybe", `--json "maybe": want true or false`},
		"type of data":         {"send shop --data - --type x", "leave one"},
		"type":                 {"send shop --to http://h/ --type x", "known types are order.paid, order.sent"},
		"target":               {"send shop --to nowhere", "is not a URL"},
		"address of a gateway": {"events list --url nowhere --token x", "is not the URL of a gateway"},
		"host without scheme":  {"events list --url gaff.internal:3000 --token x", "is not the URL of a gateway"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := cmdline{args: strings.Fields(test.args)}.run(t, t.Context())
			res.want(t, exitUsage, nil, []string{"gaff: ", test.want, "--help'."})
		})
	}
}

const hostile = "\\u001b]0;owned\\u0007\\u202e\u009b31m\\n"

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
