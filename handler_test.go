package gaff_test

import (
	"testing"
	"time"

	"gaff"
)

func TestPolicyWaits(t *testing.T) {
	t.Parallel()
	p := gaff.RetryPolicy{First: time.Second, Factor: 2, Max: 10 * time.Second}
	for failed, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := p.Wait(failed); got < want*8/10 || got > want*12/10 {
				t.Fatalf("after %d failures: %s, want %s give or take a fifth", failed, got, want)
			}
		}
	}
}
