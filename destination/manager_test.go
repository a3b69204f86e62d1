package destination_test

import (
	"context"
	"encoding/json"
	"errors"
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
		// The deliveries of a deleted destination are canceled, and no others.
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

// Two gateways over one store are two nodes: each applies the changes made at the other.
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
