package gaff

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestUnverifiedRequestsOfASourceWithoutRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s Source
		(&Gateway{}).ready(&s)
		for i := range unverifiedBurst {
			if rp := s.overUnverified("192.0.2.1"); rp.status != 0 {
				t.Fatalf("request %d of a client: %d", i, rp.status)
			}
		}
		over := s.overUnverified("192.0.2.1")
		if over.status != http.StatusUnauthorized || !over.unstored {
			t.Errorf("over the limit: %d, unstored %v", over.status, over.unstored)
		}
		if rp := s.overUnverified("192.0.2.2"); rp.status != 0 {
			t.Errorf("another client: %d", rp.status)
		}
		time.Sleep(time.Second)
		for range unverifiedRate {
			if rp := s.overUnverified("192.0.2.1"); rp.status != 0 {
				t.Fatalf("a second later: %d", rp.status)
			}
		}
		if rp := s.overUnverified("192.0.2.1"); rp.status == 0 {
			t.Error("more than the rate, a second later")
		}
	})
}

func TestUnverifiedRequestsOfAnIPv6NetworkCountTogether(t *testing.T) {
	t.Parallel()
	s := Source{Guard: Guard{Rate: 1, Burst: 2}}
	(&Gateway{}).ready(&s)
	for from, want := range map[string][]int{
		"2001:db8:0:1::": {0, 0, http.StatusTooManyRequests},
		"2001:db8:0:2::": {0, 0, http.StatusTooManyRequests},
	} {
		for i, suffix := range []string{"1", "2", "ffff:1"} {
			if rp := s.overUnverified(from + suffix); rp.status != want[i] {
				t.Errorf("%s%s: %d, want %d", from, suffix, rp.status, want[i])
			}
		}
	}
}
