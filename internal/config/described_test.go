package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gaff/provider/described"
)

// faultsOf loads a file, and returns its faults.
func faultsOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(LoadOptions{Dir: dir})
	if err == nil {
		return ""
	}
	return err.Error()
}

const acme = `title: Acme
base_url: https://api.acme.example
secrets: {key: API key}
headers:
  Authorization: Bearer ${secrets.key}
submit:
  url: ${base}/v1/jobs
  body: '[input, webhook_url == "" ? {} : {"webhook": webhook_url}]'
  id: response.id
poll:
  url: ${base}/v1/jobs/${id}
  status: response.status
  states: {done: completed, error: failed}
`

func TestProvidersAreRead(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"catalogue":     {"gaff.yaml": "providers:\n  replicate:\n    secrets: {key: k}\n    webhook_secrets: [whsec_MDEyMzQ1Njc4OWFiY2RlZg==]\n"},
		"another name":  {"gaff.yaml": "providers:\n  mine:\n    use: comfyui\n    base_url: http://127.0.0.1:8188/\n"},
		"file":          {"gaff.yaml": "providers:\n  acme:\n    file: acme.yaml\n    secrets: {key: k}\n", "acme.yaml": acme},
		"in gaff.yaml":  {"gaff.yaml": "providers:\n  acme:\n    secrets: {key: k}\n    describe:\n" + indent(acme, "      ")},
		"source limits": {"gaff.yaml": "providers:\n  luma:\n    secrets: {key: k}\nsources:\n  luma:\n    rate: 5\n"},
	} {
		if got := faultsOf(t, files); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

func TestFaultsOfProvidersHavePlaceAndGuess(t *testing.T) {
	t.Parallel()
	file := func(from, to string) map[string]string {
		return map[string]string{
			"gaff.yaml": "providers:\n  acme:\n    file: acme.yaml\n", "acme.yaml": strings.Replace(acme, from, to, 1),
		}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"unknown name":    {map[string]string{"gaff.yaml": "providers:\n  replicat:\n    secrets: {key: k}\n"}, "providers.replicat (gaff.yaml:2): is not in the catalogue, and neither describe: nor file: says how it works; did you mean replicate?"},
		"unknown use":     {map[string]string{"gaff.yaml": "providers:\n  mine:\n    use: runwy\n"}, `(gaff.yaml:3): is not in the catalogue; did you mean runway?`},
		"unknown secret":  {map[string]string{"gaff.yaml": "providers:\n  luma:\n    secrets: {kye: k}\n"}, "providers.luma.secrets.kye (gaff.yaml:3): is not a secret of Luma Dream Machine; did you mean key?"},
		"built in":        {map[string]string{"gaff.yaml": "providers:\n  fal:\n    use: luma\n"}, "gaff has this provider"},
		"unknown key":     {file("submit:", "sumbit:"), "providers.acme.describe.sumbit (acme.yaml:6): unknown key; did you mean submit?"},
		"wrong variable":  {file("${base}/v1/jobs/${id}", "${base}/v1/jobs/${ids}"), "providers.acme.describe.poll.url (acme.yaml:11): undeclared reference to 'ids'; did you mean id?"},
		"wrong state":     {file("done: completed", "done: complete"), `providers.acme.describe.poll.states.done (acme.yaml:13): "complete" is not a status of a job`},
		"no id":           {file("  id: response.id\n", ""), "providers.acme.describe.submit.id (acme.yaml:6): missing"},
		"foreign address": {file("${base}/v1/jobs\n", "https://evil.example/v1\n"), "providers.acme.describe.submit.url (acme.yaml:7): must begin with ${base}"},
		"missing file":    {map[string]string{"gaff.yaml": "providers:\n  acme:\n    file: acme.yaml\n"}, "(acme.yaml): cannot be read"},
		"preset twice":    {map[string]string{"gaff.yaml": "providers:\n  luma: {secrets: {key: k}}\nsources:\n  luma:\n    preset: luma\n"}, "gaff knows how luma signs"},
	} {
		if got := faultsOf(t, c.files); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestSecretsOfProvidersAreNotShown(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, map[string]string{"gaff.yaml": "providers:\n  luma:\n    secrets: {key: \"top secret\"}\n"})
	if got == "" || strings.Contains(got, "top secret") {
		t.Errorf("the fault is %s", got)
	}
}

// The catalogue is read by the rules of the configuration, too.
func TestCatalogueIsReadAsAFile(t *testing.T) {
	t.Parallel()
	for _, name := range described.Catalogue() {
		text, _ := described.Text(name)
		file := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDescription(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
