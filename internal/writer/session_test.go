package writer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
)

// runShared runs a test with fake time over a writer with n connections for each queue.
func runShared(t *testing.T, n int, test func(t *testing.T, db *fakeDB, w *Writer[*fakeTx])) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := newShared(db, n)
		defer w.Stop()
		synctest.Wait()
		test(t, db, w)
	})
}

func TestSecondConnectionWaitsToGatherABatch(t *testing.T) {
	runShared(t, 2, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		first := queue(w, writes(Accept, "first"))
		ops, names := several(Accept, 3)
		rest := queue(w, ops...)
		first()
		for i, got := range rest() {
			if want := joinAfter + commitTime; got.err != nil || got.took != want {
				t.Errorf("operation %d: answered after %s with %v, want after %s", i, got.took, got.err, want)
			}
		}
		if diff := cmp.Diff([][]string{{"first"}, names}, db.commits()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
		if db.mostOpen != 2 {
			t.Errorf("%d transactions were open at once, want 2", db.mostOpen)
		}
	})
}

func TestSecondConnectionBeginsAFullBatchAtOnce(t *testing.T) {
	runShared(t, 2, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		first := queue(w, writes(Accept, "first"))
		ops, _ := several(Accept, joinAccepts+1)
		rest := queue(w, ops...)
		first()
		for i, got := range rest() {
			if got.took != commitTime {
				t.Errorf("operation %d: answered after %s, want after %s", i, got.took, commitTime)
			}
		}
	})
}

func TestWebhooksDoNotWaitForEffects(t *testing.T) {
	runShared(t, 1, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		effects, _ := several(Effect, 200)
		wait := queue(w, effects...)
		if got := queue(w, writes(Accept, "a"))()[0]; got.took != commitTime {
			t.Errorf("answered after %s, want after %s", got.took, commitTime)
		}
		wait()
	})
}

func TestLostConnectionIsReplaced(t *testing.T) {
	runShared(t, 1, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		queue(w, writes(Accept, "first"))()
		db.beginErr = func(n int) error {
			if n == 2 {
				return errLost
			}
			return nil
		}
		if got := queue(w, writes(Accept, "second"))()[0]; got.err != nil {
			t.Errorf("on a new connection: %v", got.err)
		}
		if want := 2 + 1; db.connects != want { // one for each queue, and the new one
			t.Errorf("connected %d times, want %d", db.connects, want)
		}
	})
}

func TestConnectionLostAfterTheCommitWasSentFailsTheBatch(t *testing.T) {
	runShared(t, 1, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		queue(w, writes(Accept, "first"))()
		db.commitErr = func(int) error { return errLost }
		if got := queue(w, writes(Accept, "second"))()[0]; !errors.Is(got.err, errLost) {
			t.Errorf("%v, want the error of the connection", got.err)
		}
		if db.transactions != 2 {
			t.Errorf("%d transactions, want 2: the outcome is unknown", db.transactions)
		}
	})
}

func TestDownDatabaseFailsOperationsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := fmt.Errorf("%w: connection refused", gaff.ErrUnavailable)
		db := &fakeDB{connectErr: func(int) error { return refused }}
		w := newShared(db, 2)
		defer w.Stop()
		synctest.Wait()
		time.Sleep(time.Minute)
		for range 3 {
			if got := queue(w, writes(Accept, "a"))()[0]; !errors.Is(got.err, refused) || got.took > reconnectEvery {
				t.Errorf("answered after %s with %v, want %q within %s", got.took, got.err, refused, reconnectEvery)
			}
		}
	})
}

// While one of two connections is down, the other one does the work.
func TestDownConnectionLeavesTheQueueToTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := New(Options[*fakeTx]{
			Accepters: []Conn[*fakeTx]{&fakeConn{db: db}, &downConn{}}, MaxQueuedBytes: 1 << 20,
		})
		defer w.Stop()
		synctest.Wait()
		for range 20 {
			if got := queue(w, writes(Accept, "a"))()[0]; got.err != nil {
				t.Errorf("%v, want the connected one to write", got.err)
			}
		}
	})
}

// A connection that is down leaves an operation to one that connected after all were down.
func TestDownConnectionLeavesTheQueueToARecoveredOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{connectErr: func(n int) error {
			if n == 1 {
				return errLost
			}
			return nil
		}}
		w := New(Options[*fakeTx]{
			Accepters: []Conn[*fakeTx]{&downConn{}, &downConn{}, &downConn{}, &fakeConn{db: db}}, MaxQueuedBytes: 1 << 20,
		})
		defer w.Stop()
		synctest.Wait() // all wait for an operation, which they would fail
		time.Sleep(time.Minute)
		for range 20 {
			got := queue(w, writes(Accept, "a"))()[0]
			if got.err == nil {
				break // the recovered connection has taken one, and is connected
			}
		}
		for range 20 {
			if got := queue(w, writes(Accept, "a"))()[0]; got.err != nil {
				t.Errorf("%v, want the recovered connection to write", got.err)
			}
		}
	})
}

// downConn never connects.
type downConn struct{ fakeConn }

func (*downConn) Connect(context.Context) error { return errLost }
