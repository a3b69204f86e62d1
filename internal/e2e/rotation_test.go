package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff/client"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/standin"
)

// callbackReceiver is an application that verifies callbacks with the first secret that it was given.
type callbackReceiver struct {
	secret string
	mu     sync.Mutex
	seen   map[string]bool
	faults []string
}

func (c *callbackReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, err := client.Verify([]string{c.secret}, r.Header, body, time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.faults = append(c.faults, err.Error())
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c.seen[r.Header.Get("X-Gaff-Job-Id")] = true
}

// secretsKey makes a key for GAFF_SECRETS_KEY.
func secretsKey(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(binary, "secrets", "key").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestKeyRotationUnderLoad rotates all keys while jobs are submitted: no webhook, no callback and no link
// is lost.
func TestKeyRotationUnderLoad(t *testing.T) {
	t.Parallel()
	for name, store := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, err := store(t)()
			if err != nil {
				t.Fatal(err)
			}
			rotateUnderLoad(t, database)
		})
	}
}

func rotateUnderLoad(t *testing.T, database []string) {
	p := newPlace(t)
	_, _, fal := playFal(t, p.addr, standin.Options{Queue: 20 * time.Millisecond, Work: 200 * time.Millisecond})
	first, second := secretsKey(t), secretsKey(t)
	keys := filepath.Join(p.dir, "secrets.key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	settings := append(append(fal, database...), "GAFF_SECRETS_KEY_FILE="+keys, "GAFF_MEDIA_URL=", "GAFF_RECONCILE_AFTER=1h", "GAFF_LOG_LEVEL=warn")
	p.env = environment(p.dir, p.addr, settings...)
	p.open(t)
	var secrets struct{ Secrets []string }
	if err := p.get("/api/v1/callback-secrets", &secrets); err != nil {
		t.Fatal(err)
	}
	app := &callbackReceiver{secret: secrets.Secrets[0], seen: map[string]bool{}}
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)

	submitted := 0
	submit := func(n int) {
		for range n {
			submitted++
			p.call(t, http.MethodPost, "/api/v1/jobs", fmt.Sprintf(`{"provider":"fal","model":"fal-ai/flux/dev","input":{"prompt":"%d"},"callbackUrl":%q}`, submitted, server.URL), http.StatusAccepted)
		}
	}
	rotate := func(args ...string) {
		t.Helper()
		if out, err := p.gaff(append([]string{"secrets"}, args...)...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		submit(5)
	}
	submit(5)
	rotate("rotate-key", "webhooks")
	links := p.storedLinks(t, 3)
	rotate("rotate-key", "links")
	rotate("rotate-key", "callbacks")
	write(second + "," + first)
	rotate("rotate")
	write(second)
	rotate("rotate")
	for _, key := range []string{"webhooks", "links", "callbacks"} {
		rotate("rotate-key", key)
	}
	eventually.True(t, "all jobs settle by their webhook and are called back", func() bool {
		settled := 0
		err := each(p.gateway, "/api/v1/jobs", func(j ledgerJob) {
			if j.Status == "completed" && j.SettledBy == "webhook" {
				settled++
			}
		})
		app.mu.Lock()
		defer app.mu.Unlock()
		return err == nil && settled == submitted && len(app.seen) == submitted
	})
	if len(app.faults) > 0 {
		t.Errorf("callbacks that the application rejected: %v", app.faults)
	}
	p.wantLinks(t, links, http.StatusOK)
	p.wantLinks(t, p.storedLinks(t, submitted), http.StatusOK)
	out, err := p.gaff("secrets", "status", "--json")
	var status struct{ Current, Older, Plain, Locked int }
	if err := json.Unmarshal([]byte(out), &status); err != nil || status.Older+status.Plain+status.Locked != 0 || status.Current == 0 {
		t.Errorf("secrets: %v %s", err, out)
	}
	if err != nil {
		t.Error(err)
	}
	if len(database) == 0 { // the links of the first key end when it is dropped
		rotate("rotate-key", "links", "--drop")
		p.wantLinks(t, links, http.StatusForbidden)
	}
	p.restartWith(t, first, second, write)
}

// restartWith starts the gateway with the former key alone, which fails, and with the new one.
func (p *place) restartWith(t *testing.T, first, second string, write func(string)) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	write(first)
	if out, err := p.gaff("serve"); err == nil || !strings.Contains(out, "GAFF_SECRETS_KEY") {
		t.Errorf("with the former key: %v\n%s", err, out)
	}
	write(second)
	p.open(t)
}

// storedLinks waits until n files are stored, and returns their links.
func (p *place) storedLinks(t *testing.T, n int) (links []string) {
	t.Helper()
	eventually.True(t, fmt.Sprint(n, " files are stored"), func() bool {
		links = nil
		err := each(p.gateway, "/api/v1/media", func(m mediaDoc) {
			if m.Storage == "stored" {
				links = append(links, m.StoredURL)
			}
		})
		return err == nil && len(links) >= n
	})
	return links
}

func (p *place) wantLinks(t *testing.T, links []string, status int) {
	t.Helper()
	for _, link := range links {
		resp, err := http.Get(p.url + link[strings.Index(link, "/media/"):])
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %s, want %d", link, resp.Status, status)
		}
	}
}

// TestNodesFollowARotation rotates on one node; the other verifies with the new key before it signs.
func TestNodesFollowARotation(t *testing.T) {
	t.Parallel()
	settings := []string{"GAFF_DATABASE_URL=" + pgtest.URL(t), "GAFF_MEDIA_URL=file://" + t.TempDir() + "?shared=true"}
	one, other := newPlace(t, settings...), newPlace(t, settings...)
	one.open(t)
	other.open(t)
	out, err := one.gaff("secrets", "rotate-key", "links", "--json")
	var key struct{ SignsFrom time.Time }
	if err != nil || json.Unmarshal([]byte(out), &key) != nil || time.Until(key.SignsFrom) < 20*time.Second {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually.True(t, "the other node knows the new key before it signs", func() bool {
		var doc struct {
			Docs []struct {
				Name     string
				Accepted int
			}
		}
		return other.get("/api/v1/signing-keys", &doc) == nil && doc.Docs[0].Name == "links" && doc.Docs[0].Accepted == 2
	})
	if !time.Now().Before(key.SignsFrom) {
		t.Errorf("it knows it since %s; the key signs since %s", time.Now(), key.SignsFrom)
	}
}
