package gaff

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryOfAnEventCountsWhatItsSenderChose(t *testing.T) {
	t.Parallel()
	body := make([]byte, 3000)
	own := func(ev *Event) int64 { return memoryOf(ev) - eventOverhead }
	for name, tc := range map[string]struct {
		event *Event
		least int64
		most  int64
	}{
		"data alone":                {&Event{Data: body}, 3000, 3000},
		"data that is the body":     {&Event{Data: body, Request: &Request{Body: body}}, 3000, 3000},
		"data read out of the body": {&Event{Data: make([]byte, 100), Request: &Request{Body: body}}, 3100, 3100},
		"parsed data":               {&Event{Data: body, Parsed: 1}, 6000, 6000},
		"header and URL": {
			&Event{Request: &Request{URL: "/" + string(body), Header: http.Header{"X": {string(body), string(body)}}}}, 9001, 9200,
		},
	} {
		if got := own(tc.event); got < tc.least || got > tc.most {
			t.Errorf("%s: %d bytes, want %d to %d", name, got, tc.least, tc.most)
		}
	}
}

func TestQueueIsBoundedInPlacesAndInBytes(t *testing.T) {
	t.Parallel()
	l := newQueue("", 1, 3, 10_000)
	if !l.reserve(1, 6000) || l.reserve(1, 6000) {
		t.Error("two events of 6,000 bytes: want the first alone in 10,000")
	}
	if !l.reserve(2, 4000) || l.reserve(1, 0) {
		t.Error("want three places")
	}
	l.unreserve(1, 6000)
	if !l.reserve(1, 6000) {
		t.Error("a released place is not free")
	}
}

// A backlog that found no room is claimed when the webhooks that had the places are stored: with their effects, as
// duplicates, or not at all.
func TestPlacesThatWereNotNeededWakeTheDispatcher(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		receipt Receipt
		err     error
	}{
		"effects stored": {receipt: Receipt{EffectsStored: true}},
		"duplicate":      {receipt: Receipt{Duplicate: true}},
		"not stored":     {err: ErrUnavailable},
	} {
		l := newQueue("", 1, 1, 1000)
		reg := &registry{queues: map[string]*queue{"": l}}
		p := AcceptParams{Deliveries: make([]Delivery, 1), Take: []bool{l.reserve(1, 10)}}
		l.backlog.Store(true)
		new(Gateway).hand(reg, &p, 10, tc.receipt, tc.err)
		if len(l.nudge) != 1 || l.room.Load() != 1 || l.queuedBytes.Load() != 0 {
			t.Errorf("%s: %d wake-ups, %d places, %d bytes", name, len(l.nudge), l.room.Load(), l.queuedBytes.Load())
		}
	}
}

func TestEndsBesideWorkersAreBounded(t *testing.T) {
	t.Parallel()
	for workers, want := range map[int]int{1: 4, 32: 128, 64: 256, 4096: 256} {
		l, n := newQueue("", workers, 1, 1), 0
		for l.beginEnd() {
			n++
		}
		if n != want {
			t.Errorf("%d workers: %d ends, want %d", workers, n, want)
		}
	}
}

// A slow handler with few workers leaves deliveries to other nodes.
func TestPlacesOfAnAttachedHandler(t *testing.T) {
	t.Parallel()
	for workers, want := range map[int]int64{1: 64, 5: 64, 8: 96, 32: 384} {
		if got := attachedPlaces(workers); got != want {
			t.Errorf("%d workers: %d places, want %d", workers, got, want)
		}
	}
}

// slowFinish is a store that takes a second for an outcome.
type slowFinish struct{ Store }

func (slowFinish) Finish(context.Context, Lease, Outcome) error {
	time.Sleep(time.Second)
	return nil
}

func TestOnlyEndsOfReplaysKeepTheirWorker(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]time.Duration{"new": 0, "replay": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			g, l := &Gateway{store: slowFinish{}, work: t.Context()}, newQueue("", 1, 2, 1000)
			g.registry.Store(&registry{queues: map[string]*queue{"": l}})
			w := Work{Event: &Event{ReceivedAt: time.Now()}}
			if w.Delivery.CreatedAt = w.Event.ReceivedAt; name == "replay" {
				w.Delivery.CreatedAt = w.Event.ReceivedAt.Add(replayAfter + time.Second)
			}
			l.queue.push(queued{Work: w})
			began := time.Now()
			g.end(l, w, &Outcome{State: StateSucceeded})
			if took := time.Since(began); took != want {
				t.Errorf("%s: the worker waited %s, want %s", name, took, want)
			}
			g.workers.Wait()
		})
	}
}
