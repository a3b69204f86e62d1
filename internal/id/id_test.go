package id_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"gaff/internal/fuzzseed"
	"gaff/internal/id"
)

func TestEventNamesSortAndRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	names := []string{
		id.OfEvent(at, 1), id.OfEvent(at, 2), id.OfEvent(at, 1<<40), id.OfEvent(at.Add(time.Millisecond), 1), id.OfEvent(at.Add(time.Hour), math.MaxInt64),
	}
	if !slices.IsSorted(names) {
		t.Errorf("%q is not sorted", names)
	}
	for _, name := range names {
		seq, ok := id.ParseEvent(name)
		if !ok || seq < 1 || len(name) != 30 {
			t.Errorf("%s is read as %d, %v", name, seq, ok)
		}
		event, n, ok := id.ParseDelivery(id.OfDelivery(name, 12))
		if !ok || event != name || n != 12 {
			t.Errorf("%s is read as %s, %d, %v", id.OfDelivery(name, 12), event, n, ok)
		}
	}
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if _, ok := id.ParseEvent(id.OfEvent(at, 7)); !ok {
			t.Errorf("a clock at %s makes a name that cannot be read", at)
		}
	}
	if a, b := id.New(id.Media, at), id.New(id.Media, at); a == b || len(a) != 30 {
		t.Errorf("%s and %s", a, b)
	}
}

func FuzzIDs(f *testing.F) {
	f.Add(id.OfEvent(time.Unix(1767225600, 0), 1))
	f.Add(id.OfDelivery(id.OfEvent(time.Unix(1767225600, 0), 1), 3))
	f.Add("evt_")
	for _, text := range fuzzseed.Vary(id.OfEvent(time.Unix(1767225600, 0), 1), id.OfDelivery(id.OfEvent(time.Unix(1767225600, 0), 1), 3)) {
		f.Add(text)
	}
	f.Add("evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ")
	f.Add("dlv_00000000000000000000000001-01")
	f.Add("dlv_00000000000000000000000001-+1")
	f.Fuzz(func(t *testing.T, text string) {
		if seq, ok := id.ParseEvent(text); ok && (seq < 1 || len(text) != 30) {
			t.Errorf("%q is read as %d", text, seq)
		}
		event, n, ok := id.ParseDelivery(text)
		if !ok {
			return
		}
		if _, known := id.ParseEvent(event); known && id.OfDelivery(event, n) != text {
			t.Errorf("%q is read as %s, %d", text, event, n)
		}
	})
}
