// Package eventually waits, in tests, for what happens in real time: a process that becomes
// ready, a row that another process writes. What can run under testing/synctest needs none of it.
package eventually

import (
	"testing"
	"time"
)

// Limit is how long a test waits for one thing to happen. It is reached only if the thing does
// not happen at all, so it is generous: the tests must pass on a slow machine whose cores are
// busy with something else.
const Limit = 3 * time.Minute

// Pause is the time between two checks.
const Pause = 5 * time.Millisecond

// True calls check until it returns true, and ends the test if that takes longer than [Limit].
func True(t testing.TB, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(Limit); !check(); time.Sleep(Pause) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", Limit, what)
		}
	}
}

// Receive returns the next value of c, and ends the test if none comes within [Limit].
func Receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Limit):
		t.Fatalf("not within %s: %s", Limit, what)
		panic("unreachable")
	}
}
