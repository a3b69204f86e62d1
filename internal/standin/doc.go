// Package standin plays the services that gaff works with: fal's queue ([Fal]) and Last
// Frame ([LastFrame]). Tests use them as handlers, "gaff dev" on ports of this machine.
// They know nothing of gaff: what they send is made by code of their own, so that a
// mistake in gaff's reading of a service is not answered by the same mistake here.
//
// Both do real work as far as anyone can see: images are painted for their prompt, clips
// play, webhooks are signed and repeated, and on request everything goes wrong that goes
// wrong at the real services (see [Faults]).
//
// All timing goes by the time package, so inside a testing/synctest bubble it is faked;
// [Hosts] then joins client and stand-in without a network.
package standin

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options of a stand-in. The zero value works: any key is accepted, a job takes two
// seconds, nothing goes wrong.
type Options struct {
	// URL is the base under which clients reach it, without a slash at the end. Empty:
	// taken from each request.
	URL string
	// Key is the one that clients must show. Empty: any, but there must be one.
	Key string
	// Seed makes ids, pictures and faults the same in every run, as far as the requests
	// come in the same order. Zero: different each time.
	Seed uint64
	// Work is how long a job takes, and Queue how long it waits before that. Zero means
	// 1.5 s and 0.5 s; negative means none.
	Work, Queue time.Duration
	// Parallel is how many jobs are processed at once; more wait. Zero means no limit.
	Parallel int
	// Faults happen to jobs whose request asks for none itself.
	Faults Faults
	// LateBy is by how much a late webhook is late. Zero means 20 s.
	LateBy time.Duration
	// BurstEvery is how long the webhooks of a burst are held back. Zero means 3 s.
	BurstEvery time.Duration
	// RetryWaits are the waits between the attempts of a delivery that was not answered with
	// 2xx. Nil means ten attempts within about half a minute; fal takes two hours for them.
	RetryWaits []time.Duration
	// Timeout is how long a receiver may take to answer. Zero means 15 s, as fal's.
	Timeout time.Duration
	// Client delivers the webhooks; it must not follow redirects. Nil: one of its own.
	Client *http.Client
	// Log receives a line for each delivery. Nil discards them.
	Log *slog.Logger
}

const (
	// maxInput bounds what a client may send, in bytes.
	maxInput = 16 << 20
	// maxJobs is how many jobs are remembered; the oldest settled ones are forgotten.
	maxJobs = 20_000
)

func (o *Options) complete() {
	defaults := func(d *time.Duration, zero time.Duration) {
		if *d == 0 {
			*d = zero
		}
		*d = max(*d, 0)
	}
	defaults(&o.Work, 1500*time.Millisecond)
	defaults(&o.Queue, 500*time.Millisecond)
	defaults(&o.LateBy, 20*time.Second)
	defaults(&o.BurstEvery, 3*time.Second)
	defaults(&o.Timeout, 15*time.Second)
	if o.RetryWaits == nil {
		for _, ms := range []int{500, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 8000} {
			o.RetryWaits = append(o.RetryWaits, time.Duration(ms)*time.Millisecond)
		}
	}
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Seed == 0 {
		var b [8]byte
		_, _ = crand.Read(b[:]) // never fails, by its contract
		o.Seed = binary.LittleEndian.Uint64(b[:])
	}
	o.URL = strings.TrimRight(o.URL, "/")
}

// base is the address of the stand-in as its client knows it.
func (o *Options) base(r *http.Request) string {
	if o.URL != "" {
		return o.URL
	}
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// random is the chance that job number n of a stand-in meets with.
func (o *Options) random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, n)) }

// newUUID makes a version 4 UUID of the chance.
func newUUID(r *rand.Rand) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Attempt is one try to deliver a webhook.
type Attempt struct {
	At time.Time `json:"at"`
	// Status is the answer's; 0 without an answer, and then Error says why.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// delivery is one webhook to send.
type delivery struct {
	url  string
	body []byte
	// sign adds the headers that go with the body at a time.
	sign func(h http.Header, body []byte, at time.Time)
}

// courier delivers webhooks in the background, until it is closed.
type courier struct {
	o      *Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
}

func newCourier(o *Options) *courier {
	c := &courier{o: o}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// close ends all deliveries and waits for them.
func (c *courier) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// after runs f in the background when d is over.
func (c *courier) after(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.wg.Go(func() {
		if c.wait(d) {
			f()
		}
	})
}

func (c *courier) wait(d time.Duration) bool {
	if d <= 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// deliver repeats the request until the receiver answers with 2xx, redirects (which is final), or the
// attempts are used up. note hears of each.
func (c *courier) deliver(d delivery, note func(Attempt)) {
	for i := 0; ; i++ {
		a := c.try(d)
		if errors.Is(c.ctx.Err(), context.Canceled) {
			return
		}
		note(a)
		c.o.Log.Debug("webhook", "url", d.url, "try", i+1, "status", a.Status, "error", a.Error)
		if a.Status >= 200 && a.Status < 400 || i == len(c.o.RetryWaits) || !c.wait(c.o.RetryWaits[i]) {
			return
		}
	}
}

func (c *courier) try(d delivery) Attempt {
	ctx, cancel := context.WithTimeout(c.ctx, c.o.Timeout)
	defer cancel()
	at := time.Now()
	a := Attempt{At: at}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(d.body))
	if err != nil {
		a.Error = err.Error()
		return a
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "standin/1.0")
	d.sign(req.Header, d.body, at)
	resp, err := c.o.Client.Do(req)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	a.Status = resp.StatusCode
	return a
}

// send delivers a finished job's webhook with what the faults make of it. burst is where
// the stand-in holds back.
func (c *courier) send(d delivery, faults Faults, note func(Attempt)) {
	wait := time.Duration(0)
	if faults.Has(Late) {
		wait += c.o.LateBy
	}
	if faults.Has(Burst) {
		// All that is held back goes out at the same tick of the clock.
		now := time.Now()
		wait += now.Truncate(c.o.BurstEvery).Add(c.o.BurstEvery).Sub(now)
	}
	copies := 1
	if faults.Has(Duplicate) {
		copies = 2
	}
	for range copies {
		c.after(wait, func() { c.deliver(d, note) })
	}
}

// Hosts is a transport that hands requests to handlers by their host, without a network:
// in a testing/synctest bubble time then passes while they wait. A handler that panics
// with http.ErrAbortHandler drops the connection, and the client hears of it so.
type Hosts map[string]http.Handler

// RoundTrip serves the request by the handler of its host.
func (h Hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	handler := h[req.URL.Host]
	if handler == nil {
		return nil, fmt.Errorf("dial %s: no such host here", req.URL.Host)
	}
	// A server's view of the client's request.
	in := req.Clone(req.Context())
	in.RequestURI, in.Host, in.RemoteAddr = req.URL.RequestURI(), req.URL.Host, "192.0.2.1:1234"
	if req.Host != "" {
		in.Host = req.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := &recorder{header: http.Header{}}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("connection dropped: %v: %w", p, io.ErrUnexpectedEOF)
			}
		}()
		handler.ServeHTTP(rec, in)
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if rec.code == 0 {
		rec.code = http.StatusOK
	}
	length, body := int64(rec.body.Len()), io.Reader(bytes.NewReader(rec.body.Bytes()))
	if said, err := strconv.ParseInt(rec.header.Get("Content-Length"), 10, 64); err == nil && said > length && req.Method != http.MethodHead {
		// A server would close the connection, and the client notice.
		length, body = said, io.MultiReader(body, cutOff{})
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", rec.code, http.StatusText(rec.code)), StatusCode: rec.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: rec.header, Request: req,
		ContentLength: length, Body: io.NopCloser(body),
	}, nil
}

// cutOff is the end of a body that is shorter than was said.
type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 {
		r.code = code
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// writeJSON answers with the style of fal's and Last Frame's servers.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(pythonJSON(body))
}

// pythonJSON encodes as Python's json.dumps(…, sort_keys=True) does: ", " and ": " as
// separators, everything beyond ASCII escaped. fal signs such bytes.
func pythonJSON(v any) []byte {
	plain, err := json.Marshal(v)
	if err != nil {
		panic(err) // values of our own making
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.UseNumber()
	var decoded any
	if err := d.Decode(&decoded); err != nil {
		panic(err)
	}
	return appendPython(nil, decoded)
}

func appendPython(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return fmt.Appendf(b, "%t", v)
	case json.Number:
		return append(b, v...)
	case string:
		return appendPythonString(b, v)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendPython(b, item)
		}
		return append(b, ']')
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b = append(b, '{')
		for i, name := range names {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendPythonString(b, name)
			b = append(b, ": "...)
			b = appendPython(b, v[name])
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("no JSON value: %T", v))
}

func appendPythonString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r >= ' ' && r <= '~':
			b = append(b, byte(r))
		case r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
