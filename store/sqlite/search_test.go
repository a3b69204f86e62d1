package sqlite_test

import (
	"context"
	"database/sql"
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

// The id of a sender is found in as many sources as there are, by its key or in the log.
func TestWebhookIDIsFoundInManySources(t *testing.T) {
	t.Parallel()
	for _, sources := range []int{2, 1000, 40_000} { // the last more than SQLite has parameters
		st := open(t, filepath.Join(t.TempDir(), "gaff.db"))
		ev := &gaff.Event{
			Source: "shop", Type: "paid", WebhookID: "order-1", DedupeKey: "order-1", ReceivedAt: time.Now(), Data: []byte(`{}`),
			Request: &gaff.Request{Method: "POST", Body: []byte(`{}`), ReceivedAt: time.Now()},
		}
		if _, err := st.Accept(t.Context(), gaff.AcceptParams{Event: ev}); err != nil {
			t.Fatal(err)
		}
		err := st.Between(func(c *sql.Conn) error {
			_, err := c.ExecContext(t.Context(), `with recursive s(i) as (select 1 union all select i + 1 from s where i < $1)
				insert into tally (source, minute) select 'source-' || i, 1 from s`, sources)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		page, err := st.Events(t.Context(), gaff.EventFilter{WebhookID: "order-1", Cursor: gaff.Cursor{Limit: 10}})
		if err != nil || len(page.Items) != 1 {
			t.Errorf("%d sources: %d events, %v", sources, len(page.Items), err)
		}
	}
}
