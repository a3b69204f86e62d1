package gaff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff/internal/redact"
)

// Guard bounds who may send to a source and how much, before anything is read or
// verified. The zero value lets all in.
type Guard struct {
	// Allow lists the addresses that may send; empty: all. Behind a proxy it needs
	// Options.TrustedProxies.
	Allow []netip.Prefix
	// Rate is how many verified requests a second are taken in the long run, Burst how many
	// at once; zero Rate: no bound, zero Burst: one second's worth. More are answered 429.
	// Unverified requests have the same bound for each client address, and use up nothing of
	// this one.
	Rate  float64
	Burst int
	// ContentTypes lists the media types that are taken, such as "application/json";
	// empty: all.
	ContentTypes []string
}

// sourceSet is read by every request and replaced as a whole.
type sourceSet struct {
	p atomic.Pointer[map[string]*Source]
}

func (s *sourceSet) all() map[string]*Source {
	if m := s.p.Load(); m != nil {
		return *m
	}
	return nil
}

func (s *sourceSet) get(name string) *Source { return s.all()[name] }

func (s *sourceSet) put(src *Source) {
	next := maps.Clone(s.all())
	if next == nil {
		next = map[string]*Source{}
	}
	next[src.Name] = src
	s.p.Store(&next)
}

// UpdateSource replaces a source of the same name, for requests that come from now on;
// those under way are finished by the old one. It is for new secrets of a running
// gateway, and may be called at any time.
func (g *Gateway) UpdateSource(s Source) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.sources.get(s.Name)
	switch {
	case old == nil:
		return fmt.Errorf("source %q: %w; sources are added before the start", s.Name, ErrNotFound)
	case s.Verifier == nil || s.Parser == nil:
		return fmt.Errorf("source %q: %w: it needs a Verifier and a Parser", s.Name, ErrInvalid)
	}
	g.ready(&s)
	if old.bucket != nil && s.bucket != nil && old.Guard.Rate == s.Guard.Rate && old.Guard.Burst == s.Guard.Burst {
		s.bucket, s.unverified = old.bucket, old.unverified // a reload is no way around the limit
	}
	if (old.DisabledReason == "") != (s.DisabledReason == "") {
		g.log.Info("source changed", "source", s.Name, "quiet", s.DisabledReason)
	}
	g.sources.put(&s)
	return nil
}

// ready fills what a source needs to be used.
func (g *Gateway) ready(s *Source) {
	if s.MaxBodyBytes <= 0 {
		s.MaxBodyBytes = defaultBodyLimit
	}
	if s.Guard.Rate > 0 {
		s.bucket, s.unverified = newBucket(s.Guard.Rate, s.Guard.Burst), newBuckets(s.Guard.Rate, s.Guard.Burst)
	}
}

// bucket is a rate limit: the time at which it would be empty again stands for its level.
type bucket struct {
	interval time.Duration // of one request
	depth    time.Duration // how far ahead of the clock it may be

	mu    sync.Mutex
	empty time.Time
}

func newBucket(rate float64, burst int) *bucket {
	if burst <= 0 {
		burst = max(int(rate), 1)
	}
	interval := max(time.Duration(float64(time.Second)/rate), 1)
	return &bucket{interval: interval, depth: interval * time.Duration(burst)}
}

// take admits a request of some weight, or returns how long to wait.
func (b *bucket) take(now time.Time, n int64) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	empty := b.empty
	if empty.Before(now) {
		empty = now
	}
	empty = empty.Add(b.interval * time.Duration(n))
	if over := empty.Sub(now) - b.depth; over > 0 {
		return over, false
	}
	b.empty = empty
	return 0, true
}

var (
	tooMany          = reply{status: http.StatusTooManyRequests, body: `{"error":"Too many requests"}`}
	wrongContentType = reply{status: http.StatusUnsupportedMediaType, body: `{"error":"Unsupported content type"}`}
)

// stopped refuses what the source's guard does not let in; status 0 lets it in.
func (s *Source) stopped(r *http.Request, from string) reply {
	if len(s.Guard.Allow) > 0 {
		addr, err := netip.ParseAddr(from)
		if err != nil || !contains(s.Guard.Allow, addr) {
			// The same words as for a wrong signature: a stranger learns nothing.
			return badSignature.because("the address %s is not among those allowed", from)
		}
	}
	if len(s.Guard.ContentTypes) > 0 && r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || !slices.ContainsFunc(s.Guard.ContentTypes, func(want string) bool { return strings.EqualFold(want, kind) }) {
			return wrongContentType.because("Content-Type %.100q; %s is wanted", r.Header.Get("Content-Type"), strings.Join(s.Guard.ContentTypes, " or "))
		}
	}
	return reply{}
}

// overRate takes a verified request from the source's rate; status 0 lets it in.
func (s *Source) overRate() reply {
	if s.bucket == nil {
		return reply{}
	}
	wait, ok := s.bucket.take(time.Now(), 1)
	if ok {
		return reply{}
	}
	return tooMany.because("over the limit of %g requests a second", s.Guard.Rate).after(wait)
}

// overUnverified takes an unverified request from what its client address may send to the
// source; status 0 lets it be rejected and stored like any other. Verified requests of the
// address are not counted, and never refused for it.
func (s *Source) overUnverified(from string) reply {
	if s.unverified == nil {
		return reply{}
	}
	wait, ok := s.unverified.take(from, time.Now(), 1)
	if ok {
		return reply{}
	}
	rp := tooMany.because("over the limit of %g unverified requests a second from %s", s.Guard.Rate, from).after(wait)
	rp.unstored = true
	return rp
}

func (rp reply) after(wait time.Duration) reply {
	rp.retryAfter = max(int(wait/time.Second)+1, 1)
	return rp
}

// buckets are rate limits by client address, in bounded number: once there are too many,
// those that are full again are dropped, else all.
type buckets struct {
	rate  float64
	burst int

	mu sync.Mutex
	of map[string]*bucket
}

const maxBuckets = 4096

func newBuckets(rate float64, burst int) *buckets {
	return &buckets{rate: rate, burst: burst, of: map[string]*bucket{}}
}

func (b *buckets) take(from string, now time.Time, n int64) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of[from]
	if one == nil {
		if len(b.of) >= maxBuckets {
			maps.DeleteFunc(b.of, func(_ string, old *bucket) bool { return !old.empty.After(now) })
		}
		if len(b.of) >= maxBuckets {
			clear(b.of)
		}
		one = newBucket(b.rate, b.burst)
		b.of[from] = one
	}
	return one.take(now, n)
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ClientAddress is the address of who sent a request: see [Options.TrustedProxies].
func (g *Gateway) ClientAddress(r *http.Request) string { return g.client(r) }

// client is the address of who sent the request: the peer, or, where that is a proxy that
// the operator declared, whom it names. Of X-Forwarded-For only what declared proxies
// added is believed: the last address that is none of theirs.
func (g *Gateway) client(r *http.Request) string {
	from := peer(r)
	if len(g.opt.TrustedProxies) == 0 {
		return from
	}
	addr, err := netip.ParseAddr(from)
	if err != nil || !contains(g.opt.TrustedProxies, addr) {
		return from
	}
	var chain []string
	for _, value := range r.Header.Values("X-Forwarded-For") {
		chain = append(chain, strings.Split(value, ",")...)
	}
	for _, text := range slices.Backward(chain) {
		text = strings.TrimSpace(text)
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		next, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return from // what is before it proves nothing either
		}
		if from = next.Unmap().String(); !contains(g.opt.TrustedProxies, next) {
			return from
		}
	}
	return from
}

// Rescued is what became of a refused request that was verified again.
type Rescued struct {
	// EventID is the event's; of the first one where the request brought several.
	EventID string
	// Events is how many events it brought, Duplicate whether all were known.
	Events    int
	Duplicate bool
}

// Rescue verifies a refused request again, by the source as it is now and at the time of
// its own receipt, and keeps it as an event if it is authentic. Doing so twice, or after
// the sender sent it again, finds the event that is there.
//
// ErrNotFound: no such rejection, or no source of its name. ErrConflict: it was not kept
// whole, or it is refused still; the error says why. ErrUnverifiable: the keys are not to
// be had now.
func (g *Gateway) Rescue(ctx context.Context, rejectionID string) (Rescued, error) {
	if !g.enter() {
		return Rescued{}, ErrStopped
	}
	defer g.accepts.Done()
	rj, err := g.store.Rejection(ctx, rejectionID)
	if err != nil {
		return Rescued{}, err
	}
	if rj.RescuedAs != "" {
		return Rescued{EventID: rj.RescuedAs, Events: 1, Duplicate: true}, nil
	}
	req, err := g.store.Quarantined(ctx, rejectionID)
	if errors.Is(err, ErrNotFound) {
		return Rescued{}, fmt.Errorf("%s was not kept whole, or not for so long: %w", rejectionID, ErrConflict)
	}
	if err != nil {
		return Rescued{}, err
	}
	src := g.sources.get(rj.Source)
	if src == nil {
		return Rescued{}, fmt.Errorf("source %q: %w", rj.Source, ErrNotFound)
	}
	out, rp := g.rescue(ctx, src, req)
	switch {
	case rp.status == http.StatusServiceUnavailable:
		return Rescued{}, fmt.Errorf("%s: %w: %s", rejectionID, ErrUnverifiable, rp.reason)
	case rp.status >= 400:
		return Rescued{}, fmt.Errorf("%s is refused still: %s: %w", rejectionID, rp.reason, ErrConflict)
	}
	g.log.Info("refused webhook rescued", "rejection", rejectionID, "source", src.Name, "event", out.EventID, "duplicate", out.Duplicate)
	if err := g.store.Rescued(ctx, rejectionID, out.EventID); err != nil {
		return out, fmt.Errorf("%s is kept as %s, but not marked as rescued: %w", rejectionID, out.EventID, err)
	}
	return out, nil
}

// rescue verifies and keeps a request that came earlier.
func (g *Gateway) rescue(ctx context.Context, src *Source, req *Request) (out Rescued, rp reply) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("rescuing a webhook panicked", "source", src.Name, "panic", redact.Panic(p))
			rp = badPayload.because("panic: %v", p)
		}
	}()
	booked := g.book(0)
	defer booked.release()
	x, rp := g.examine(ctx, src, req, booked)
	if rp.status != 0 {
		return out, rp
	}
	unpacked, proof, err := x.unpacked, x.proof, x.err
	switch {
	case errors.Is(err, ErrUnverifiable):
		return out, tryAgain.because("%v", err)
	case err != nil:
		return out, badSignature.because("%v", err)
	case unpacked.status != 0:
		return out, unpacked
	}
	handle := ""
	if i := strings.Index(req.URL, PathPrefix); i >= 0 {
		path, _, _ := strings.Cut(req.URL[i:], "?")
		_, handle, _ = splitPath(path)
	}
	rcs, rp := g.storeRequest(ctx, src, req, proof, handle, booked)
	if rp.status != 0 {
		return out, rp
	}
	out.Events = len(rcs)
	for i, rc := range rcs {
		if i == 0 {
			out.EventID, out.Duplicate = rc.ID, true
		}
		out.Duplicate = out.Duplicate && rc.Duplicate
	}
	return out, reply{}
}
