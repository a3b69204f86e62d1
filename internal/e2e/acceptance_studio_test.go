//go:build acceptance

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"gaff/client"
	"gaff/internal/eventually"
)

// copyExample copies a folder of examples as a checkout has it, without what a start left there.
func copyExample(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	from := os.DirFS(filepath.Join("..", "..", "examples", name))
	err := fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == "node_modules" || entry.Name() == ".next" || entry.Name() == ".data":
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, path), 0o700)
		}
		text, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// studio is the running example examples/film-studio with its gateway.
type studio struct {
	t              *testing.T
	dir, url, gaff string
	http           http.Client
	cookie         string
	log            logBuffer
}

// startStudio starts the example by its one command, from an empty folder.
func startStudio(t *testing.T) *studio {
	t.Helper()
	clients, err := filepath.Abs(filepath.Join("..", "..", "clients"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	gaffAddr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")
	s := &studio{t: t, dir: copyExample(t, "film-studio"), url: "http://localhost:" + port, gaff: "http://" + gaffAddr}
	cmd := exec.Command("npm", "start", "--silent")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PORT="+port, "GAFF_ADDR="+gaffAddr, "GAFF_BIN="+binary, "GAFF_CLIENTS="+clients)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // npm, gaff and Next.js end together
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	s.http.Timeout = 3 * time.Minute // Next.js compiles a page at its first request
	for end := time.Now().Add(8 * time.Minute); ; time.Sleep(time.Second) {
		if res, err := s.http.Get(s.url + "/"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(end) {
			t.Fatal("the studio did not start")
		}
	}
}

// call sends a request to the studio, as the user of the admin panel after a login, and decodes the
// answer into out unless it is nil.
func (s *studio) call(method, path string, body, out any) int {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if s.cookie != "" {
		req.Header.Set("Authorization", "JWT "+s.cookie)
	}
	return s.send(req, out)
}

func (s *studio) send(req *http.Request, out any) int {
	s.t.Helper()
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			s.t.Fatalf("%s %s: %v in %.500s", req.Method, req.URL, err, answer)
		}
	}
	return res.StatusCode
}

// deliver sends an event to the plugin, signed as by the gateway.
func (s *studio) deliver(id, body string) int {
	s.t.Helper()
	now := time.Now().Unix()
	signature, err := client.Sign("whsec_"+s.read("secret"), id, now, []byte(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/gaff/events", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", fmt.Sprint(now))
	req.Header.Set("Webhook-Signature", signature)
	return s.send(req, nil)
}

// read returns the text of a file that the studio made in its folder .data.
func (s *studio) read(name ...string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{s.dir, ".data"}, name...)...))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// add copies a file of the repository beside the installed packages, and returns its name.
func (s *studio) add(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".data", filepath.Base(path)), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return filepath.Base(path)
}

// command runs a command of gaff for the studio's gateway.
func (s *studio) command(args ...string) string {
	s.t.Helper()
	return runIn(s.t, s.t.TempDir(), []string{"GAFF_URL=" + s.gaff, "GAFF_TOKEN=" + s.read("gaff", "admin-token")}, binary, args...)
}

// sendFal sends a webhook as fal would, with the shared secret of the development gateway.
func (s *studio) sendFal(body string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "body.json")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		s.t.Fatal(err)
	}
	_, secret, _ := strings.Cut(s.read("gaff", "dev.env"), "FAL_WEBHOOK_SECRET=")
	secret, _, _ = strings.Cut(secret, "\n")
	s.command("send", "fal", "--data", file, "--secret", secret)
}

// await waits until a script is true.
func (v *tab) await(what, script string) {
	v.Helper()
	eventually.True(v, what, func() bool {
		ctx, cancel := context.WithTimeout(v.ctx, eventually.Limit)
		defer cancel()
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		return err == nil && ok
	})
}

func (v *tab) click(selector string) {
	v.Helper()
	v.run(chromedp.Click(chromedp.CSS(selector)))
}

// withoutStream makes requests of the stream fail in the pages that the window opens from now on.
func (v *tab) withoutStream() {
	v.Helper()
	const script = `const real = window.fetch; window.fetch = (url, init) => /\/api\/v1\/stream/.test(url) ? Promise.reject(new TypeError("no stream")) : real(url, init);`
	v.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cdppage.Enable, cdppage.EnableParams{})
		if err == nil {
			_, err = cdp.Call(ctx, target, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		}
		return err
	}))
}

type studioFilm struct {
	ID   int
	File *struct{ GaffID, URL string }
	Gaff struct{ Status, RunID string }
}

// play makes a film in the browser: a prompt, pictures, an approval, videos, the film. live says
// whether the page gets the run by the stream.
func (s *studio) play(v *tab, live bool) {
	s.t.Helper()
	v.run(chromedp.Navigate(s.url + "/"))
	v.click("form button")
	v.await("the pictures are in the page", `[...document.querySelectorAll(".files img")].filter((img) => img.naturalWidth > 0).length === 2`)
	v.await("the stream is as wanted", fmt.Sprintf(`document.querySelector("#state")?.dataset.live === "%t"`, live))
	v.click(`button[value="yes"]`)
	v.await("the film is in the page", `document.querySelector("#film")?.readyState >= 1`)
	v.await("the videos are in the page", `document.querySelectorAll(".files video").length === 2`)
}

// The film studio: from a prompt to the film in a real browser, with Payload behind gaff.
func TestAcceptanceFilmStudio(t *testing.T) {
	s := startStudio(t)
	v := openBrowser(t)

	t.Run("visitor makes a film", func(t *testing.T) {
		s.play(v, true)
	})
	t.Run("film is made without the stream", func(t *testing.T) {
		v.withoutStream()
		s.play(v, false)
	})
	t.Run("Payload has the film and its run's status", func(t *testing.T) {
		var film studioFilm
		eventually.True(t, "the document is completed", func() bool {
			return s.call(http.MethodGet, "/api/films/1?depth=1", nil, &film) == http.StatusOK && film.Gaff.Status == "completed" && film.File != nil
		})
		if want := "/api/gaff/media/" + film.File.GaffID; film.File.URL != want {
			t.Errorf("url is %q, want the stable %q", film.File.URL, want)
		}
	})
	t.Run("each file has one row", func(t *testing.T) {
		var rows struct{ TotalDocs int }
		s.call(http.MethodGet, "/api/media?where[projectId][equals]=1", nil, &rows)
		if rows.TotalDocs != 5 {
			t.Errorf("%d rows, want 2 pictures, 2 videos and the film", rows.TotalDocs)
		}
	})
	t.Run("the example's types are right", func(t *testing.T) {
		runIn(t, s.dir, nil, "node", filepath.Join("node_modules", "typescript", "bin", "tsc"), "--noEmit")
	})
	t.Run("plugin in a Payload of its own", func(t *testing.T) {
		runIn(t, filepath.Join(s.dir, ".data"), nil, "node", "--test", s.add(filepath.Join("clients", "payload", "test", "plugin.test.mjs")))
	})
	t.Run("webhook logs answer as a collection of Payload", func(t *testing.T) { testPayloadQueries(t, s) })
	t.Run("plugin", func(t *testing.T) { testPlugin(t, s) })
	t.Run("admin panel retries a webhook", func(t *testing.T) { testAdminRetry(t, s, v) })
}

// testPlugin checks what the plugin does at its borders: who may read, and which events are processed once.
func testPlugin(t *testing.T, s *studio) {
	t.Run("logs are for users only", func(t *testing.T) {
		if status := s.call(http.MethodGet, "/api/webhook-logs", nil, nil); status != http.StatusForbidden {
			t.Errorf("answered %d, want 403", status)
		}
	})
	t.Run("retries are for users only", func(t *testing.T) {
		if status := s.call(http.MethodPost, "/api/webhook-logs/evt_1/retry", nil, nil); status != http.StatusForbidden {
			t.Errorf("answered %d, want 403", status)
		}
	})
	t.Run("forged event is rejected", func(t *testing.T) {
		if status := s.call(http.MethodPost, "/api/gaff/events", map[string]string{"source": "gaff", "type": "test"}, nil); status != http.StatusUnauthorized {
			t.Errorf("answered %d, want 401", status)
		}
	})
	t.Run("unknown file is not found", func(t *testing.T) {
		if status := s.call(http.MethodGet, "/api/gaff/media/med_1", nil, nil); status != http.StatusNotFound {
			t.Errorf("answered %d, want 404", status)
		}
	})
	t.Run("token is for a document with a run", func(t *testing.T) {
		if status := s.call(http.MethodPost, "/api/gaff/token", map[string]any{"collection": "users", "id": 1}, nil); status != http.StatusBadRequest {
			t.Errorf("a token for a user is answered %d, want 400", status)
		}
		if status := s.call(http.MethodPost, "/api/gaff/token", map[string]any{"collection": "films", "id": 99}, nil); status != http.StatusNotFound {
			t.Errorf("a token for an unknown film is answered %d, want 404", status)
		}
	})

	var login struct{ Token string }
	s.call(http.MethodPost, "/api/users/login", map[string]string{"email": "studio@example.com", "password": "film-studio"}, &login)
	s.cookie = login.Token
	t.Run("failed work is done by the next attempt, once", func(t *testing.T) {
		// The hook of the studio fails: there is no film 3 yet. So the row of the file is not stored either.
		body := `{"id":"evt_1","source":"gaff","type":"media.stored","timestamp":"2026-11-29T12:00:00Z","data":{"mediaId":"med_x"},
			"job":{"id":"job_x","kind":"film","projectId":"3"},"media":[{"id":"med_x","jobId":"job_x","projectId":"3","mediaType":"generated-video","url":"https://f.example/a.mp4"}]}`
		rows := func() (n int) {
			var page struct{ TotalDocs int }
			s.call(http.MethodGet, "/api/media?where[gaffId][equals]=med_x", nil, &page)
			return page.TotalDocs
		}
		if status := s.deliver("dlv_x", body); status != http.StatusInternalServerError {
			t.Fatalf("a failing hook is answered %d, want 500", status)
		}
		if n := rows(); n != 0 {
			t.Errorf("%d rows after a failed attempt, want 0", n)
		}
		var made struct{ Doc struct{ ID int } }
		s.call(http.MethodPost, "/api/films", map[string]string{"title": "third", "prompts": "a"}, &made)
		if made.Doc.ID != 3 {
			t.Fatalf("the new film is %d, want 3", made.Doc.ID)
		}
		if status := s.deliver("dlv_x", body); status != http.StatusNoContent {
			t.Errorf("the next attempt is answered %d, want 204", status)
		}
		if n := rows(); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		var none struct{ Docs []any }
		s.call(http.MethodDelete, "/api/media?where[gaffId][equals]=med_x", nil, &none)
		if status := s.deliver("dlv_x", body); status != http.StatusNoContent {
			t.Errorf("a third attempt is answered %d, want 204", status)
		}
		if n := rows(); n != 0 {
			t.Errorf("a processed delivery was processed again: %d rows", n)
		}
	})
}

// testAdminRetry retries a failed webhook in Payload's admin panel.
func testAdminRetry(t *testing.T, s *studio, v *tab) {
	// A webhook of an unknown job waits for it; canceled, it has failed. Then its job becomes known.
	s.sendFal(`{"request_id":"req-1","gateway_request_id":"req-1","status":"OK","payload":{"images":[{"url":"https://v3.fal.media/files/a.png"}]}}`)
	var logs struct {
		Docs []struct{ ID, Status, Error string }
	}
	pending := "/api/webhook-logs?where[status][equals]=pending&where[webhookId][equals]=req-1"
	eventually.True(t, "the log is pending", func() bool {
		return s.call(http.MethodGet, pending, nil, &logs) == http.StatusOK && len(logs.Docs) == 1
	})
	id := logs.Docs[0].ID
	var delivery struct{ ID string }
	if err := json.Unmarshal([]byte(s.command("deliveries", "list", "--event", id, "--json")), &delivery); err != nil {
		t.Fatalf("the delivery of %s: %v", id, err)
	}
	s.command("deliveries", "cancel", delivery.ID)
	s.sendFal(`{"request_id":"req-1","status":"in_progress","metadata":{"job_id":"own-1","project_id":"p","user_id":"u","generation_type":"image"}}`)

	v.run(chromedp.Navigate(s.url + "/admin/login"))
	v.await("the login form", `document.querySelector("#field-email")?.value !== "" && document.querySelector("form button[type=submit]") !== null`)
	v.click("form button[type=submit]")
	v.await("the login", `location.pathname === "/admin"`)
	v.run(chromedp.Navigate(s.url + "/admin/collections/webhook-logs?limit=50"))
	row := (`[...document.querySelectorAll("tbody tr")].find((row) => row.innerText.includes("req-1") && row.innerText.includes("Error"))`)
	v.await("the failed log is in the list", row+` !== undefined`)
	v.await("the retry in its row", `(() => { const b = `+row+`?.querySelector("button.btn"); b?.click(); return b != null })()`)
	v.await("the log is a success", `![...document.querySelectorAll("tbody tr")].some((row) => row.innerText.includes("Error")) && document.querySelectorAll("tbody tr").length > 0`)
	var log struct{ Status string }
	s.call(http.MethodGet, "/api/webhook-logs/"+id, nil, &log)
	if log.Status != "success" {
		t.Errorf("the log is %q after the retry, want success", log.Status)
	}
	v.run(chromedp.Navigate(s.url + "/admin/collections/webhook-logs/" + id))
	v.await("the log's page", `document.body.innerText.includes("req-1") || [...document.querySelectorAll("input")].some((i) => i.value === "req-1")`)
}
