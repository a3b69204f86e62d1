//go:build !slim

package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const someEnvelopes = `{"id":"evt_1","source":"shop","type":"order.paid","timestamp":"2026-11-24T22:27:20Z","data":{"total":12,"seed":17454220438242315174},"event":{}}
[{"id":"evt_2","source":"shop","type":"order.failed","timestamp":"2026-11-24T22:27:20Z","data":{"total":3},"event":{}}]`

func TestTransformsTestOffline(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	in := file("events.jsonl", someEnvelopes)
	script := file("app.js", `function transform(e, out) { console.log("seen"); out.headers["X-A"] = "b"; return e.data.total < 10 ? null : {total: e.data.total, seed: e.data.seed} }`)
	cel := file("app.cel", `{"total": data.total}`)
	broken := file("broken.js", "function transform(e) {\n  return e.data.none.deeper\n}")
	syntax := file("syntax.js", "function transform( {")
	expected := file("bodies.json", `[{"seed":17454220438242315174,"total":12}, null]`)
	wrong := file("wrong.jsonl", "{\"total\":13}\nnull")
	run := func(args ...string) result {
		return client2("http://127.0.0.1:1", append([]string{"transforms", "test"}, args...)...).run(t, t.Context())
	}
	run(script, "--input", in).want(t, exitDone, []string{"evt_1 shop:order.paid: sent", "log: seen", "X-A: b", `"seed": 17454220438242315174`, "evt_2 shop:order.failed: not sent: the transformation returned null"}, []string{"2 events, 0 failed"})
	run(script, "--input", in, "--expect", expected).want(t, exitDone, nil, nil)
	run(script, "--input", in, "--expect", wrong).want(t, exitFailed, nil, []string{"the body of event 1 differs", `+   "total": 12`, `-   "total": 13`})
	run(cel, "--input", in, "--diff", "--filter", "data.total > 10").want(t, exitDone, []string{`-   "source": "shop"`, "evt_2 shop:order.failed: not sent: the filter is false"}, nil)
	run(broken, "--input", in, "--json").want(t, exitFailed, []string{`"error": "transform: 2:`}, nil)
	run(syntax, "--input", in).want(t, exitFailed, nil, []string{"transformJs: 1:", "SyntaxError"})
	run(in, "--input", in).want(t, exitUsage, nil, []string{"want a name that ends with .js"})
	run(script, "--input", in, "--destination", "app").want(t, exitUsage, nil, []string{"--input needs no gateway"})
	run().want(t, exitUsage, nil, []string{"name the FILE"})
}

// Logs, which a script makes of an event, cannot steer the terminal.
func TestTransformsTestEscapesLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, script := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "app.js")
	for path, text := range map[string]string{
		in:     someEnvelopes,
		script: `function transform() { console.log("a\x1b]0;title\x07\u009b31m\u202e\nb"); return {} }`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, `log: a\x1b]0;title\x07\x9b31m\u202e\nb`},
		{[]string{"--json"}, `"a\u001b]0;title\u0007\u009b31m\u202e\nb"`},
	} {
		args := append([]string{"transforms", "test", script, "--input", in}, c.flags...)
		client2("http://127.0.0.1:1", args...).run(t, t.Context()).want(t, exitDone, []string{c.want}, nil)
	}
}

func TestTransformsTestAsksTheGateway(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "app.js")
	if err := os.WriteFile(script, []byte("const transform = (e) => e"), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked string
	base := api(t, map[string]http.HandlerFunc{"POST /api/v1/destinations/preview": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		answer(`{"events":[{"id":"evt_1","source":"a","type":"b","receivedAt":"2026-01-31T11:00:00Z","matches":true,"passes":true,"sent":false,"filterError":null,"before":"{}","after":null,"truncated":false,"headers":{},"logs":[],"error":"transform: 1:2: no"}],"failed":1}`)(w, r)
	}})
	client2(base, "transforms", "test", script, "--events", "a:*", "--last", "1").run(t, t.Context()).want(t, exitFailed, []string{"evt_1 a:b: transform: 1:2: no"}, []string{"1 events, 1 failed"})
	if want := `{"events":["a:*"],"transformJs":"const transform = (e) =\u003e e","limit":1}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
}
