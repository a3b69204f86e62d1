package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/client"
	"gaff/destination"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/internal/replay"
	"gaff/internal/sqlstore"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// onBoth runs a test on both databases. open can be called again after the store is closed.
func onBoth(t *testing.T, test func(t *testing.T, open func() *sqlstore.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "gaff.db")
		test(t, opener(t, func() (*sqlstore.Store, error) { return sqlite.Open(context.Background(), path, sqlite.Options{}) }))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := pgtest.URL(t)
		test(t, opener(t, func() (*sqlstore.Store, error) { return postgres.Open(context.Background(), url, postgres.Options{}) }))
	})
}

func opener(t *testing.T, open func() (*sqlstore.Store, error)) func() *sqlstore.Store {
	return func() *sqlstore.Store {
		t.Helper()
		st, err := open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		return st
	}
}

// sent is a request to a destination or URL.
type sent struct {
	url    string
	header http.Header
	body   []byte
	event  client.Envelope
}

func (s sent) verify() error {
	_, err := client.Verify([]string{secret}, s.header, s.body, time.Now())
	return err
}

// receiver answers 200 and records what it gets.
type receiver struct {
	mu   sync.Mutex
	sent []sent
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	s := sent{url: req.URL.String(), header: req.Header, body: body}
	_ = json.Unmarshal(body, &s.event)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, s)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
}

func (r *receiver) all() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// node is a gateway with destinations and replays.
type node struct {
	*replay.Service
	*receiver
	st   *sqlstore.Store
	gw   *gaff.Gateway
	to   *destination.Manager
	stop func()
}

func start(t *testing.T, st *sqlstore.Store) *node {
	t.Helper()
	n := &node{receiver: &receiver{}, st: st}
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	n.gw, n.to = gw, destination.NewManager(destination.ManagerOptions{
		Store: st, Gateway: gw, Log: log, Client: &http.Client{Transport: n.receiver}, Lookup: destination.NewLookup(st),
	})
	n.Service = replay.New(replay.Options{Store: st, Gateway: gw, Destinations: n.to, Log: log})
	for _, err := range []error{n.to.Load(t.Context()), n.Attach(), gw.Start(context.Background())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() { n.to.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = gw.Stop(context.Background())
	})
	t.Cleanup(n.stop)
	return n
}

// accept stores events that no destination has received.
func (n *node) accept(t *testing.T, count int, change ...func(*gaff.Event)) (ids []string) {
	t.Helper()
	var ps []gaff.AcceptParams
	for i := range count {
		now := time.Now()
		body := fmt.Appendf(nil, `{"n":%d}`, i)
		ev := &gaff.Event{
			Source: "shop", Type: "paid", WebhookID: fmt.Sprint(now.UnixNano(), "-", i), DedupeKey: fmt.Sprint(now.UnixNano(), "-", i), ReceivedAt: now, Data: body,
			Request:      &gaff.Request{Method: "POST", URL: "/x", Header: http.Header{"Content-Type": {"application/json"}, "X-Shop-Signature": {"abc"}, "X-Topic": {"paid"}}, Body: body, ReceivedAt: now},
			Verification: gaff.Verification{Scheme: "hmac-sha256"},
		}
		for _, f := range change {
			f(ev)
		}
		ps = append(ps, gaff.AcceptParams{Event: ev})
	}
	for part := range slices.Chunk(ps, 100) {
		rcs, err := n.st.AcceptAll(t.Context(), part)
		if err != nil {
			t.Fatal(err)
		}
		for _, rc := range rcs {
			ids = append(ids, rc.ID)
		}
	}
	return ids
}

func (n *node) destination(t *testing.T, spec destination.Spec) {
	t.Helper()
	if spec.URL == "" {
		spec.URL = "https://" + spec.Name + ".example.com/hook"
	}
	if _, err := n.to.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

func (n *node) begin(t *testing.T, q replay.Request) *replay.Replay {
	t.Helper()
	r, err := n.Start(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// finished waits for the end of a replay.
func (n *node) finished(t *testing.T, id string) (r *replay.Replay) {
	t.Helper()
	eventually.True(t, "the replay ends", func() bool {
		var err error
		if r, err = n.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return r.State != replay.Running
	})
	return r
}

// received waits until a receiver has so many requests, and returns their events' ids, sorted.
func (n *node) received(t *testing.T, count int) (ids []string) {
	t.Helper()
	eventually.True(t, fmt.Sprint(count, " requests arrive"), func() bool { return len(n.all()) >= count })
	for _, s := range n.all() {
		ids = append(ids, s.event.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestBackfillSendsPastEventsToANewDestination(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *sqlstore.Store) {
		n := start(t, open())
		n.accept(t, 3, func(ev *gaff.Event) { ev.ReceivedAt = ev.ReceivedAt.Add(-48 * time.Hour) })
		n.accept(t, 2, func(ev *gaff.Event) { ev.Type = "other" })
		want := n.accept(t, 60)
		n.destination(t, destination.Spec{Name: "crm", Events: []string{"shop:paid"}, Filter: "data.n != 59"})
		q := replay.Request{Destination: "crm", Since: time.Now().Add(-24 * time.Hour), Missing: true, Rate: replay.MaxRate}
		count, more, err := n.Count(t.Context(), q)
		if err != nil || count != 59 || more {
			t.Errorf("counted %d, %v, %v", count, more, err)
		}
		r := n.finished(t, n.begin(t, q).ID)
		if r.State != replay.Done || r.Matched != 59 || r.Queued != 59 || r.Progress() != 1 {
			t.Errorf("ended as %+v", r)
		}
		if got := n.received(t, 59); !slices.Equal(got, want[:59]) {
			t.Errorf("received %d events %v", len(got), got)
		}
		if count, _, err = n.Count(t.Context(), q); err != nil || count != 0 {
			t.Errorf("missing afterwards: %d, %v", count, err)
		}
		q.Missing = false
		if r = n.finished(t, n.begin(t, q).ID); r.Queued != 59 {
			t.Errorf("queued again: %+v", r)
		}
	})
}

// A killed process leaves out no event, and sends none twice.
func TestReplayContinuesAfterARestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *sqlstore.Store) {
		n := start(t, open())
		want := n.accept(t, 200)
		n.destination(t, destination.Spec{Name: "crm"})
		id := n.begin(t, replay.Request{Destination: "crm", Source: "shop", Rate: 100}).ID
		before := n.received(t, 20)
		n.stop()
		before = n.received(t, len(before))
		half, err := n.Get(t.Context(), id)
		if err != nil || half.State != replay.Running || half.Queued == 0 || half.Queued == 200 {
			t.Fatalf("at the stop: %+v, %v", half, err)
		}
		// The former node had the replay; it is given back by its end of time.
		half.NodeUntil, half.Rate = time.Time{}, replay.MaxRate
		value, _ := json.Marshal(half)
		if _, err := n.st.PutRecord(t.Context(), gaff.Record{Kind: "replay", Name: id, Value: value, Revision: gaff.AnyRevision}); err != nil {
			t.Fatal(err)
		}
		if err := n.st.Close(); err != nil {
			t.Fatal(err)
		}
		n = start(t, open())
		if r := n.finished(t, id); r.Queued != 200 {
			t.Errorf("ended as %+v", r)
		}
		got := append(n.received(t, 200-len(before)), before...)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("received %d events, want each of %d once", len(got), len(want))
		}
	})
}

func TestEditedEventIsMarkedAndSigned(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *sqlstore.Store) {
		n := start(t, open())
		original := n.accept(t, 1)[0]
		n.destination(t, destination.Spec{Name: "app", Secrets: []string{secret}, Events: []string{"none:*"}})
		n.destination(t, destination.Spec{Name: "raw", Format: destination.FormatOriginal, Events: []string{"none:*"}})
		r := n.begin(t, replay.Request{Destination: "app", EventID: original, Body: []byte(`{"n":"edited"}`), By: "anna"})
		n.received(t, 1)
		s := n.all()[0]
		if s.event.ID != r.EditedID || s.event.Event.ParentID != original || string(s.event.Data) != `{"n":"edited"}` || s.header.Get("Gaff-Edited") != original {
			t.Errorf("sent %s with %v", s.body, s.header)
		}
		if err := s.verify(); err != nil {
			t.Errorf("the signature: %v", err)
		}
		d, err := n.st.Event(t.Context(), r.EditedID)
		if err != nil || d.Verification.Scheme != gaff.EditedScheme || d.Verification.Subject != "anna" {
			t.Errorf("stored %+v, %v", d, err)
		}
		if _, err := n.Start(t.Context(), replay.Request{Destination: "app", EventID: original, Body: []byte(`{`)}); err == nil || !strings.Contains(err.Error(), "body: invalid JSON") {
			t.Errorf("invalid JSON: %v", err)
		}
		n.begin(t, replay.Request{Destination: "raw", EventID: original, Body: []byte(`plain`)})
		n.received(t, 2)
		if s = n.all()[1]; string(s.body) != "plain" || s.header.Get("X-Topic") != "paid" || s.header.Get("X-Shop-Signature") != "" {
			t.Errorf("sent %s with %v", s.body, s.header)
		}
	})
}

func TestReplayToAURL(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *sqlstore.Store) {
		n := start(t, open())
		ids := n.accept(t, 3)
		r := n.begin(t, replay.Request{URL: "https://debug.example.com/a?b=c", Secret: secret, EventID: ids[1]})
		n.finished(t, r.ID)
		if got := n.received(t, 1); got[0] != ids[1] {
			t.Errorf("sent %v", got)
		}
		s := n.all()[0]
		if s.url != "https://debug.example.com/a?b=c" || s.header.Get("Gaff-Replay") != r.ID || s.verify() != nil {
			t.Errorf("sent to %s with %v", s.url, s.header)
		}
		n.finished(t, n.begin(t, replay.Request{URL: "https://debug.example.com/", Source: "shop"}).ID)
		if got := n.received(t, 4); len(got) != 4 {
			t.Errorf("sent %v", got)
		}
		if d, err := n.st.Event(t.Context(), ids[0]); err != nil || len(d.Deliveries) != 1 || d.Deliveries[0].Handler != replay.URLHandler {
			t.Errorf("stored %+v, %v", d.Deliveries, err)
		}
	})
}

func TestCanceledReplayQueuesNoMore(t *testing.T) {
	t.Parallel()
	n := start(t, opener(t, func() (*sqlstore.Store, error) {
		return sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	})())
	n.accept(t, 100)
	n.destination(t, destination.Spec{Name: "crm"})
	r := n.begin(t, replay.Request{Destination: "crm", Source: "shop", Rate: 10})
	n.received(t, 1)
	if _, err := n.Cancel(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if r = n.finished(t, r.ID); r.State != replay.Canceled || r.Queued >= 100 || r.EndedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	if _, err := n.Cancel(t.Context(), r.ID); err == nil {
		t.Error("canceled twice")
	}
	if err := n.to.Delete(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
}

func TestReplayEndsWithItsDestination(t *testing.T) {
	t.Parallel()
	n := start(t, opener(t, func() (*sqlstore.Store, error) {
		return sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	})())
	n.accept(t, 100)
	n.destination(t, destination.Spec{Name: "crm"})
	r := n.begin(t, replay.Request{Destination: "crm", Source: "shop", Rate: 10})
	n.received(t, 1)
	if err := n.to.Delete(t.Context(), "crm"); err != nil {
		t.Fatal(err)
	}
	if r = n.finished(t, r.ID); r.State != replay.Failed || r.Error != "the destination was deleted" {
		t.Errorf("%+v", r)
	}
}

func TestReplayRejectsBadRequests(t *testing.T) {
	t.Parallel()
	n := start(t, opener(t, func() (*sqlstore.Store, error) {
		return sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	})())
	n.destination(t, destination.Spec{Name: "crm"})
	body := bytes.Repeat([]byte("x"), replay.MaxBody+1)
	for want, q := range map[string]replay.Request{
		"either destination or url":             {Source: "shop"},
		"destination: give either":              {Destination: "crm", URL: "https://a.example.com", Source: "shop"},
		`destination "none"`:                    {Destination: "none", Source: "shop"},
		"choose the events":                     {Destination: "crm"},
		"either an event or filters":            {Destination: "crm", EventID: "evt_1", Source: "shop"},
		"rate: -1":                              {Destination: "crm", Source: "shop", Rate: -1},
		"rate: 100000":                          {Destination: "crm", Source: "shop", Rate: 100000},
		"status: unknown":                       {Destination: "crm", Status: "lost"},
		"body: an edited body needs eventId":    {Destination: "crm", Source: "shop", Body: []byte("{}")},
		"body: 1048577 bytes":                   {Destination: "crm", EventID: "evt_1", Body: body},
		"url: must be a whole URL":              {URL: "ftp://a", Source: "shop"},
		"missing: this is for":                  {URL: "https://a.example.com", Missing: true},
		"secret, format: these are for a":       {Destination: "crm", Source: "shop", Secret: secret},
		"event evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD:": {Destination: "crm", EventID: "evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD"},
	} {
		if _, err := n.Start(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", q, err, want)
		}
	}
}

// New events do not come behind all events of the past: few of those are queued at a time.
func TestReplayQueuesFewDeliveriesAtATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *sqlstore.Store) {
		n := start(t, open())
		n.accept(t, 300)
		n.destination(t, destination.Spec{Name: "crm", Concurrency: 5})
		if _, err := n.to.SetState(t.Context(), "crm", destination.StatePaused, ""); err != nil {
			t.Fatal(err)
		}
		id := n.begin(t, replay.Request{Destination: "crm", Source: "shop", Rate: replay.MaxRate}).ID
		waiting := func() int64 {
			counts, err := n.st.QueueCounts(t.Context(), "crm")
			if err != nil {
				t.Fatal(err)
			}
			return counts.Waiting
		}
		eventually.True(t, "deliveries are queued", func() bool { return waiting() >= 20 })
		if got := waiting(); got != 20 {
			t.Errorf("%d deliveries are queued, want 4 for each of 5 workers", got)
		}
		if _, err := n.to.SetState(t.Context(), "crm", destination.StateActive, ""); err != nil {
			t.Fatal(err)
		}
		if r := n.finished(t, id); r.Queued != 300 {
			t.Errorf("ended as %+v", r)
		}
		n.received(t, 300)
	})
}
