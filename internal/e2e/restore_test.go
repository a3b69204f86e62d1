package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gaff/gafftest"
	"gaff/internal/eventually"
	"gaff/internal/s3test"
)

// mediaDoc is a row of the media list.
type mediaDoc struct {
	ID        string `json:"id"`
	Storage   string `json:"storage"`
	StoredURL string `json:"storedUrl"`
}

// withFiles sends a webhook whose job has files, and waits until they are stored.
func withFiles(t *testing.T, p *place, source, job string, files int) {
	t.Helper()
	var images []string
	for i := range files {
		images = append(images, fmt.Sprintf(`{"url":"%s/%s/%d.png"}`, source, job, i))
	}
	body := fmt.Sprintf(`{"request_id":"r-%[1]s","status":"completed","result":{"images":[%[2]s]},"metadata":{"job_id":"job-%[1]s","project_id":"p","user_id":"u","generation_type":"image"}}`,
		job, strings.Join(images, ","))
	req, err := gafftest.SignedRequest(t.Context(), p.url+"/api/v1/webhooks/fal", "fal", falSecret, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answered %s", resp.Status)
	}
	eventually.True(t, "the files of "+job+" are stored", func() bool {
		stored := 0
		err := each(p.gateway, "/api/v1/media?jobId=job-"+job, func(m mediaDoc) {
			if m.Storage == "stored" {
				stored++
			}
		})
		return err == nil && stored == files
	})
}

// TestRestoreDrill backs a busy gateway up with its files, loses its machine, and restores it elsewhere.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n" + strings.Repeat(r.URL.Path, 100)))
	}))
	t.Cleanup(provider.Close)
	s3 := s3test.Start(t, filepath.Join("..", "..", "tools"), "backups")
	for name, to := range map[string]string{"folder": t.TempDir(), "S3": s3.URL("backups", "gaff")} {
		t.Run(name, func(t *testing.T) { drill(t, provider.URL, to, nil, nil) })
	}
	identity, recipient := backupIdentity(t)
	for name, to := range map[string]string{"folder encrypted": t.TempDir(), "S3 encrypted": s3.URL("backups", "encrypted")} {
		t.Run(name, func(t *testing.T) {
			drill(t, provider.URL, to, []string{"--recipient", recipient}, []string{"--identity", identity})
		})
	}
	noPlainText(t, s3.Dir+"/backups/encrypted")
}

// drill backs up with the options of both commands.
func drill(t *testing.T, provider, to string, backupWith, restoreWith []string) {
	settings := append([]string{"GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8"}, s3test.Environ...)
	p := newPlace(t, settings...)
	p.open(t)
	backup := func(want ...string) {
		t.Helper()
		out, err := p.gaff(append([]string{"backup", "--to", to}, backupWith...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%q is missing in %s", text, out)
			}
		}
	}
	withFiles(t, p, provider, "one", 3)
	backup("verified", "files: 3 copied", " 0 there already")
	withFiles(t, p, provider, "two", 2)
	acknowledged := &ledger{acknowledged: map[string]webhook{}}
	for n := range busyWith {
		w := makeWebhook(fmt.Sprint("before-", n), 2) // without files
		id, _, err := send(t.Context(), http.DefaultClient, p.url, w)
		if err != nil {
			t.Fatal(err)
		}
		acknowledged.acknowledged[id] = w
	}
	backup("files: 2 copied", " 3 there already")
	if out, err := p.gaff(append([]string{"restore", "--from", to}, restoreWith...)...); err == nil || !strings.Contains(out, "move its data folder away") {
		t.Errorf("over a data folder: %v\n%s", err, out)
	}
	p.kill()
	if err := os.RemoveAll(filepath.Join(p.dir, "data")); err != nil {
		t.Fatal(err)
	}

	r := newPlace(t, settings...)
	if out, err := r.gaff("restore", "--from", to, "--list"); err != nil || strings.Count(out, "Z ") < 2 {
		t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := r.gaff("restore", "--from", to, "--snapshot", "none"); err == nil || !strings.Contains(out, "no snapshot") {
		t.Errorf("unknown snapshot: %v\n%s", err, out)
	}
	out, err := r.gaff(append([]string{"restore", "--from", to}, restoreWith...)...)
	if err != nil || !strings.Contains(out, "files: 5 copied") {
		t.Fatalf("%v\n%s", err, out)
	}
	r.open(t)
	if err := idle(r.gateway); err != nil {
		t.Fatal(err)
	}
	acknowledged.resend(t, r.gateway) // all are known
	checked := 0
	if err := each(r.gateway, "/api/v1/media?projectId=p", func(m mediaDoc) {
		if m.Storage != "stored" {
			return
		}
		checked++
		resp, err := http.Get(r.url + m.StoredURL[strings.Index(m.StoredURL, "/media/"):])
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("file of %s: %s", m.ID, resp.Status)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if checked != 5 {
		t.Errorf("%d stored files after the restore, want 5", checked)
	}
}

// A backup names files that are damaged, and copies the others.
func TestBackupNamesDamagedFiles(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n" + r.URL.Path))
	}))
	t.Cleanup(provider.Close)
	p := newPlace(t, "GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")
	p.open(t)
	withFiles(t, p, provider.URL, "one", 3)
	p.kill()
	var files []string
	if err := filepath.WalkDir(filepath.Join(p.dir, "data", "media", "sha256"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}); err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	out, err := p.gaff("backup", "--to", t.TempDir())
	if err == nil || !strings.Contains(out, "1 copied") || !strings.Contains(out, "1 missing, 1 damaged") || !strings.Contains(out, "2 files are missing or damaged") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A damaged copy of the database is not restored.
func TestDamagedBackupIsNotRestored(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t)
	to := t.TempDir()
	if out, err := p.gaff("backup", "--to", to); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	copies, err := filepath.Glob(filepath.Join(to, "database", "*.db.gz"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("%v, %v", copies, err)
	}
	text, err := os.ReadFile(copies[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"cut":     text[:len(text)/2],
		"flipped": append(append([]byte{}, text[:len(text)/2]...), append([]byte{text[len(text)/2] ^ 1}, text[len(text)/2+1:]...)...),
	} {
		if err := os.WriteFile(copies[0], damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newPlace(t)
		if out, err := r.gaff("restore", "--from", to); err == nil {
			t.Errorf("%s: restored\n%s", name, out)
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, "data", "gaff.db*")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}
