package gaff

import (
	"net/http"
	"testing"
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
