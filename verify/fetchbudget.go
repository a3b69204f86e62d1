package verify

import (
	"net/netip"
	"time"
)

// Fetches a minute that requests can cause at one verifier: together, by one client, and
// how many of them only clients may cause that have caused none in this minute.
const (
	fetchesPerMinute = 240
	fetchesPerClient = 60
	fetchesReserved  = 80
)

// fetchBudget shares the fetches that requests can cause among the clients that send them,
// so that one client cannot use up what the sender needs.
type fetchBudget struct {
	window time.Time // when the counts began
	total  int
	of     map[string]int
}

// take counts a fetch for a client, and reports false if there is none left for it.
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

// giveBack returns the fetch of a client that asked for something real.
func (b *fetchBudget) giveBack(client string) {
	if b.of[client] > 1 { // the first stays: it says that the client had its turn
		b.total--
		b.of[client]--
	}
}

// clientOf names the client at an address: an IPv6 client may choose among the addresses
// of its network.
func clientOf(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return network.String()
}
