package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// All faults are reported at once, each with its name, place and value.
func TestAllFaults(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		".env":  "GAFF_LOG_LEVEL=loud\nnot an assignment hush-dotenv\n",
		"empty": "\n",
		"gaff.yaml": `addr: here
data_dri: x
limits:
  workers: many
  max_body: 0
  burst: 7
retry: [1]
admin_token: "hush yaml"
webhook_secret: {a: hush-map}
sources:
  manage: {preset: github}
  Shop: {preset: github}
  both: {preset: github, verify: {kind: signature}, secrets: [env:MISSING, "", file:nowhere, file:empty]}
  none: {secrets: [hush-literal]}
  odd: {verify: {kind: signature, no_such: 1}}
  list: [hush-in-list]
  fal: {secrets: [hush-fal], preset: github}
  bad: {verify: {kind: signature, algorithm: md5, signed: "{body}", encoding: hex, signature: {in: nowhere}}, secrets: [hush-bad]}
  far: {preset: strype}
  set: {preset: trello, secrets: [hush-trello]}
  ptr: {preset: github, id: id, job: "/a~2", retry: {first: 1h, max: 1m, factor: 0.5, max_attempts: x}, accept_gzip: maybe, max_body: big, effects: {job: x, words: {ok: done}}}
`,
	})
	_, err := Load(LoadOptions{
		Dir: dir,
		Environ: []string{
			"GAFF_RECONCILE_AFTER=soon", "GAFF_DATABASE_URL=mysql://u:hush-db@h/d", "GAFF_MEDIA_URL=hush-media",
			"WEBHOOK_BASE_URL=hooks.example.com", "FAL_WEBHOOK_URL=https://u:p@h/", "GAFF_FAL_QUEUE_URL=http://h/?a=b",
			"GAFF_ALLOW_ADDRESSES=10.0.0.0/8,home", "NGROK_DOMAIN=a/b", "FAL_KEY=hush\nkey",
			"LASTFRAME_WEBHOOK_SECRET=hush-both", "LASTFRAME_WEBHOOK_SECRET_FILE=empty",
			"NGROK_AUTH_TOKEN_FILE=missing-file",
		},
		Flags: map[string]string{"GAFF_LOG_FORMAT": "xml"},
	})
	faults, ok := err.(Faults)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	text := err.Error()
	if strings.Contains(text, "hush") {
		t.Errorf("a secret was printed:\n%s", text)
	}
	want := []string{
		`(.env:2): is not an assignment; write NAME=VALUE`,
		`data_dri (gaff.yaml:2): unknown key; did you mean data_dir?`,
		`limits.workers="many" (gaff.yaml:4): must be a whole number`,
		`limits.burst (gaff.yaml:6): unknown key; known here: audit, connections, `,
		`retry (gaff.yaml:7): must be a mapping`,
		`WEBHOOK_SECRET (gaff.yaml:9): must be a text`,
		`sources.both.secrets[0]="env:MISSING" (gaff.yaml:13): the environment variable MISSING is not set`,
		`sources.both.secrets[1] (gaff.yaml:13): is empty`,
		`sources.both.secrets[2]="file:nowhere" (gaff.yaml:13): the file cannot be read: no such file`,
		`sources.both.secrets[3]="file:empty" (gaff.yaml:13): the file is empty`,
		`sources.odd.verify.no_such (gaff.yaml:15): unknown key; known here: ack, algorithm`,
		`sources.list (gaff.yaml:16): must be a mapping`,
		`sources.ptr.retry.max_attempts="x" (gaff.yaml:21): must be a whole number`,
		`sources.ptr.accept_gzip="maybe" (gaff.yaml:21): must be true or false`,
		`sources.ptr.max_body="big" (gaff.yaml:21): is not a size`,
		`LASTFRAME_WEBHOOK_SECRET_FILE="empty" (environment): is set beside LASTFRAME_WEBHOOK_SECRET`,
		`NGROK_AUTH_TOKEN_FILE="missing-file" (environment): the file cannot be read: no such file`,
		`GAFF_RECONCILE_AFTER="soon" (environment): is not a duration; write one like 30s`,
		`GAFF_ADDR="here" (gaff.yaml:1): is not a listen address`,
		`GAFF_DATABASE_URL (environment): must be postgres://`,
		`GAFF_ADMIN_TOKEN (gaff.yaml:8): holds a space`,
		`WEBHOOK_BASE_URL="hooks.example.com" (environment): must be a whole URL`,
		`FAL_WEBHOOK_URL="https://u:p@h/" (environment): must not hold a user`,
		`FAL_KEY (environment): holds a space`,
		`GAFF_FAL_QUEUE_URL="http://h/?a=b" (environment): must not hold a query`,
		`NGROK_DOMAIN="a/b" (environment): must be a bare host name`,
		`GAFF_MEDIA_URL (environment): must be empty, off, or`,
		`GAFF_ALLOW_ADDRESSES="10.0.0.0/8,home" (environment): "home" is not an address`,
		`GAFF_LOG_FORMAT="xml" (--log-format): must be text or json`,
		`GAFF_LOG_LEVEL="loud" (.env:1): must be debug, info, warn or error`,
		`limits.max_body="0" (gaff.yaml:5): must be more than zero`,
		`sources.bad.verify.algorithm (gaff.yaml:18): "md5" is not known`,
		`sources.bad.verify.signature.in (gaff.yaml:18): "nowhere" is not known`,
		`sources.far.preset="strype" (gaff.yaml:19): is not known; did you mean stripe?`,
		`sources.set.settings.callback_url (gaff.yaml:20): missing`,
		`sources.Shop (gaff.yaml:12): is not a name of a source`,
		`sources.both.verify (gaff.yaml:13): preset is set too`,
		`sources.fal.preset (gaff.yaml:17): gaff knows how fal signs`,
		`sources.fal.secrets (gaff.yaml:17): set FAL_WEBHOOK_SECRET instead`,
		`sources.manage (gaff.yaml:11): this name is gaff's own`,
		`sources.none.verify (gaff.yaml:14): is not set`,
		`sources.ptr.jobs.words.ok="done" (gaff.yaml:21): must be one of queued`,
		`sources.ptr.id="id" (gaff.yaml:21): is not a JSON pointer`,
		`sources.ptr.job="/a~2" (gaff.yaml:21): is not a JSON pointer`,
		`sources.ptr.jobs.job="x" (gaff.yaml:21): is not a JSON pointer`,
		`sources.ptr.retry.factor="0.5" (gaff.yaml:21): must be 1 to 100`,
		`sources.ptr.retry.max="1m" (gaff.yaml:21): must not be shorter than first, 1h`,
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("not reported: %s", w)
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("unexpected: %s", g)
		}
	}
	if first := fmt.Sprintf("configuration: %d faults:\n", len(want)); !strings.HasPrefix(text, first) {
		t.Errorf("begins %q, want %q", strings.SplitN(text, "\n", 2)[0], first)
	}
}

func TestPublicAddressesAreChecked(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"WEBHOOK_BASE_URL=https://h.example.com/":                                       "",
		"WEBHOOK_BASE_URL=https://h.example.com/edge":                                   "",
		"WEBHOOK_BASE_URL=https://h.example.com/api/v1/webhooks":                        "must be the base only",
		"WEBHOOK_BASE_URL=https://h.example.com/edge//API/v1/webhooks/fal":              "must be the base only",
		"WEBHOOK_BASE_URL=https://h.example.com/?a=b":                                   "query",
		"WEBHOOK_BASE_URL=https://h.example.com/#":                                      "fragment",
		"WEBHOOK_BASE_URL=https://u:p@h.example.com":                                    "user or password",
		"FAL_WEBHOOK_URL=https://h.example.com/api/v1/webhooks/fal":                     "",
		"FAL_WEBHOOK_URL=https://h.example.com/api/v1/webhooks/fal/api/v1/webhooks/fal": "twice",
		"FAL_WEBHOOK_URL=https://h.example.com/api/v1/webhooks/fal?a=b":                 "query",
		"LASTFRAME_WEBHOOK_URL=https://h.example.com/api/v1/webhooks/lastframe#x":       "fragment",
		"LASTFRAME_WEBHOOK_URL=https://u@h.example.com/api/v1/webhooks/lastframe":       "user or password",
	} {
		_, err := Load(LoadOptions{Dir: t.TempDir(), Environ: []string{setting}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", setting, err, want)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		yaml, file string
		want       string
	}{
		"named file missing":   {file: "other.yaml", want: "other.yaml: cannot be read: no such file"},
		"syntax":               {yaml: "addr: :1\nadmin_token: \"hush\nfoo: [\n", want: "(gaff.yaml:"},
		"indentation":          {yaml: "admin_token: hush\n   hush: x\n", want: "(gaff.yaml:"},
		"tab":                  {yaml: "limits:\n\thush: 1\n", want: "(gaff.yaml:2)"},
		"same key twice":       {yaml: "addr: :1\nadmin_token: hush\naddr: :2\n", want: "(gaff.yaml:3)"},
		"two documents":        {yaml: "addr: :1\n---\naddr: :2\n", want: "(gaff.yaml:3): begins a second document"},
		"not a mapping":        {yaml: "hush\n", want: "(gaff.yaml:1): must be a mapping"},
		"alias":                {yaml: "addr: &a :1\ndata_dir: *a\n", want: "aliases are not read"},
		"too deep":             {yaml: "addr: " + strings.Repeat("[", 1000), want: "(gaff.yaml:1): nested deeper than 64 levels"},
		"merge":                {yaml: "limits: {<<: {workers: 1}}\n", want: "limits"},
		"client setting":       {yaml: "token: hush\n", want: "token (gaff.yaml:1): unknown key"},
		"list for a text":      {yaml: "addr: [a]\n", want: "GAFF_ADDR (gaff.yaml:1): must be a text"},
		"list of lists":        {yaml: "allow_addresses: [[a]]\n", want: "GAFF_ALLOW_ADDRESSES (gaff.yaml:1): must be a text"},
		"reference to nothing": {yaml: "admin_token: env:NOPE\n", want: `GAFF_ADMIN_TOKEN="env:NOPE" (gaff.yaml:1): the environment variable NOPE is not set`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{}
			if test.yaml != "" {
				files["gaff.yaml"] = test.yaml
			}
			c, err := Load(LoadOptions{Dir: folder(t, files), File: test.file})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if c == nil {
				t.Error("no configuration beside the faults")
			}
		})
	}
	t.Run("nothing in it", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"", "\n", "# nothing\n", "---\n", "sources:\nlimits:\naddr:\n", "sources: {}\n"} {
			if c := load(t, LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": text})}); c.Addr != ":3000" || c.File != "gaff.yaml" {
				t.Errorf("%q: %q %q", text, c.Addr, c.File)
			}
		}
	})
	t.Run("a folder named .env", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ".env"), fs.ModePerm); err != nil {
			t.Fatal(err)
		}
		load(t, LoadOptions{Dir: dir})
	})
}

func TestAdminTokenHasAtLeast20Characters(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{
		"": "", strings.Repeat("x", 20): "", "x": "at least 20", strings.Repeat("x", 19): "at least 20", strings.Repeat("x", 19) + "ä": "holds",
	} {
		err := CheckAdminToken(Secret(token))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", token, err, want)
		}
	}
}

// Faults of a description have the path of the field, and say what would be right.
func TestVerifierFaults(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": `sources:
  d: {secrets: [x], verify: {kind: signature, algorithm: hmac-sha256, signed: "{body}", signature: {in: header, name: X, colour: red}, encoding: hex}}
  f: {secrets: [x], verify: {kind: token, token: {in: header}}}
  g: {secrets: [x], verify: {kind: token, tokn: {in: header}}}
  h: {secrets: [x], verify: {kind: token, token: {in: header, name: T}, challenge: {method: PUT, match: [{in: json, pointer: x}], answer: {text: "{value}"}}}}
  i: {secrets: [x], verify: {kind: token, token: {in: header, name: T}, challenge: [{mehtod: GET}]}}
  j: {secrets: [x], verify: {kind: token, token: {in: header, name: T}, batch: {items: x}, content: xml, ack: {status: 500}, jobs: {id: /a, words: {a: b}}}}
  o: {secrets: [x], verify: {kind: signature, signature: [{in: header, name: X}, [a]], tolerance: {past: abc}, require_kid: maybe, algs: RS256, signed: [a], claims: {aud: {a: b}}}}
  n: {secrets: [x], preset: stripe, allow: [1.2.3.4/99], rate: -1, content_types: [json], burst: 3}
  s: {secrets: [x], preset: stripe, jobs: {status: a}}
  u: {secrets: [x], preset: stripe, jobs: {id: /a, words: {a: completed}}, effects: {id: /a}}
  w: {secrets: [x], verify: {kind: signature, algorithm: hmac-sha256, signed: "{boddy}", signature: {in: header, name: X}, encoding: hex, tolerance: {past: 300}}}
`})
	_, err := Load(LoadOptions{Dir: dir})
	faults, _ := err.(Faults)
	want := []string{
		"sources.d.verify.signature.colour (gaff.yaml:2): unknown key; known here: accept_tags",
		"sources.g.verify.tokn (gaff.yaml:4): unknown key; did you mean token?",
		"sources.i.verify.challenge[0].mehtod (gaff.yaml:6): unknown key; did you mean method?",
		`sources.o.verify.signature[1] (gaff.yaml:8): must be a mapping`,
		`sources.o.verify.tolerance.past="abc" (gaff.yaml:8): must be a whole number`,
		`sources.o.verify.require_kid="maybe" (gaff.yaml:8): must be true or false`,
		"sources.o.verify.algs (gaff.yaml:8): must be a list",
		"sources.o.verify.signed (gaff.yaml:8): must be a text",
		"sources.o.verify.claims.aud (gaff.yaml:8): must be a text or a list",
		"sources.u.effects (gaff.yaml:11): jobs and effects are two names",
		"sources.f.verify.token.name (gaff.yaml:3): missing",
		`sources.h.verify.challenge.method (gaff.yaml:5): "PUT" is not known; one of GET`,
		`sources.h.verify.challenge.match[0].pointer (gaff.yaml:5): "x" is`,
		"sources.h.verify.challenge.value (gaff.yaml:5): missing",
		`sources.j.verify.content (gaff.yaml:7): "xml" is not known`,
		`sources.j.verify.batch.items (gaff.yaml:7): "x" is`,
		"sources.j.verify.ack.status (gaff.yaml:7): 500; a status from 200 to 299 is wanted",
		`sources.j.verify.jobs.words.a (gaff.yaml:7): "b" is`,
		`sources.n.allow (gaff.yaml:9): "1.2.3.4/99" is not an address or network`,
		`sources.n.rate="-1" (gaff.yaml:9): must be requests a second`,
		`sources.n.content_types="json" (gaff.yaml:9): is not a media type`,
		`sources.s.jobs.status="a" (gaff.yaml:10): is not a JSON pointer`,
		"sources.s.jobs.id (gaff.yaml:10): is not set",
		"sources.s.jobs.words (gaff.yaml:10): is not set",
		"sources.w.verify.signed (gaff.yaml:12): {boddy} is not known; {body}, {ts}",
		"sources.w.verify.tolerance (gaff.yaml:12): there is no timestamp to judge",
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("not reported: %s", w)
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("unexpected: %s", g)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"retention: {payloads: 1d, events: 30d, rejections: 12h}": "",
		"retention: {payloads: 0, events: 0, rejections: 0}":      "",
		"retention: {payloads: 10d, events: 0}":                   "",
		"retention: {payloads: 5m}":                               `retention.payloads="5m"`,
		"retention: {payloads: 31d, events: 30d}":                 "must not be shorter than retention.payloads",
		"retention: {payloads: 0, events: 30d}":                   "must not be shorter than retention.payloads",
		"retention: {jobs: 90d, media: 30d, runs: 1h}":            "",
		"retention: {jobs: 1m}":                                   `retention.jobs="1m"`,
		"retention: {media: -1h}":                                 "retention.media",
		"retention: {runs: 59m}":                                  "retention.runs",
		"retention: {job: 1d}":                                    "retention.job",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(LoadOptions{Dir: dir})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
	}
	if r := Default().Retention; r.Payloads != 30*24*time.Hour || r.Events != 180*24*time.Hour || r.Rejections != 7*24*time.Hour {
		t.Errorf("defaults: %+v", r)
	}
}
