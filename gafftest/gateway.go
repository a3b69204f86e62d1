package gafftest

import (
	"context"
	"testing"
	"time"

	"gaff"
	"gaff/jobs"
)

// lookEvery is the time between two looks at a store.
const lookEvery = 5 * time.Millisecond

// WorkUntilIdle returns when no delivery is running or due: all events were processed, or wait for a
// later attempt. It fails the test when that takes longer than a minute.
func WorkUntilIdle(t testing.TB, st gaff.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	running := gaff.StateRunning
	for ; ; time.Sleep(lookEvery) {
		counts, err := st.Counts(ctx, time.Now())
		if err != nil {
			t.Fatalf("gafftest: the deliveries are not done: %v", err)
		}
		busy, err := st.Deliveries(ctx, gaff.DeliveryFilter{State: &running, Cursor: gaff.Cursor{Limit: 1}})
		if err != nil {
			t.Fatalf("gafftest: the deliveries are not done: %v", err)
		}
		if counts.Due == 0 && len(busy.Items) == 0 {
			return
		}
	}
}

// AwaitJob returns a job when it is completed, failed or cancelled, and all events are processed. It
// fails the test when that takes longer than a minute.
func AwaitJob(t testing.TB, st interface {
	gaff.Store
	Job(ctx context.Context, id string) (*jobs.Job, error)
}, id string,
) *jobs.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ; ; time.Sleep(lookEvery) {
		j, err := st.Job(ctx, id)
		if err != nil {
			t.Fatalf("gafftest: job %s: %v", id, err)
		}
		if j.Status.Settled() {
			WorkUntilIdle(t, st)
			return j
		}
	}
}
