package schema

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// full returns places that are all taken.
func full(n int) chan struct{} {
	places := make(chan struct{}, n)
	for range n {
		places <- struct{}{}
	}
	return places
}

func TestWaitingIsBoundedForRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		places, spent, began := full(2), new(gaff.SchemaEffort), time.Now()
		time.AfterFunc(3*time.Second, func() { <-places })
		if err := take(t.Context(), places, spent); err != nil || spent.Waited != 3*time.Second {
			t.Errorf("the first event: %v after %s", err, spent.Waited)
		}
		for range 5000 {
			if err := take(t.Context(), places, spent); !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != maxWait {
			t.Errorf("the events of the request waited %s, want %s", took, maxWait)
		}
		<-places
		if err := take(t.Context(), places, spent); err != nil {
			t.Errorf("a free place is not taken: %v", err)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := take(ctx, full(1), new(gaff.SchemaEffort)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestOneSourceLeavesRoomForOthers(t *testing.T) {
	slow, other, spent := NewShare(), NewShare(), new(gaff.SchemaEffort)
	for range cap(slow) {
		if err := slow.enter(t.Context(), spent); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := slow.enter(ctx, spent); err == nil {
		t.Error("a source has more than its share")
	}
	if err := other.enter(ctx, spent); err != nil {
		t.Fatalf("another source waits: %v", err)
	}
	other.leave()
	for range cap(slow) {
		slow.leave()
	}
	if len(running)+len(slow)+len(other) != 0 {
		t.Error("places are still taken")
	}
}
