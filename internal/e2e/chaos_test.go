package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/standin"
)

// TestChaosFal loses, doubles and delays the webhooks of many jobs, breaks files off, and
// kills the gateway while it submits the jobs and copies their files. Every job must be
// settled, once, none paid twice, and each file kept once.
func TestChaosFal(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		chaosFal(t)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		chaosFal(t, "GAFF_DATABASE_URL="+pgtest.Empty(t))
	})
}

// falChaos is a stand-in for fal, and one gateway or two that are meant to cope with it.
type falChaos struct {
	chaosRun
	fal    *standin.Fal
	falURL string
	files  *slowFiles
	folder string // where the gateways keep files
}

// slowFiles is a stand-in whose files take their time, so that kills meet copies under way.
type slowFiles struct {
	next http.Handler
	wait time.Duration

	mu     sync.Mutex
	broken int // answers that their reader did not live to see
}

func (s *slowFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/files/") {
		w = &slowWriter{ResponseWriter: w, s: s, r: r}
	}
	s.next.ServeHTTP(w, r)
}

// slowWriter waits in the middle of its first write.
type slowWriter struct {
	http.ResponseWriter
	s      *slowFiles
	r      *http.Request
	waited bool
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.waited {
		return w.ResponseWriter.Write(b)
	}
	w.waited = true
	half := len(b) / 2
	n, err := w.ResponseWriter.Write(b[:half])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	select {
	case <-time.After(w.s.wait):
	case <-w.r.Context().Done():
		w.s.mu.Lock()
		w.s.broken++
		w.s.mu.Unlock()
		return n, w.r.Context().Err()
	}
	m, err := w.ResponseWriter.Write(b[half:])
	return n + m, err
}

// newChaos starts a gateway, and on a database that two can share a second one, which is
// not killed.
func newChaos(t *testing.T, database ...string) *falChaos {
	c := &falChaos{chaosRun: chaosRun{T: t, jobs: setting(t, "GAFF_CHAOS_JOBS", 80), kills: setting(t, "GAFF_CHAOS_KILLS", 2)}, folder: t.TempDir()}
	// Two jobs after each other make the same picture.
	c.body = func(n int) string {
		return fmt.Sprintf(`{"provider":"fal","model":"fal-ai/flux/dev","kind":"image","projectId":"chaos","idempotencyKey":"chaos-%d",
		"input":{"prompt":"chaos","seed":%d,"image_size":{"width":128,"height":96},"job":%d}}`, n, n/2, n)
	}
	o := standin.Options{
		Key: falAPIKey, Seed: 20261124, Work: 300 * time.Millisecond, Queue: 50 * time.Millisecond, LateBy: 2 * time.Second,
		Faults: standin.Faults{standin.Lost: .2, standin.Duplicate: .2, standin.Late: .2, standin.BeforeAnswer: .05, standin.FileCut: .1},
	}
	pace := []string{"GAFF_RECONCILE_AFTER=1s", "GAFF_RECONCILE_RATE=100", "GAFF_SUBMIT_PATIENCE=10s"}
	if c.jobs > 500 {
		o.Work, o.LateBy = 2*time.Second, 20*time.Second
		pace = []string{"GAFF_RECONCILE_AFTER=10s", "GAFF_RECONCILE_RATE=20", "GAFF_SUBMIT_PATIENCE=1m"}
	}
	c.fal = standin.NewFal(o)
	c.files = &slowFiles{next: c.fal, wait: 100 * time.Millisecond}
	srv := httptest.NewServer(c.files)
	t.Cleanup(func() {
		c.fal.Close()
		srv.Close()
	})
	c.falURL = srv.URL
	c.start(1+len(database), fmt.Sprintf("limits: {lease: %s}\n", clusterLease), func(base string) []string {
		return slices.Concat(falSettings(srv.URL, base), pace, database, []string{"GAFF_MEDIA_URL=file://" + c.folder + "?shared=true"})
	})
	return c
}

func chaosFal(t *testing.T, database ...string) {
	c := newChaos(t, database...)
	began := time.Now()
	c.submitAll()
	submitted := time.Now()
	c.await("/api/v1/jobs?status=queued", "/api/v1/jobs?status=processing")

	made := map[string]standin.Job{} // by id
	paid := map[string]int{}
	for _, j := range c.fal.Jobs() {
		made[j.ID] = j
		paid[string(j.Input)]++
	}
	for input, times := range paid {
		if times != 1 {
			t.Errorf("%s was submitted %d times", input, times)
		}
	}
	seen, by, last := map[string]bool{}, map[string]int{}, time.Time{}
	completed, unknown := map[string]string{}, 0 // completed: id to request
	err := each(c.nodes[0].gateway, "/api/v1/jobs", func(j ledgerJob) {
		if seen[j.IdempotencyKey] {
			t.Errorf("two jobs of key %s", j.IdempotencyKey)
		}
		seen[j.IdempotencyKey] = true
		by[j.SettledBy]++
		if j.SettledAt.After(last) {
			last = j.SettledAt
		}
		switch {
		case j.Status == "completed":
			completed[j.ID] = j.RequestID
		case j.ErrorType == "submit_outcome_unknown":
			unknown++
		default:
			t.Errorf("job %s ended as %s: %s", j.ID, j.Status, j.Error)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != c.jobs {
		t.Errorf("%d jobs, want %d", len(seen), c.jobs)
	}
	// Submits in progress at a kill may have an unknown outcome: no more than the workers
	// had in hand, and nothing that fal got, for it can be found there.
	if unknown > 8*c.kills || len(completed) != len(made) {
		t.Errorf("%d jobs ended with an unknown outcome, after %d kills; %d were completed of %d that fal has", unknown, c.kills, len(completed), len(made))
	}
	ended := map[string]int{}
	if err := each(c.nodes[0].gateway, "/api/v1/events?source=gaff&type=job.completed", func(ev struct{ CorrelationID string }) {
		ended[ev.CorrelationID]++
	}); err != nil {
		t.Fatal(err)
	}
	for id := range completed {
		if ended[id] != 1 {
			t.Errorf("job %s came to its end %d times", id, ended[id])
		}
	}
	c.await("/api/v1/media?storage=pending")
	copied := time.Now()
	files, size := c.checkFiles(completed)
	t.Logf("%d jobs, %d kills: submitted in %s, the last was settled %s after that and the last file copied %s after that; "+
		"%d by webhook, %d by reconciliation, %d of unknown outcome, which fal never got; %d copies were under way at a kill; %d files of %d bytes, each kept once",
		c.jobs, c.kills, submitted.Sub(began).Round(time.Millisecond), last.Sub(submitted).Round(time.Millisecond), copied.Sub(last).Round(time.Millisecond),
		by["webhook"], by["reconciliation"], unknown, c.files.broken, files, size)
}

// picture asks fal for the file of a request, and returns its URL and content.
func (c *falChaos) picture(request string) (link string, data []byte) {
	get := func(path string, header ...string) []byte {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set(header[0], header[1])
		rec := httptest.NewRecorder()
		c.fal.ServeHTTP(rec, r)
		return rec.Body.Bytes()
	}
	var result struct{ Images []struct{ URL string } }
	text := get(c.falURL+"/fal-ai/flux/requests/"+request, "Authorization", "Key "+falAPIKey)
	if err := json.Unmarshal(text, &result); err != nil || len(result.Images) != 1 {
		c.Fatalf("the result of request %s is %s: %v", request, text, err)
	}
	// By a range, since some break off where it is asked for at once.
	return result.Images[0].URL, get(result.Images[0].URL, "Range", "bytes=0-")
}

// checkFiles holds the rows and the folder against what fal made: every row is stored and
// served, every content is there once, and nothing else is.
func (c *falChaos) checkFiles(completed map[string]string) (files int, size int64) {
	type row struct {
		JobID, URL, Storage, StorageError, StoredURL, SHA256 string
		Size                                                 int64
	}
	rows := map[string]row{}
	if err := each(c.nodes[0].gateway, "/api/v1/media", func(m row) {
		if rows[m.JobID].JobID != "" {
			c.Errorf("job %s has two files", m.JobID)
		}
		rows[m.JobID] = m
	}); err != nil {
		c.Fatal(err)
	}
	told := map[string]int{}
	if err := each(c.nodes[0].gateway, "/api/v1/events?source=gaff&type=media.stored", func(ev struct{ CorrelationID string }) {
		told[ev.CorrelationID]++
	}); err != nil {
		c.Fatal(err)
	}
	wanted := map[string]bool{} // paths in the folder
	for id, request := range completed {
		link, data := c.picture(request)
		sum := sha256.Sum256(data)
		hash := hex.EncodeToString(sum[:])
		m := rows[id]
		if m.Storage != "stored" || m.URL != link || m.SHA256 != hash || m.Size != int64(len(data)) || told[id] != 1 {
			c.Errorf("job %s, %d bytes of %.8s: %+v, told of %d times", id, len(data), hash, m, told[id])
			continue
		}
		resp, err := http.Get(m.StoredURL)
		if err != nil {
			c.Fatal(err)
		}
		served, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(served, data) {
			c.Errorf("%s: %s, %d bytes, %v", m.StoredURL, resp.Status, len(served), err)
		}
		if path := filepath.Join("sha256", hash[:2], hash); !wanted[path] {
			wanted[path] = true
			files++
			size += int64(len(data))
		}
		wanted[filepath.Join("thumbnail", hash[:2], hash)] = true
	}
	c.sweep()
	found := 0
	err := fs.WalkDir(os.DirFS(c.folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		if !wanted[path] {
			c.Errorf("the folder has %s, which no row wants", path)
		}
		if hash, ok := strings.CutPrefix(path, "sha256/"); ok {
			data, err := os.ReadFile(filepath.Join(c.folder, path))
			if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != hash[3:] {
				c.Errorf("%s holds other bytes: %v", path, err)
			}
		}
		return nil
	})
	if err != nil || found != len(wanted) || files != len(wanted)/2 {
		c.Errorf("the folder has %d files, want %d: %v", found, len(wanted), err)
	}
	return files, size
}

// sweep restarts the gateways, two hours later as far as half-written files can tell,
// and waits until nothing is left of them.
func (c *falChaos) sweep() {
	half, err := filepath.Glob(filepath.Join(c.folder, "partial", "*"))
	if err != nil {
		c.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range half {
		if err := os.Chtimes(name, old, old); err != nil {
			c.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		if err := n.stop(); err != nil {
			c.Error(err)
		}
		n.start(c.T)
		err := poll(eventually.Limit, func() error {
			for _, dir := range []string{filepath.Join(c.folder, "partial"), filepath.Join(n.dir, "data", "media-spool")} {
				if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
					return fmt.Errorf("%s has %v, %v", dir, left, err)
				}
			}
			return nil
		})
		if err != nil {
			c.Error(err)
		}
	}
}
