package sqlstore

import (
	"testing"
	"time"
)

func TestFrontMovesBackToWhatIsDueEarlier(t *testing.T) {
	h := leases{all: map[deliveryKey]lease{}, fronts: map[string]front{}}
	now := time.Unix(1_700_000_000, 0)
	at := func(when string, now time.Time, want int64) {
		t.Helper()
		if got := h.front("q", now); got != want {
			t.Errorf("%s: a claim begins at %d, want %d", when, got, want)
		}
	}
	at("at first", now, 0)
	h.passed("q", 500)
	at("after a claim", now, 500)
	h.passed("q", 400)
	at("after a claim that found nothing behind it", now, 500)
	h.due("q", 450)
	h.due("q", 900)
	h.due("other", 1)
	at("after an earlier delivery", now, 450)
	at("after a second, in case that an earlier one was missed", now.Add(rescan+1), 0)
	h.passed("q", 700)
	h.drop([]deliveryKey{{1, 1}})
	at("after a claim was rolled back", now, 0)
}
