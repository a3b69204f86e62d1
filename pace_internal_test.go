package gaff

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// madeAfter is a delivery that was made so long after its event.
func madeAfter(id string, after time.Duration) queued {
	now := time.Now()
	return queued{Work: Work{Delivery: Delivery{ID: id, CreatedAt: now}, Event: &Event{ReceivedAt: now.Add(-after)}}}
}

func TestAttemptsOfReplaysAreSpacedWhileWebhooksComeIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		for range 3 {
			if wait := p.turn(time.Now()); wait != 0 {
				t.Errorf("without webhooks: an attempt waits for %s", wait)
			}
		}
		p.webhook(time.Now())
		gap := backgroundGap / time.Duration(runtime.GOMAXPROCS(0))
		for i := range 3 {
			if wait := p.turn(time.Now()); wait != time.Duration(i)*gap {
				t.Errorf("attempt %d waits for %s, want %s", i, wait, time.Duration(i)*gap)
			}
		}
		time.Sleep(busyFor)
		if wait := p.turn(time.Now()); wait != 0 {
			t.Errorf("a second after the last webhook: an attempt waits for %s", wait)
		}
	})
}

func TestNewEventsAreDeliveredBeforeReplays(t *testing.T) {
	t.Parallel()
	q := workQueue{ready: make(chan struct{}, 100)}
	var want []string
	for range 3 {
		q.push(madeAfter("replay", time.Hour))
	}
	for range maxPassed + 2 {
		q.push(madeAfter("new", 0))
	}
	for len(want) < maxPassed {
		want = append(want, "new")
	}
	want = append(want, "replay", "new", "new", "replay", "replay") // so that a replay goes on
	var got []string
	for range want {
		got = append(got, q.pop().Delivery.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
