package gaff_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/store/sqlite"
)

func TestRejectionsTellTheOperatorAndHideSecrets(t *testing.T) {
	t.Parallel()
	b := ingestBench(t)
	req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"guarded", strings.NewReader(strings.Repeat("x", 900)))
	req.Header.Set("X-Pass", "wrong")
	req.Header.Set("Authorization", "Bearer very-secret")
	req.Header.Set("X-Api-Token", "very-secret")
	req.Header.Set("X-Signature", "0123456789abcdef-very-secret")
	b.IngestHandler().ServeHTTP(httptest.NewRecorder(), req)
	rj := b.rejections(t, gaff.RejectionFilter{Source: "guarded"}, 1)[0]
	if rj.Status != 401 || rj.Reason != "X-Pass: does not match" || rj.BodySize != 900 || len(rj.Body) != 900 {
		t.Errorf("kept %d %q, %d of %d bytes", rj.Status, rj.Reason, len(rj.Body), rj.BodySize)
	}
	if text := fmt.Sprint(rj); strings.Contains(text, "very-secret") {
		t.Errorf("a secret is kept: %s", text)
	}
}

// Rejections are bounded for any number of untrusted clients. Not parallel: the heap is also that of
// other tests, whose stores take half a megabyte each.
func TestManyRejectionsStayFew(t *testing.T) {
	const kept, requests = 50, 100_000
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), filepath.Join(dir, "gaff.db"), sqlite.Options{MaxRejections: kept})
	if err != nil {
		t.Fatal(err)
	}
	b := benchOn(t, st, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "guarded", Verifier: guardedVerifier{}, Parser: plain{}})
	})
	defer func() {
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range requests / 16 {
				// Every other one to a name of its own.
				path := "guarded"
				if i%2 == 1 {
					path = fmt.Sprintf("nobody-%d-%d", worker, i)
				}
				req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+path, strings.NewReader("{}"))
				b.IngestHandler().ServeHTTP(httptest.NewRecorder(), req)
			}
		})
	}
	wg.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	disk := int64(0)
	files, err := os.ReadDir(dir)
	for _, file := range files {
		if info, err := file.Info(); err == nil {
			disk += info.Size()
		}
	}
	if err != nil || disk > 32<<20 {
		t.Errorf("%d bytes are on the disk, %v", disk, err)
	}
	all, cursor := 0, ""
	for {
		page, err := st.Rejections(context.Background(), gaff.RejectionFilter{Cursor: gaff.Cursor{After: cursor, Limit: 500}})
		if err != nil {
			t.Fatal(err)
		}
		if all += len(page.Items); page.Next == "" {
			break
		}
		cursor = page.Next
	}
	if all < kept*9/10 || all > 2*kept {
		t.Errorf("%d rejections are kept, want about %d", all, kept)
	}
	counts, err := st.Counts(context.Background(), time.Time{})
	if err != nil || len(counts.Sources) > 2 {
		t.Errorf("%d sources are counted, %v", len(counts.Sources), err)
	}
}

func TestStalledDiskDelaysNoAnswer(t *testing.T) {
	setup := func(b *bench) {
		b.AddSource(gaff.Source{Name: "guarded", Verifier: guardedVerifier{}, Parser: plain{}, MaxBodyBytes: 1000})
	}
	stalled(t, gaff.Options{}, setup, func(t *testing.T, b *bench, mend func()) {
		for _, c := range []struct {
			path, body string
			status     int
			within     time.Duration
		}{
			{"shop", `{"id":"a","type":"x"}`, http.StatusServiceUnavailable, 5 * time.Second},
			{"nobody", `{}`, http.StatusNotFound, 250 * time.Millisecond},
			{"guarded", `{}`, http.StatusUnauthorized, 250 * time.Millisecond},
			{"guarded", strings.Repeat(" ", 1001), http.StatusRequestEntityTooLarge, 250 * time.Millisecond},
		} {
			began := time.Now()
			if got := b.post(http.MethodPost, c.path, c.body).Code; got != c.status {
				t.Errorf("%s: answered %d, want %d", c.path, got, c.status)
			}
			if took := time.Since(began); took > c.within {
				t.Errorf("%s, %d: answered after %s, want %s at most", c.path, c.status, took, c.within)
			}
		}
		// The notes were queued, and are written as soon as that is possible.
		mend()
		time.Sleep(time.Second)
		page, err := b.st.Rejections(context.Background(), gaff.RejectionFilter{})
		if err != nil || len(page.Items) != 4 {
			t.Errorf("%d rejections are kept (%v), want 4", len(page.Items), err)
		}
	})
}
