package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/id"
)

func eventOf(key, data string) *gaff.Event {
	return &gaff.Event{Source: "shop", Type: "paid", DedupeKey: key, Data: []byte(data), ReceivedAt: time.Now()}
}

// accepting returns the operations that accept the events, and their receipts.
func accepting(events ...*gaff.Event) (runs []func(*tx) error, receipts []gaff.Receipt) {
	receipts = make([]gaff.Receipt, len(events))
	for i, ev := range events {
		row := newEventRow(ev)
		runs = append(runs, func(t *tx) error {
			t.accept(row, []gaff.Delivery{{Handler: "h", MaxAttempts: 3}}, []bool{true}, &receipts[i])
			return nil
		})
	}
	return runs, receipts
}

func TestEventsOfABatchAreNumberedInTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		runs, receipts := accepting(eventOf("c", `{}`), eventOf("a", `{}`), eventOf("b", `{}`))
		if err := errors.Join(inOneBatch(s, runs...)...); err != nil {
			t.Fatal(err)
		}
		var seqs []int64
		for _, rc := range receipts {
			seq, _ := id.ParseEvent(rc.ID)
			seqs = append(seqs, seq)
		}
		if diff := cmp.Diff([]int64{1, 2, 3}, seqs); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
	})
}

func TestFirstOfAKeyInABatchIsTheEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		runs, receipts := accepting(eventOf("k", `1`), eventOf("other", `2`), eventOf("k", `1`), eventOf("k", `3`))
		if err := errors.Join(inOneBatch(s, runs...)...); err != nil {
			t.Fatal(err)
		}
		for i, want := range []gaff.Receipt{
			{ID: receipts[0].ID}, {ID: receipts[1].ID}, {ID: receipts[0].ID, Duplicate: true}, {ID: receipts[0].ID, Duplicate: true, Conflict: true},
		} {
			got := receipts[i]
			if claimed := len(got.Work); claimed != map[bool]int{false: 1}[want.Duplicate] {
				t.Errorf("event %d: %d deliveries are claimed", i, claimed)
			}
			got.Work = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("receipt %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

// A lost lease fails its own operation, and undoes what that has written.
func TestLostLeaseFailsOnlyItsOperation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, lost = 20, 13
		s := openOwn(t, Options{})
		defer s.Close()
		var events []*gaff.Event
		for i := range n {
			events = append(events, eventOf(fmt.Sprint("k", i), `{}`))
		}
		runs, receipts := accepting(events...)
		if err := errors.Join(inOneBatch(s, runs...)...); err != nil {
			t.Fatal(err)
		}
		for i := range runs {
			l := receipts[i].Work[0].Lease
			if i == lost {
				l.Attempt++
			}
			runs[i] = func(t *tx) error {
				t.finish(l, gaff.Outcome{State: gaff.StateSucceeded, Attempt: gaff.Attempt{Outcome: gaff.AttemptSucceeded, StartedAt: time.Now()}})
				return setting(fmt.Sprint("effect ", i))(t)
			}
		}
		for i, err := range inOneBatch(s, runs...) {
			var want error
			if i == lost {
				want = gaff.ErrLeaseLost
			}
			if !errors.Is(err, want) {
				t.Errorf("operation %d: %v, want %v", i, err, want)
			}
		}
		var effects, finished int
		row := s.read.QueryRowContext(context.Background(), `select (select count(*) from setting where name like 'effect %'),
			(select count(*) from delivery where state = 3 and attempts = 1)`)
		if err := row.Scan(&effects, &finished); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{n - 1, n - 1}, []int{effects, finished}); diff != "" {
			t.Errorf("effects and finished deliveries (-want +got):\n%s", diff)
		}
	})
}
