package described_test

import (
	"os"
	"path/filepath"
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
	if problems := play(t, before+blocks(t)[3]+"billing:"+after, examples); len(problems) > 0 {
		t.Errorf("%q", problems)
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
