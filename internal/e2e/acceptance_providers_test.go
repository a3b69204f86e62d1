//go:build acceptance

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vendorSDKs are the vendors' own packages for providers of the catalogue, from npm.
var vendorSDKs = []string{
	"replicate@1", "openai@7", "@google/genai@2", "@runwayml/sdk@4", "lumaai@1", "@elevenlabs/elevenlabs-js@2", "wavespeed@0.3",
}

// TestAcceptanceVendorSDKs drives the stand-ins of the catalogue's providers with the vendors' own
// SDKs. So a stand-in whose messages are not the vendor's is found by the vendor's code, and its
// requests are compared with the examples, by which the descriptions are tested.
// docs/providers/sdks.md has the outcomes; UPDATE_DOCS=1 writes it.
func TestAcceptanceVendorSDKs(t *testing.T) {
	dir := npmApp(t, vendorSDKs...)
	text, err := os.ReadFile(filepath.Join("testdata", "providers", "sdks.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sdks.mjs"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	type setup struct {
		URL     string         `json:"url"`
		Model   string         `json:"model"`
		Input   map[string]any `json:"input"`
		Text    string         `json:"text"` // the member of the input that has the prompt
		Files   []string       `json:"files"`
		Error   string         `json:"error"`
		Refused string         `json:"refused"`
	}
	setups, vendors := map[string]setup{}, []*vendor{}
	for _, name := range []string{
		"replicate", "openai-videos", "openai-images", "gemini-veo", "runway", "luma", "elevenlabs", "elevenlabs-speech", "wavespeed",
	} {
		v := newVendor(t, name, 1)
		v.compared = true
		vendors = append(vendors, v)
		s := setup{URL: v.url, Model: v.e.Model, Input: v.e.Input, Text: "prompt", Error: v.e.Expect.Error, Refused: v.e.Expect.RefusedError}
		if name == "runway" {
			s.Text = "promptText"
		}
		for _, file := range v.e.Expect.Files { // of the first piece of work
			s.Files = append(s.Files, v.text(strings.ReplaceAll(file, "BASE_URL", v.url), &vendorWork{id: v.e.Expect.ID + "-1"}))
		}
		setups[name] = s
	}
	raw, err := json.Marshal(setups)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "sdks.mjs")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "VENDORS="+string(raw))
	var table strings.Builder
	for _, m := range operationsOf(t, cmd) {
		if m.Error != "" {
			t.Errorf("%s: %s: %s", m.Client, m.Operation, m.Error)
		}
		table.WriteString(m.row())
	}
	for _, v := range vendors {
		for _, wrong := range v.wrong {
			t.Error(wrong)
		}
	}
	compareTable(t, filepath.Join("providers", "sdks.md"), table.String())
}
