package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/fuzzseed"
	"gaff/sender"
	"gaff/verify"
)

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
		return gaff.Envelope{}, errors.New("the body is not JSON")
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

// receiver verifies its requests, as a gateway would.
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
	cmdline{args: []string{"send", "keyed", "--to", to}}.run(t, t.Context()).want(t, exitFailed, nil, []string{"gaff cannot send as it"})

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
		"quiet source":   {file: raw, source: "mute", code: exitFailed, want: "rejects every request: MUTE_SECRET is not set"},
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
	cmdline{args: []string{"verify", "--source", "shop", "--request", "-"}, stdin: "{}"}.run(t, t.Context()).want(t, exitFailed, nil, []string{"it holds no request"})

	authentic := cmdline{args: []string{"sign", "shop", "-"}, stdin: "no JSON"}.run(t, t.Context())
	cmdline{args: []string{"verify", "--source", "shop", "--request", "-"}, stdin: "POST / HTTP/1.1\n" + authentic.stdout + "\nno JSON"}.run(t, t.Context()).
		want(t, exitDone, []string{"valid", "the body is not JSON"}, nil)
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
		"empty":              {text: "", err: "no empty line"},
		"not a request line": {text: "\nbody", err: "request line"},
		"headers only":       {text: "X-A: 1\n\nbody", err: "not a request line"},
		"no end":             {text: "POST / HTTP/1.1\nX-A: 1", err: "no empty line"},
		"folded":             {text: "POST / HTTP/1.1\nX-A: 1\n more: x\n\n", err: "line 3 is not a header"},
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
		want(t, exitDone, []string{"v2 chooses (p): invalid, want valid", "1 agree, 0 differ, 1 choose otherwise"}, []string{"handshakes"})
	cmdline{args: []string{"verify", "--vectors", "bad", "--json"}, files: files}.run(t, t.Context()).
		want(t, exitFailed, []string{`{"id":"v3","expect":"valid","got":"invalid","reason":"`, `"normative":true}`}, nil)
	cmdline{args: []string{"verify", "--vectors", "broken"}, files: files}.run(t, t.Context()).want(t, exitFailed, nil, []string{"broken: read vectors"})
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
