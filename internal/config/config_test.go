package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	if !reflect.DeepEqual(c.Limits, l) {
		t.Errorf("limits: %+v", c.Limits)
	}
	if r := c.Retry; r.MaxAttempts != 5 || r.Max != time.Hour || r.First != Default().Retry.First {
		t.Errorf("retry: %+v", r)
	}
	if p := c.Retry.Policy(); p.MaxAttempts != 5 || p.Max != time.Hour {
		t.Errorf("policy: %+v", p)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"gaff.yml": "", ".env": "GAFF_WHATEVER=1\nFAL_WEBHOOK_SECRT=x\nFAL_SECRET=x\nGAFF_PORT=1\nREDIS_URL=x\nWEBHOOKS_SECRET=x\nSOMEONE_ELSES=x"})
	c := load(t, LoadOptions{Dir: dir, Environ: []string{"GAFF_DATADIR=/x", "GAFF_TOKEN=t", "GAFF_TEST_POSTGRES_URL=x", "OTHER=1", "FAL_KEYS=x", "GAFF_ADDR_FILE=x"}})
	want := []string{
		"FAL_SECRET is not a setting and was not read; did you mean FAL_WEBHOOK_SECRET?",
		"FAL_WEBHOOK_SECRT is not a setting and was not read; did you mean FAL_WEBHOOK_SECRET?",
		"GAFF_ADDR_FILE is not a setting and was not read",
		"GAFF_DATADIR is not a setting and was not read; did you mean GAFF_DATA_DIR?",
		"GAFF_PORT is not a setting and was not read; did you mean PORT?",
		"GAFF_WHATEVER is not a setting and was not read",
		"WEBHOOKS_SECRET is not a setting and was not read; did you mean WEBHOOK_SECRET?",
	}
	want = append([]string{"gaff.yml was not read; rename it gaff.yaml"}, want...)
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

// A variable that gaff.yaml refers to is not reported as unknown.
func TestReferredVariableIsNotUnknown(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"gaff.yaml": "destinations:\n  app:\n    url: https://app.example.com/in\n    secrets: [env:GAFF_SECRET]\n",
		".env":      "GAFF_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nGAFF_SECRETS=x",
	})
	c := load(t, LoadOptions{Dir: dir})
	if diff := cmp.Diff([]string{"GAFF_SECRETS is not a setting and was not read"}, c.Warnings); diff != "" {
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
