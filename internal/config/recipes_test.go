package config

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gaff/destination"
)

var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	reference = regexp.MustCompile(`env:([A-Z0-9_]+)`)
)

// capture answers every request with 200, and keeps the last one.
type capture struct {
	header http.Header
	body   []byte
}

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.header = r.Header
	c.body, _ = io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
}

// TestRecipesAreValid reads the settings of docs/recipes, and sends an event to each destination.
func TestRecipesAreValid(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "recipes", "*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	sent := map[string]*capture{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			var environ []string
			for _, name := range reference.FindAllStringSubmatch(block[1], -1) {
				environ = append(environ, name[1]+"=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
			}
			c, err := Load(LoadOptions{Dir: folder(t, map[string]string{"gaff.yaml": block[1]}), Environ: environ})
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
				continue
			}
			for name, d := range c.Destinations {
				got := &capture{}
				to, err := destination.New(d.Full(), destination.Options{Client: &http.Client{Transport: got}})
				if err == nil {
					_, err = to.Probe(context.Background())
				}
				if err != nil {
					t.Errorf("%s: %s: %v", filepath.Base(page), name, err)
				}
				sent[name] = got
			}
		}
	}
	var event struct {
		ID, Name string
		TS       int64
	}
	if c := sent["inngest"]; c == nil || json.Unmarshal(c.body, &event) != nil || event.Name != "gaff/test" || !strings.HasPrefix(event.ID, "evt_") || event.TS < 1e12 {
		t.Errorf("to Inngest: %+v", event)
	}
	var run struct {
		Payload struct{ Source string }
		Options struct{ IdempotencyKey string }
	}
	if c := sent["trigger"]; c == nil || json.Unmarshal(c.body, &run) != nil || run.Payload.Source != "gaff" || run.Options.IdempotencyKey == "" {
		t.Errorf("to Trigger.dev: %+v", run)
	}
	if c := sent["n8n"]; c == nil || c.header.Get("X-Gaff-Key") == "" {
		t.Error("to n8n: no key")
	}
	if c := sent["edge"]; c == nil || c.header.Get("webhook-signature") == "" {
		t.Error("to Supabase: no signature")
	}
}
