package destination

import (
	"bytes"
	"context"
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
		"hangs": {func(net.Conn) { <-hold }, "retry", "no answer within 300ms", 20 * time.Second},
		"answers slowly": {func(c net.Conn) {
			time.Sleep(100 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}, "done", "", 20 * time.Second},
		"closes early":       {func(net.Conn) {}, "retry", "closed without an answer", 20 * time.Second},
		"closes in the body": {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha") }, "done", "", 20 * time.Second},
		"hangs in the body":  {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha"); <-hold }, "done", "", 20 * time.Second},
		"drips its header": {func(c net.Conn) {
			for range 100 {
				if _, err := io.WriteString(c, "X"); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}, "retry", "", 20 * time.Second},
		"talks nonsense": {func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp ready\r\n") }, "retry", "malformed", 20 * time.Second},
		"sends a header without end": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			line := strings.Repeat("x", 64<<10)
			for range 64 {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}, "retry", "", 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := 300 * time.Millisecond
			if c.want == "done" {
				timeout = 10 * time.Second // for slow machines
			}
			d := newDestination(t, Spec{URL: raw(t, c.talk), Timeout: Duration(timeout)}, Options{})
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
