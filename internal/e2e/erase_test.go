package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gaff/gafftest"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/s3test"
	"gaff/internal/standin"
)

// The user that is erased, texts that only this user's rows have, and a user whose rows stay.
const (
	drillUser   = "user-ERASE-4711"
	drillText   = "PRIVATE-text-0815"
	drillOther  = "user-STAYS-4712"
	drillOthers = "OTHERS-text-0816"
)

// call sends a request with the admin token, and fails unless the answer has one of the statuses.
func (g *gateway) call(t *testing.T, method, path, body string, want ...int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range want {
		if resp.StatusCode == status {
			return text
		}
	}
	t.Fatalf("%s %s: %s, want %v\n%s", method, path, resp.Status, want, text)
	return nil
}

// webhook sends a signed webhook.
func (g *gateway) webhook(t *testing.T, source, secret, body string) {
	t.Helper()
	req, err := gafftest.SignedRequest(t.Context(), g.url+"/api/v1/webhooks/"+source, source, secret, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("webhook of %s: %s\n%s", source, resp.Status, text)
	}
}

const drillWorkflow = `name: portrait
inputs: [{name: who, required: true}]
steps:
  - name: picture
    submit: {provider: fal, model: fal-ai/flux/dev, input: {prompt: "${input.who}"}}
`

// drillWorld is a gateway with a provider, an application that takes events, and one that refuses them.
type drillWorld struct {
	*place
	files string // URL of the provider's files, each of which contains its path
}

func newDrillWorld(t *testing.T, settings ...string) *drillWorld {
	t.Helper()
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n" + strings.Repeat(r.URL.Path, 100)))
	}))
	t.Cleanup(files.Close)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/refuses" {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		_, _ = w.Write(body) // gaff stores what a destination answers
	}))
	t.Cleanup(app.Close)
	p := newPlace(t)
	_, _, fal := playFal(t, p.addr, standin.Options{})
	p.env = append(environment(p.dir, p.addr, append(fal, settings...)...), "GAFF_LOG_LEVEL=debug")
	config := fmt.Sprintf(`workflows: workflows
destinations:
  takes: {url: %[1]s/takes, events: ["*:*", "gaff:*"], order_by: /metadata/user_id}
  refuses: {url: %[1]s/refuses, events: ["*:*", "gaff:*"], max_attempts: 1}
`, app.URL)
	if err := os.Mkdir(filepath.Join(p.dir, "workflows"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"gaff.yaml": config, "workflows/portrait.yaml": drillWorkflow} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.open(t)
	return &drillWorld{place: p, files: files.URL}
}

// fill gives a user rows of every kind.
func (w *drillWorld) fill(t *testing.T, user, text string) {
	t.Helper()
	n := strings.ToLower(user[len(user)-4:])
	w.webhook(t, "fal", falSecret, fmt.Sprintf(`{"request_id":"r-%[1]s","status":"completed","result":{"prompt":%[2]q,"images":[{"url":"%[3]s/%[2]s/a.png"},{"url":"%[3]s/%[2]s/b.png"}]},
		"metadata":{"job_id":"job-%[1]s","project_id":"shared","user_id":%[4]q,"generation_type":"image"}}`, n, text, w.files, user))
	w.webhook(t, "lastframe", lastFrameSecret, fmt.Sprintf(`{"job_id":"lf-%s","status":"completed","service":"video-stitch","result":{"output_url":"%s/%s/film.png"},"metadata":{"project_id":"shared","user_id":%q}}`, n, w.files, text, user))
	w.webhook(t, "custom", customSecret, fmt.Sprintf(`{"id":"c-%s","type":"account.changed","customer":{"id":%q},"note":%q}`, n, user, text))
	w.call(t, http.MethodPost, "/api/v1/jobs", fmt.Sprintf(`{"provider":"fal","model":"fal-ai/flux/dev","input":{"prompt":%q},"userId":%q,"projectId":"shared","metadata":{"note":%q},"idempotencyKey":%q}`,
		text, user, text, user+"-once"), http.StatusCreated, http.StatusOK, http.StatusAccepted)
	w.call(t, http.MethodPost, "/api/v1/runs", fmt.Sprintf(`{"workflow":"portrait","input":{"who":%q},"userId":%q,"projectId":"shared","idempotencyKey":%q}`, text, user, user+"-run"), http.StatusCreated, http.StatusOK, http.StatusAccepted)
	w.call(t, http.MethodPost, "/api/v1/events", fmt.Sprintf(`{"type":"order.paid","data":{"userId":%q,"note":%q},"idempotencyKey":%q}`, user, text, user+"-paid"), http.StatusCreated)
	w.call(t, http.MethodPost, "/api/v1/events", fmt.Sprintf(`{"type":"order.due","data":{"userId":%q,"note":%q},"delay":"7d"}`, user, text), http.StatusCreated)
	w.call(t, http.MethodPut, "/api/v1/budgets/of-"+n, fmt.Sprintf(`{"userId":%q,"limit":"5","currency":"USD","period":"month"}`, user), http.StatusOK, http.StatusCreated)
	w.call(t, http.MethodPost, "/api/v1/projects", fmt.Sprintf(`{"id":"own-%s","name":"film of %s","owner":%q}`, n, user, user), http.StatusOK, http.StatusCreated)
	w.rejected(t, fmt.Sprintf("/api/v1/webhooks/custom?user=%s", user), fmt.Sprintf(`{"user":%q,"note":%q}`, user, text))
	for _, path := range []string{"/api/v1/jobs?userId=" + user, "/api/v1/search?q=" + user, "/api/v1/events?q=" + user, "/api/v1/costs?by=user&userId=" + user} {
		w.call(t, http.MethodGet, path, "", http.StatusOK)
	}
}

func (w *drillWorld) rejected(t *testing.T, path, body string) {
	t.Helper()
	resp, err := http.Post(w.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("unsigned: %s", resp.Status)
	}
}

// settle waits until jobs and runs have ended, files are stored, and deliveries are done or dead.
func (w *drillWorld) settle(t *testing.T) {
	t.Helper()
	eventually.True(t, "jobs, runs, files and deliveries settle", func() bool {
		open := 0
		count := func(path string, done ...string) {
			if err := each(w.gateway, path, func(doc struct{ Status, Storage string }) {
				for _, status := range done {
					if doc.Status == status || doc.Storage == status {
						return
					}
				}
				open++
			}); err != nil {
				open++
			}
		}
		count("/api/v1/jobs", "completed")
		count("/api/v1/runs", "completed")
		count("/api/v1/media", "stored")
		return open == 0 && idle(w.gateway) == nil
	})
}

// traces returns where a text is in the tables, by a dump.
func (w *drillWorld) traces(t *testing.T, database, text string) (where []string) {
	t.Helper()
	dump := filepath.Join(t.TempDir(), "dump")
	if database == "" {
		if out, err := w.gaff("backup", dump); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return tablesNaming(t, dump, text)
	}
	pgTool(t, "pg_dump", "--inserts", "--file="+dump, database)
	all, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		// bytea is dumped in hexadecimal digits.
		if strings.Contains(line, text) || strings.Contains(line, fmt.Sprintf("%x", text)) {
			where = append(where, line[:min(len(line), 300)])
		}
	}
	return where
}

// filesNaming returns the files in a folder that contain a text, or are named by it.
func filesNaming(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) || strings.Contains(path, text) {
			found = append(found, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEraseDrill erases a user who is everywhere, and looks for the user in every table, file and log.
func TestEraseDrill(t *testing.T) {
	t.Parallel()
	s3 := s3test.Start(t, filepath.Join("..", "..", "tools"), "films")
	for name, c := range map[string]struct {
		postgres bool
		settings []string
		media    string // the folder of the files, if it is not in the data folder
	}{
		"SQLite":        {settings: []string{"GAFF_MEDIA_URL="}},
		"SQLite and S3": {settings: append([]string{"GAFF_MEDIA_URL=" + s3.URL("films", "x")}, s3test.Environ...), media: s3.Dir},
		"PostgreSQL":    {postgres: true, settings: []string{"GAFF_MEDIA_URL="}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := ""
			if c.postgres {
				database = pgtest.URL(t)
				c.settings = append(c.settings, "GAFF_DATABASE_URL="+database)
			}
			eraseDrill(t, database, c.media, newDrillWorld(t, c.settings...))
		})
	}
}

func eraseDrill(t *testing.T, database, mediaDir string, w *drillWorld) {
	w.fill(t, drillUser, drillText)
	w.fill(t, drillOther, drillOthers)
	w.settle(t)
	data := filepath.Join(w.dir, "data")
	folders := []string{data}
	if mediaDir != "" {
		folders = append(folders, mediaDir)
	}
	files := func(text string) (found []string) {
		for _, dir := range folders {
			found = append(found, filesNaming(t, dir, text)...)
		}
		return found
	}
	for _, text := range []string{drillUser, drillText} {
		if len(w.traces(t, database, text)) < 3 {
			t.Fatalf("%q is hardly anywhere before", text)
		}
	}
	// The other user's rows may be in the database, in its log, or both.
	ofOther := func() int {
		isDatabase := func(path string) bool { return strings.HasPrefix(filepath.Base(path), "gaff.db") }
		return len(slices.DeleteFunc(files(drillOthers), isDatabase))
	}
	others := ofOther()

	counted, err := w.gaff("erase", "--user", drillUser)
	if err != nil || !strings.Contains(counted, "nothing was erased") {
		t.Fatalf("count: %v\n%s", err, counted)
	}
	out, err := w.gaff("erase", "--user", drillUser, "--yes", "--json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var erased struct {
		Pseudonym    string
		Jobs, Media  int
		FilesPending string
	}
	if err := json.Unmarshal([]byte(out), &erased); err != nil || erased.Jobs != 4 || erased.FilesPending != "" {
		t.Errorf("erased %+v, %v\n%s", erased, err, out)
	}
	if out, err := w.gaff("compact", "--full"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{drillUser, drillText} {
		if found := w.traces(t, database, text); len(found) > 0 {
			t.Errorf("%q is in the dump: %s", text, strings.Join(found, "\n"))
		}
		if found := files(text); len(found) > 0 {
			t.Errorf("%q is in %v", text, found)
		}
		if at := strings.Index(w.log.String(), text); at >= 0 {
			t.Errorf("%q is in the log: %s", text, w.log.String()[max(0, at-200):at+100])
		}
	}
	audit, err := w.gaff("audit", "export", "--since", "1d")
	if err != nil || strings.Contains(audit, drillUser) || !strings.Contains(audit, erased.Pseudonym) {
		t.Errorf("audit log, want the pseudonym %s: %v\n%s", erased.Pseudonym, err, audit)
	}
	if n := ofOther(); n != others {
		t.Errorf("files with the text of the other user: %d, were %d", n, others)
	}
	jobs := 0
	if err := each(w.gateway, "/api/v1/jobs?userId="+drillOther, func(struct{}) { jobs++ }); err != nil || jobs != 4 {
		t.Errorf("%d jobs of the other user, want 4: %v", jobs, err)
	}
}
