package postgres_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gaff"
	"gaff/internal/eventually"
	"gaff/internal/migrate"
	"gaff/internal/pgtest"
	"gaff/jobs"
	"gaff/store/postgres"
)

func onConn(address string, fn func(*pgx.Conn) error) error {
	c, err := pgx.Connect(context.Background(), address)
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	return fn(c)
}

func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + name
	return u.String()
}

func applyNext(t *testing.T, address string, steps []migrate.Step) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := migrate.Apply(t.Context(), conn, "postgres", steps, nil); err != nil {
		t.Fatal(err)
	}
}

// If the connection is cut at a commit, its outcome is unknown: it is not acknowledged, and
// another attempt does not double it.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	proxy, through := pgtest.NewProxy(t, address)
	st, other := open(t, through), open(t, address)
	ids := map[string]string{}
	const rounds = 12
	for i := range rounds {
		key := fmt.Sprint("webhook-", i)
		committed := i%2 == 1
		mode := pgtest.CutBeforeCommit
		if committed {
			mode = pgtest.CutAfterCommit
		}
		proxy.Cut(mode, key)
		rc, err := accept(st, key, true)
		if !errors.Is(err, gaff.ErrUnavailable) {
			t.Fatalf("%s was acknowledged: %+v, %v", key, rc, err)
		}
		// The sender sends again, perhaps to another node.
		node := st
		if i%4 < 2 {
			node = other
		}
		eventually.True(t, "kept when it comes again", func() bool {
			rc, err = accept(node, key, false)
			return err == nil
		})
		if rc.Duplicate != committed {
			t.Errorf("%s sent again: duplicate %v, its first commit was done: %v", key, rc.Duplicate, committed)
		}
		ids[key] = rc.ID
	}
	if proxy.Cuts() != rounds {
		t.Fatalf("%d commits were cut, want %d", proxy.Cuts(), rounds)
	}
	// Effects: a worker whose commit got no response tries again.
	done := map[string]bool{}
	eventually.True(t, "all processed", func() bool {
		for i, w := range claim(t, st, 3) {
			mode := []pgtest.Mode{pgtest.CutBeforeCommit, pgtest.CutAfterCommit, pgtest.Pass}[i%3]
			proxy.Cut(mode, w.Event.WebhookID)
			err := apply(st, w)
			if mode == pgtest.Pass == errors.Is(err, gaff.ErrUnavailable) {
				t.Fatalf("mode %d: %v", mode, err)
			}
			// An attempt may overtake the commit that got no response: then it finds the job in
			// the middle of its own transaction, and the next one finds the delivery done.
			for errors.Is(err, gaff.ErrUnavailable) || mode == pgtest.CutAfterCommit && errors.Is(err, gaff.ErrConflict) {
				err = apply(st, w)
			}
			if want := mode == pgtest.CutAfterCommit; want != errors.Is(err, gaff.ErrLeaseLost) || !want && err != nil {
				t.Errorf("mode %d, tried again: %v", mode, err)
			}
			done[w.Event.WebhookID] = true
		}
		return len(done) == rounds
	})
	for key, id := range ids {
		d, err := other.Event(context.Background(), id)
		if err != nil || d.Status != gaff.StatusSuccess || len(d.Deliveries) != 1 || len(d.Attempts) != 1 {
			t.Errorf("%s: %+v, %v", key, d, err)
		}
		media, err := other.Media(context.Background(), jobs.MediaFilter{JobID: "job-" + key})
		if err != nil || len(media.Items) != 1 {
			t.Errorf("%s: %d media, %v", key, len(media.Items), err)
		}
	}
	if page, err := other.Events(context.Background(), gaff.EventFilter{Cursor: gaff.Cursor{Limit: 500}}); err != nil || len(page.Items) != rounds {
		t.Errorf("%d events, want %d (%v)", len(page.Items), rounds, err)
	}
}

// An operation that ignores an error of the database is rolled back, also if it succeeds; the
// others of its transaction are not.
func TestErrorThatIsPassedOver(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	st := open(t, address)
	if err := onConn(address, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `create function refuse() returns trigger language plpgsql as $$ begin
				if new.name = 'refused' then raise exception 'not this one'; end if; return new; end $$;
			create trigger refuse before insert on setting for each row execute function refuse()`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	const count = 60
	var wg sync.WaitGroup
	errs := make([]error, count)
	for i := range count {
		wg.Go(func() {
			errs[i] = st.Write(context.Background(), func(tx jobs.Tx) error {
				if i%20 == 7 {
					_ = tx.SetSetting(context.Background(), "refused", "x")
				}
				return tx.InsertJob(context.Background(), &jobs.Job{ID: fmt.Sprint("job-", i), Provider: "p", Status: jobs.JobQueued})
			})
		})
	}
	wg.Wait()
	for i, err := range errs {
		_, found := st.Job(context.Background(), fmt.Sprint("job-", i))
		if i%20 == 7 {
			if err == nil || errors.Is(err, gaff.ErrUnavailable) || !strings.Contains(err.Error(), "not this one") || !errors.Is(found, gaff.ErrNotFound) {
				t.Errorf("%d, which was rejected: %v; its job: %v", i, err, found)
			}
		} else if err != nil || found != nil {
			t.Errorf("%d: %v; its job: %v", i, err, found)
		}
	}
}

// Without a transaction the server answers COMMIT with a warning.
func TestCommitWithoutTransaction(t *testing.T) {
	t.Parallel()
	if err := postgres.CommitNothing(pgtest.URL(t)); err == nil {
		t.Error("a commit without a transaction succeeded")
	}
}

// patience is the longest that a sender may wait.
const patience = 5 * time.Second

// unavailable accepts a webhook, and wants ErrUnavailable in time.
func unavailable(t *testing.T, st *postgres.Store, what string) {
	t.Helper()
	began := time.Now()
	_, err := accept(st, fmt.Sprint(what, time.Now().UnixNano()), false)
	if !errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("%s: %v", what, err)
	}
	// Without a bound it would take minutes. Half a minute more than promised is for a machine
	// that runs other tests.
	if took := time.Since(began); took > patience+30*time.Second {
		t.Errorf("%s: rejected after %s", what, took)
	}
	if err := st.Ready(context.Background()); err == nil {
		t.Errorf("%s: ready", what)
	}
}

func recovers(t *testing.T, st *postgres.Store, what string) {
	t.Helper()
	eventually.True(t, what+": works again", func() bool {
		_, err := accept(st, fmt.Sprint(what, time.Now().UnixNano()), false)
		return err == nil && st.Ready(context.Background()) == nil
	})
	if _, err := st.Events(context.Background(), gaff.EventFilter{}); err != nil {
		t.Errorf("%s: reads: %v", what, err)
	}
}

func TestNetworkThatHangs(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	proxy, through := pgtest.NewProxy(t, address)
	st := open(t, through)
	recovers(t, st, "at first")
	proxy.Set(pgtest.Hang)
	unavailable(t, st, "it hangs")
	unavailable(t, st, "it hangs on") // new connections hang as well
	proxy.Set(pgtest.Refuse)
	unavailable(t, st, "cut")
	proxy.Set(pgtest.Pass)
	recovers(t, st, "mended")
}

func TestServerGone(t *testing.T) {
	t.Parallel()
	server, err := pgtest.NewServer(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	address, err := server.Database("gaff")
	if err != nil {
		t.Fatal(err)
	}
	st := open(t, address)
	var kept []string
	for what, end := range map[string]func(){"killed": server.Kill, "stopped": server.Stop} {
		for i := range 20 {
			rc, err := accept(st, fmt.Sprint(what, "-", i), i%2 == 0)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, rc.ID)
		}
		end()
		// The children of a killed server run for a moment, and their commits stay.
		eventually.True(t, what+": noticed", func() bool {
			rc, err := accept(st, fmt.Sprint(what, time.Now().UnixNano()), false)
			if err == nil {
				kept = append(kept, rc.ID)
			}
			return err != nil && st.Ready(context.Background()) != nil
		})
		unavailable(t, st, what)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		recovers(t, st, what)
	}
	for _, id := range kept {
		if _, err := st.Event(context.Background(), id); err != nil {
			t.Errorf("%s was acknowledged: %v", id, err)
		}
	}
}

// If the server rejects more connections, the existing ones do the work.
func TestNoMoreConnections(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	st := open(t, address)
	recovers(t, st, "at first")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := u.Path[1:]
	if err := onConn(address, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `alter database `+name+` connection limit 0`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := accept(st, fmt.Sprint("crowded-", i), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := postgres.Open(context.Background(), address, postgres.Options{}); err == nil {
		t.Error("another node found room")
	}
	// All are cut, and cannot connect again until there is room.
	if err := onConn(withDatabase(address, "postgres"), func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "it notices", func() bool {
		_, err := accept(st, fmt.Sprint("full-", time.Now().UnixNano()), false)
		return err != nil
	})
	unavailable(t, st, "full")
	if err := onConn(withDatabase(address, "postgres"), func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `alter database `+name+` connection limit -1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	recovers(t, st, "room again")
}

// A process that hangs in a transaction keeps its rows locked; others must not hang with it.
func TestForeignLock(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	st := open(t, address)
	rc, err := accept(st, "locked", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := onConn(address, func(c *pgx.Conn) error {
		if _, err := c.Exec(context.Background(), `begin; update event set updated_at = updated_at`); err != nil {
			return err
		}
		began := time.Now()
		if err := apply(st, rc.Work[0]); !errors.Is(err, gaff.ErrUnavailable) {
			t.Errorf("effects on a locked row: %v", err)
		}
		if took := time.Since(began); took > 2*patience {
			t.Errorf("failed after %s", took)
		}
		if _, err := accept(st, "beside", false); err != nil {
			t.Errorf("receiving beside it: %v", err)
		}
		_, err := c.Exec(context.Background(), `rollback`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := apply(st, rc.Work[0]); err != nil {
		t.Error(err)
	}
}

// A connection that was dropped while idle is replaced, and the webhook is stored.
// savesJob are effects of an event that save a job.
type savesJob struct {
	st *postgres.Store
	id string
}

func (e savesJob) Reads() any { return jobs.JobRef{ID: e.id} }
func (savesJob) Stored()      {}

func (e savesJob) Write(ctx context.Context, tx any, _ *gaff.Event) error {
	t := e.st.EventTx(tx)
	j, err := t.Job(ctx, e.id)
	if err != nil {
		return err
	}
	j.Status = jobs.JobCompleted
	return t.SaveJob(ctx, j)
}

// Webhooks of a job whose row another process keeps locked are stored without their effects, and so
// are those that come at the same moment.
func TestForeignLockDoesNotHoldUpWebhooks(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	st := open(t, address)
	ids := []string{"job-0", "job-1", "job-2"}
	if err := st.Write(t.Context(), func(tx jobs.Tx) error {
		for _, id := range ids {
			if err := tx.InsertJob(t.Context(), &jobs.Job{ID: id, Provider: "fal", Status: jobs.JobProcessing, CreatedAt: tx.Now()}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	webhooks := func(round string) (withEffects int) {
		var mu sync.Mutex
		var sending sync.WaitGroup
		for _, id := range ids {
			sending.Go(func() {
				began := time.Now()
				rc, err := st.Accept(context.Background(), gaff.AcceptParams{
					Event:      &gaff.Event{Source: "fal", Type: "done", DedupeKey: round + id, ReceivedAt: began, Data: json.RawMessage(`{}`)},
					Deliveries: []gaff.Delivery{{Handler: "effects", MaxAttempts: 1}}, Take: []bool{true}, Effects: savesJob{st, id},
				})
				if err != nil {
					t.Errorf("%s, webhook of %s after %s: %v", round, id, time.Since(began), err)
				}
				mu.Lock()
				defer mu.Unlock()
				if rc.EffectsStored {
					withEffects++
				}
			})
		}
		sending.Wait()
		return withEffects
	}
	if err := onConn(address, func(c *pgx.Conn) error {
		if _, err := c.Exec(context.Background(), `begin; update job set id = id where id = 'job-1'`); err != nil {
			return err
		}
		if n := webhooks("locked"); n > 2 {
			t.Error("the effects on a locked row are stored")
		}
		_, err := c.Exec(context.Background(), `rollback`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := webhooks("free"); n != 3 {
		t.Errorf("%d of 3 webhooks are stored with their effects", n)
	}
}

func TestIdleConnectionsThatWereDropped(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	terminate := func() {
		if err := onConn(address, func(c *pgx.Conn) error {
			_, err := c.Exec(context.Background(), `select pg_terminate_backend(pid, 5000) from pg_stat_activity
				where datname = current_database() and pid <> pg_backend_pid()`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	proxy, through := pgtest.NewProxy(t, address)
	for name, c := range map[string]struct {
		drop func()
		idle time.Duration // until the next webhook
	}{
		"reset just now":          {func() { proxy.Set(pgtest.Refuse); proxy.Set(pgtest.Pass) }, 0},
		"reset a while ago":       {func() { proxy.Set(pgtest.Refuse); proxy.Set(pgtest.Pass) }, 1100 * time.Millisecond},
		"ended by the server":     {terminate, 0},
		"forgotten by a firewall": {proxy.Forget, 1100 * time.Millisecond},
	} {
		st := open(t, through)
		for i := range 2 {
			if _, err := accept(st, fmt.Sprint(name, "-warm-", i), false); err != nil {
				t.Fatal(err)
			}
			c.drop()
			time.Sleep(c.idle)
			began := time.Now()
			rc, err := accept(st, fmt.Sprint(name, "-", i), true)
			if err != nil {
				t.Errorf("%s, %d: %v after %s; want it stored", name, i, err, time.Since(began))
				continue
			}
			if err := apply(st, rc.Work[0]); err != nil {
				t.Errorf("%s, %d: its effects: %v", name, i, err)
			}
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}
