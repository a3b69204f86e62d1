package destination_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/store/sqlite"
)

// node is a gateway with a manager over a store.
type node struct {
	*destination.Manager
	t  *testing.T
	gw *gaff.Gateway
	st *sqlite.Store

	mu     sync.Mutex
	posted []string // host and event type
	status int
}

func (n *node) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	var e struct{ Type string }
	_ = json.Unmarshal(body, &e)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.posted = append(n.posted, r.URL.Host+" "+e.Type)
	return &http.Response{StatusCode: n.status, Header: http.Header{}, Body: http.NoBody}, nil
}

func (n *node) sent() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := slices.Clone(n.posted)
	slices.Sort(out)
	n.posted = nil
	return out
}

func openStore(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// newNode starts a gateway; stop ends it before its store is closed.
func newNode(t *testing.T, st *sqlite.Store, configured ...destination.Spec) *node {
	t.Helper()
	return newNodeOver(t, st, st, configured...)
}

// newNodeOver is newNode with a store of its own for the manager.
func newNodeOver(t *testing.T, st *sqlite.Store, of destination.Store, configured ...destination.Spec) *node {
	t.Helper()
	n := &node{t: t, st: st, status: 200}
	log := slog.New(slog.DiscardHandler)
	var err error
	if n.gw, err = gaff.New(gaff.Options{Store: st, Logger: log}); err != nil {
		t.Fatal(err)
	}
	n.Manager = destination.NewManager(destination.ManagerOptions{
		Store: of, Gateway: n.gw, Log: log, Configured: configured, Client: &http.Client{Transport: n}, Lookup: destination.NewLookup(st),
	})
	if err := n.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := n.gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { n.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := n.gw.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func fresh(t *testing.T, configured ...destination.Spec) *node {
	return newNode(t, openStore(t, filepath.Join(t.TempDir(), "gaff.db")), configured...)
}

func (n *node) emit(source, kind string) string {
	n.t.Helper()
	id, err := n.gw.Emit(context.Background(), gaff.Event{Source: source, Type: kind, WebhookID: kind, Data: json.RawMessage(`{"k":"v"}`)}, time.Time{})
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

func (n *node) state(eventID string) (gaff.Delivery, []gaff.Attempt) {
	n.t.Helper()
	d, err := n.st.Event(context.Background(), eventID)
	if err != nil || len(d.Deliveries) == 0 {
		n.t.Fatalf("%v, %d deliveries", err, len(d.Deliveries))
	}
	return d.Deliveries[0], d.Attempts
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestDestinationsComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t, destination.Spec{Name: "fixed", URL: "http://fixed", Events: []string{"shop:*"}})
		d := must(n.Create(ctx, destination.Spec{Name: "app", URL: "http://app", Events: []string{"shop:paid"}}))(t)
		if d.Origin != destination.OriginAPI || d.MaxAttempts != 12 || d.Health.State != destination.StateActive {
			t.Errorf("made %+v", d)
		}
		n.emit("shop", "paid")
		n.emit("shop", "other")
		synctest.Wait()
		if got := n.sent(); !slices.Equal(got, []string{"app paid", "fixed other", "fixed paid"}) {
			t.Errorf("sent %v", got)
		}
		if _, err := n.Create(ctx, destination.Spec{Name: "app", URL: "http://x"}); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("made twice: %v", err)
		}
		if _, err := n.Create(ctx, destination.Spec{Name: "bad", URL: "x"}); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("a bad one: %v", err)
		}
		change := func(patch string) (destination.Managed, error) {
			return n.Update(ctx, "app", func(s *destination.Spec) error { return destination.Merge(s, []byte(patch)) })
		}
		d = must(change(`{"events":["shop:other"],"timeout":"3s"}`))(t)
		if d.Timeout != destination.Duration(3*time.Second) || d.URL != "http://app" {
			t.Errorf("changed %+v", d)
		}
		for _, bad := range []string{`{"nope":1}`, `{"name":"other"}`, `{"url":null}`, `[]`, `{"timeout":"soon"}`} {
			if _, err := change(bad); !errors.Is(err, gaff.ErrInvalid) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		n.emit("shop", "paid")
		n.emit("shop", "other")
		synctest.Wait()
		if got := n.sent(); !slices.Equal(got, []string{"app other", "fixed other", "fixed paid"}) {
			t.Errorf("after the change: %v", got)
		}
		// What waits for a deleted one is canceled, and nobody else's touched.
		must(n.SetState(ctx, "app", destination.StatePaused, "deploy"))(t)
		var ids []string
		for range 5 {
			ids = append(ids, n.emit("shop", "other"))
		}
		synctest.Wait()
		if d = must(n.Get(ctx, "app"))(t); d.Counts.Waiting != 5 || d.Health.Reason != "deploy" {
			t.Errorf("paused: %+v %+v", d.Counts, d.Health)
		}
		if err := n.Delete(ctx, "app"); err != nil {
			t.Fatal(err)
		}
		if err := n.Delete(ctx, "app"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		for _, id := range ids {
			ev := must(n.st.Event(ctx, id))(t)
			for _, del := range ev.Deliveries {
				if want := map[string]gaff.State{"app": gaff.StateCanceled, "fixed": gaff.StateSucceeded}[del.Handler]; del.State != want {
					t.Errorf("%s of %s is %s", del.ID, del.Handler, del.State)
				}
			}
		}
		if err := n.Delete(ctx, "fixed"); !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("deleted what the configuration defines: %v", err)
		}
		n.sent()
		n.emit("shop", "other")
		synctest.Wait()
		if got := n.sent(); !slices.Equal(got, []string{"fixed other"}) {
			t.Errorf("in the end: %v", got)
		}
	})
}

func TestWhatIsSetUpOutlivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	fixed := destination.Spec{Name: "fixed", URL: "http://fixed", Events: []string{"shop:*"}}
	t.Run("before", func(t *testing.T) {
		n := newNode(t, openStore(t, path), fixed)
		must(n.Create(t.Context(), destination.Spec{Name: "app", URL: "http://app", Secrets: []string{destination.NewSecret()}}))(t)
		must(n.SetState(t.Context(), "app", destination.StatePaused, "a"))(t)
		must(n.SetState(t.Context(), "fixed", destination.StatePaused, "b"))(t)
	})
	n := newNode(t, openStore(t, path), fixed)
	all := must(n.List(t.Context()))(t)
	if len(all) != 2 || all[0].Name != "app" || len(all[0].Secrets) != 1 || all[0].Health.Reason != "a" || all[1].Health.Reason != "b" || all[1].Origin != destination.OriginConfig {
		t.Errorf("after a restart: %+v", all)
	}
}

// Two gateways over one store stand for two nodes: one learns what is done at the other.
func TestOtherNodesLearn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		a, b := newNode(t, st), newNode(t, st)
		must(a.Create(ctx, destination.Spec{Name: "app", URL: "http://app"}))(t)
		time.Sleep(2 * time.Second)
		if _, err := b.Get(ctx, "app"); err != nil {
			t.Fatal(err)
		}
		must(b.SetState(ctx, "app", destination.StatePaused, "from b"))(t)
		time.Sleep(2 * time.Second)
		if d := must(a.Get(ctx, "app"))(t); d.Health.Reason != "from b" {
			t.Errorf("a knows %+v", d.Health)
		}
		if err := a.Delete(ctx, "app"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := b.Get(ctx, "app"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("b still knows it: %v", err)
		}
	})
}

func TestGoneIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t)
		must(n.Create(ctx, destination.Spec{Name: "app", URL: "http://app"}))(t)
		n.status = 410
		id := n.emit("shop", "paid")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d := must(n.Get(ctx, "app"))(t)
		if d.Health.State != destination.StateDisabled || !strings.Contains(d.Health.Reason, "410") {
			t.Errorf("%+v", d.Health)
		}
		n.status = 200
		must(n.SetState(ctx, "app", destination.StateActive, ""))(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if del, as := n.state(id); del.State != gaff.StateSucceeded || len(as) != 2 {
			t.Errorf("resumed: %s after %d attempts", del.State, len(as))
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	n := fresh(t)
	old := destination.NewSecret()
	must(n.Create(t.Context(), destination.Spec{Name: "app", URL: "http://app", Secrets: []string{old, destination.NewSecret()}}))(t)
	d, secret, err := n.Rotate(t.Context(), "app", true)
	if err != nil || !slices.Equal(d.Secrets, []string{secret, old}) {
		t.Errorf("rotated: %v, %v", err, d.Secrets)
	}
	d, secret, err = n.Rotate(t.Context(), "app", false)
	if err != nil || !slices.Equal(d.Secrets, []string{secret}) {
		t.Errorf("rotated, the old one dropped: %v, %v", err, d.Secrets)
	}
}

func leasesOf(pulled []destination.Pulled) (all []string) {
	for _, p := range pulled {
		all = append(all, p.Lease)
	}
	return all
}

func TestPull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t)
		must(n.Create(ctx, destination.Spec{Name: "worker", Kind: destination.KindPull, MaxAttempts: 3, FirstWait: destination.Duration(time.Minute)}))(t)
		pull := func(limit int, wait time.Duration) []destination.Pulled {
			t.Helper()
			return must(n.Pull(ctx, "worker", limit, wait, 30*time.Second))(t)
		}
		var ids []string
		for i := range 5 {
			ids = append(ids, n.emit("shop", fmt.Sprint("t", i)))
		}
		first := pull(2, 0)
		rest := pull(10, 0)
		if len(first) != 2 || len(rest) != 3 || first[0].Event.ID != ids[0] || !strings.Contains(string(first[0].Envelope), `"t0"`) {
			t.Fatalf("pulled %d and %d", len(first), len(rest))
		}
		if more := pull(10, 0); len(more) != 0 {
			t.Errorf("the same twice: %v", more)
		}
		for _, e := range n.Ack(ctx, leasesOf(first)) {
			if e.Err != nil {
				t.Errorf("ack: %v", e.Err)
			}
		}
		if e := n.Ack(ctx, leasesOf(first)[:1]); !errors.Is(e[0].Err, gaff.ErrLeaseLost) {
			t.Errorf("acknowledged twice: %v", e[0].Err)
		}
		if del, as := n.state(ids[0]); del.State != gaff.StateSucceeded || len(as) != 1 || as[0].Outcome != gaff.AttemptSucceeded {
			t.Errorf("acknowledged: %s, %+v", del.State, as)
		}
		// Given back: at once for the next, and no attempt counts.
		n.Release(ctx, leasesOf(rest)[:1])
		again := pull(10, 0)
		if len(again) != 1 || again[0].Attempt != 1 {
			t.Fatalf("released: %+v", again)
		}
		// Failed: after the destination's own wait, or when the application says, or dead.
		must(n.Fail(ctx, leasesOf(again), "no luck", 10*time.Second, false))(t)
		must(n.Fail(ctx, leasesOf(rest)[1:2], "never", -1, true))(t)
		if del, _ := n.state(ids[3]); del.State != gaff.StateDead || del.Error != "never" {
			t.Errorf("dead: %s %q", del.State, del.Error)
		}
		// Extended ones outlive their lease, others do not and lose a try.
		if ended, _, err := n.Extend(leasesOf(rest)[2:], 2*time.Minute); err != nil || ended[0].Err != nil {
			t.Errorf("extend: %v, %v", err, ended)
		}
		started := time.Now()
		waited := pull(10, 20*time.Second)
		if took := time.Since(started); len(waited) != 1 || waited[0].Event.ID != ids[2] || waited[0].Attempt != 2 || took < 9*time.Second || took > 12*time.Second {
			t.Fatalf("waited %s for %+v", took, waited)
		}
		time.Sleep(40 * time.Second)
		if e := n.Ack(ctx, leasesOf(waited)); !errors.Is(e[0].Err, gaff.ErrLeaseLost) {
			t.Errorf("acknowledged after the lease ran out: %v", e[0].Err)
		}
		last := pull(10, 0)
		if len(last) != 1 || last[0].Attempt != 3 {
			t.Fatalf("after the lease ran out: %+v", last)
		}
		time.Sleep(40 * time.Second)
		if del, as := n.state(ids[2]); del.State != gaff.StateDead || len(as) != 3 || as[2].Outcome != gaff.AttemptLost {
			t.Errorf("lost three times: %s, %+v", del.State, as)
		}
		if e := n.Ack(ctx, leasesOf(rest)[2:]); e[0].Err != nil {
			t.Errorf("the extended one: %v", e[0].Err)
		}
		for _, bad := range []string{"x", "dlv_1.1.1", strings.Repeat("a.", 50), "..", leasesOf(rest)[2] + "9"} {
			if e := n.Ack(ctx, []string{bad}); e[0].Err == nil {
				t.Errorf("lease %q was acknowledged", bad)
			}
		}
	})
}

func TestPullIsForPullOnly(t *testing.T) {
	t.Parallel()
	n := fresh(t, destination.Spec{Name: "app", URL: "http://app"})
	if _, err := n.Pull(t.Context(), "app", 1, 0, 0); !errors.Is(err, gaff.ErrConflict) {
		t.Error(err)
	}
	if _, err := n.Pull(t.Context(), "nobody", 1, 0, 0); !errors.Is(err, gaff.ErrNotFound) {
		t.Error(err)
	}
}

// What one process handed out can be acknowledged after its restart, once.
func TestALeaseOutlivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	var tokens []string
	t.Run("before", func(t *testing.T) {
		n := newNode(t, openStore(t, path))
		must(n.Create(t.Context(), destination.Spec{Name: "worker", Kind: destination.KindPull}))(t)
		n.emit("shop", "paid")
		tokens = leasesOf(must(n.Pull(t.Context(), "worker", 1, 0, time.Minute))(t))
	})
	n := newNode(t, openStore(t, path))
	if e := n.Ack(t.Context(), tokens); e[0].Err != nil {
		t.Error(e[0].Err)
	}
	if more := must(n.Pull(t.Context(), "worker", 1, 0, 0))(t); len(more) != 0 {
		t.Errorf("it came again: %+v", more)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t, destination.Spec{Name: "app", URL: "http://app"})
		before := n.emit("shop", "before")
		_, made, err := n.Subscribe(ctx, "anna@laptop", []string{"shop:*", "gaff:*"}, "", "")
		if err != nil || !made {
			t.Fatal(made, err)
		}
		if _, _, err := n.Subscribe(ctx, "ben@laptop", nil, `type != "c"`, destination.FromBeginning); err != nil {
			t.Fatal(err)
		}
		a, b, c, other, inner := n.emit("shop", "a"), n.emit("shop", "b"), n.emit("shop", "c"), n.emit("other", "a"), n.emit("gaff", "job.completed")
		listen := func(name, after string, limit int, wait time.Duration) (ids []string, cursor string) {
			t.Helper()
			h := must(n.Listen(ctx, name, after, limit, wait))(t)
			for _, ev := range h.Events {
				ids = append(ids, ev.ID)
			}
			return ids, h.Cursor
		}
		ids, cursor := listen("anna@laptop", "", 2, 0)
		if !slices.Equal(ids, []string{a, b}) {
			t.Errorf("anna heard %v", ids)
		}
		ids, _ = listen("anna@laptop", cursor, 10, 0)
		if !slices.Equal(ids, []string{c, inner}) {
			t.Errorf("then %v", ids)
		}
		// Not acknowledged: it comes again. Ben has his own place, and production its deliveries.
		ids, _ = listen("anna@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{a, b, c, inner}) {
			t.Errorf("again %v", ids)
		}
		ids, _ = listen("ben@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{before, a, b, other}) {
			t.Errorf("ben heard %v", ids)
		}
		must(n.Acknowledge(ctx, "anna@laptop", b))(t)
		must(n.Acknowledge(ctx, "anna@laptop", a))(t) // never back
		ids, _ = listen("anna@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{c, inner}) {
			t.Errorf("after the acknowledgement %v", ids)
		}
		must(n.Acknowledge(ctx, "anna@laptop", inner))(t)
		// The lid is closed, and opened again.
		var missed []string
		for i := range 250 {
			missed = append(missed, n.emit("shop", fmt.Sprint("m", i)))
		}
		if _, made, err := n.Subscribe(ctx, "anna@laptop", []string{"shop:*"}, "", ""); made || err != nil {
			t.Fatal(made, err)
		}
		var heard []string
		for after := ""; len(heard) < 250; {
			ids, cursor := listen("anna@laptop", after, 100, 0)
			if len(ids) == 0 {
				break
			}
			heard, after = append(heard, ids...), cursor
		}
		if !slices.Equal(heard, missed) {
			t.Errorf("heard %d of %d afterwards", len(heard), len(missed))
		}
		must(n.Acknowledge(ctx, "anna@laptop", missed[249]))(t)
		go func() {
			time.Sleep(5 * time.Second)
			n.emit("shop", "late")
		}()
		started := time.Now()
		if ids, _ := listen("anna@laptop", "", 10, 30*time.Second); len(ids) != 1 || time.Since(started) > 6*time.Second {
			t.Errorf("waited %s for %v", time.Since(started), ids)
		}
		for name, bad := range map[string]func() error{
			"name":   func() error { _, _, err := n.Subscribe(ctx, "a b", nil, "", ""); return err },
			"filter": func() error { _, _, err := n.Subscribe(ctx, "x", nil, "==", ""); return err },
			"from":   func() error { _, _, err := n.Subscribe(ctx, "x", nil, "", "yesterday"); return err },
			"cursor": func() error { _, err := n.Acknowledge(ctx, "ben@laptop", "x"); return err },
			"wait":   func() error { _, err := n.Listen(ctx, "ben@laptop", "", 1, time.Hour); return err },
		} {
			if err := bad(); !errors.Is(err, gaff.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// slow is a store whose commits of attempts take a second.
type slow struct{ *sqlite.Store }

func (s slow) Finish(ctx context.Context, l gaff.Lease, o gaff.Outcome) error {
	time.Sleep(time.Second)
	return s.Store.Finish(ctx, l, o)
}

// Leases that run out together are ended together, not one commit after the other.
func TestLeasesExpireSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, st := t.Context(), openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		n := newNodeOver(t, st, slow{st})
		must(n.Create(ctx, destination.Spec{Name: "worker", Kind: destination.KindPull}))(t)
		const count = 200
		for i := range count {
			n.emit("shop", fmt.Sprint("t", i))
		}
		pulled := 0
		for pulled < count {
			pulled += len(must(n.Pull(ctx, "worker", destination.MaxPull, time.Minute, 30*time.Second))(t))
		}
		time.Sleep(40 * time.Second)
		counts := must(st.QueueCounts(ctx, "worker"))(t)
		again := 0
		for again < count {
			got := len(must(n.Pull(ctx, "worker", destination.MaxPull, 0, 30*time.Second))(t))
			if got == 0 {
				break
			}
			again += got
		}
		if again != count {
			t.Errorf("%d of %d deliveries are due again ten seconds after their leases ran out (%+v)", again, count, counts)
		}
	})
}
