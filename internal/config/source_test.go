package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/sender"
	"gaff/verify"
)

func TestSourceJobs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Source{
		"jobs: off":    {NoJobs: true},
		"jobs: false":  {NoJobs: true},
		"effects: off": {NoJobs: true},
		"jobs: {request_id: [/a, /b], words: {x: completed}}": {
			Jobs: &sender.Jobs{ID: sender.Pointers{"/a", "/b"}, Words: map[string]string{"x": "completed"}},
		},
		`effects: {job: /a, output: "", words: {x: completed}}`: {
			Jobs: &sender.Jobs{Job: sender.Pointers{"/a"}, Words: map[string]string{"x": "completed"}},
		},
	} {
		want.Preset = "stripe"
		c := load(t, LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": "sources: {a: {preset: stripe, " + text + "}}\n"})})
		if diff := cmp.Diff(want, c.Sources["a"]); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// The YAML library decoded this block; each kind of field in it is read by the package now.
func TestSourceVerifyHasEveryKindOfField(t *testing.T) {
	t.Parallel()
	no, future := false, int64(5)
	c := load(t, LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": `sources:
  a:
    verify:
      kind: jwt
      jwt: {in: header, name: Authorization, prefix: "Bearer "}
      algs: [RS256]
      claims: {aud: true, iss: [a, b], email: x, iat_max_age: 60}
      key: {source: jwks, strip_prefix: [x], or: {decode: hex}}
      covers_body: false
      tolerance: {past: 0300, future: 5}
      require_headers: {X-Version: 1.0}
      challenge: {method: GET, value: {in: query, name: c}, answer: {text: "{value}", status: 201}}
      distinct: [{in: json, pointer: /a}]
      ack: {bare: true, status: 204}
      batch: {items: [/x, ""], id: /id}
      max_body: 1000
    settings: {jwks_url: "https://keys.example/k", audience: me}
`})})
	want := &sender.Description{
		Scheme: verify.Scheme{
			Kind: "jwt", JWT: &verify.JWT{Location: verify.Location{In: "header", Name: "Authorization"}, Prefix: "Bearer "},
			Algs: []string{"RS256"}, Claims: &verify.Claims{Aud: verify.Texts{"@"}, Iss: verify.Texts{"a", "b"}, Email: verify.Texts{"x"}, IatMaxAge: 60},
			Key:            verify.KeyFormat{Source: "jwks", StripPrefix: []string{"x"}, Or: &verify.KeyFormat{Decode: "hex"}},
			CoversBody:     &no,
			Tolerance:      &verify.Tolerance{Past: 300, Future: &future},
			RequireHeaders: map[string]string{"X-Version": "1.0"},
		},
		Challenge: sender.Challenges{{
			Method: "GET", Value: &verify.Location{In: "query", Name: "c"}, Answer: sender.Answer{Text: "{value}", Status: 201},
		}},
		Distinct: []verify.Location{{In: "json", Pointer: "/a"}},
		Ack:      &sender.Ack{EmptyErrors: true, Status: 204},
		Batch:    &sender.Batch{Items: sender.Pointers{"/x", ""}, ID: sender.Pointers{"/id"}},
		MaxBody:  1000,
	}
	if diff := cmp.Diff(want, c.Sources["a"].Verify); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfAnOwnSourceAreInOrder(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": "sources: {fal: {job: /c, status: /b, id: /a}}\n"})
	for range 10 {
		_, err := Load(LoadOptions{Dir: dir})
		faults, _ := err.(Faults)
		var names []string
		for _, f := range faults {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != "sources.fal.id sources.fal.status sources.fal.job" {
			t.Fatalf("faults of %s", got)
		}
	}
}

func TestSourceRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"redact: {pointers: [/a/b, /c/*/d], headers: [X-Ip]}": "",
		"redact: {headers: X-Ip, when: processed}":            "",
		"redact: {pointers: [a/b]}":                           "is not a JSON pointer",
		"redact: {pointers: [/a~2]}":                          "is not a JSON pointer",
		`redact: {pointers: [""]}`:                            "needs one of them",
		"redact: {headers: [\"X Ip\"]}":                       "is not a name of a header",
		"redact: {pointers: [/a], when: received}":            "receive",
		"redact: {when: receive}":                             "needs one of them",
		"redact: {pointer: [/a]}":                             "pointers",

		"redact: {pointers: [/a], when: processed, failed_after: 12h}": "",
		"redact: {pointers: [/a], when: processed, failed_after: 0}":   "at least 1s",
		"redact: {pointers: [/a], when: processed, failed_after: -1h}": "at least 1s",
		"redact: {pointers: [/a], when: processed, failed_after: x}":   "duration",
		"redact: {pointers: [/a], failed_after: 12h}":                  "when: processed",
	} {
		_, err := Load(LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": "sources: {a: {preset: stripe, secrets: [x], " + text + "}}\n"})})
		if (err == nil) != (want == "") || err != nil && !(strings.Contains(err.Error(), want) && strings.Contains(err.Error(), "gaff.yaml:1")) {
			t.Errorf("%s: %v, want %q with file and line", text, err, want)
		}
	}
}

func TestAnswerFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{wait: 2s, body: x}":                  "sources.shop.answer.wait",
		"{from: app, wait: 1m}":                "must be 100ms to 20s",
		"{}":                                   "needs one of them",
		"{from: app, content_type: \"a b/c\"}": "is not a content type",
	} {
		dir := folder(t, map[string]string{"gaff.yaml": "sources:\n  shop: {preset: stripe, secrets: [whsec_abcdefgh], answer: " + text + "}\n"})
		if _, err := Load(LoadOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}
