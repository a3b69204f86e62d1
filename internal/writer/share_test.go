package writer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runOwn runs a test with fake time for a writer with one connection.
func runOwn(t *testing.T, test func(t *testing.T, db *fakeDB, w *Writer[*fakeTx])) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{}
		w := newOwn(db)
		defer w.Stop()
		test(t, db, w)
	})
}

// kinds lists the commits as numbers of webhooks and of background operations.
func kinds(db *fakeDB) (commits []string) {
	for _, names := range db.commits() {
		accepts := 0
		for _, name := range names {
			if strings.HasPrefix(name, "webhook") {
				accepts++
			}
		}
		commits = append(commits, fmt.Sprint(accepts, "+", len(names)-accepts))
	}
	return commits
}

func TestWebhookComesBeforeQueuedBackgroundOperations(t *testing.T) {
	runOwn(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		first := queue(w, writes(Accept, "webhook"))
		ops, _ := several(Background, 3*maxBackgroundRows)
		rest := queue(w, ops...)
		first()
		time.Sleep(commitTime / 2) // a commit with background operations runs
		if got := queue(w, writes(Accept, "webhook"))()[0]; got.took != 3*commitTime/2 {
			t.Errorf("the webhook was committed after %s, want the rest of a commit and its own", got.took)
		}
		rest()
		want := []string{"1+0", "0+16", "1+0", "0+16", "0+16"}
		if diff := cmp.Diff(want, kinds(db)); diff != "" {
			t.Errorf("webhooks and background operations of the commits (-want +got):\n%s", diff)
		}
	})
}

func TestBackgroundTakesATenthOfTheTimeWhileWebhooksComeIn(t *testing.T) {
	runOwn(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		queue(w, writes(Accept, "webhook"))()
		ops, _ := several(Background, 1+3*maxBackgroundRows) // the first is a batch of its own
		began := time.Now()
		queue(w, ops...)()
		if got, want := time.Since(began), (3*backgroundPart+1)*commitTime; got != want {
			t.Errorf("four batches took %s, want %s: the rest after a batch is nine times as long", got, want)
		}
	})
}

func TestBackgroundHasTheWholeTimeWithoutWebhooks(t *testing.T) {
	runOwn(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		queue(w, writes(Accept, "webhook"))()
		time.Sleep(quietAfter)
		ops, _ := several(Background, 2*maxEffects)
		began := time.Now()
		queueBehind(w, ops...)
		if got := time.Since(began); got != 3*commitTime {
			t.Errorf("three batches took %s, want %s", got, 3*commitTime)
		}
		if diff := cmp.Diff([]int{1, 1, maxEffects, maxEffects}, db.sizes()); diff != "" {
			t.Errorf("sizes of the commits (-want +got):\n%s", diff)
		}
	})
}

func TestBackgroundOperationsOfManyRowsFillABatch(t *testing.T) {
	runOwn(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ops, _ := several(Background, 4)
		for _, o := range ops {
			o.Rows = maxBackgroundRows / 2
		}
		first := queue(w, writes(Accept, "webhook"))
		rest := queue(w, ops...)
		first()
		rest()
		if diff := cmp.Diff([]string{"1+0", "0+2", "0+2"}, kinds(db)); diff != "" {
			t.Errorf("webhooks and background operations of the commits (-want +got):\n%s", diff)
		}
	})
}

// Webhooks that are queued all the time do not stop background operations.
func TestBackgroundGoesOnBesideSteadyWebhooks(t *testing.T) {
	runOwn(t, func(t *testing.T, db *fakeDB, w *Writer[*fakeTx]) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil { // so that some are queued at the end of each commit
				go func() { _ = w.Do(context.Background(), writes(Accept, "webhook")) }()
				time.Sleep(commitTime / 4)
			}
		}()
		time.Sleep(commitTime / 8)
		ops, _ := several(Background, 3*maxBackgroundRows)
		began := time.Now()
		queue(w, ops...)()
		if took, most := time.Since(began), 3*(patience+maxRest+2*commitTime); took > most {
			t.Errorf("three batches took %s, want at most %s", took, most)
		}
		if got := kinds(db); slices.ContainsFunc(got, func(commit string) bool { return strings.HasPrefix(commit, "0+") }) {
			t.Errorf("commits %v: want webhooks in each", got)
		}
	})
}

func TestStopWritesQueuedBackgroundOperations(t *testing.T) {
	runOwn(t, func(t *testing.T, _ *fakeDB, w *Writer[*fakeTx]) {
		first := queue(w, writes(Accept, "webhook"))
		ops, _ := several(Background, 5*maxBackgroundRows)
		rest := queue(w, ops...)
		w.Stop()
		for i, got := range append(first(), rest()...) {
			if got.err != nil {
				t.Errorf("operation %d: %v", i, got.err)
			}
		}
	})
}
