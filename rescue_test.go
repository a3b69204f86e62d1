package gaff_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// A refused request is kept whole, and judged at its own time once the word is mended.
func TestRescue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := func(word string) gaff.Source {
			return gaff.Source{Name: "lines", Verifier: pass(word), Parser: lines{}}
		}
		b := newBench(t, gaff.Options{}, func(b *bench) { b.AddSource(source("old")) })
		sentAt := time.Now().UTC().Format(time.RFC3339)
		refused := func(body string) string {
			t.Helper()
			if rec := b.post("POST", "lines/handle-1?x=1", body, "X-Pass", "new", "X-At", sentAt); rec.Code != 401 {
				t.Fatalf("answered %d", rec.Code)
			}
			rj := b.newestRejection(t)
			if !rj.Rescuable {
				t.Fatal("it was not kept whole")
			}
			return rj.ID
		}
		first, second := refused("a b"), refused("c")
		if _, err := b.Rescue(t.Context(), first); !errors.Is(err, gaff.ErrConflict) || !strings.Contains(err.Error(), "another word") {
			t.Errorf("before it is mended: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if err := b.UpdateSource(source("new")); err != nil {
			t.Fatal(err)
		}
		out, err := b.Rescue(t.Context(), first)
		if err != nil || out.Events != 2 || out.Duplicate {
			t.Fatalf("rescued %+v, %v", out, err)
		}
		d := b.detail(t, out.EventID)
		if d.CallbackToken != "handle-1" || string(d.Request.Body) != "a b" || d.ReceivedAt.UTC().Format(time.RFC3339) != sentAt || d.Verification.KeyID != "new" {
			t.Errorf("the event is %+v", d.Event)
		}
		again, err := b.Rescue(t.Context(), first)
		if err != nil || !again.Duplicate || again.EventID != out.EventID {
			t.Errorf("rescued twice: %+v, %v", again, err)
		}
		// The sender was faster.
		rec := b.post("POST", "lines", "c", "X-Pass", "new")
		if rec.Code != 200 {
			t.Fatalf("sent again: %d", rec.Code)
		}
		out, err = b.Rescue(t.Context(), second)
		if err != nil || !out.Duplicate {
			t.Errorf("after it was sent again: %+v, %v", out, err)
		}
		rj, err := b.st.Rejection(t.Context(), second)
		if err != nil || rj.RescuedAs != out.EventID || rj.Rescuable {
			t.Errorf("the rejection: %+v, %v", rj, err)
		}
		if _, err := b.Rescue(t.Context(), "rej_nobody"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("an unknown one: %v", err)
		}
	})
}

// The rate of bytes that untrusted clients can have stored is bounded.
func TestQuarantineSpeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: pass("x"), Parser: lines{}})
		})
		whole := 0
		for range 40 {
			b.post("POST", "lines", strings.Repeat("a", 1<<20-2000))
			if b.newestRejection(t).Rescuable {
				whole++
			}
		}
		if whole < 10 || whole > 20 {
			t.Errorf("%d of 40 MiB at once are kept whole", whole)
		}
		time.Sleep(3 * time.Second)
		b.post("POST", "lines", strings.Repeat("a", 1<<20-2000))
		if !b.newestRejection(t).Rescuable {
			t.Error("later ones are not kept")
		}
	})
}
