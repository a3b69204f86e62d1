package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"

	"gaff"
	"gaff/internal/migrate"
	"gaff/internal/writer"
)

// openOwn opens a store of one process over a new file.
func openOwn(t *testing.T, o Options) *Store {
	t.Helper()
	return openFile(t, filepath.Join(t.TempDir(), "gaff.db"), &SQLite{}, o)
}

// openFile opens a store of one process over a file.
func openFile(t *testing.T, path string, database *SQLite, o Options) *Store {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(wal)") // reads do not keep writes waiting
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Run(context.Background(), conn, "sqlite", nil); err != nil {
		t.Fatal(err)
	}
	database.Conn = conn
	o.Dialect, o.Database, o.Read = Dialect{Name: "sqlite", Fault: func(err error) error { return err }}, database, db
	o.Close = func() error { return errors.Join(conn.Close(), db.Close()) }
	s, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inOneBatch runs the operations in one transaction, and returns the error of each.
func inOneBatch(s *Store, runs ...func(*tx) error) []error {
	gathered := make(chan struct{})
	go func() {
		_ = s.Between(func(*sql.Conn) error {
			<-gathered
			return nil
		})
	}()
	synctest.Wait()
	errs := make([]error, len(runs))
	var waiting sync.WaitGroup
	for i, run := range runs {
		waiting.Go(func() { errs[i] = s.w.Do(context.Background(), &op{Run: run}) })
		synctest.Wait() // so that they are queued in order
	}
	close(gathered)
	waiting.Wait()
	return errs
}

func setting(name string) func(*tx) error {
	return func(t *tx) error {
		_, err := t.exec(`insert into setting (name, value) values ($1, '')`, name)
		return err
	}
}

// A failing operation does not affect the others of its batch, with any error and at
// any place.
func TestFailureOfOneOperationIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*tx) error{
		"returns ErrUnavailable": func(*tx) error {
			return fmt.Errorf("a service of the caller: %w", gaff.ErrUnavailable)
		},
		"returns it after it wrote": func(t *tx) error {
			return errors.Join(setting("undone")(t), fmt.Errorf("the caller's: %w", gaff.ErrUnavailable))
		},
		"panics": func(*tx) error { panic("a mistake") },
		"panics when its rows are written": func(t *tx) error {
			t.accepting = append(t.accepting, acceptance{}) // no event: nil is dereferenced at the end
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := openOwn(t, Options{})
				defer s.Close()
				errs := inOneBatch(s, setting("before"), fail, setting("after"))
				if errs[0] != nil || errs[2] != nil {
					t.Errorf("its neighbours failed too: %v; %v", errs[0], errs[2])
				}
				if errs[1] == nil {
					t.Error("it succeeded")
				}
				for name, want := range map[string]int{"before": 1, "after": 1, "undone": 0} {
					var n int
					if err := s.read.QueryRow(`select count(*) from setting where name = $1`, name).Scan(&n); err != nil {
						t.Fatal(err)
					}
					if n != want {
						t.Errorf("%d rows %q are stored, want %d", n, name, want)
					}
				}
			})
		})
	}
}

// An unavailable database fails all operations, even if one of them ignores the error.
func TestUnavailableDatabaseFailsTheBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		s.opt.Dialect.Fault = func(err error) error { return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err) }
		errs := inOneBatch(s, setting("before"), func(t *tx) error {
			_, _ = t.exec(`insert into nowhere values (1)`)
			return nil
		})
		for i, err := range errs {
			if !errors.Is(err, gaff.ErrUnavailable) {
				t.Errorf("operation %d: %v, want ErrUnavailable", i, err)
			}
		}
	})
}

// No database promises to return rows in an order.
func TestInsertedEventsAreFoundByKey(t *testing.T) {
	t.Parallel()
	sent := sentEvents{{"shop", "b"}: 0, {"shop", "a"}: 1}
	if got, err := sent.find(eventKey{"shop", "a"}); err != nil || got != 1 {
		t.Errorf("the event is found at %d, %v; want 1", got, err)
	}
	if _, err := sent.find(eventKey{"other", "a"}); err == nil {
		t.Error("an event that was not sent is found")
	}
}

// An operation whose caller leaves before it was begun is not run.
func TestWithdrawnOperationIsNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{})
		defer s.Close()
		stall(s, time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began, ran := time.Now(), false
		err := s.w.Do(ctx, &op{Run: func(*tx) error { ran = true; return nil }})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v, want the context's end after a second", time.Since(began), err)
		}
		time.Sleep(2 * time.Minute)
		if ran {
			t.Error("it was run")
		}
	})
}

func stall(s *Store, d time.Duration) {
	go func() {
		_ = s.Between(func(*sql.Conn) error {
			time.Sleep(d)
			return nil
		})
	}()
	synctest.Wait()
}

// Notes about rejected requests have limits of their own: neither their number nor their size
// takes room from webhooks.
func TestNotesTakeNothingFromWebhooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{MaxQueuedBytes: 1 << 20})
		defer s.Close()
		stall(s, time.Second)
		kept := 0
		for i := range 300 {
			rj := &gaff.Rejection{ID: fmt.Sprint("rej-", i), Status: 401, ReceivedAt: time.Now(), Whole: &gaff.Request{
				Method: "POST", Header: http.Header{}, Body: make([]byte, 512<<10),
			}}
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if err := s.Reject(ctx, rj); err == nil {
				kept++
			}
			cancel()
		}
		if most := writer.MaxQueuedNoteBytes >> 19; kept > most {
			t.Errorf("%d notes of half a MiB are queued, want %d at most", kept, most)
		}
		body := []byte(strings.Repeat(" ", 900<<10))
		_, err := s.Accept(context.Background(), gaff.AcceptParams{Event: &gaff.Event{Source: "s", Type: "t", DedupeKey: "k", Data: body, ReceivedAt: time.Now()}})
		if err != nil {
			t.Errorf("a webhook beside them: %v", err)
		}
	})
}

// The queue of webhooks is bounded in bytes, over all callers.
func TestQueuedBytesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openOwn(t, Options{MaxQueuedBytes: 1 << 20})
		defer s.Close()
		accept := func(key string) error {
			_, err := s.Accept(context.Background(), gaff.AcceptParams{Event: &gaff.Event{
				Source: "s", Type: "t", DedupeKey: key, Data: make([]byte, 600<<10), ReceivedAt: time.Now(),
			}})
			return err
		}
		stall(s, 2*time.Second)
		go func() { _ = accept("first") }()
		synctest.Wait()
		began := time.Now()
		if err := accept("second"); !errors.Is(err, gaff.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("after %s: %v, want ErrUnavailable at once", time.Since(began), err)
		}
		time.Sleep(3 * time.Second)
		if err := accept("third"); err != nil {
			t.Errorf("after the queue was written: %v", err)
		}
	})
}
