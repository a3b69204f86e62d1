package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// lease is the lease of the nodes in these tests.
const lease = 2 * time.Second

func open(t *testing.T, address string) *postgres.Store {
	t.Helper()
	st, err := postgres.Open(context.Background(), address, postgres.Options{Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func accept(st *postgres.Store, key string, take bool) (gaff.Receipt, error) {
	body := fmt.Appendf(nil, `{"key":%q}`, key)
	return st.Accept(context.Background(), gaff.AcceptParams{
		Event: &gaff.Event{
			Source: "shop", Type: "paid", WebhookID: key, DedupeKey: key, ReceivedAt: time.Now(), Data: body,
			Request: &gaff.Request{Method: "POST", URL: "/", Body: body},
		},
		Deliveries: []gaff.Delivery{{Handler: "h", MaxAttempts: 3}}, Take: []bool{take},
	})
}

func claim(t *testing.T, st *postgres.Store, limit int) []gaff.Work {
	t.Helper()
	work, err := st.Claim(context.Background(), gaff.ClaimParams{Now: time.Now(), Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return work
}

func apply(st *postgres.Store, w gaff.Work) error {
	l := w.Lease
	l.StartedAt = time.Now()
	return st.Apply(context.Background(), l, func(tx jobs.Tx) error {
		j := &jobs.Job{ID: "job-" + w.Event.WebhookID, Provider: "p", RequestID: w.Event.WebhookID, Status: jobs.JobCompleted}
		_, err := tx.Job(context.Background(), j.ID)
		if errors.Is(err, gaff.ErrNotFound) {
			err = tx.InsertJob(context.Background(), j)
		}
		if err != nil {
			return err
		}
		_, err = tx.AddMedia(context.Background(), &jobs.Media{JobID: j.ID, Position: "0", MediaType: jobs.MediaImage})
		return err
	})
}

func TestNodesShareTheWork(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	nodes := []*postgres.Store{open(t, address), open(t, address), open(t, address)}
	const count = 300
	var wg sync.WaitGroup
	for i, st := range nodes {
		wg.Go(func() {
			for n := range count {
				// Every webhook is sent to two nodes.
				if _, err := accept(st, fmt.Sprint((i*count/2+n)%(count*3/2)), false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var mu sync.Mutex
	worked := map[string]int{}
	for _, st := range nodes {
		for range 3 {
			wg.Go(func() {
				for {
					work := claim(t, st, 10)
					if len(work) == 0 {
						return
					}
					for _, w := range work {
						mu.Lock()
						worked[w.Event.WebhookID]++
						mu.Unlock()
						if err := apply(st, w); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for key, n := range worked {
		if n != 1 {
			t.Errorf("%s was processed %d times", key, n)
		}
	}
	if len(worked) != count*3/2 {
		t.Errorf("%d were processed, want %d", len(worked), count*3/2)
	}
	counts, err := nodes[0].Counts(context.Background(), time.Time{})
	if err != nil || len(counts.Sources) != 1 || counts.Sources[0].Success != count*3/2 || counts.Sources[0].Pending != 0 {
		t.Errorf("counted %+v, %v", counts, err)
	}
}

// The deliveries of a node that died are taken over when their leases have ended, and the dead
// node cannot finish them any more. A running node keeps its deliveries.
func TestLeases(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	proxy, through := pgtest.NewProxy(t, address)
	dying, other := open(t, through), open(t, address)
	var lost gaff.Work
	for i := range 2 {
		rc, err := accept(dying, fmt.Sprint("dying-", i), true)
		if err != nil || len(rc.Work) != 1 {
			t.Fatalf("%+v, %v", rc, err)
		}
		lost = rc.Work[0]
	}
	rc, err := accept(other, "living", true)
	if err != nil {
		t.Fatal(err)
	}
	kept := rc.Work[0]
	if work := claim(t, other, 10); len(work) != 0 {
		t.Fatalf("claimed what another works on: %+v", work)
	}
	proxy.Set(pgtest.Refuse)
	began := time.Now()
	var taken []gaff.Work
	eventually.True(t, "taken over", func() bool {
		taken = append(taken, claim(t, other, 10)...)
		return len(taken) == 2
	})
	if took := time.Since(began); took < lease/4 {
		t.Errorf("taken over after %s, before the lease had ended", took)
	}
	due, err := other.NextDue(context.Background(), "")
	if err != nil || !due.IsZero() {
		t.Errorf("next due %s, %v", due, err)
	}
	time.Sleep(2 * lease) // a running node renews its leases
	if work := claim(t, other, 10); len(work) != 0 {
		t.Errorf("its own lease ended: %+v", work)
	}
	proxy.Set(pgtest.Pass)
	third := open(t, address)
	if work := claim(t, third, 10); len(work) != 0 {
		t.Errorf("another claims it: %+v", work)
	}
	eventually.True(t, "connected again", func() bool { return dying.Ready(context.Background()) == nil })
	if err := apply(dying, lost); !errors.Is(err, gaff.ErrLeaseLost) {
		t.Errorf("the dead one finishes: %v", err)
	}
	for _, w := range append(taken, kept) {
		if err := apply(other, w); err != nil {
			t.Error(err)
		}
	}
	// A node that stops releases its leases at once.
	if _, err := accept(third, "given back", true); err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	if work := claim(t, other, 10); len(work) != 1 {
		t.Errorf("claimed %d released deliveries", len(work))
	}
}

func TestNewsOfOtherNodes(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	a, b := open(t, address), open(t, address)
	wake := b.Wake("")
	// The listener may not be connected yet; then polling finds it.
	eventually.True(t, "woken by another node", func() bool {
		if _, err := accept(a, fmt.Sprint(time.Now().UnixNano()), false); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
			return true
		case <-time.After(200 * time.Millisecond):
			return false
		}
	})
	changed := b.Changed()
	if _, err := accept(a, "change", false); err != nil {
		t.Fatal(err)
	}
	eventually.Receive(t, "a change on another node is noticed", changed)
}

// A reader of the stream misses no change, although commits of several nodes overtake each other.
func TestStreamIsComplete(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	nodes := []*postgres.Store{open(t, address), open(t, address)}
	reader := open(t, address)
	_, at, _, err := reader.Changes(context.Background(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	done := make(chan struct{})
	var want sync.Map
	var wg sync.WaitGroup
	for i, st := range nodes {
		for j := range 8 {
			wg.Go(func() {
				for n := range 40 {
					rc, err := accept(st, fmt.Sprint(i, "-", j, "-", n), false)
					if err != nil {
						t.Error(err)
						return
					}
					want.Store(rc.ID, true)
				}
			})
		}
	}
	go func() {
		wg.Wait()
		close(done)
	}()
	read := func() int {
		cs, last, gone, err := reader.Changes(context.Background(), at, 50)
		if err != nil || gone {
			t.Fatal(err, gone)
		}
		at = last
		for _, c := range cs {
			seen[c.Ref]++
		}
		return len(cs)
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			read()
		}
	}
	total := 0
	want.Range(func(any, any) bool { total++; return true })
	eventually.True(t, "all seen", func() bool {
		read()
		return len(seen) >= total
	})
	want.Range(func(id, _ any) bool {
		if seen[id.(string)] != 1 {
			t.Errorf("%s was read %d times", id, seen[id.(string)])
		}
		return true
	})
}

// A node of the former version continues after another has migrated.
func TestFormerVersionWorksOn(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	former := open(t, address)
	if _, err := accept(former, "before", false); err != nil {
		t.Fatal(err)
	}
	steps, err := migrate.Steps("postgres")
	if err != nil {
		t.Fatal(err)
	}
	applyNext(t, address, append(steps, migrate.Step{Version: len(steps) + 1, Name: "9999_next", SQL: `
		create table next (a bigint primary key);
		alter table event add column next text collate "C" not null default '';
		alter table delivery add column next bigint;
		alter table job add column next bigint not null default 0;
		alter table media add column next bigint not null default 0;
		alter table tally add column next bigint not null default 0;
		create index event_next on event (next, seq) where next <> ''`}))
	for range 2 {
		if _, err := accept(former, "after", false); err != nil {
			t.Error(err)
		}
		for _, w := range claim(t, former, 10) {
			if err := apply(former, w); err != nil {
				t.Error(err)
			}
		}
		if page, err := former.Events(context.Background(), gaff.EventFilter{}); err != nil || len(page.Items) != 2 {
			t.Errorf("lists %d, %v", len(page.Items), err)
		}
		// It can also be restarted.
		former = open(t, address)
	}
}

// Rows with transaction numbers of another server do not hide new ones.
func TestRestoredOnAnotherServer(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	if err := onConn(address, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `insert into change (seq, at, items) values (1000000000000, 1, '[]')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	st := open(t, address)
	_, at, _, err := st.Changes(context.Background(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accept(st, "new", false); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "a new change is seen", func() bool {
		cs, _, gone, err := st.Changes(context.Background(), at, 10)
		return err == nil && !gone && len(cs) == 1
	})
	if _, _, gone, _ := st.Changes(context.Background(), "1000000000000-0", 10); !gone {
		t.Error("a reader with a position of the other server does not get gone")
	}
}

func TestOpenExplainsWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := pgtest.URL(t)
	latin := pgtest.Empty(t)
	if err := onConn(latin, func(c *pgx.Conn) error {
		_, err := c.Exec(context.Background(), `create database `+strings.ReplaceAll(t.Name(), "/", "_")+`_sql
			encoding 'SQL_ASCII' locale_provider 'libc' locale 'C' template template0`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = onConn(latin, func(c *pgx.Conn) error {
			_, err := c.Exec(context.Background(), `drop database `+t.Name()+`_sql`)
			return err
		})
	})
	for address, want := range map[string]string{
		"postgres://gaff:s3cret@127.0.0.1:1/none":                      "cannot be reached",
		withDatabase(good, "no_such_database"):                         "does not exist",
		withDatabase(good, strings.ToLower(t.Name())+"_sql"):           "encoding 'UTF8'",
		"postgres://gaff:s3cret@127.0.0.1:1/none?connect_timeout=nono": "want postgres://",
	} {
		st, err := postgres.Open(context.Background(), address, postgres.Options{})
		if err == nil {
			_ = st.Close()
			t.Errorf("%s opened", want)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v\nlacks %q, or has the password", err, want)
		}
	}
}

func TestClockDifferencesAreWarnedOf(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	for skew, want := range map[time.Duration]bool{0: false, time.Second: false, -5 * time.Second: true, time.Hour: true} {
		var log strings.Builder
		err := postgres.WarnOfClock(address, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return time.Now().Add(skew) })
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "clock"); got != want {
			t.Errorf("clocks that differ by %s: %q", skew, log.String())
		}
	}
}

// worker is a provider that accepts every job.
type worker struct{ jobs.Provider }

func (worker) Name() string                             { return "p" }
func (worker) Check(*jobs.Submission) error             { return nil }
func (worker) Account() string                          { return "" }
func (worker) CanPoll(*jobs.Job) bool                   { return false }
func (worker) Route(*gaff.Event) (none []gaff.Delivery) { return nil }

// A call belongs to its caller on any node: two connected callers get two jobs, and one that
// disconnected gets its job again from another node.
func TestCallsAtTwoNodes(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	var nodes []*jobs.Service
	for range 2 {
		l, err := jobs.NewService(t.Context(), jobs.ServiceOptions{
			Store: open(t, address), Router: worker{}, Log: slog.New(slog.DiscardHandler), Providers: []jobs.Provider{worker{}}, Shared: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, l)
	}
	begin := func(ctx context.Context, node int) *jobs.Call {
		t.Helper()
		c, err := nodes[node].Begin(ctx, jobs.Submission{Provider: "p", Model: "m", Caller: "key:a"}, "call")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	patient := t.Context()
	hasty, leave := context.WithCancel(patient)
	first, second := begin(hasty, 0), begin(patient, 1)
	if !first.Created || !second.Created || first.Job.ID == second.Job.ID {
		t.Errorf("two connected callers share job %s", first.Job.ID)
	}
	leave()
	var again *jobs.Call
	eventually.True(t, "the other node knows that the caller left", func() bool {
		j, err := nodes[1].Job(patient, first.Job.ID)
		return err == nil && j.OwedBy == "-"
	})
	if again = begin(patient, 1); again.Created || again.Job.ID != first.Job.ID {
		t.Errorf("the repetition has job %s, created %v; want %s", again.Job.ID, again.Created, first.Job.ID)
	}
	if third := begin(patient, 0); !third.Created {
		t.Errorf("a call beside the repetition has its job %s", third.Job.ID)
	}
	again.Delivered(patient, true)
	if later := begin(patient, 0); !later.Created {
		t.Errorf("a call after the delivery has job %s", later.Job.ID)
	}

	var calls [8]*jobs.Call
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			var err error
			if calls[i], err = nodes[i%2].Begin(patient, jobs.Submission{Provider: "p", Model: "m", Caller: "key:a", IdempotencyKey: "k"}, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	created := 0
	for _, c := range calls {
		if c.Job.ID != calls[0].Job.ID {
			t.Errorf("one idempotency key has jobs %s and %s", calls[0].Job.ID, c.Job.ID)
		}
		if c.Created {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d of %d calls of one key made its job, want 1", created, len(calls))
	}
}
