package postgres_test

import (
	"context"
	"testing"
	"time"

	"gaff"
	"gaff/internal/pgtest"
	"gaff/store/postgres"
)

// A node whose clock is a minute behind the database's works like the others: its deliveries are
// due in time, and it does not take over deliveries that others process.
func TestLeasesAndDueTimesGoByTheDatabase(t *testing.T) {
	t.Parallel()
	ctx, address := context.Background(), pgtest.URL(t)
	o := postgres.Options{Lease: 30 * time.Second}
	postgres.SkewClock(&o, time.Minute)
	behind, err := postgres.Open(ctx, address, o)
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	other, err := postgres.Open(ctx, address, o)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := accept(behind, "one", false); err != nil {
		t.Fatal(err)
	}
	claim := func(st *postgres.Store, at time.Time) []gaff.Work {
		t.Helper()
		work, err := st.Claim(ctx, gaff.ClaimParams{Now: at, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return work
	}
	work := claim(behind, time.Now())
	if len(work) != 1 {
		t.Fatalf("%d deliveries are claimed, want the one that is due", len(work))
	}
	if left := work[0].Lease.Until.Sub(time.Now().Add(time.Minute)); left < 25*time.Second || left > 31*time.Second {
		t.Errorf("the lease ends %s after the database's time, want 30 s", left)
	}
	if taken := claim(other, time.Now()); len(taken) != 0 {
		t.Error("another node takes over a claimed delivery")
	}
	retryAt := time.Now().Add(10 * time.Second)
	err = behind.Finish(ctx, work[0].Lease, gaff.Outcome{State: gaff.StateRetrying, RunAt: retryAt, Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, Error: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	due, err := other.NextDue(ctx, "")
	if err != nil || due.Sub(retryAt).Abs() > time.Second {
		t.Errorf("due at %s (%v), want %s", due, err, retryAt)
	}
	if early := claim(other, retryAt.Add(-2*time.Second)); len(early) != 0 {
		t.Error("claimed before it is due")
	}
	if later := claim(other, retryAt.Add(2*time.Second)); len(later) != 1 {
		t.Errorf("%d deliveries are claimed once it is due, want 1", len(later))
	}
}
