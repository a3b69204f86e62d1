package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/store/sqlite"
)

// Events that arrive between the two statements of a search do not displace older ones from the
// part that it examines.
func TestSearchMissesNothingWhileEventsArrive(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	var stored atomic.Int64
	accept := func(id, eventType string) {
		ev := &gaff.Event{
			Source: "shop", Type: eventType, WebhookID: id, DedupeKey: id, ReceivedAt: time.Now(), Data: []byte(`{}`),
			Request: &gaff.Request{Method: "POST", Body: []byte(`{}`), ReceivedAt: time.Now()},
		}
		if _, err := st.Accept(context.Background(), gaff.AcceptParams{Event: ev}); err == nil && eventType == "paid" {
			stored.Add(1)
		}
	}
	var wg sync.WaitGroup
	var stopped atomic.Bool
	for sender := range 8 {
		wg.Go(func() {
			for n := 0; n < 1000 || !stopped.Load(); n++ {
				// So few that one page examines several parts.
				accept(fmt.Sprintf("%d-%d", sender, n), []string{"paid", "seen", "seen", "seen", "seen"}[n%5])
			}
		})
	}
	for stored.Load() < 800 {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		before, found := stored.Load(), int64(0)
		for f := (gaff.EventFilter{Source: "shop", Type: "paid", Cursor: gaff.Cursor{Limit: 500}}); ; {
			page, err := st.Events(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			found += int64(len(page.Items))
			if f.After = page.Next; f.After == "" {
				break
			}
		}
		if found < before {
			t.Errorf("found %d events, and %d were stored before", found, before)
		}
	}
	stopped.Store(true)
	wg.Wait()
}
