package gaff_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"gaff"
)

// stuck verifies no large body before let is closed or the request ends, and counts them.
type stuck struct {
	signed
	entered chan struct{}
	let     chan struct{}
	now     atomic.Int32
}

func (s *stuck) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if len(r.Body) > 1<<20 {
		s.now.Add(1)
		s.entered <- struct{}{}
		select {
		case <-s.let:
		case <-ctx.Done():
		}
	}
	return s.signed.Verify(ctx, r)
}

func TestLargeUnverifiedBodiesHaveAFewPlacesAndDelayNoSmallOne(t *testing.T) {
	t.Parallel()
	v := &stuck{entered: make(chan struct{}, 16), let: make(chan struct{})}
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "signed", Verifier: v, Parser: plain{}, MaxBodyBytes: 4 << 20})
	})
	large := `{"id":"` + strings.Repeat("x", 2<<20) + `"}`
	done := make(chan struct{}, 4)
	for range 4 {
		go func() {
			postSigned(t, b, "signed", large, "wrong")
			done <- struct{}{}
		}()
		<-v.entered
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, gaff.PathPrefix+"signed", strings.NewReader(large))
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable || v.now.Load() != 4 {
		t.Errorf("a fifth large body: %d, %d are verified at once; want 503 and 4", rec.Code, v.now.Load())
	}
	small := `{"id":"a","type":"t"}`
	if rec := postSigned(t, b, "signed", small, small); rec.Code != http.StatusOK {
		t.Errorf("a small verified body meanwhile: %d %s", rec.Code, rec.Body)
	}
	close(v.let)
	for range 4 {
		<-done
	}
}
