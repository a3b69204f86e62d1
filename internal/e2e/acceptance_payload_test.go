//go:build acceptance

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/standin"
)

// payloadApp makes a folder with Payload, its adapter for PostgreSQL and both of gaff's packages.
func payloadApp(t *testing.T) string {
	t.Helper()
	dir := npmApp(t, "payload@3.90.2", "@payloadcms/db-postgres@3.90.2")
	packages := filepath.Join(dir, "node_modules", "@gaff")
	buildClient(t, filepath.Join(packages, "client"))
	plugin := filepath.Join(packages, "payload")
	from := filepath.Join("..", "..", "clients", "payload")
	if err := os.CopyFS(filepath.Join(plugin, "src"), os.DirFS(filepath.Join(from, "src"))); err != nil {
		t.Fatal(err)
	}
	// The button of the admin panel needs React; this application has no pages.
	if err := os.Remove(filepath.Join(plugin, "src", "client.tsx")); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		filepath.Join(from, "package.json"): filepath.Join(plugin, "package.json"), filepath.Join(from, "tsconfig.json"): filepath.Join(plugin, "tsconfig.json"),
		filepath.Join("testdata", "payload", "postgres.mjs"): filepath.Join(dir, "postgres.mjs"),
		filepath.Join("testdata", "payload", "jobs.mjs"):     filepath.Join(dir, "jobs.mjs"),
	} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tsc, err := filepath.Abs(filepath.Join("..", "..", "tools", "js", "node_modules", ".bin", "tsc"))
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, plugin, tsc, "-p", ".", "--noCheck")
	return dir
}

// The plugin with Payload on PostgreSQL: a delivery whose hook fails leaves nothing, and its repetition
// leaves each row once.
func TestAcceptancePayloadOnPostgreSQL(t *testing.T) {
	dir := payloadApp(t)
	p := newPlace(t)
	_, _, settings := playFal(t, p.addr, standin.Options{Queue: 20 * time.Millisecond})
	app := startProgram(t, dir, []string{
		"DATABASE_URL=" + pgtest.Empty(t), "GAFF_URL=" + p.futureURL(), "GAFF_TOKEN=" + adminToken, "GAFF_SECRET=" + newSecret,
	}, "node", "postgres.mjs")
	config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"gaff:job.finished\", \"gaff:media.stored\"], secrets: [\"env:NEW\"], first_wait: 1s}\n", app.url+"/api/gaff/events")
	if err := os.WriteFile(filepath.Join(p.dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = environment(p.dir, p.addr, append(settings, "NEW="+newSecret, "GAFF_MEDIA_URL=")...)
	p.open(t)
	p.call(t, http.MethodPost, "/api/v1/jobs", `{"provider":"fal","model":"fal-ai/flux/dev","input":{"prompt":"a dog","standin":{"seconds":0.1}}}`, http.StatusAccepted)
	var state string
	eventually.True(t, "Payload has the job's file, its note and its log", func() bool {
		resp, err := http.Get(app.url + "/state")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var counts struct{ Media, Notes, Logs int }
		err = json.NewDecoder(resp.Body).Decode(&counts)
		state = fmt.Sprintf("%+v %v", counts, err)
		return counts.Media >= 1 && counts.Notes >= 1 && counts.Logs >= 1 && idle(p.gateway) == nil
	})
	if !strings.HasPrefix(state, "{Media:1 Notes:1 Logs:1}") {
		t.Errorf("Payload has %s, want one of each", state)
	}
}

// The recipe of docs/recipes/payload-jobs.md: an event becomes a job of Payload once, with its data.
func TestAcceptancePayloadJobs(t *testing.T) {
	dir := payloadApp(t)
	app := startProgram(t, dir, []string{"DATABASE_URL=" + pgtest.Empty(t), "GAFF_SECRET=" + newSecret}, "node", "jobs.mjs")
	p := newPlace(t)
	config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"custom:*\"], secrets: [\"env:NEW\"], first_wait: 1s}\n", app.url+"/api/gaff")
	if err := os.WriteFile(filepath.Join(p.dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = environment(p.dir, p.addr, "NEW="+newSecret, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")
	p.open(t)
	p.webhook(t, "custom", customSecret, `{"id":"in_1","type":"invoice.paid","amount":5}`)
	state := ""
	eventually.True(t, "the job of Payload ran", func() bool {
		resp, err := http.Get(app.url + "/state")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		state = string(text)
		return err == nil && strings.Contains(state, `"deliveryId":"`) && idle(p.gateway) == nil
	})
	if !strings.Contains(state, `"queued":1,`) || !strings.Contains(state, `"amount":5`) || strings.Count(state, "deliveryId") != 1 {
		t.Errorf("Payload has %s, want one job with the event's data", state)
	}
}

// futureURL is the URL that the gateway will have.
func (p *place) futureURL() string { return "http://" + p.addr }
