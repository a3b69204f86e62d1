package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// randomKeys returns n keys in no order.
func randomKeys(n int) (keys []string) {
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		keys = append(keys, fmt.Sprintf("%016x", random.Uint64()))
	}
	return keys
}

func mustAccept(t *testing.T, s *Store, key string) gaff.Receipt {
	t.Helper()
	rc, err := s.Accept(context.Background(), gaff.AcceptParams{Event: eventOf(key, `{}`)})
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

// number reads a query of one number.
func number(t *testing.T, s *Store, text string, args ...any) (n int) {
	t.Helper()
	if err := s.read.QueryRow(text, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	movedKeys = `select count(*) from event_key`
	keyOfSeq  = `select count(*) from event_by_key where seq = $1`
)

// mustBeKnown checks that each key has the event that it had.
func mustBeKnown(t *testing.T, s *Store, keys []string, ids map[string]string) {
	t.Helper()
	for _, key := range keys {
		if rc := mustAccept(t, s, key); !rc.Duplicate || rc.ID != ids[key] {
			t.Fatalf("key %s again: %+v; want a duplicate of %s", key, rc, ids[key])
		}
	}
}

// A key is known wherever it is: in memory, being moved, or in the table, and after a restart.
func TestKeysAreKnownWhileTheyAreMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		s := openFile(t, path, &SQLite{KeysKept: 16}, Options{})
		keys, ids := randomKeys(70), map[string]string{}
		for i, key := range keys {
			rc := mustAccept(t, s, key)
			if rc.Duplicate {
				t.Fatalf("the new key %s is a duplicate", key)
			}
			ids[key] = rc.ID
			synctest.Wait() // keys are sorted
			if i%9 == 0 {
				mustBeKnown(t, s, keys[:i+1], ids)
			}
		}
		if n := number(t, s, movedKeys); n < 40 || n == len(keys) {
			t.Errorf("%d of %d keys are in the table, want most but not all", n, len(keys))
		}
		if n := number(t, s, `select count(distinct dedupe) from event_by_key`); n != len(keys) {
			t.Errorf("event_by_key has %d keys, want %d", n, len(keys))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openFile(t, path, &SQLite{KeysKept: 16}, Options{})
		defer s.Close()
		mustBeKnown(t, s, keys, ids)
	})
}

// A database whose setting was lost is opened, and its keys are read from the events.
func TestKeysWithoutTheirSetting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	keys, ids := randomKeys(70), map[string]string{}
	s := openFile(t, path, &SQLite{KeysKept: 16}, Options{})
	for _, key := range keys {
		ids[key] = mustAccept(t, s, key).ID
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`delete from setting where name = $1`, eventKeysSetting); err != nil {
		t.Fatal(err)
	}
	s = openFile(t, path, &SQLite{KeysKept: 16}, Options{})
	defer s.Close()
	mustBeKnown(t, s, keys, ids)
	if n := number(t, s, `select count(distinct dedupe) from event_by_key`); n != len(keys) {
		t.Errorf("event_by_key has %d keys, want %d", n, len(keys))
	}
}

// Within five seconds of rest all keys are in the table.
func TestKeysAreMovedWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		var runs []func(*tx) error
		for _, key := range randomKeys(300) {
			row := newEventRow(eventOf(key, `{}`))
			runs = append(runs, func(t *tx) error {
				t.accept(row, nil, nil, new(gaff.Receipt))
				return nil
			})
		}
		if err := errors.Join(inOneBatch(s, runs...)...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keysIdleTime + time.Second)
		if n := number(t, s, movedKeys); n != 300 {
			t.Errorf("%d keys are in the table, want 300", n)
		}
		if n := number(t, s, `select cast(value as integer) from setting where name = $1`, eventKeysSetting); n != 300 {
			t.Errorf("the table is said to have the keys up to event %d, want 300", n)
		}
	})
}

// While an idle gateway moves its keys, webhooks come again: their keys gather as before.
func TestKeysAreNoLongerMovedWhenWebhooksCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openFile(t, filepath.Join(t.TempDir(), "gaff.db"), &SQLite{}, Options{})
		defer s.Close()
		keys := randomKeys(3 * keysIdle)
		for _, key := range keys[:2*keysIdle] {
			mustAccept(t, s, key)
		}
		time.Sleep(2*keysIdleTime + 2*keysPause) // the keys are being moved
		for _, key := range keys[2*keysIdle:] {
			mustAccept(t, s, key)
		}
		moved := number(t, s, movedKeys)
		if moved == 0 {
			t.Fatal("the idle gateway moved no key")
		}
		time.Sleep(10 * keysPause)
		if n := number(t, s, movedKeys); n != moved {
			t.Errorf("%d keys were moved after %d webhooks came at once, want none", n-moved, keysIdle)
		}
	})
}

// Keys of events that a rollback took back are new again, also if their numbers are given again.
func TestKeysOfARollbackAreNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		runs, _ := accepting(eventOf("a", `{}`))
		first := func(t *tx) error { return errors.Join(runs[0](t), t.acceptAll()) }
		errs := inOneBatch(s, func(t *tx) error { return errors.Join(first(t), errors.New("undone")) }, func(*tx) error { return nil })
		if errs[0] == nil {
			t.Fatal("the operation did not fail")
		}
		if rc := mustAccept(t, s, "b"); rc.Duplicate {
			t.Errorf("another key with the same number: %+v, want a new event", rc)
		}
		if rc := mustAccept(t, s, "a"); rc.Duplicate {
			t.Errorf("the key again: %+v, want a new event", rc)
		}
	})
}

// The key of a deleted event is new again, wherever it was, and is never found in its next event's place.
func TestKeysOfDeletedEventsAreNew(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]int{"in memory": 1000, "being moved": 24, "in the table": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := openFile(t, filepath.Join(t.TempDir(), "gaff.db"), &SQLite{KeysKept: kept}, Options{})
				defer s.Close()
				keys := randomKeys(30)
				for _, key := range keys {
					mustAccept(t, s, key)
					synctest.Wait()
				}
				failing := errors.New("undone")
				errs := inOneBatch(s, func(t *tx) error { return errors.Join(t.deleteEvents([]prunable{{seq: 1, source: "shop"}}), failing) },
					func(*tx) error { return nil })
				if !errors.Is(errs[0], failing) {
					t.Fatalf("the deletion: %v, want %v", errs[0], failing)
				}
				if rc := mustAccept(t, s, keys[0]); !rc.Duplicate {
					t.Errorf("after a deletion that was undone: %+v, want a duplicate", rc)
				}
				if err := inOneBatch(s, func(t *tx) error { return t.deleteEvents([]prunable{{seq: 1, source: "shop"}}) })[0]; err != nil {
					t.Fatal(err)
				}
				if n := number(t, s, keyOfSeq, 1); n != 0 {
					t.Errorf("%d keys of the deleted event are left", n)
				}
				if rc := mustAccept(t, s, keys[0]); rc.Duplicate {
					t.Errorf("after the deletion: %+v, want a new event", rc)
				}
				if rc := mustAccept(t, s, keys[0]); !rc.Duplicate {
					t.Errorf("the new event again: %+v, want a duplicate", rc)
				}
				time.Sleep(keysIdleTime + time.Second)
				if rc := mustAccept(t, s, keys[0]); !rc.Duplicate {
					t.Errorf("and when all keys are moved: %+v, want a duplicate", rc)
				}
			})
		})
	}
}

// The number of a deleted event may be given again, after a restart, although the table is said to have all keys up
// to a higher one.
func TestKeysOfNumbersThatAreGivenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		s := openFile(t, path, &SQLite{}, Options{})
		for _, key := range randomKeys(5) {
			mustAccept(t, s, key)
		}
		time.Sleep(keysIdleTime + time.Second)
		if err := inOneBatch(s, func(t *tx) error {
			return t.deleteEvents([]prunable{{seq: 1, source: "shop"}, {seq: 2, source: "shop"}, {seq: 3, source: "shop"}, {seq: 4, source: "shop"}, {seq: 5, source: "shop"}})
		})[0]; err != nil {
			t.Fatal(err)
		}
		reopen := func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s = openFile(t, path, &SQLite{}, Options{})
		}
		reopen()
		if rc := mustAccept(t, s, "new"); rc.Duplicate {
			t.Errorf("a new key: %+v, want a new event", rc)
		}
		if n := number(t, s, `select count(*) from event_by_key where dedupe = 'new'`); n != 1 {
			t.Errorf("event_by_key has the key %d times, want once", n)
		}
		reopen()
		defer func() { _ = s.Close() }()
		if rc := mustAccept(t, s, "new"); !rc.Duplicate {
			t.Errorf("the key again: %+v, want a duplicate", rc)
		}
	})
}

// Another program that deletes or stores events does not know of the keys.
func TestKeysOfAnotherProgram(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gaff.db")
		s := openFile(t, path, &SQLite{KeysKept: 4}, Options{})
		keys := randomKeys(10)
		for _, key := range keys {
			mustAccept(t, s, key)
			synctest.Wait()
		}
		if err := s.Between(func(c *sql.Conn) error {
			_, err := c.ExecContext(context.Background(), `delete from event where seq in (1, 10)`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{keys[0], keys[9]} {
			if rc := mustAccept(t, s, key); rc.Duplicate {
				t.Errorf("key %s of a deleted event: %+v, want a new event", key, rc)
			}
		}
		if _, err := s.read.Exec(`with recursive n (value) as (select 1 union all select value + 1 from n where value < 20)
			insert into event (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead,
			received_at, updated_at, parent_id, hop) select 100 + value, 'shop', 'paid', '', 'foreign-' || value, '', '', 1, 0, 0, 0, 1, 1, '', 0 from n`); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openFile(t, path, &SQLite{KeysKept: 4}, Options{})
		defer s.Close()
		for n := range 20 {
			if rc := mustAccept(t, s, fmt.Sprint("foreign-", n+1)); !rc.Duplicate {
				t.Errorf("key %d of an event that another program stored: %+v, want a duplicate", n+1, rc)
			}
		}
	})
}

// A search for a sender's id reads the keys, rather than all events of the source or of the log.
func TestSearchForAnIDReadsTheKeys(t *testing.T) {
	t.Parallel()
	s := openOwn(t, Options{})
	defer s.Close()
	for name, filter := range map[string]gaff.EventFilter{
		"in a source":              {Source: "shop", WebhookID: "wh-1"},
		"in a source, by status":   {Source: "shop", WebhookID: "wh-1", Status: new(gaff.Status)},
		"in all sources":           {WebhookID: "wh-1"},
		"in a source, from a time": {Source: "shop", WebhookID: "wh-1", Since: time.Now().Add(-time.Hour)},
	} {
		mustAccept(t, s, name)
		list, err := s.listOf(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		text, args := list.heads(50)
		plan, err := collect(t.Context(), s.read, func(rows *sql.Rows) (line string, err error) {
			var a, b, c int
			err = rows.Scan(&a, &b, &c, &line)
			return line, err
		}, `explain query plan `+text, args...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(plan, "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)") {
			t.Errorf("%s:\n%s", name, strings.Join(plan, "\n"))
		}
	}
}
