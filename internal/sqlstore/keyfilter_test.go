package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func TestKeyFilter(t *testing.T) {
	t.Parallel()
	f := newKeyFilter(0)
	f.complete.Store(true)
	const n = filterLeast
	if f.outgrown() {
		t.Error("an empty filter is outgrown")
	}
	for i := range n {
		f.add(eventKey{"shop", fmt.Sprint("key-", i)})
	}
	for i := range n {
		if key := (eventKey{"shop", fmt.Sprint("key-", i)}); f.lacks(key) {
			t.Fatalf("%v was added, and is said to be missing", key)
		}
	}
	if f.add(eventKey{"shop", "one more"}); !f.outgrown() {
		t.Errorf("a filter for %d keys is not outgrown when it has more", n)
	}
	passed := 0
	for i := range n {
		if !f.lacks(eventKey{"shop", fmt.Sprint("other-", i)}) {
			passed++
		}
	}
	if share := float64(passed) / n; share > 1./400 {
		t.Errorf("%.4f of the new keys are searched for, want at most 1 in 400", share)
	}
	if !f.lacks(eventKey{"shop2", "key-1"}) && !f.lacks(eventKey{"shop3", "key-1"}) && !f.lacks(eventKey{"shop4", "key-1"}) {
		t.Error("the source of a key does not count")
	}
}

// A filter that does not have all keys lacks none.
func TestIncompleteKeyFilter(t *testing.T) {
	t.Parallel()
	if newKeyFilter(0).lacks(eventKey{"shop", "a"}) {
		t.Error("a filter that was not filled lacks a key")
	}
}

// acceptAll stores events with the keys, 100 in a transaction.
func acceptAll(t *testing.T, s *Store, keys []string) {
	t.Helper()
	for some := range slices.Chunk(keys, 100) {
		var events []*gaff.Event
		for _, key := range some {
			events = append(events, eventOf(key, `{}`))
		}
		runs, _ := accepting(events...)
		if err := errors.Join(inOneBatch(s, runs...)...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // keys are sorted
	}
}

// mustHaveTable checks that the filter has all keys of the table, of which there are more than least.
func mustHaveTable(t *testing.T, s *Store, f *keyFilter, least int) {
	t.Helper()
	stored, err := column[string](context.Background(), s.read, `select dedupe from event_key`)
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) <= least {
		t.Errorf("%d keys are in the table, want more than %d", len(stored), least)
	}
	if !f.complete.Load() {
		t.Error("the filter is not complete")
	}
	for _, key := range stored {
		if f.lacks(eventKey{"shop", key}) {
			t.Fatalf("the filter lacks %s, which is in the table", key)
		}
	}
}

// The filter of a store has the keys that were in the table before, more than are read at a time, and
// those that are moved there later.
func TestKeyFilterOfAStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		keys := randomKeys(filterRead + 700)
		s := openFile(t, path, &SQLite{KeysKept: 16}, Options{})
		acceptAll(t, s, keys[:filterRead+500])
		moved := number(t, s, movedKeys)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		database := &SQLite{KeysKept: 16}
		s = openFile(t, path, database, Options{})
		defer s.Close()
		time.Sleep(time.Second) // of fake time, which passes when the filter is filled
		mustHaveTable(t, s, database.keys.filter.Load(), filterRead)
		acceptAll(t, s, keys[filterRead+500:])
		mustHaveTable(t, s, database.keys.filter.Load(), moved)
	})
}

// A filter that is outgrown is replaced, and the one in its place has the keys of before, without those of
// deleted events.
func TestKeyFilterIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		database := &SQLite{KeysKept: 16}
		s := openFile(t, filepath.Join(t.TempDir(), "gaff.db"), database, Options{})
		defer s.Close()
		synctest.Wait() // the filter is filled
		tiny := &keyFilter{seed: maphash.MakeSeed(), blocks: make([]filterBlock, 1)}
		tiny.complete.Store(true)
		database.keys.filter.Store(tiny)
		keys := randomKeys(400)
		acceptAll(t, s, keys[:200])
		if !tiny.outgrown() {
			t.Fatal("the filter is not outgrown")
		}
		mustHaveTable(t, s, tiny, 40)
		if err := inOneBatch(s, func(t *tx) error { return t.deleteEvents([]prunable{{seq: 1, source: "shop"}}) })[0]; err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * keysIdleTime)
		renewed := database.keys.filter.Load()
		if renewed == tiny {
			t.Fatal("the filter is the same")
		}
		mustHaveTable(t, s, renewed, 100)
		if !renewed.lacks(eventKey{"shop", keys[0]}) {
			t.Errorf("the renewed filter has the key of a deleted event")
		}
		acceptAll(t, s, keys[200:])
		mustHaveTable(t, s, database.keys.filter.Load(), 250)
	})
}
