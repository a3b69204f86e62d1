package writer

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
)

// run runs a test with fake time for each kind of writer, and stops the writer.
func run(t *testing.T, test func(t *testing.T, db *fakeDB, w *Writer[*fakeTx])) {
	t.Parallel()
	for name, start := range map[string]func(*fakeDB) *Writer[*fakeTx]{
		"one connection":           newOwn,
		"a connection for a queue": func(db *fakeDB) *Writer[*fakeTx] { return newShared(db, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := &fakeDB{}
				w := start(db)
				defer w.Stop()
				test(t, db, w)
			})
		})
	}
}

func several(kind Kind, n int) (ops []*Op[*fakeTx], names []string) {
	for i := range n {
		names = append(names, strconv.Itoa(i))
		ops = append(ops, writes(kind, names[i]))
	}
	return ops, names
}

func TestLoneOperationDoesNotWait(t *testing.T) {
	run(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		for _, kind := range []Kind{Accept, Effect, Note, Background} {
			if got := queue(w, writes(kind, "a"))()[0]; got.err != nil || got.took != commitTime {
				t.Errorf("kind %d: answered after %s with %v, want after the commit's %s", kind, got.took, got.err, commitTime)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestOperationsQueuedDuringACommitFormOneBatch(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ops, names := several(Accept, 5)
		for i, got := range queueBehind(w, ops...) {
			if got.err != nil || got.took != 2*commitTime {
				t.Errorf("operation %d: answered after %s with %v, want after two commits", i, got.took, got.err)
			}
		}
		if diff := cmp.Diff([][]string{{"first"}, names}, db.commits()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
	})
}

func TestBatchIsBounded(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ops, _ := several(Effect, maxEffects+1)
		queueBehind(w, ops...)
		if diff := cmp.Diff([]int{1, maxEffects, 1}, db.sizes()); diff != "" {
			t.Errorf("sizes of the commits (-want +got):\n%s", diff)
		}
	})
}

func TestBatchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := New(Options[*fakeTx]{Only: &fakeConn{db: db, connected: true}, MaxQueuedBytes: 1 << 30})
		defer w.Stop()
		ops, _ := several(Accept, 5)
		for _, o := range ops {
			o.Bytes = maxAcceptBytes / 2
		}
		queueBehind(w, ops...)
		if diff := cmp.Diff([]int{1, 2, 2, 1}, db.sizes()); diff != "" {
			t.Errorf("sizes of the commits (-want +got):\n%s", diff)
		}
	})
}

// Effects join the batch of the webhooks that were queued with them.
func TestOneConnectionWritesAllKindsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := newOwn(db)
		defer w.Stop()
		queueBehind(w, writes(Effect, "effect"), writes(Note, "note"), writes(Accept, "accept"))
		got := db.commits()[1]
		slices.Sort(got)
		if diff := cmp.Diff([]string{"accept", "effect", "note"}, got); diff != "" {
			t.Errorf("operations of the second commit (-want +got):\n%s", diff)
		}
	})
}

func TestFailedCommitAnswersAll(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		full := fmt.Errorf("%w: the disk is full", gaff.ErrUnavailable)
		db.commitErr = func(n int) error {
			if n == 1 {
				return nil
			}
			return full
		}
		ops, _ := several(Accept, 20)
		for i, got := range queueBehind(w, ops...) {
			if !errors.Is(got.err, full) {
				t.Errorf("operation %d: %v, want the error of the commit", i, got.err)
			}
		}
		if db.transactions != 2 {
			t.Errorf("%d transactions, want 2: a commit whose outcome is unknown is not repeated", db.transactions)
		}
	})
}

func TestFailingOperationDoesNotAffectTheOthers(t *testing.T) {
	wrong := errors.New("wrong")
	for name, fail := range map[string]func(*fakeTx) error{
		"error after it wrote": func(tx *fakeTx) error { tx.write("undone"); return wrong },
		"panic":                func(*fakeTx) error { panic("wrong") },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
				const n, failing = 64, 37
				ops, names := several(Effect, n)
				ops[failing].Run = fail
				for i, got := range queueBehind(w, ops...) {
					if (got.err != nil) != (i == failing) {
						t.Errorf("operation %d: %v", i, got.err)
					}
				}
				want := append([]string{"first"}, slices.Delete(names, failing, failing+1)...)
				if diff := cmp.Diff(want, slices.Concat(db.commits()...)); diff != "" {
					t.Errorf("committed operations (-want +got):\n%s", diff)
				}
				// One commit for each half that does not have it.
				if got, most := len(db.commits()), 1+bits.Len(n-1); got > most {
					t.Errorf("%d commits, want %d at most", got, most)
				}
			})
		})
	}
}

// An operation that fails before it writes needs no rollback.
func TestOperationThatFailsBeforeItWritesLeavesTheBatch(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ops, _ := several(Effect, 3)
		missing := errors.New("missing")
		ops[1].Run = func(*fakeTx) error { return missing }
		if got := queueBehind(w, ops...); got[0].err != nil || got[1].err != missing || got[2].err != nil {
			t.Errorf("outcomes %v, want an error of the second only", got)
		}
		if diff := cmp.Diff([][]string{{"first"}, {"0", "2"}}, db.commits()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
	})
}

func TestCollidingOperationsRunAlone(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		db.commitErr = func(n int) error {
			if n == 2 || n == 3 { // the batch, and the first of its operations
				return ErrCollision
			}
			return nil
		}
		ops, _ := several(Effect, 2)
		for i, got := range queueBehind(w, ops...) {
			if got.err != nil {
				t.Errorf("operation %d: %v", i, got.err)
			}
		}
		if diff := cmp.Diff([][]string{{"first"}, {"0"}, {"1"}}, db.commits()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
	})
}

// After any failure while they ran, operations run again without their inessential parts.
func TestFailedOperationsRunAgainSimplified(t *testing.T) {
	wrong := errors.New("wrong")
	for name, fail := range map[string]func(*fakeTx) error{
		"error after it wrote": func(tx *fakeTx) error { tx.write("undone"); return wrong },
		"panic":                func(*fakeTx) error { panic("wrong") },
		"collision":            func(tx *fakeTx) error { tx.broken = ErrCollision; return ErrCollision },
		"unavailable":          func(tx *fakeTx) error { tx.broken = gaff.ErrUnavailable; return gaff.ErrUnavailable },
	} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s of one of %d", name, n), func(t *testing.T) {
				run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
					ops, _ := several(Accept, n)
					for i, o := range ops {
						simple, whole := o.Run, true
						o.Run = func(tx *fakeTx) error {
							switch {
							case !whole:
								return simple(tx)
							case i == n-1:
								return fail(tx)
							}
							tx.write(strconv.Itoa(i) + " whole")
							return nil
						}
						o.Simplify = func(error) bool {
							was := whole
							whole = false
							return was
						}
					}
					for i, got := range queueBehind(w, ops...) {
						if got.err != nil {
							t.Errorf("operation %d: %v", i, got.err)
						}
					}
					_, names := several(Accept, n)
					if diff := cmp.Diff([][]string{{"first"}, names}, db.commits()); diff != "" {
						t.Errorf("commits (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func TestOperationThatCollidesAgainAndAgainIsUnavailable(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		db.commitErr = func(int) error { return ErrCollision }
		got := queue(w, writes(Effect, "a"))()[0]
		if !errors.Is(got.err, gaff.ErrUnavailable) || !errors.Is(got.err, ErrCollision) {
			t.Errorf("%v, want ErrUnavailable because of ErrCollision", got.err)
		}
		if want := 1 + maxAttempts; db.transactions != want {
			t.Errorf("%d transactions, want %d", db.transactions, want)
		}
	})
}

func TestStopWritesQueuedOperations(t *testing.T) {
	run(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ops, names := several(Accept, 5)
		first := queue(w, writes(Accept, "first"))
		rest := queue(w, ops...)
		w.Stop()
		for i, got := range append(first(), rest()...) {
			if got.err != nil {
				t.Errorf("operation %d: %v", i, got.err)
			}
		}
		if diff := cmp.Diff([][]string{{"first"}, names}, db.commits()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
	})
}

func TestStoppedWriterTakesNothing(t *testing.T) {
	run(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		w.Stop()
		for _, kind := range []Kind{Accept, Effect, Note, Background, Between} {
			dropped := 0
			o := writes(kind, "late")
			o.Dropped = func() { dropped++ }
			if err := w.Do(context.Background(), o); !errors.Is(err, gaff.ErrStopped) {
				t.Errorf("kind %d: %v, want ErrStopped", kind, err)
			}
			if dropped != 1 {
				t.Errorf("kind %d: Dropped was called %d times, want once", kind, dropped)
			}
		}
	})
}

func TestAbandonedIsCalledIfTheCallerHasLeft(t *testing.T) {
	run(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		abandoned := false
		o := writes(Accept, "a")
		o.Wait, o.Abandoned = commitTime/2, func() { abandoned = true }
		if got := queue(w, o)()[0]; !errors.Is(got.err, gaff.ErrUnavailable) || got.took != o.Wait {
			t.Errorf("answered after %s with %v, want ErrUnavailable after %s", got.took, got.err, o.Wait)
		}
		time.Sleep(commitTime)
		synctest.Wait()
		if !abandoned {
			t.Error("Abandoned was not called after the commit")
		}
	})
}

func TestBetweenRunsWhileNoTransactionIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := newOwn(db)
		defer w.Stop()
		first := queue(w, writes(Accept, "first"))
		open := -1
		if err := w.Do(context.Background(), &Op[*fakeTx]{Kind: Between, Run: func(*fakeTx) error {
			open = db.open
			return nil
		}}); err != nil || open != 0 {
			t.Errorf("it ran with %d open transactions, %v; want none", open, err)
		}
		first()
	})
}

func TestFullQueueRejectsNotes(t *testing.T) {
	run(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		first := queue(w, writes(Note, "first"))
		ops, _ := several(Note, queuedNotes)
		rest := queue(w, ops...)
		if err := w.Do(context.Background(), writes(Note, "more")); !errors.Is(err, gaff.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		first()
		rest()
	})
}

// Senders leave while the disk hangs, and their operations stay in the queue.
func TestWithdrawnOperationHoldsNothing(t *testing.T) {
	o := writes(Accept, "a")
	o.Reads, o.Simplify = "a webhook", func(error) bool { return true }
	if !o.withdraw() || o.Run != nil || o.Reads != nil || o.Simplify != nil {
		t.Errorf("Run %t, Reads %v, Simplify %t", o.Run != nil, o.Reads, o.Simplify != nil)
	}
}
