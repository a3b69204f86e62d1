package embed_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	"gaff"
	"gaff/embed"
	"gaff/gafftest"
	"gaff/internal/pgtest"
	"gaff/jobs"
)

// openPostgres opens a gateway over a database with a table of the program.
func openPostgres(t *testing.T, add func(gw *embed.Gateway, pool *pgxpool.Pool, db *sql.DB)) (*site, *pgxpool.Pool, *sql.DB) {
	t.Helper()
	address := pgtest.URL(t)
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := pool.Exec(t.Context(), `create table picture (id text primary key)`); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(o *embed.Options) {
		o.DatabaseURL, o.File = address, filepath.Join(t.TempDir(), "gaff.yaml")
		if err := os.WriteFile(o.File, []byte("retry: {first: 1ms}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(gw *embed.Gateway) {
		gw.Handle("album", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }))
		if add != nil {
			add(gw, pool, db)
		}
	})
	return s, pool, db
}

func pictures(t *testing.T, pool *pgxpool.Pool, id string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `select count(*) from picture where id = $1`, id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A job and an event exist if the program's transaction is committed, and not if it is rolled back.
func TestEnqueueInTheProgramsTransaction(t *testing.T) {
	t.Parallel()
	s, pool, db := openPostgres(t, nil)
	enqueue := func(conn embed.Conn, id string) {
		t.Helper()
		// Two calls, as two functions of a program would make.
		for range 2 {
			err := s.gw.Within(t.Context(), conn, func(tx *embed.Tx) error {
				_, _, err := tx.Submit(t.Context(), jobs.Submission{
					ID: id, Provider: "fal", Model: "fal-ai/flux/dev", Input: json.RawMessage(`{"prompt":"a dog"}`), IdempotencyKey: id,
				})
				if err != nil {
					return err
				}
				return tx.Emit(t.Context(), gaff.Event{Source: "album", Type: "opened", DedupeKey: id, Data: json.RawMessage(`{}`)})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, run := range map[string]func(id string, commit bool) error{
		"pgx": func(id string, commit bool) error {
			tx, err := pool.Begin(t.Context())
			if err != nil {
				return err
			}
			enqueue(embed.PGX(tx), id)
			if _, err := tx.Exec(t.Context(), `insert into picture values ($1)`, id); err != nil || !commit {
				return errors.Join(err, tx.Rollback(t.Context()))
			}
			return tx.Commit(t.Context())
		},
		"sql": func(id string, commit bool) error {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			enqueue(embed.SQL(tx), id)
			if _, err := tx.ExecContext(t.Context(), `insert into picture values ($1)`, id); err != nil || !commit {
				return errors.Join(err, tx.Rollback())
			}
			return tx.Commit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(name+"-no", false); err != nil {
				t.Fatal(err)
			}
			if err := run(name+"-yes", true); err != nil {
				t.Fatal(err)
			}
			if j := gafftest.AwaitJob(t, s.gw.Store(), name+"-yes"); j.Status != jobs.JobCompleted {
				t.Errorf("job %s: %s", j.Status, j.Error)
			}
			if _, err := s.gw.Store().Job(t.Context(), name+"-no"); !errors.Is(err, gaff.ErrNotFound) {
				t.Errorf("job of a transaction that was rolled back: %v", err)
			}
			if pictures(t, pool, name+"-yes") != 1 || pictures(t, pool, name+"-no") != 0 {
				t.Error("the program's rows are not those of the commit")
			}
		})
	}
	page, err := s.gw.Store().Events(t.Context(), gaff.EventFilter{Source: "album"})
	if err != nil || len(page.Items) != 2 {
		t.Errorf("%d events, want 2; %v", len(page.Items), err)
	}
	for _, log := range page.Items {
		if log.Status != gaff.StatusSuccess {
			t.Errorf("event %s is %s", log.ID, log.Status)
		}
	}
	counts, err := s.gw.Store().Counts(t.Context(), time.Now())
	if err != nil || len(counts.Sources) == 0 {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

// The rows of a handler and the success of its delivery are one commit of the program's pool.
func TestEffectsInTheProgramsTransaction(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int32
	failFirst := func() error {
		if attempts.Add(1) == 1 {
			return errors.New("the first attempt fails")
		}
		return nil
	}
	s, pool, _ := openPostgres(t, func(gw *embed.Gateway, pool *pgxpool.Pool, db *sql.DB) {
		gw.Handle("paint", "pgx", gw.EffectsPGX(pool, func(ctx context.Context, db pgx.Tx, tx *embed.Tx, ev *gaff.Event) error {
			if _, err := db.Exec(ctx, `insert into picture values ($1)`, "by pgx"); err != nil {
				return err
			}
			return failFirst()
		}))
		gw.Handle("paint", "sql", gw.EffectsSQL(db, func(ctx context.Context, db *sql.Tx, tx *embed.Tx, ev *gaff.Event) error {
			if _, err := db.ExecContext(ctx, `insert into picture values ($1)`, "by sql"); err != nil {
				return err
			}
			_, err := tx.Exec(`insert into picture values ($1)`, "by gaff's handle")
			return err
		}))
	})
	for _, kind := range []string{"pgx", "sql"} {
		if _, err := s.gw.Emit(t.Context(), gaff.Event{Source: "paint", Type: kind, Data: json.RawMessage(`{}`)}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); pictures(t, pool, "by pgx")+pictures(t, pool, "by sql") < 2 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	gafftest.WorkUntilIdle(t, s.gw.Store())
	for _, id := range []string{"by pgx", "by sql", "by gaff's handle"} {
		if n := pictures(t, pool, id); n != 1 {
			t.Errorf("%s: %d rows, want 1", id, n)
		}
	}
	page, err := s.gw.Store().Deliveries(t.Context(), gaff.DeliveryFilter{Source: "paint"})
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%d deliveries, %v", len(page.Items), err)
	}
	for _, d := range page.Items {
		if d.State != gaff.StateSucceeded {
			t.Errorf("delivery of %s is %s: %s", d.Type, d.State, d.Error)
		}
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestSQLiteTakesNoTransactionOfTheProgram(t *testing.T) {
	t.Parallel()
	s := open(t, nil, nil)
	err := s.gw.Within(t.Context(), embed.PGX(nil), func(*embed.Tx) error { return nil })
	if !errors.Is(err, embed.ErrNotPostgreSQL) {
		t.Errorf("error %v", err)
	}
}
