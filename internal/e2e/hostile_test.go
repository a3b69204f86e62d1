package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"gaff/gafftest"
	"gaff/internal/eventually"
)

// TestHostileBodies sends bodies that only an attacker or a broken program would sign. The API and
// the command line must show each accepted body in full.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(`sources:
  zip:
    accept_gzip: true
    verify: {kind: signature, algorithm: hmac-sha256, signed: "{body}", signature: {in: header, name: X-Webhook-Signature}, encoding: hex}
    secrets: [env:WEBHOOK_SECRET]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	env := environment(dir, addr)
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, g.log)
		}
	}()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	fal := func(result string) string {
		return `{"request_id":"r` + strconv.Itoa(len(result)) + `","status":"completed","result":` + result + `,"metadata":{"job_id":"j"}}`
	}
	lastFrame := func(result string) string { return `{"job_id":"lf","status":"completed","result":` + result + `}` }
	packed := func(size int) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(bytes.Repeat([]byte(" "), size))
		_, _ = io.WriteString(w, `{"id":"z"}`)
		_ = w.Close()
		return b.String()
	}
	for name, c := range map[string]struct {
		source, body string
		want         int
	}{
		"1,001 levels, custom":     {"custom", deep(1_001), 400},
		"1,000 levels, custom":     {"custom", deep(1_000), 200},
		"10,000 levels, custom":    {"custom", deep(10_000), 400},
		"many, but not deep":       {"custom", "[" + strings.Repeat(`["]"],`, 5000) + `"[[\\\"[["]`, 200},
		"100,000 levels, custom":   {"custom", deep(100_000), 400},
		"never closed":             {"custom", strings.Repeat(`{"a":`, 100_000), 400},
		"990 levels, fal":          {"fal", fal(deep(990)), 200},
		"9,990 levels, fal":        {"fal", fal(deep(9_990)), 400},
		"10,000 levels, fal":       {"fal", fal(deep(10_000)), 400},
		"10,000 levels, lastframe": {"lastframe", lastFrame(deep(10_000)), 400},
		"levels of objects":        {"fal", fal(strings.Repeat(`{"a":`, 900) + "1" + strings.Repeat("}", 900)), 200},
		"invalid UTF-8":            {"custom", "{\"id\":\"u1\",\"text\":\"a\xff\xfeb\xc3\"}", 200},
		"invalid UTF-8, fal":       {"fal", fal("{\"prompt\":\"\xff\",\"images\":[{\"url\":\"https://f/\xff.png\",\"note\":\"\xfe\"}]}"), 200},
		"half a pair":              {"custom", `{"id":"u2","text":"\ud800"}`, 200},
		"a NUL":                    {"custom", `{"id":"u3\u0000","type":"a\u0000b","text":"\u0000"}`, 200},
		"a byte order mark":        {"custom", "\xef\xbb\xbf{}", 200},
		"names twice":              {"custom", `{"id":"u4","id":"u5"}`, 200},
		"a number of a megabyte":   {"custom", `{"id":"n1","n":` + strings.Repeat("9", 1_000_000) + `}`, 200},
		"a type of a megabyte":     {"custom", `{"id":"n2","type":"` + strings.Repeat("t", 1_000_000) + `"}`, 400},
		"an id of a megabyte":      {"custom", `{"id":"` + strings.Repeat("i", 1_000_000) + `"}`, 400},
		"an id of a kilobyte":      {"custom", `{"id":"` + strings.Repeat("i", 1024) + `","type":"` + strings.Repeat("t", 1024) + `"}`, 200},
		"a bomb where none may be": {"custom", packed(100 << 20), 400},
		"a bomb":                   {"zip", packed(100 << 20), 413},
		"a small one":              {"zip", packed(1000), 200},
		"terminal's words":         {"custom", `{"id":"e1","type":"\u001b[2Jx\u009b31m","text":"\u202e"}`, 200},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := gafftest.SignedRequest(context.Background(), g.url+"/api/v1/webhooks/"+c.source, c.source,
				map[string]string{"fal": falSecret, "lastframe": lastFrameSecret}[c.source], []byte(c.body))
			if c.source == "custom" || c.source == "zip" {
				req, err = gafftest.SignedRequest(context.Background(), g.url+"/api/v1/webhooks/"+c.source, "custom", customSecret, []byte(c.body))
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.body, "\x1f\x8b") {
				req.Header.Set("Content-Encoding", "gzip")
			}
			res := gafftest.Do(nil, req)
			if res.Status != c.want {
				t.Fatalf("answered %d %.100s %s, want %d", res.Status, res.Response, res.Error, c.want)
			}
			if c.want == http.StatusOK {
				g.shows(t, dir, env, res.Response, c.body)
			}
		})
	}
	for _, path := range []string{"/api/v1/events?limit=500", "/api/v1/jobs", "/api/v1/media", "/api/v1/webhooks/manage", "/api/v1/rejections", "/api/v1/deliveries"} {
		var all json.RawMessage
		if err := g.get(path, &all); err != nil {
			t.Error(err)
		}
		if !utf8.Valid(all) {
			t.Errorf("%s is not UTF-8", path)
		}
	}
}

// shows checks that the event of a response is processed and can be read.
func (g *gateway) shows(t *testing.T, dir string, env []string, answer, sent string) {
	t.Helper()
	var kept struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &kept); err != nil {
		t.Fatal(err)
	}
	var event struct {
		Status  string
		Request struct{ Body, BodyBase64 *string }
	}
	err := poll(eventually.Limit, func() error {
		err := g.get("/api/v1/events/"+kept.ID, &event)
		if err == nil && event.Status == "pending" {
			err = errPending
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	switch {
	case event.Request.Body != nil:
		body = []byte(*event.Request.Body)
	case event.Request.BodyBase64 != nil:
		if body, err = base64.StdEncoding.DecodeString(*event.Request.BodyBase64); err != nil {
			t.Fatal(err)
		}
	}
	if string(body) != sent {
		t.Errorf("the body is shown as %.100q (%d bytes), sent was %.100q (%d)", body, len(body), sent, len(sent))
	}
	for _, args := range [][]string{{"events", "show", kept.ID}, {"events", "show", kept.ID, "--json"}} {
		cmd := exec.Command(binary, args...)
		cmd.Dir, cmd.Env = dir, append(env, "GAFF_TOKEN="+adminToken)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("gaff %v: %v", args, err)
		}
		if !utf8.Valid(out) || bytes.ContainsAny(out, "\x1b\x00\x07\u009b\u202e") {
			t.Errorf("gaff %v prints what a terminal would obey: %.200q", args, out)
		}
		if args[len(args)-1] == "--json" && !json.Valid(out) {
			t.Errorf("gaff %v prints no JSON: %.200q", args, out)
		}
	}
}

var errPending = errorString("still pending")

type errorString string

func (e errorString) Error() string { return string(e) }
