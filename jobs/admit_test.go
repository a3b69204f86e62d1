package jobs

import (
	"fmt"
	"testing"
	"time"
)

// What customers of a provider may have stored about requests of no job is bounded: of one,
// and of all together.
func TestUnclaimedEventsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var u unclaimed
	fill := func(customer string, bytes int) (n, stored int) {
		for u.take(now, customer, bytes) {
			n, stored = n+1, stored+bytes
		}
		return n, stored
	}
	if n, _ := fill("small", 0); n != unclaimedEvents/unclaimedCustomerShare {
		t.Errorf("one customer had %d events stored", n)
	}
	if _, stored := fill("large", 1<<20); stored > unclaimedBytes/unclaimedCustomerShare || stored == 0 {
		t.Errorf("one customer had %d bytes stored", stored)
	}
	if !u.take(now, "another", 1<<10) {
		t.Error("two customers use up the room of a third")
	}
	total := 0
	for i := range 100 {
		_, stored := fill(fmt.Sprint(i), 1<<20)
		total += stored
	}
	if total > unclaimedBytes || u.take(now, "late", 1<<20) {
		t.Errorf("all together had %d bytes stored", total)
	}
	if now = now.Add(unclaimedWindow); !u.take(now, "small", 1<<20) {
		t.Error("there is no room on the next day")
	}
}
