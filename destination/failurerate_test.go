package destination

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestFailureRateOpensTheCircuit(t *testing.T) {
	t.Parallel()
	d := newDestination(t, Spec{URL: "http://app", BreakRate: 0.5, BreakAfter: -1, BreakWindow: Duration(time.Minute)}, Options{})
	now := time.Unix(1_800_000_000, 0)
	failure := errors.New("no")
	attempt := func(i int, err error) { d.health.record(fmt.Sprint("dlv_", i), err, now) }
	// A third fails: the circuit stays closed.
	for i := range 60 {
		attempt(i, map[bool]error{true: failure}[i%3 == 0])
	}
	if d.health.Circuit != CircuitClosed {
		t.Fatal("opened by a third of failures")
	}
	// In a later window, two of three fail, never five in a row.
	now = now.Add(2 * time.Minute)
	for i := range 18 {
		attempt(i, map[bool]error{true: failure}[i%3 != 0])
	}
	if d.health.Circuit != CircuitClosed {
		t.Fatal("opened by fewer attempts than a rate needs")
	}
	for i := range 6 {
		attempt(i, map[bool]error{true: failure}[i%3 != 0])
	}
	if d.health.Circuit != CircuitOpen {
		t.Fatal("two thirds of failures did not open the circuit")
	}
	// An attempt that began before does not close it; the probe after the wait does, and the former
	// failures count no more.
	attempt(1, nil)
	if d.health.Circuit != CircuitOpen {
		t.Error("closed by an attempt that began before it opened")
	}
	now = now.Add(12 * time.Second)
	attempt(2, nil)
	attempt(3, failure)
	if d.health.Circuit != CircuitClosed {
		t.Error("not closed by the probe")
	}
}
