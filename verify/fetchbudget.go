package verify

import (
	"time"
)

// Limits of the fetches that requests can cause at one verifier in a minute: of all clients, of one
// client, and the part of the total that is reserved for clients without a fetch in this minute.
const (
	fetchesPerMinute = 240
	fetchesPerClient = 60
	fetchesReserved  = 80
)

// fetchBudget shares the fetches among clients, so that one client cannot use up those that the
// sender needs.
type fetchBudget struct {
	window time.Time // start of the counted minute
	total  int
	of     map[string]int
}

// take counts a fetch for a client. It reports false if the client is over its limit.
func (b *fetchBudget) take(now time.Time, client string) bool {
	if b.of == nil || now.Sub(b.window) >= time.Minute {
		b.window, b.total, b.of = now, 0, map[string]int{}
	}
	most := fetchesPerMinute
	if b.of[client] > 0 {
		most -= fetchesReserved
	}
	if b.total >= most || b.of[client] >= fetchesPerClient {
		return false
	}
	b.total++
	b.of[client]++
	return true
}

// giveBack returns a fetch to a client, because it succeeded.
func (b *fetchBudget) giveBack(client string) {
	if b.of[client] > 1 { // the first stays, so that the client no longer uses the reserve
		b.total--
		b.of[client]--
	}
}
