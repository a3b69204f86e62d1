package described_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"gaff/provider/described"
)

// documented returns the description and the examples of docs/providers/write-your-own.md.
func documented(t *testing.T) (description, examples string) {
	t.Helper()
	blocks := blocks(t)
	return blocks[2], blocks[4]
}

// blocks returns the YAML of docs/providers/write-your-own.md.
func blocks(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "providers", "write-your-own.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		if yaml, is := strings.CutPrefix(part, "yaml\n"); is && i%2 == 1 {
			blocks = append(blocks, yaml)
		}
	}
	if len(blocks) != 5 {
		t.Fatalf("%d blocks of YAML, want 5", len(blocks))
	}
	return blocks
}

// play returns what playing a description found.
func play(t *testing.T, description, examples string) (problems []string) {
	t.Helper()
	d := &described.Description{}
	if err := yaml.UnmarshalWithOptions([]byte(description), d, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if faults := d.Check(); len(faults) > 0 {
		return []string{faults.Error()}
	}
	e, err := described.ReadExamples([]byte(examples))
	if err != nil {
		t.Fatal(err)
	}
	findings, err := described.Play(t.Context(), "acme", d, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Problem != "" {
			problems = append(problems, f.Step+": "+f.Problem)
		}
	}
	return problems
}

func TestDocumentedDescriptionAgreesWithItsExamples(t *testing.T) {
	t.Parallel()
	description, examples := documented(t)
	if problems := play(t, description, examples); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

// The document describes a signature in place of the preset.
func TestDocumentedSignatureIsValid(t *testing.T) {
	t.Parallel()
	description, examples := documented(t)
	before, rest, _ := strings.Cut(description, "webhook:\n")
	_, after, ok := strings.Cut(rest, "billing:")
	if !ok {
		t.Fatal("the description has no billing after its webhook")
	}
	description = before + blocks(t)[3] + "billing:" + after
	if problems := play(t, description, unsigned(t, examples)); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	own := unsigned(t, examples) + `
signed:
  secret: acme-secret
  at: 1767225600
  headers: {Acme-Signature: "t=1767225600,v1=SIGNATURE"}
  body: '{"id":"j-1","status":"done"}'
`
	mac := hmac.New(sha256.New, []byte("acme-secret"))
	mac.Write([]byte(`1767225600.{"id":"j-1","status":"done"}`))
	own = strings.Replace(own, "SIGNATURE", hex.EncodeToString(mac.Sum(nil)), 1)
	if problems := play(t, description, own); len(problems) > 0 {
		t.Errorf("a webhook that the provider signed: %q", problems)
	}
	for _, change := range [][2]string{
		{"{ts}.{body}", "{body}.{ts}"}, {"name: Acme-Signature", "name: X-Acme-Signature"}, {"sig_keys: [v1]", "sig_keys: [v2]"}, {"encoding: hex", "encoding: base64"},
	} {
		if !strings.Contains(description, change[0]) {
			t.Fatalf("the description has no %q", change[0])
		}
		problems := play(t, strings.Replace(description, change[0], change[1], 1), own)
		if len(problems) != 1 || !strings.HasPrefix(problems[0], "signed webhook: it is rejected: ") {
			t.Errorf("%q instead of %q: %q", change[1], change[0], problems)
		}
	}
}

// unsigned returns the examples without their signed webhook.
func unsigned(t *testing.T, examples string) string {
	t.Helper()
	before, rest, _ := strings.Cut(examples, "signed:\n")
	_, after, ok := strings.Cut(rest, "expect:")
	if !ok {
		t.Fatal("the examples have no expect after signed")
	}
	return before + "expect:" + after
}

func TestSignedWebhookOfAnotherSchemeIsRejected(t *testing.T) {
	t.Parallel()
	description, examples := documented(t)
	for _, change := range [][2]string{{"preset: standard-webhooks", "preset: stripe"}, {"preset: standard-webhooks", "unsigned: true"}} {
		problems := play(t, strings.Replace(description, change[0], change[1], 1), examples)
		if len(problems) != 1 || !strings.HasPrefix(problems[0], "signed webhook: ") {
			t.Errorf("%q: %q, want one problem of the signed webhook", change[1], problems)
		}
	}
	if problems := play(t, description, strings.Replace(examples, "2432232314", "2432232315", 1)); len(problems) != 1 {
		t.Errorf("a changed body: %q, want one problem", problems)
	}
}

// A description whose requests go elsewhere than the examples say: both places are named.
func TestWrongPathIsNamed(t *testing.T) {
	t.Parallel()
	description, examples := documented(t)
	for _, c := range []struct{ from, to, want string }{
		{"url: ${base}/v1/jobs\n", "url: ${base}/v1/job\n", "submit: the description asks for POST /v1/job; the examples say POST /v1/jobs (submit.path)"},
		{"url: ${base}/v1/jobs/${id}\n", "url: ${base}/v1/job/${id}\n", "poll of running work: the description asks for GET /v1/job/j-1; the examples say GET /v1/jobs/j-1 (poll.path)"},
		{"/cancel", "/stop", "cancel: the description asks for POST /v1/jobs/j-1/stop; the examples say POST /v1/jobs/j-1/cancel (cancel.path)"},
	} {
		problems := play(t, strings.Replace(description, c.from, c.to, 1), examples)
		if !slices.Contains(problems, c.want) {
			t.Errorf("problems %q, want %q", problems, c.want)
		}
		for _, problem := range problems {
			if strings.Contains(problem, "418") {
				t.Errorf("the stand-in's own answer is named: %q", problem)
			}
		}
	}
}

func TestWrongDescriptionFailsItsExamples(t *testing.T) {
	t.Parallel()
	description, examples := documented(t)
	for _, change := range [][2]string{
		{"${base}/v1/jobs\n", "${base}/v1/job\n"},
		{"Bearer ${secrets.key}", "Key ${secrets.key}"},
		{`{"model": model}`, `{"name": model}`},
		{`{"webhook": webhook_url}`, `{"callback": webhook_url}`},
		{"id: response.id", "id: response.job_id"},
		{"status: response.status", "status: response.state"},
		{"done: completed", "done: processing"},
		{"progress: response.progress", "progress: response.output.progress"},
		{"files: response.output.urls", "files: response.urls"},
		{"error_type: response.error.code", "error_type: response.code"},
		{"cost: response.usage.credits", "cost: response.credits"},
		{"/cancel", "/stop"},
		{"id: body.id", "id: body.job"},
	} {
		if !strings.Contains(description, change[0]) {
			t.Fatalf("the description has no %q", change[0])
		}
		if problems := play(t, strings.Replace(description, change[0], change[1], 1), examples); len(problems) == 0 {
			t.Errorf("%q instead of %q is not noticed", change[1], change[0])
		}
	}
}

func TestSecretsGoToHostsOfTheProviderOnly(t *testing.T) {
	t.Parallel()
	d, _ := described.Find("gemini-veo")
	c, err := described.New(d, described.Options{Name: "gemini-veo", Secrets: map[string]string{"key": "k"}})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"https://generativelanguage.googleapis.com/v1beta/files/x:download?alt=media": "k",
		"https://storage.googleapis.com/x":                                            "",
		"http://generativelanguage.googleapis.com.evil.example/x":                     "",
		"https://u:p@generativelanguage.googleapis.com/x":                             "",
	} {
		if got := c.FileHeaders(url).Get("x-goog-api-key"); got != want {
			t.Errorf("%s: the key is %q, want %q", url, got, want)
		}
	}
}
