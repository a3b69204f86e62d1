package gaff_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func TestGuardRateAndType(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{Rate: 0.5, Burst: 3}})
			b.AddSource(gaff.Source{Name: "typed", Verifier: open{}, Parser: lines{}, Guard: gaff.Guard{ContentTypes: []string{"application/json", "text/plain"}}})
		})
		for i := range 3 {
			if rec := b.post("POST", "lines", fmt.Sprint(i)); rec.Code != 200 {
				t.Errorf("request %d: %d", i, rec.Code)
			}
		}
		rec := b.post("POST", "lines", "over")
		if rec.Code != 429 || rec.Header().Get("Retry-After") != "3" || rec.Body.String() != `{"error":"Too many requests"}` {
			t.Errorf("over the limit: %d, Retry-After %s, %s", rec.Code, rec.Header().Get("Retry-After"), rec.Body)
		}
		time.Sleep(2 * time.Second)
		if rec := b.post("POST", "lines", "later"); rec.Code != 200 {
			t.Errorf("two seconds later: %d", rec.Code)
		}
		if rec := b.post("POST", "lines", "again"); rec.Code != 429 {
			t.Errorf("and at once again: %d", rec.Code)
		}
		for kind, want := range map[string]int{"application/json; charset=utf-8": 200, "TEXT/plain": 200, "text/html": 415, "": 415, ";": 415} {
			if rec := b.post("POST", "typed", kind, "Content-Type", kind); rec.Code != want {
				t.Errorf("%q: %d, want %d", kind, rec.Code, want)
			}
		}
	})
}

func TestUnverifiedRequestsUseUpNothingOfTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "lines", Verifier: pass("ok"), Parser: lines{}, Guard: gaff.Guard{Rate: 1, Burst: 3}})
		})
		codes := map[int]int{}
		for range 10 {
			codes[b.post("POST", "lines", "x", "X-Pass", "no").Code]++
		}
		if codes[401] != 3 || codes[429] != 7 {
			t.Errorf("unverified requests of one client: %v, want 3 times 401 and then 429", codes)
		}
		for i := range 3 {
			if rec := b.post("POST", "lines", fmt.Sprint(i), "X-Pass", "ok"); rec.Code != 200 {
				t.Errorf("verified request %d after them: %d", i, rec.Code)
			}
		}
		if rec := b.post("POST", "lines", "over", "X-Pass", "ok"); rec.Code != 429 {
			t.Errorf("verified, over the rate: %d, want 429", rec.Code)
		}
	})
}
