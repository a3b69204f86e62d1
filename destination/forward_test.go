package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gaff"
	"gaff/client"
	"gaff/jobs"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func event() *gaff.Event {
	body := []byte(`{"id":"w1","type":"paid", "seed":17454220438242315174}`)
	return &gaff.Event{
		ID: "evt_1", Source: "shop", Type: "paid", WebhookID: "w1", CorrelationID: "req-1",
		ReceivedAt: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), Data: body,
		Request: &gaff.Request{
			Method: "POST", URL: "https://hooks.example.com/api/v1/webhooks/shop", Body: body,
			Header: http.Header{
				"Content-Type": {"application/json"}, "X-Shop-Signature": {"sha256=abc"}, "Connection": {"close, X-Hop"},
				"X-Hop": {"1"}, "X-Forwarded-For": {"192.0.2.1"}, "Host": {"hooks.example.com"}, "Accept-Encoding": {"gzip"},
			},
		},
	}
}

func newDestination(t *testing.T, s Spec, o Options) *Destination {
	t.Helper()
	if s.Name == "" {
		s.Name = "app"
	}
	if o.Log == nil {
		o.Log = discardLog()
	}
	if o.Allow == nil {
		o.Allow = loopback
	}
	d, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// receiver keeps what it is sent.
type receiver struct {
	*httptest.Server
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, h http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.header = req.Header.Clone()
		r.body, _ = io.ReadAll(req.Body)
		if h != nil {
			h(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

type fixed struct {
	j     *jobs.Job
	files []jobs.Media
	err   error
}

func (f fixed) JobOf(context.Context, *gaff.Event) (*jobs.Job, []jobs.Media, error) {
	return f.j, f.files, f.err
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	look := fixed{
		j:     &jobs.Job{ID: "job_1", Provider: "fal", Status: jobs.JobCompleted, ProjectID: "p1", Result: json.RawMessage(`{"a":1}`)},
		files: []jobs.Media{{ID: "med_1", JobID: "job_1", URL: "https://cdn/x.png", StoredURL: "https://gaff/m/x.png", MediaType: jobs.MediaImage, Size: 7}},
	}
	d := newDestination(t, Spec{URL: r.URL + "/in", Secrets: []string{secret, NewSecret()}, Headers: map[string]string{"authorization": "Bearer x"}}, Options{Lookup: look})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("Authorization") != "Bearer x" || r.header.Get("Content-Type") != "application/json" || r.header.Get("User-Agent") != "gaff" {
		t.Errorf("headers %v", r.header)
	}
	id, err := client.Verify([]string{secret}, r.header, r.body, time.Now())
	if err != nil || id != "evt_1" {
		t.Errorf("verify: %q, %v", id, err)
	}
	var e client.Envelope
	if err := json.Unmarshal(r.body, &e); err != nil {
		t.Fatal(err)
	}
	if e.Kind() != "shop:paid" || e.Event.WebhookID != "w1" || e.Job.Status != "completed" || e.Job.Model != "" || e.Media[0].StoredURL != "https://gaff/m/x.png" || e.Media[0].Size != 7 {
		t.Errorf("envelope %+v", e)
	}
	if !bytes.Contains(r.body, []byte(`"seed":17454220438242315174`)) || !bytes.Contains(r.body, []byte(`"model":null`)) {
		t.Errorf("sent %s", r.body)
	}
}

func TestTheDatabasesTroubleIsNoAttempt(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	d := newDestination(t, Spec{URL: r.URL}, Options{Lookup: fixed{err: errors.New("gone")}})
	if err := d.Handle(t.Context(), event()); err == nil || !strings.Contains(err.Error(), "snoozed") {
		t.Errorf("%v, want a snooze", err)
	}
}

func TestOriginal(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	d := newDestination(t, Spec{URL: r.URL, Format: FormatOriginal}, Options{})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.body, event().Request.Body) || r.header.Get("X-Shop-Signature") != "sha256=abc" {
		t.Errorf("sent %v %s", r.header, r.body)
	}
	for _, name := range []string{"X-Hop", "X-Forwarded-For", "Webhook-Signature"} {
		if r.header.Get(name) != "" {
			t.Errorf("%s was passed on", name)
		}
	}
	inner := &gaff.Event{ID: "evt_2", Source: "gaff", Type: "job.completed", Data: []byte(`{"jobId":"j"}`)}
	if err := d.Handle(t.Context(), inner); err != nil || !bytes.Contains(r.body, []byte(`"source":"gaff"`)) {
		t.Errorf("an inner event: %v, %s", err, r.body)
	}
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	d := newDestination(t, Spec{URL: r.URL, Format: FormatCloudEvents}, Options{BaseURL: "https://hooks.example.com"})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	var ce struct {
		SpecVersion, ID, Source, Type, Subject, Time string
		DataContentType                              string
		Data                                         client.Envelope
	}
	if err := json.Unmarshal(r.body, &ce); err != nil {
		t.Fatal(err)
	}
	if ce.SpecVersion != "1.0" || ce.ID != "evt_1" || ce.Source != "https://hooks.example.com/api/v1/webhooks/shop" || ce.Type != "shop.paid" ||
		ce.Subject != "req-1" || ce.Time != "2026-05-04T03:02:01Z" || ce.DataContentType != "application/json" || ce.Data.ID != "evt_1" ||
		r.header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("structured: %v %s", r.header, r.body)
	}
	d = newDestination(t, Spec{URL: r.URL, Format: FormatCloudEventsBinary}, Options{})
	ev := event()
	ev.CorrelationID = `Euro € "50%"`
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("Ce-Specversion") != "1.0" || r.header.Get("Ce-Id") != "evt_1" || r.header.Get("Ce-Subject") != "Euro%20%E2%82%AC%20%2250%25%22" ||
		r.header.Get("Content-Type") != "application/json" || !bytes.Contains(r.body, []byte(`"id":"evt_1"`)) {
		t.Errorf("binary: %v %s", r.header, r.body)
	}
}

func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		events []string
		filter string
		source string
		kind   string
		data   string
		want   bool
	}{
		{nil, "", "shop", "paid", `{}`, true},
		{nil, "", "gaff", "job.completed", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "job.completed", `{}`, true},
		{[]string{"gaff:run.finished"}, "", "gaff", "run.failed", `{}`, true},
		{[]string{"gaff:run.finished"}, "", "gaff", "run.approval_wanted", `{}`, false},
		{[]string{"gaff:run.finished"}, "", "gaff", "job.completed", `{}`, false},
		{[]string{"gaff:job.finished"}, "", "gaff", "job.cancelled", `{}`, true},
		{[]string{"fal:run.finished"}, "", "fal", "run.failed", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "media.stored", `{}`, false},
		{[]string{"*:*"}, "", "gaff", "media.stored", `{}`, false},
		{[]string{"gaff:*"}, "", "gaff", "run.completed", `{}`, true},
		{[]string{"gaff:*"}, "", "gaff", "workflow.advance", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "job.submit", `{}`, false},
		{[]string{"gaff:job.submit"}, "", "gaff", "job.submit", `{}`, true},
		{[]string{"gaff:workflow.*"}, "", "gaff", "workflow.advance", `{}`, true},
		{[]string{"f*l:*.completed"}, "", "fal", "generation.completed", `{}`, true},
		{[]string{"f*l:*.completed"}, "", "fal", "generation.failed", `{}`, false},
		{[]string{"shop:a*a"}, "", "shop", "a", `{}`, false},
		{[]string{"shop:*b*c*"}, "", "shop", "abxc", `{}`, true},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{"amount":101}`, true},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{"amount":99.5}`, false},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{}`, false},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `[]`, false},
		{[]string{"shop:*"}, `type == "paid" || source == "x"`, "shop", "paid", `{}`, true},
	} {
		d := newDestination(t, Spec{URL: "http://127.0.0.1:1", Events: c.events, Filter: c.filter}, Options{})
		got := d.Matches(&gaff.Subject{Event: &gaff.Event{Source: c.source, Type: c.kind, Data: []byte(c.data)}})
		if got != c.want {
			t.Errorf("%v %q takes %s:%s %s: %v, want %v", c.events, c.filter, c.source, c.kind, c.data, got, c.want)
		}
	}
}

func TestSpecsAreChecked(t *testing.T) {
	t.Parallel()
	good := Spec{Name: "app", URL: "https://app.example.com/in"}
	for want, change := range map[string]func(*Spec){
		"name":        func(s *Spec) { s.Name = "No Name" },
		"kind":        func(s *Spec) { s.Kind = "carrier-pigeon" },
		"url":         func(s *Spec) { s.URL = "app.example.com" },
		"events[0]":   func(s *Spec) { s.Events = []string{"fal"} },
		"filter":      func(s *Spec) { s.Filter = "data.x ==" },
		"format":      func(s *Spec) { s.Format = "xml" },
		"headers":     func(s *Spec) { s.Headers = map[string]string{"host": "x"} },
		"secrets[0]":  func(s *Spec) { s.Secrets = []string{"hunter2"} },
		"timeout":     func(s *Spec) { s.Timeout = Duration(time.Hour) },
		"final":       func(s *Spec) { s.Final = []int{200} },
		"orderBy":     func(s *Spec) { s.Order = OrderLatest },
		"rate":        func(s *Spec) { s.Rate = -1 },
		"concurrency": func(s *Spec) { s.Concurrency = 100000 },
		"topic":       func(s *Spec) { s.Kind, s.URL = KindQueue, "nats://h" },
	} {
		s := good
		change(&s)
		err := s.Check()
		if !errors.Is(err, gaff.ErrInvalid) || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: %v", want, err)
		}
	}
	bad := Spec{Name: "X", URL: "ftp://x", Events: []string{"a b"}}
	if err := bad.Check(); err == nil || strings.Count(err.Error(), "; ") != 2 {
		t.Errorf("not all faults are told: %v", err)
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

// verdict describes what the engine would make of an error.
func verdict(err error) string {
	switch text := fmt.Sprintf("%T", err); {
	case err == nil:
		return "done"
	case text == "*gaff.discardError":
		return "dead"
	case text == "*gaff.retryAfterError":
		return "retry after"
	default:
		return "retry"
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header string // Retry-After
		final  []int
		want   string
		text   string
	}{
		"200":                 {200, "", nil, "done", ""},
		"204":                 {204, "", nil, "done", ""},
		"400":                 {400, "", nil, "dead", "answered 400 Bad Request: so sorry"},
		"400, not final":      {400, "", []int{}, "retry", ""},
		"401":                 {401, "", nil, "retry", ""},
		"404":                 {404, "", nil, "retry", ""},
		"404, final":          {404, "", []int{404}, "dead", ""},
		"410":                 {410, "", nil, "retry", ""},
		"422":                 {422, "", nil, "dead", ""},
		"429":                 {429, "", nil, "retry", ""},
		"429 with a wait":     {429, "120", nil, "retry after", ""},
		"503 with a date":     {503, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), nil, "retry after", ""},
		"503 with nonsense":   {503, "soon", nil, "retry", ""},
		"500":                 {500, "", nil, "retry", "answered 500 Internal Server Error: so sorry"},
		"302 is not followed": {302, "", nil, "retry", "redirects are not followed; if the receiver has moved to \"/elsewhere\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
				calls.Add(1)
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.status/100 == 3 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(c.status)
				if c.status >= 400 {
					_, _ = io.WriteString(w, "so\n sorry")
				}
			})
			var disabled string
			d := newDestination(t, Spec{URL: r.URL, Final: c.final}, Options{Disabled: func(_, reason string) { disabled = reason }})
			err := d.Handle(t.Context(), event())
			if got := verdict(err); got != c.want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want %s, %q", got, err, c.want, c.text)
			}
			if calls.Load() != 1 {
				t.Errorf("%d requests", calls.Load())
			}
			n, again := d.Ready(time.Now())
			switch {
			case c.status == 410:
				if disabled == "" || n != 0 || d.Health().State != StateDisabled {
					t.Errorf("after a 410: disabled %q, ready %d, %+v", disabled, n, d.Health())
				}
			case c.want == "retry after":
				if n != 0 || again < 100*time.Second {
					t.Errorf("asked to wait: ready %d, again in %s", n, again)
				}
			case n == 0:
				t.Error("one answer closed the gate")
			}
		})
	}
}

func TestReceiversThatMisbehave(t *testing.T) {
	t.Parallel()
	raw := func(t *testing.T, talk func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, 4096)
					_, _ = c.Read(buf)
					talk(c)
				}()
			}
		}()
		return "http://" + ln.Addr().String()
	}
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	for name, c := range map[string]struct {
		talk func(net.Conn)
		want string
		text string
		most time.Duration
	}{
		"hangs": {func(net.Conn) { <-hold }, "retry", "no answer within 300ms", 2 * time.Second},
		"answers slowly": {func(c net.Conn) {
			time.Sleep(100 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}, "done", "", 2 * time.Second},
		"closes early":       {func(net.Conn) {}, "retry", "closed without an answer", 2 * time.Second},
		"closes in the body": {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha") }, "done", "", 2 * time.Second},
		"hangs in the body":  {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha"); <-hold }, "done", "", 2 * time.Second},
		"drips its header": {func(c net.Conn) {
			for range 100 {
				if _, err := io.WriteString(c, "X"); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}, "retry", "", 2 * time.Second},
		"talks nonsense": {func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp ready\r\n") }, "retry", "malformed", 2 * time.Second},
		"sends a header without end": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			line := strings.Repeat("x", 64<<10)
			for range 64 {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}, "retry", "", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDestination(t, Spec{URL: raw(t, c.talk), Timeout: Duration(300 * time.Millisecond)}, Options{})
			started := time.Now()
			err := d.Handle(t.Context(), event())
			if got := verdict(err); got != c.want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want %s, %q", got, err, c.want, c.text)
			}
			if took := time.Since(started); took > c.most {
				t.Errorf("took %s", took)
			}
		})
	}
}

// Gigabytes sent back are not read: a little of them, and the connection is closed.
func TestAnAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	ended := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		defer close(ended)
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		for sent.Load() < 4<<30 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	d := newDestination(t, Spec{URL: r.URL}, Options{})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	<-ended
	if sent.Load() > 64<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	d := newDestination(t, Spec{URL: r.URL}, Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err := d.Handle(t.Context(), event()); err == nil || !strings.Contains(err.Error(), "not a public address") {
		t.Errorf("%v", err)
	}
}
