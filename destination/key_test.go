package destination

import (
	"fmt"
	"testing"
	"time"

	"gaff"
)

func TestKeyOfAnEvent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/user/id":                  "u1",
		"/user":                     "",
		"/missing":                  "",
		"data.user.id":              "u1",
		`source + "/" + data.plan`:  "shop/pro",
		"data.n":                    "7",
		"data.user":                 "",
		"data.missing":              "",
		"data.n > 5":                "true",
		`data.?missing.orValue("")`: "",
	} {
		key, err := keyOf(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		ev := &gaff.Event{Source: "shop", Data: []byte(`{"user":{"id":"u1"},"plan":"pro","n":7}`)}
		if got := key(&gaff.Subject{Event: ev}); got != want {
			t.Errorf("%s: key %q, want %q", text, got, want)
		}
	}
}

func TestKeyRateLimitsEachKey(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newKeyRates(2)
	for i := range 2 {
		if wait := r.take("a", now); wait != 0 {
			t.Errorf("delivery %d waits %s", i, wait)
		}
	}
	if wait := r.take("a", now); wait != 500*time.Millisecond {
		t.Errorf("the third of a second waits %s, want 500ms", wait)
	}
	if wait := r.take("b", now); wait != 0 {
		t.Errorf("another key waits %s", wait)
	}
	if wait := r.take("a", now.Add(500*time.Millisecond)); wait != 0 {
		t.Errorf("after that time it waits %s", wait)
	}
	if wait := r.take("", now); wait != 0 {
		t.Errorf("without a key it waits %s", wait)
	}
}

func TestKeyRatesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newKeyRates(1)
	for i := range maxKeys + 100 {
		r.take(fmt.Sprint(i), now)
	}
	if len(r.byKey) != maxKeys || r.used.Len() != maxKeys {
		t.Errorf("%d keys, %d in order; want %d", len(r.byKey), r.used.Len(), maxKeys)
	}
	if wait := r.take(fmt.Sprint(maxKeys+99), now); wait == 0 {
		t.Error("the newest key was forgotten")
	}
}
