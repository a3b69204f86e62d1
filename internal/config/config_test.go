package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/fuzzseed"
	"gaff/sender"
	"gaff/verify"
)

// folder makes a working folder with these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, o LoadOptions) *Config {
	t.Helper()
	c, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	c := load(t, LoadOptions{Dir: t.TempDir()})
	if c.Addr != ":3000" || c.DataDir != "./gaff-data" || c.ReconcileAfter != 2*time.Minute || c.Limits.MaxBodyBytes != 1<<20 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestOrderOfLayers(t *testing.T) {
	t.Parallel()
	const file = "addr: :1001\n"
	tests := map[string]struct {
		dotEnv  string
		environ []string
		flags   map[string]string
		want    string
		from    string
	}{
		"file over default":           {want: ":1001", from: "gaff.yaml:1"},
		".env over file":              {dotEnv: "\nGAFF_ADDR=:1002", want: ":1002", from: ".env:2"},
		"environment over .env":       {dotEnv: "GAFF_ADDR=:1002", environ: []string{"GAFF_ADDR=:1003"}, want: ":1003", from: "environment"},
		"alias over .env":             {dotEnv: "GAFF_ADDR=:1002", environ: []string{"PORT=1004"}, want: ":1002", from: ".env:1"},
		"name over alias":             {environ: []string{"PORT=1004", "GAFF_ADDR=:1003"}, want: ":1003", from: "environment"},
		"PORT gets a colon":           {environ: []string{"PORT=1004"}, want: ":1004", from: "environment (PORT)"},
		"flag over all":               {environ: []string{"GAFF_ADDR=:1003"}, flags: map[string]string{"GAFF_ADDR": "1005"}, want: ":1005", from: "--addr"},
		"empty variable is not set":   {environ: []string{"GAFF_ADDR="}, want: ":1001", from: "gaff.yaml:1"},
		"empty variable hides .env's": {dotEnv: "GAFF_ADDR=:1002", environ: []string{"GAFF_ADDR="}, want: ":1001", from: "gaff.yaml:1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"gaff.yaml": file}
			if test.dotEnv != "" {
				files[".env"] = test.dotEnv
			}
			c := load(t, LoadOptions{Dir: folder(t, files), Environ: test.environ, Flags: test.flags})
			if c.Addr != test.want || c.Settings()[0].From != test.from {
				t.Errorf("got %q from %q, want %q from %q", c.Addr, c.Settings()[0].From, test.want, test.from)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"key": "from-file-0123456789\r\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{
		"DATABASE_URL=postgres://gaff:pw@db/gaff",
		"WEBHOOK_BASE_URL=https://hooks.example.com/",
		"FAL_WEBHOOK_SECRET= new , old ,",
		"NGROK_AUTHTOKEN=tunnel",
		"NGROK_DOMAIN=https://local.ft.tc/",
		"FAL_KEY_FILE=key",
		"GAFF_ADMIN_TOKEN_FILE=" + filepath.Join(dir, "key"),
		"GAFF_RECONCILE_AFTER=1d12h",
		"GAFF_ALLOW_ADDRESSES=127.0.0.1, 10.0.0.0/8, ::1",
		"GAFF_LOG_LEVEL=WARN",
		"GAFF_URL=http://gaff.internal:3000/",
		"GAFF_TOKEN=adm",
	}})
	want := Default()
	want.DatabaseURL = "postgres://gaff:pw@db/gaff"
	want.BaseURL = "https://hooks.example.com"
	setProvider(t, want, "FAL_WEBHOOK_SECRET", "new", "old")
	want.NgrokAuthToken = "tunnel"
	want.NgrokDomain = "local.ft.tc"
	setProvider(t, want, "FAL_KEY", "from-file-0123456789")
	want.AdminToken = "from-file-0123456789"
	want.ReconcileAfter = 36 * time.Hour
	want.AllowAddresses = []string{"127.0.0.1/32", "10.0.0.0/8", "::1/128"}
	want.LogLevel = "warn"
	want.ClientURL, want.ClientToken = "http://gaff.internal:3000", "adm"
	// Compared as Go values: secrets print alike.
	opt := cmp.Options{cmp.AllowUnexported(Config{}), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "origins" || p.String() == "load" }, cmp.Ignore())}
	if !cmp.Equal(want, c, opt) {
		t.Errorf("differs: %s\nkeys: %q %q", cmp.Diff(want, c, opt), c.ProviderValues().Text("FAL_KEY"), string(c.AdminToken))
	}
}

func setProvider(t *testing.T, c *Config, name string, values ...string) {
	t.Helper()
	if err := c.SetProvider(name, values...); err != nil {
		t.Fatal(err)
	}
}

const shopYAML = `
database_url: postgres://gaff:hunter2@db/gaff
fal_webhook_secret: [yaml-a, "env:OTHER"]
webhook_secret: "one,two"
allow_addresses: [192.168.1.7, 10.0.0.0/8]
limits:
  max_body: 2MiB
  max_header: 32KiB
  workers: 8
retry:
  max_attempts: 5
  max: 1h
sources:
  fal:
    max_body: 8MiB
  shop:
    verify:
      kind: signature
      algorithm: hmac-sha256
      signed: "{ts}.{body}"
      signature: {in: header, name: X-Shop-Signature, format: prefixed, prefix: "sha256="}
      encoding: hex
      timestamp: {in: header, name: X-Shop-Time}
      tolerance: {past: 300}
    secrets: [env:SHOP_SECRET, file:old, "li,teral", 0042]
    settings: {callback_url: "https://x.example/in", verify_token: env:SHOP_SECRET}
    id: /id
    type: /type
    status: /status
    job: /metadata/job_id
    project: /metadata/project~1id
    max_body: 512KB
    accept_gzip: true
    retry: {max_attempts: 3, first: 1s, max: 30m, factor: 1.5, timeout: 1m}
    effects:
      job: /job
      words: {done: completed}
  code:
    preset: github
    secrets: env:SHOP_SECRET
`

func TestFile(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": shopYAML, "old": "old-one\n", "filed": "from-twin\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"SHOP_SECRET=s3cret", "OTHER_FILE=filed"}})
	shop := c.Sources["shop"]
	want := Source{
		Verify: &sender.Description{Scheme: verify.Scheme{
			Kind: "signature", Algorithm: "hmac-sha256", Signed: "{ts}.{body}", Encoding: "hex",
			Signature: verify.Signatures{{
				Location: verify.Location{In: "header", Name: "X-Shop-Signature"}, Format: "prefixed", Prefix: "sha256=",
			}},
			Timestamp: &verify.Timestamp{Location: verify.Location{In: "header", Name: "X-Shop-Time"}},
			Tolerance: &verify.Tolerance{Past: 300},
		}},
		Secrets:  []Secret{"s3cret", "old-one", "li,teral", "0042"},
		Settings: map[string]string{"callback_url": "https://x.example/in", "verify_token": "s3cret"},
		ID:       "/id", Type: "/type", Status: "/status", Job: "/metadata/job_id", Project: "/metadata/project~1id",
		MaxBodyBytes: 512000, AcceptGzip: true,
		Retry: &Retry{MaxAttempts: 3, First: time.Second, Max: 30 * time.Minute, Factor: 1.5, Timeout: time.Minute},
		Jobs:  &sender.Jobs{Job: sender.Pointers{"/job"}, Words: map[string]string{"done": "completed"}},
	}
	if diff := cmp.Diff(want, shop); diff != "" {
		t.Error(diff)
	}
	if code := c.Sources["code"]; code.Preset != "github" || !slices.Equal(code.Secrets, []Secret{"s3cret"}) {
		t.Errorf("code: %+v", code)
	}
	if got := c.Sources["fal"].MaxBodyBytes; got != 8<<20 {
		t.Errorf("fal.max_body: %d", got)
	}
	if !slices.Equal(c.ProviderValues().List("FAL_WEBHOOK_SECRET"), []string{"yaml-a", "from-twin"}) || !slices.Equal(c.WebhookSecrets, []Secret{"one", "two"}) {
		t.Errorf("secrets: %d %d", len(c.ProviderValues().List("FAL_WEBHOOK_SECRET")), len(c.WebhookSecrets))
	}
	if !slices.Equal(c.AllowAddresses, []string{"192.168.1.7/32", "10.0.0.0/8"}) {
		t.Errorf("addresses: %q", c.AllowAddresses)
	}
	l := Default().Limits
	l.MaxBodyBytes, l.MaxHeaderBytes, l.Workers = 2<<20, 32<<10, 8
	if c.Limits != l {
		t.Errorf("limits: %+v", c.Limits)
	}
	if r := c.Retry; r.MaxAttempts != 5 || r.Max != time.Hour || r.First != Default().Retry.First {
		t.Errorf("retry: %+v", r)
	}
	if p := c.Retry.Policy(); p.MaxAttempts != 5 || p.Max != time.Hour {
		t.Errorf("policy: %+v", p)
	}
}

// Everything wrong is told at once, each with its name, place and value.
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
		`(.env:2): is no assignment; write NAME=VALUE`,
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
		`sources.ptr.max_body="big" (gaff.yaml:21): is no size`,
		`LASTFRAME_WEBHOOK_SECRET_FILE="empty" (environment): is set beside LASTFRAME_WEBHOOK_SECRET`,
		`NGROK_AUTH_TOKEN_FILE="missing-file" (environment): the file cannot be read: no such file`,
		`GAFF_RECONCILE_AFTER="soon" (environment): is no duration; write one like 30s`,
		`GAFF_ADDR="here" (gaff.yaml:1): is no listen address`,
		`GAFF_DATABASE_URL (environment): must be postgres://`,
		`GAFF_ADMIN_TOKEN (gaff.yaml:8): holds a space`,
		`WEBHOOK_BASE_URL="hooks.example.com" (environment): must be a whole URL`,
		`FAL_WEBHOOK_URL="https://u:p@h/" (environment): must not hold a user`,
		`FAL_KEY (environment): holds a space`,
		`GAFF_FAL_QUEUE_URL="http://h/?a=b" (environment): must not hold a query`,
		`NGROK_DOMAIN="a/b" (environment): must be a bare host name`,
		`GAFF_MEDIA_URL (environment): must be empty, off, or`,
		`GAFF_ALLOW_ADDRESSES="10.0.0.0/8,home" (environment): "home" is no address`,
		`GAFF_LOG_FORMAT="xml" (--log-format): must be text or json`,
		`GAFF_LOG_LEVEL="loud" (.env:1): must be debug, info, warn or error`,
		`limits.max_body="0" (gaff.yaml:5): must be more than zero`,
		`sources.bad.verify.algorithm (gaff.yaml:18): "md5" is not known`,
		`sources.bad.verify.signature.in (gaff.yaml:18): "nowhere" is not known`,
		`sources.far.preset="strype" (gaff.yaml:19): is not known; did you mean stripe?`,
		`sources.set.settings.callback_url (gaff.yaml:20): missing`,
		`sources.Shop (gaff.yaml:12): is no name of a source`,
		`sources.both.verify (gaff.yaml:13): preset is set too`,
		`sources.fal.preset (gaff.yaml:17): gaff knows how fal signs`,
		`sources.fal.secrets (gaff.yaml:17): set FAL_WEBHOOK_SECRET instead`,
		`sources.manage (gaff.yaml:11): this name is gaff's own`,
		`sources.none.verify (gaff.yaml:14): is not set`,
		`sources.ptr.jobs.words.ok="done" (gaff.yaml:21): must be one of queued`,
		`sources.ptr.id="id" (gaff.yaml:21): is no JSON pointer`,
		`sources.ptr.job="/a~2" (gaff.yaml:21): is no JSON pointer`,
		`sources.ptr.jobs.job="x" (gaff.yaml:21): is no JSON pointer`,
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

func TestWarnings(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yml": "", ".env": "GAFF_WHATEVER=1\nFAL_WEBHOOK_SECRT=x\nWEBHOOKS_SECRET=x\nSOMEONE_ELSES=x"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"GAFF_DATADIR=/x", "GAFF_TOKEN=t", "GAFF_TEST_POSTGRES_URL=x", "OTHER=1", "FAL_KEYS=x", "GAFF_ADDR_FILE=x"}})
	want := []string{
		"FAL_WEBHOOK_SECRT is no setting and was not read; did you mean FAL_WEBHOOK_SECRET?",
		"GAFF_ADDR_FILE is no setting and was not read",
		"GAFF_DATADIR is no setting and was not read; did you mean GAFF_DATA_DIR?",
		"GAFF_WHATEVER is no setting and was not read",
		"WEBHOOKS_SECRET is no setting and was not read; did you mean WEBHOOK_SECRET?",
		"gaff.yml was not read; rename it gaff.yaml",
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestWarningsNameUnreachableDestinations(t *testing.T) {
	t.Parallel()
	const yaml = "destinations: {app: {url: 'http://localhost:1'}, lan: {url: 'https://10.0.0.7/x'}, public: {url: 'https://example.com/x'}, six: {url: 'http://[::1]:1/'}}\n"
	dir := folder(t, map[string]string{"gaff.yaml": yaml})
	want := []string{
		"destination app: gaff serve delivers nothing to it: 127.0.0.1 is not a public address; GAFF_ALLOW_ADDRESSES can allow it",
		"destination six: gaff serve delivers nothing to it: ::1 is not a public address; GAFF_ALLOW_ADDRESSES can allow it",
	}
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"GAFF_ALLOW_ADDRESSES=10.0.0.0/8"}})
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
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

// Viewers read the settings, and of many receivers the path of the URL is the secret.
func TestSettingsShowNoPathOfDestinations(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": "destinations: {app: {url: 'https://hooks.example/services/S3CRET?x=S3CRET'}}\n"})
	shown, err := json.Marshal(load(t, LoadOptions{Dir: dir}).Settings())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "S3CRET") || !strings.Contains(string(shown), "https://hooks.example/…") {
		t.Errorf("shown: %s", shown)
	}
}

func TestShowHasNoSecrets(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": shopYAML, "old": "s3cret-old\n", "filed": "s3cret-twin\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{
		"SHOP_SECRET=s3cret", "OTHER_FILE=filed", "FAL_KEY=s3cret-key", "GAFF_ADMIN_TOKEN=s3cret-admin-0123456789", "GAFF_TOKEN=s3cret-client",
		"GAFF_MEDIA_URL=s3://key:s3cret@bucket/x?secret=s3cret", "NGROK_AUTH_TOKEN=s3cret", "LASTFRAME_WEBHOOK_SECRET=s3cret",
	}})
	var b strings.Builder
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(c.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"show": b.String(), "settings": string(shown)} {
		for _, secret := range []string{"s3cret", "hunter2", "yaml-a", "li,teral", "0042", "old-one"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints %q:\n%s", name, secret, text)
			}
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(format, c.Providers) + fmt.Sprintf(format, c.ProviderValues()) + fmt.Sprintf(format, c.WebhookSecrets); strings.Contains(text, "s3cret") || strings.Contains(text, "one") {
			t.Errorf("%s prints %q", format, text)
		}
	}
	if strings.Contains(string(asJSON), "s3cret-key") {
		t.Errorf("JSON: %s", asJSON)
	}
	for _, want := range []string{
		"GAFF_DATABASE_URL", "postgres://gaff:[redacted]@db/gaff", "s3://key:[redacted]@bucket/x?[redacted]",
		"gaff.yaml:2", "sources.shop.secrets", "[redacted] (4)", "sources.shop.retry.factor", "sources.fal.max_body", "8MiB",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("does not show %q:\n%s", want, b.String())
		}
	}
}

// What is shown can be read again.
func TestDisplayRoundTrip(t *testing.T) {
	t.Parallel()
	for i := range settings {
		s := &settings[i]
		if s.secret() {
			continue
		}
		c := Default()
		text := display(s.field(c), false)
		if err := assign(s.field(c), text); err != nil {
			t.Errorf("%s: %q: %v", s.name, text, err)
		}
		if again := display(s.field(c), false); again != text {
			t.Errorf("%s: %q, then %q", s.name, text, again)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	t.Parallel()
	durations := map[string]time.Duration{
		"30s": 30 * time.Second, "2m": 2 * time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0": 0,
	}
	for text, want := range durations {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "d", "-1d", "1.5d", "1d-1h", "1d1d", "99999d", "65535d2562047h", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
	sizes := map[string]int64{"0": 0, "65536": 65536, "64KiB": 65536, "2 MiB": 2 << 20, "1gb": 1e9, "10b": 10, "5kb": 5000}
	for text, want := range sizes {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "9223372036854775807KiB", "1e3", "5m"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, f := range Flags() {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == f.Name })
		if _, isSecret := settings[i].field(new(Config)).(*Secret); isSecret {
			t.Errorf("--%s would show a secret in the list of processes", f.Flag)
		}
		if !strings.Contains(f.Help, f.Name) {
			t.Errorf("--%s: %q does not name the variable", f.Flag, f.Help)
		}
	}
}

func TestDotEnv(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text   string
		want   []variable
		faults []dotEnvFault
	}{
		"plain":          {"A=1\nB = two words \n", []variable{{"A", "1", 1}, {"B", "two words", 2}}, nil},
		"windows":        {"\ufeffA=1\r\nB=2\r\n", []variable{{"A", "1", 1}, {"B", "2", 2}}, nil},
		"comments":       {"# c\n\nA=1 # c\nB=a#b\nC=#c\n  # d", []variable{{"A", "1", 3}, {"B", "a#b", 4}, {"C", "", 5}}, nil},
		"export":         {"export A=1\nexport  B=2\nexport=3", []variable{{"A", "1", 1}, {"B", "2", 2}, {"export", "3", 3}}, nil},
		"single quotes":  {`A='a "b" \n $X # no' # c`, []variable{{"A", `a "b" \n $X # no`, 1}}, nil},
		"double quotes":  {`A="a\n\t\"b\" \\ \$X \q '"`, []variable{{"A", "a\n\t\"b\" \\ $X \\q '", 1}}, nil},
		"more lines":     {"A=\"x \ny\"\nB='\n\n' # c\nC=1", []variable{{"A", "x \ny", 1}, {"B", "\n\n", 3}, {"C", "1", 6}}, nil},
		"equals":         {"A=b=c==\nB=", []variable{{"A", "b=c==", 1}, {"B", "", 2}}, nil},
		"no name":        {"=1\nA-B=1\n1A=2\nfoo\nA=1", []variable{{"A", "1", 5}}, []dotEnvFault{{1, notAssigned}, {2, notAssigned}, {3, notAssigned}, {4, notAssigned}}},
		"open quote":     {"A=1\nB='x\nC=2", []variable{{"A", "1", 1}}, []dotEnvFault{{2, "the quote of B is not closed"}}},
		"after quote":    {"A='x'y\nB=1", []variable{{"B", "1", 2}}, []dotEnvFault{{1, "text follows the closing quote of A"}}},
		"escape at end":  {`A="\`, nil, []dotEnvFault{{1, "the quote of A is not closed"}}},
		"no line at end": {"A=1", []variable{{"A", "1", 1}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars, faults := parseDotEnv(test.text)
			opt := cmp.AllowUnexported(variable{}, dotEnvFault{})
			if diff := cmp.Diff(test.want, vars, opt); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.faults, faults, opt); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const notAssigned = "is no assignment; write NAME=VALUE"

func FuzzDotEnv(f *testing.F) {
	f.Add("A=1\nexport B='x\ny' # c\nC=\"\\n\"\r\n")
	f.Add("A=\"\\")
	for _, text := range fuzzseed.Vary("A=1\nexport B='x\ny' # c\nC=\"\\n\"\r\n") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		vars, faults := parseDotEnv(text)
		last := 0
		for _, v := range vars {
			if !isVariable(v.name) || v.line <= last || v.line > lines {
				t.Errorf("%q at line %d of %d, after %d", v.name, v.line, lines, last)
			}
			last = v.line
		}
		for _, b := range faults {
			if b.line < 1 || b.line > lines {
				t.Errorf("fault at line %d of %d", b.line, lines)
			}
		}
		// A value in single quotes comes back as it was written.
		if !strings.ContainsAny(text, "'\r\n") {
			vars, _ := parseDotEnv("X='" + text + "'")
			if len(vars) != 1 || vars[0].value != text {
				t.Errorf("%q came back as %+v", text, vars)
			}
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add(shopYAML)
	f.Add("a: &a [*a]\n<<: *a\n? [x]: y\n--- !!map {}\n")
	for _, text := range fuzzseed.Vary(shopYAML) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(text), 0o600); err != nil {
			t.Skip()
		}
		if c, _ := Load(LoadOptions{Dir: dir}); c == nil {
			t.Error("no configuration")
		}
	})
}

// Faults of a description are told with the path of the field and what would be right.
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
		`sources.h.verify.challenge.match[0].pointer (gaff.yaml:5): "x" is no JSON pointer`,
		"sources.h.verify.challenge.value (gaff.yaml:5): missing",
		`sources.j.verify.content (gaff.yaml:7): "xml" is not known`,
		`sources.j.verify.batch.items (gaff.yaml:7): "x" is no JSON pointer`,
		"sources.j.verify.ack.status (gaff.yaml:7): 500; a status from 200 to 299 is wanted",
		`sources.j.verify.jobs.words.a (gaff.yaml:7): "b" is no status of a job`,
		`sources.n.allow (gaff.yaml:9): "1.2.3.4/99" is no address or network`,
		`sources.n.rate="-1" (gaff.yaml:9): must be requests a second`,
		`sources.n.content_types="json" (gaff.yaml:9): is no media type`,
		`sources.s.jobs.status="a" (gaff.yaml:10): is no JSON pointer`,
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

// What changed in the files of secrets is read again; the environment stays.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"gaff.yaml": "sources: {a: {preset: stripe, secrets: [env:A, file:key]}}\n", ".env": "A=one\n", "key": "old\n",
	})
	c, err := Load(LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{".env": "A=two\n", "key": "new\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next, err := c.Reload()
	if err != nil || string(next.Sources["a"].Secrets[0]) != "two" || string(next.Sources["a"].Secrets[1]) != "new" {
		t.Errorf("read again: %v", err)
	}
	if string(c.Sources["a"].Secrets[0]) != "one" {
		t.Error("the old one changed")
	}
	if _, err := Default().Reload(); err == nil {
		t.Error("a configuration that came from nowhere was read again")
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
		"retention: {jobs: 1d}":                                   "retention.jobs",
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

func TestSecretsThatContainAComma(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"lines": "first,with a comma\r\n\n second,too \n", "one": "new-secret-1,old-secret-1\n"})
	for name, c := range map[string]struct {
		env  string
		want []Secret
	}{
		"split at commas":              {"WEBHOOK_SECRET=new-secret-1, old-secret-1", []Secret{"new-secret-1", "old-secret-1"}},
		"an escaped comma":             {`WEBHOOK_SECRET=new\,secret-1,old-secret-1`, []Secret{"new,secret-1", "old-secret-1"}},
		"other backslashes are plain":  {`WEBHOOK_SECRET=new\secret\\1,old-secret-1\`, []Secret{`new\secret\\1`, `old-secret-1\`}},
		"a file of one line":           {"WEBHOOK_SECRET_FILE=one", []Secret{"new-secret-1", "old-secret-1"}},
		"a file with a secret a line":  {"WEBHOOK_SECRET_FILE=lines", []Secret{"first,with a comma", "second,too"}},
		"only one, with a comma in it": {`WEBHOOK_SECRET=a\,b`, []Secret{"a,b"}},
	} {
		c2 := load(t, LoadOptions{Dir: dir, Environ: []string{c.env}})
		if diff := cmp.Diff(c.want, c2.WebhookSecrets, cmp.Transformer("text", func(s Secret) string { return string(s) })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(c2.Warnings) > 0 {
			t.Errorf("%s: %q", name, c2.Warnings)
		}
	}
}

func TestFragmentsOfSecretsAreSuspected(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yaml": "lastframe_webhook_secret: 'a-long-secret,b'\n", "lines": "first,\nsecond\n"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"WEBHOOK_SECRET=Zk3,9fQ_long_rest_of_it", "FAL_WEBHOOK_SECRET=short"}})
	want := []string{
		`LASTFRAME_WEBHOOK_SECRET was split at its commas, and secret 2 of 2 is only 1 bytes long; write a comma that belongs to a secret as \,`,
		`WEBHOOK_SECRET was split at its commas, and secret 1 of 2 is only 3 bytes long; write a comma that belongs to a secret as \,`,
	}
	slices.Sort(c.Warnings)
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
	_, err := Load(LoadOptions{Dir: dir, Environ: []string{"WEBHOOK_SECRET_FILE=lines"}})
	if err == nil || !strings.Contains(err.Error(), "one secret a line, without commas") {
		t.Errorf("lines that end with commas: %v", err)
	}
}
