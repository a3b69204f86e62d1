package watch_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/alert"
	"gaff/internal/stats"
	"gaff/internal/watch"
)

// memory is an alert.Store.
type memory struct {
	mu      sync.Mutex
	alerts  map[alert.Key]alert.Alert
	notices map[string]alert.Notice
	events  []gaff.Event
	to      []string // the handlers of all deliveries
}

func newMemory() *memory {
	return &memory{alerts: map[alert.Key]alert.Alert{}, notices: map[string]alert.Notice{}}
}

func (m *memory) Alerts(context.Context) ([]alert.Alert, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.alerts)), nil
}

func (m *memory) Notices(context.Context) ([]alert.Notice, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.notices)), nil
}

func (m *memory) WriteAlerts(_ context.Context, fn func(alert.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn((*memoryTx)(m))
}

type memoryTx memory

func (m *memoryTx) Alerts() ([]alert.Alert, error) { return slices.Collect(maps.Values(m.alerts)), nil }
func (m *memoryTx) Notices() ([]alert.Notice, error) {
	return slices.Collect(maps.Values(m.notices)), nil
}

func (m *memoryTx) PutAlert(a alert.Alert) error {
	m.alerts[a.Key] = a
	return nil
}

func (m *memoryTx) DropAlert(k alert.Key) error {
	delete(m.alerts, k)
	return nil
}

func (m *memoryTx) PutNotice(n alert.Notice) error {
	m.notices[n.Channel+n.Kind+n.Cause] = n
	return nil
}

func (m *memoryTx) Emit(_ context.Context, ev *gaff.Event, ds []gaff.Delivery) error {
	m.events = append(m.events, *ev)
	for _, d := range ds {
		m.to = append(m.to, ev.Type+" to "+d.Handler)
	}
	return nil
}

// everybody routes each event to two destinations.
type everybody struct{}

func (everybody) Route(*gaff.Event) []gaff.Delivery {
	return []gaff.Delivery{{Handler: "app"}, {Handler: "ops"}}
}

func (m *memory) types() (types []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ev := range m.events {
		types = append(types, ev.Type)
	}
	return types
}

func always(kind, cause string) watch.Check {
	return watch.Check{Kind: kind, Look: func(context.Context, time.Time) (alert.Finding, error) {
		return alert.Finding{Signals: []alert.Signal{{Cause: cause, Title: cause + " is wrong"}}}, nil
	}}
}

func TestSeveralNodesSendOneMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := newMemory()
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			m := watch.New(watch.Options{
				Store: st, Router: everybody{}, Log: slog.New(slog.DiscardHandler), Checks: []watch.Check{always(gaff.EventDiskLow, "a")},
				Rules:    alert.Rules{Interval: time.Hour, Wait: 30 * time.Second, Channels: []alert.Rule{{Channel: "mail"}}},
				Channels: map[string]watch.Channel{"mail": {}},
			})
			go m.Run(ctx)
		}
		time.Sleep(50 * time.Minute)
		cancel()
		synctest.Wait()
		if got := st.types(); !slices.Equal(got, []string{gaff.EventDiskLow, gaff.EventAlertNotice}) {
			t.Errorf("events of three nodes: %q, want one and one message", got)
		}
	})
}

func TestFailingDestinationIsNotSentItsOwnFailure(t *testing.T) {
	t.Parallel()
	st := newMemory()
	m := watch.New(watch.Options{
		Store: st, Router: everybody{}, Log: slog.New(slog.DiscardHandler), Rules: alert.Rules{Interval: time.Hour},
		Checks: []watch.Check{always(gaff.EventDestinationFailing, "app")},
	})
	if err := m.Round(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"destination.failing to ops"}; !slices.Equal(st.to, want) {
		t.Errorf("deliveries %q, want %q", st.to, want)
	}
}

func TestFailedCheckKeepsItsAlerts(t *testing.T) {
	t.Parallel()
	st := newMemory()
	var failure error
	check := always(gaff.EventDiskLow, "a")
	look := check.Look
	check.Look = func(ctx context.Context, now time.Time) (alert.Finding, error) {
		if failure != nil {
			return alert.Finding{}, failure
		}
		return look(ctx, now)
	}
	m := watch.New(watch.Options{Store: st, Router: everybody{}, Log: slog.New(slog.DiscardHandler), Checks: []watch.Check{check}})
	now := time.Now()
	if err := m.Round(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	failure = errors.New("the database is gone")
	if err := m.Round(t.Context(), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if a := st.alerts[alert.Key{Kind: gaff.EventDiskLow, Cause: "a"}]; !a.Active {
		t.Errorf("the alert ended although its check failed: %+v", a)
	}
}

func TestMessageToADestinationPassesItsFilter(t *testing.T) {
	t.Parallel()
	st := newMemory()
	m := watch.New(watch.Options{
		Store: st, Router: everybody{}, Log: slog.New(slog.DiscardHandler), Checks: []watch.Check{always(gaff.EventDiskLow, "a")},
		Rules: alert.Rules{Interval: time.Hour, Channels: []alert.Rule{{Channel: "hook", Destination: "pager"}}},
		Channels: map[string]watch.Channel{"hook": {Destination: "pager", Deliver: func() (gaff.Delivery, error) {
			return gaff.Delivery{Handler: "pager", Queue: "pager", MaxAttempts: 3}, nil
		}}},
		BaseURL: "https://hooks.example.com",
	})
	if err := m.Round(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(st.to, "alert.notice to pager") || slices.Contains(st.to, "alert.notice to app") {
		t.Errorf("deliveries %q, want alert.notice to pager alone", st.to)
	}
	var data struct {
		Channel, Text string
		Alerts        []struct{ Kind, URL string }
	}
	if err := json.Unmarshal(st.events[1].Data, &data); err != nil {
		t.Fatal(err)
	}
	if data.Channel != "hook" || !strings.Contains(data.Text, "a is wrong") || data.Alerts[0].Kind != "gaff:disk.low" || data.Alerts[0].URL != "https://hooks.example.com/health" {
		t.Errorf("data %+v", data)
	}
}

func TestTestOfUnknownChannelFails(t *testing.T) {
	t.Parallel()
	m := watch.New(watch.Options{Rules: alert.Rules{Channels: []alert.Rule{{Channel: "mail"}}}, Channels: map[string]watch.Channel{
		"mail": {Send: func(context.Context, alert.Text) error { return errors.New("no server") }},
	}})
	if _, err := m.Test(t.Context(), "none"); !errors.Is(err, gaff.ErrNotFound) {
		t.Errorf("an unknown channel: %v, want ErrNotFound", err)
	}
	all, err := m.Test(t.Context(), "")
	if err != nil || len(all) != 1 || all[0].Err == nil {
		t.Errorf("a failing channel: %+v, %v", all, err)
	}
	if _, err := watch.New(watch.Options{}).Test(t.Context(), ""); !errors.Is(err, gaff.ErrConflict) {
		t.Errorf("no channel: %v, want ErrConflict", err)
	}
}

func TestFailingDestinationEndsWithASuccessOnAnyNode(t *testing.T) {
	t.Parallel()
	now := time.Now()
	health := map[string]destination.Health{
		"open":  {State: destination.StateActive, Circuit: destination.CircuitOpen, LastFailure: now, LastCause: "answered 500"},
		"some":  {State: destination.StateActive, Circuit: destination.CircuitClosed, Failures: 4},
		"many":  {State: destination.StateActive, Circuit: destination.CircuitClosed, Failures: 5},
		"pause": {State: destination.StatePaused, Circuit: destination.CircuitOpen},
		"well":  {State: destination.StateActive, Circuit: destination.CircuitClosed, LastSuccess: now},
		"other": {State: destination.StateActive, Circuit: destination.CircuitClosed},
	}
	f, err := watch.FailingDestinations(func() map[string]destination.Health { return health }).Look(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	var causes []string
	for _, s := range f.Signals {
		causes = append(causes, s.Cause)
	}
	slices.Sort(causes)
	if want := []string{"many", "open"}; !slices.Equal(causes, want) {
		t.Errorf("failing %q, want %q", causes, want)
	}
	for cause, want := range map[string]alert.End{"well": alert.Ended, "other": alert.Unknown, "pause": alert.Gone, "deleted": alert.Gone} {
		if got := f.End(&alert.Alert{Key: alert.Key{Cause: cause}, SeenAt: now.Add(-time.Minute)}); got != want {
			t.Errorf("end of %s: %v, want %v", cause, got, want)
		}
	}
}

// counts is a stats.Store that has rejections only.
type counts struct {
	stats.Store
	recent, day int64
}

func (c counts) Counted(_ context.Context, s stats.Span) ([]stats.Count, error) {
	if s.Step == time.Minute {
		return []stats.Count{{Source: "shop", Rejected: c.recent}, {Source: "", Rejected: 1000}}, nil
	}
	return []stats.Count{{Source: "shop", Rejected: c.day}}, nil
}

func TestRisingRejections(t *testing.T) {
	t.Parallel()
	sources := func() []gaff.SourceInfo { return []gaff.SourceInfo{{Name: "shop"}} }
	for what, c := range map[string]struct {
		counts
		rising bool
	}{
		"few":                {counts{recent: 19, day: 19}, false},
		"many, none before":  {counts{recent: 20, day: 20}, true},
		"as many as usual":   {counts{recent: 20, day: 20 * 144}, false},
		"three times usual":  {counts{recent: 60, day: 60 + 20*144}, true},
		"nearly three times": {counts{recent: 59, day: 59 + 20*144}, false},
	} {
		f, err := watch.RisingRejections(c.counts, sources, 20).Look(t.Context(), time.Now())
		if err != nil || len(f.Signals) > 0 != c.rising {
			t.Errorf("%s: %+v, %v; want rising %v", what, f.Signals, err, c.rising)
		}
	}
}

func TestLowDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		least uint64
		low   bool
	}{{1 << 60, true}, {1, false}} {
		f, err := watch.LowDisk(t.TempDir(), "node", c.least).Look(t.Context(), time.Now())
		if err != nil || len(f.Signals) > 0 != c.low {
			t.Errorf("with a limit of %d: %+v, %v; want low %v", c.least, f.Signals, err, c.low)
		}
		if got, want := f.End(&alert.Alert{Key: alert.Key{Cause: "other"}, SeenAt: time.Now()}), alert.Unknown; got != want {
			t.Errorf("end of another node's alert: %v, want %v", got, want)
		}
	}
}

func TestPostedMessages(t *testing.T) {
	t.Parallel()
	status, got := http.StatusOK, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Text string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		got = body.Text
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
	}))
	defer srv.Close()
	secret := srv.URL + "/services/T000/secret"
	c := watch.Posted(srv.Client(), "Slack", secret, alert.Text.Slack)
	if strings.Contains(c.About, "secret") {
		t.Errorf("the description shows the secret: %q", c.About)
	}
	text := alert.NewText([]alert.Item{{Active: true, Title: "it burns"}}, "")
	if err := c.Send(t.Context(), text); err != nil || !strings.Contains(got, "it burns") {
		t.Errorf("sent %q, %v", got, err)
	}
	for _, status = range []int{http.StatusTooManyRequests, http.StatusNotFound, http.StatusInternalServerError} {
		if err := c.Send(t.Context(), text); err == nil {
			t.Errorf("answered %d: no error", status)
		}
	}
	srv.Close()
	if err := c.Send(t.Context(), text); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("unreachable: %v; want an error without the URL", err)
	}
}

// A source with violations has an alert, which ends some time after the last of them.
func TestSchemaViolations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var v watch.Violations
		check := watch.SchemaViolations(&v)
		look := func() alert.Finding {
			f, err := check.Look(t.Context(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		v.Record("shop", "order.paid", false)
		v.Record("shop", "order.paid", false)
		f := look()
		if len(f.Signals) != 1 || f.Signals[0].Cause != "shop/order.paid" || f.Signals[0].Count != 2 || alert.Page(alert.Key{Kind: check.Kind, Cause: f.Signals[0].Cause}) != "/sources/shop" {
			t.Errorf("%+v", f.Signals)
		}
		a := &alert.Alert{Key: alert.Key{Kind: check.Kind, Cause: "shop/order.paid"}, SeenAt: time.Now()}
		time.Sleep(11 * time.Minute)
		if f := look(); len(f.Signals) != 0 || f.End(a) != alert.Ended {
			t.Errorf("eleven minutes later: %+v", f.Signals)
		}
		a.SeenAt = time.Now() // another node has observed it
		if got := look().End(a); got != alert.Unknown {
			t.Errorf("a violation of another node: %v", got)
		}
	})
}
