package destination_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/store/sqlite"
)

func leasesOf(pulled []destination.Pulled) (all []string) {
	for _, p := range pulled {
		all = append(all, p.Lease)
	}
	return all
}

func TestPull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t)
		must(n.Create(ctx, destination.Spec{Name: "worker", Kind: destination.KindPull, MaxAttempts: 3, FirstWait: destination.Duration(time.Minute)}))(t)
		pull := func(limit int, wait time.Duration) []destination.Pulled {
			t.Helper()
			return must(n.Pull(ctx, "worker", limit, wait, 30*time.Second))(t)
		}
		var ids []string
		for i := range 5 {
			ids = append(ids, n.emit("shop", fmt.Sprint("t", i)))
		}
		first := pull(2, 0)
		rest := pull(10, 0)
		if len(first) != 2 || len(rest) != 3 || first[0].Event.ID != ids[0] || !strings.Contains(string(first[0].Envelope), `"t0"`) {
			t.Fatalf("pulled %d and %d", len(first), len(rest))
		}
		if more := pull(10, 0); len(more) != 0 {
			t.Errorf("the same twice: %v", more)
		}
		for _, e := range n.Ack(ctx, leasesOf(first)) {
			if e.Err != nil {
				t.Errorf("ack: %v", e.Err)
			}
		}
		if e := n.Ack(ctx, leasesOf(first)[:1]); !errors.Is(e[0].Err, gaff.ErrLeaseLost) {
			t.Errorf("acknowledged twice: %v", e[0].Err)
		}
		if del, as := n.state(ids[0]); del.State != gaff.StateSucceeded || len(as) != 1 || as[0].Outcome != gaff.AttemptSucceeded {
			t.Errorf("acknowledged: %s, %+v", del.State, as)
		}
		// Given back: at once for the next, and no attempt counts.
		n.Release(ctx, leasesOf(rest)[:1])
		again := pull(10, 0)
		if len(again) != 1 || again[0].Attempt != 1 {
			t.Fatalf("released: %+v", again)
		}
		// Failed: after the destination's own wait, or when the application says, or dead.
		must(n.Fail(ctx, leasesOf(again), "no luck", 10*time.Second, false))(t)
		must(n.Fail(ctx, leasesOf(rest)[1:2], "never", -1, true))(t)
		if del, _ := n.state(ids[3]); del.State != gaff.StateDead || del.Error != "never" {
			t.Errorf("dead: %s %q", del.State, del.Error)
		}
		// Extended leases outlive their time; others expire, which costs an attempt.
		if ended, _, err := n.Extend(leasesOf(rest)[2:], 2*time.Minute); err != nil || ended[0].Err != nil {
			t.Errorf("extend: %v, %v", err, ended)
		}
		started := time.Now()
		waited := pull(10, 20*time.Second)
		if took := time.Since(started); len(waited) != 1 || waited[0].Event.ID != ids[2] || waited[0].Attempt != 2 || took < 9*time.Second || took > 12*time.Second {
			t.Fatalf("waited %s for %+v", took, waited)
		}
		time.Sleep(40 * time.Second)
		if e := n.Ack(ctx, leasesOf(waited)); !errors.Is(e[0].Err, gaff.ErrLeaseLost) {
			t.Errorf("acknowledged after the lease ran out: %v", e[0].Err)
		}
		last := pull(10, 0)
		if len(last) != 1 || last[0].Attempt != 3 {
			t.Fatalf("after the lease ran out: %+v", last)
		}
		time.Sleep(40 * time.Second)
		if del, as := n.state(ids[2]); del.State != gaff.StateDead || len(as) != 3 || as[2].Outcome != gaff.AttemptLost {
			t.Errorf("lost three times: %s, %+v", del.State, as)
		}
		if e := n.Ack(ctx, leasesOf(rest)[2:]); e[0].Err != nil {
			t.Errorf("the extended one: %v", e[0].Err)
		}
		for _, bad := range []string{"x", "dlv_1.1.1", strings.Repeat("a.", 50), "..", leasesOf(rest)[2] + "9"} {
			if e := n.Ack(ctx, []string{bad}); e[0].Err == nil {
				t.Errorf("lease %q was acknowledged", bad)
			}
		}
	})
}

func TestPullIsForPullOnly(t *testing.T) {
	t.Parallel()
	n := fresh(t, destination.Spec{Name: "app", URL: "http://app"})
	if _, err := n.Pull(t.Context(), "app", 1, 0, 0); !errors.Is(err, gaff.ErrConflict) {
		t.Error(err)
	}
	if _, err := n.Pull(t.Context(), "nobody", 1, 0, 0); !errors.Is(err, gaff.ErrNotFound) {
		t.Error(err)
	}
}

// What one process handed out can be acknowledged after its restart, once.
func TestALeaseOutlivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	var tokens []string
	t.Run("before", func(t *testing.T) {
		n := newNode(t, openStore(t, path))
		must(n.Create(t.Context(), destination.Spec{Name: "worker", Kind: destination.KindPull}))(t)
		n.emit("shop", "paid")
		tokens = leasesOf(must(n.Pull(t.Context(), "worker", 1, 0, time.Minute))(t))
	})
	n := newNode(t, openStore(t, path))
	if e := n.Ack(t.Context(), tokens); e[0].Err != nil {
		t.Error(e[0].Err)
	}
	if more := must(n.Pull(t.Context(), "worker", 1, 0, 0))(t); len(more) != 0 {
		t.Errorf("it came again: %+v", more)
	}
}

// slow is a store whose commits of attempts take a second.
type slow struct{ *sqlite.Store }

func (s slow) Finish(ctx context.Context, l gaff.Lease, o gaff.Outcome) error {
	time.Sleep(time.Second)
	return s.Store.Finish(ctx, l, o)
}

// Leases that run out together are ended together, not one commit after the other.
func TestLeasesExpireSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, st := t.Context(), openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		n := newNodeOver(t, st, slow{st})
		must(n.Create(ctx, destination.Spec{Name: "worker", Kind: destination.KindPull}))(t)
		const count = 200
		for i := range count {
			n.emit("shop", fmt.Sprint("t", i))
		}
		pulled := 0
		for pulled < count {
			pulled += len(must(n.Pull(ctx, "worker", destination.MaxPull, time.Minute, 30*time.Second))(t))
		}
		time.Sleep(40 * time.Second)
		counts := must(st.QueueCounts(ctx, "worker"))(t)
		again := 0
		for again < count {
			got := len(must(n.Pull(ctx, "worker", destination.MaxPull, 0, 30*time.Second))(t))
			if got == 0 {
				break
			}
			again += got
		}
		if again != count {
			t.Errorf("%d of %d deliveries are due again ten seconds after their leases ran out (%+v)", again, count, counts)
		}
	})
}
