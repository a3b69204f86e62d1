package gaff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"gaff/internal/linger"
	"gaff/internal/redact"
)

// PathPrefix is where webhooks come in; the source's name follows.
const PathPrefix = "/api/v1/webhooks/"

// maxCallbackToken bounds the last part of an address, in bytes.
const maxCallbackToken = 256

// IngestHandler returns the handler of the receiving addresses, to be mounted at
// [PathPrefix]. It never redirects. A sender hears a refusal although it still writes its body.
func (g *Gateway) IngestHandler() http.Handler {
	return linger.Handler(http.HandlerFunc(g.serveWebhook))
}

func (g *Gateway) serveWebhook(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	r, traced := g.traced(r, started)
	name, handle, ok := splitPath(r.URL.Path)
	src := g.sources.get(name)
	var req *Request
	var rp reply
	switch {
	case !ok || src == nil:
		src, rp = nil, unknownSource.because("no source is called %q", name)
	case !src.allows(r.Method):
		w.Header().Set("Allow", strings.Join(src.methods(), ", "))
		rp = badMethod.because("method %s", r.Method)
	case !g.enter():
		rp = tryAgain.because("stopping")
	default:
		req, rp = g.receiveSafely(w, r, src, handle)
		g.accepts.Done()
	}
	source := ""
	if src != nil {
		source = src.Name
	}
	if src != nil && src.EmptyErrors && rp.status >= 400 {
		rp.fixed = &Reply{}
	}
	if rp.status >= 400 && !rp.unstored {
		g.reject(r, req, src, name, rp)
	}
	rp.write(w)
	g.received(traced, source, rp.status)
	if g.opt.Hooks.Replied != nil {
		g.opt.Hooks.Replied(source, rp.status, time.Since(started))
	}
}

// splitPath takes the source and the handle from an address. A slash at the end or a slash
// too many is served, not redirected: senders take a redirect for a failure.
func splitPath(address string) (source, handle string, ok bool) {
	rest, ok := strings.CutPrefix(path.Clean(address), PathPrefix)
	if !ok {
		return "", "", false
	}
	source, handle, _ = strings.Cut(rest, "/")
	return source, handle, !strings.Contains(handle, "/") && len(handle) <= maxCallbackToken
}

func (s *Source) methods() []string {
	methods := []string{http.MethodPost}
	if s.Handshaker != nil {
		methods = append(methods, s.Handshaker.Methods()...)
	}
	return methods
}

func (s *Source) allows(method string) bool {
	return method == http.MethodPost || s.Handshaker != nil && slices.Contains(s.Handshaker.Methods(), method)
}

// receiveSafely is receive for verifiers and parsers that panic: a mistake in one must
// not lose the webhook, so the sender gets 503 and retries.
func (g *Gateway) receiveSafely(w http.ResponseWriter, r *http.Request, src *Source, handle string) (req *Request, rp reply) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("receiving a webhook panicked", "source", src.Name, "panic", redact.Panic(p), "stack", string(debug.Stack()))
			rp = tryAgain.because("panic: %v", p)
		}
	}()
	return g.receive(w, r, src, handle)
}

func (g *Gateway) receive(w http.ResponseWriter, r *http.Request, src *Source, handle string) (*Request, reply) {
	from := g.client(r)
	if rp := src.stopped(r, from); rp.status != 0 {
		w.Header().Set("Connection", "close") // the body is not read
		return nil, rp
	}
	body, rp := g.readBody(w, r, src)
	if rp.status != 0 {
		return nil, rp
	}
	booked := g.book(int64(cap(body)))
	defer booked.release()
	req := &Request{
		Method: r.Method, URL: g.publicURL(r), RemoteAddr: from, Header: r.Header, Body: body, ReceivedAt: time.Now(),
	}
	x, rp := g.examine(r.Context(), src, req, booked)
	if rp.status != 0 {
		return nil, rp
	}
	unpacked, proof, err := x.unpacked, x.proof, x.err
	if src.Handshaker != nil {
		if fixed, ok := src.Handshaker.Handshake(r.Context(), req, proof, err); ok {
			if fixed.Detail != "" {
				g.log.Warn("handshake", "source", src.Name, "note", fixed.Detail)
			}
			return req, reply{status: fixed.Status, fixed: &fixed, reason: fixed.Reason}
		}
	}
	if r.Method != http.MethodPost {
		return req, badMethod.because("method %s without a challenge", r.Method)
	}
	if errors.Is(err, ErrUnverifiable) {
		g.log.Warn("webhook cannot be verified now", "source", src.Name, "error", redact.Error(err))
		return req, tryAgain.because("%v", err)
	}
	if err == nil && handle != "" && src.CheckCallbackToken != nil {
		err = src.CheckCallbackToken(handle)
	}
	if err != nil {
		if rp := src.overUnverified(from); rp.status != 0 {
			return nil, rp
		}
		return req, badSignature.because("%v", err)
	}
	if rp := src.overRate(); rp.status != 0 {
		return req, rp
	}
	if unpacked.status != 0 {
		return req, unpacked
	}
	ctx, pending, done := g.expectReply(r.Context(), src)
	defer done()
	rcs, rp := g.storeRequest(ctx, src, req, proof, handle, booked)
	if rp.status != 0 {
		return req, rp
	}
	return req, g.answerStored(ctx, src, pending, req.ReceivedAt, rcs)
}

// stopped refuses what the source's guard does not let in; status 0 lets it in.
func (s *Source) stopped(r *http.Request, from string) reply {
	if s.Paused != "" {
		rp := tryAgain.because("the source is paused: %s", s.Paused)
		rp.retryAfter, rp.unstored = pausedRetry, true
		return rp
	}
	if len(s.Guard.Allow) > 0 {
		addr, err := netip.ParseAddr(from)
		if err != nil || !contains(s.Guard.Allow, addr) {
			// The same words as for a wrong signature: an untrusted client learns nothing.
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

// examined is what the check of an unverified request found.
type examined struct {
	proof    Verification
	err      error // why it is not authentic
	unpacked reply // for an authentic one that cannot be unpacked; status 0: it can
}

// examine unpacks and verifies a request.
func (g *Gateway) examine(ctx context.Context, src *Source, req *Request, booked *booking) (x examined, rp reply) {
	leave, err := g.unverified.take(ctx, req.unpackedSize(src))
	if err != nil {
		return x, tryAgain.because("%v", err)
	}
	defer leave()
	x.unpacked = g.unpack(src, req, booked)
	traced := g.reception(ctx)
	if traced != nil {
		traced.Verifying = time.Now()
	}
	x.proof, x.err = src.verify(ctx, req)
	if traced != nil {
		traced.Verified = time.Now()
	}
	return x, reply{}
}

// verify checks the sender over the bytes as sent. If that fails, it checks the unpacked
// ones: some senders sign before they compress.
func (s *Source) verify(ctx context.Context, r *Request) (Verification, error) {
	v, err := s.Verifier.Verify(ctx, r)
	if err == nil || r.Plain == nil || errors.Is(err, ErrUnverifiable) {
		return v, err
	}
	inner := *r
	inner.Body, inner.Plain = r.Plain, nil
	second, err2 := s.Verifier.Verify(ctx, &inner)
	if err2 == nil || errors.Is(err2, ErrUnverifiable) {
		return second, err2
	}
	return v, err
}

// storeRequest makes the events of an authentic request and stores them in one commit. booked, if not
// nil, is held until the store has dropped them.
func (g *Gateway) storeRequest(ctx context.Context, src *Source, req *Request, proof Verification, handle string, booked *booking) ([]Receipt, reply) {
	evs, rp := g.readLarge(ctx, src, req, proof)
	if rp.status != 0 || len(evs) == 0 {
		return nil, rp
	}
	if len(evs) == 1 && src.Answer != nil {
		evs[0].Reply = pendingReply(ctx)
	}
	routes := make([][]Delivery, len(evs))
	for i, ev := range evs {
		ev.CallbackToken = handle
		if src.Admit != nil {
			if err := src.Admit(ctx, ev); err != nil {
				rp := tooMany.because("%v", err)
				rp.retryAfter = notAdmittedRetry
				return nil, rp
			}
		}
		routes[i] = g.Route(ev)
		switch r := &src.Redaction; {
		case r.Empty():
		case r.Processed && len(routes[i]) > 0:
			ev.Redaction = r
		default:
			r.Apply(ev) // what signature and identity need was read before
		}
	}
	traced := g.reception(ctx)
	if traced != nil {
		traced.Storing = time.Now()
	}
	rcs, err := g.acceptAll(ctx, evs, routes, booked)
	if traced != nil {
		traced.Stored, traced.Events = time.Now(), rcs
	}
	if err != nil {
		if more, ok := g.disabled.allow("not kept", src.Name, req.ReceivedAt); ok {
			g.log.Error("webhook not kept", "source", src.Name, "type", evs[0].Type, "error", err, "alsoSince", more)
		}
		return nil, tryAgain.because("%v", err)
	}
	for i, rc := range rcs {
		switch {
		case rc.Conflict:
			g.log.Warn("a known id came again with another body", "event", rc.ID, "source", src.Name, "webhookId", evs[i].WebhookID)
		case len(routes[i]) == 0 && !rc.Duplicate:
			if more, ok := g.disabled.allow("unhandled", src.Name, req.ReceivedAt); ok {
				g.log.Warn("no handler found for webhook", "event", rc.ID, "source", src.Name, "type", evs[i].Type, "alsoSince", more)
			}
		}
	}
	return rcs, reply{}
}

// maxBatch bounds the events of one request: each is a row of its own.
const maxBatch = 5000

// maxParsed is how large a body may be for what the parser made of it to wait in memory beside
// it: it may hold as much again, which nothing counts.
const maxParsed = 64 << 10

// readLarge is read, for which a large body needs a place.
func (g *Gateway) readLarge(ctx context.Context, src *Source, req *Request, proof Verification) ([]*Event, reply) {
	leave, err := g.verified.take(ctx, int64(max(len(req.Body), len(req.Plain))))
	if err != nil {
		return nil, tryAgain.because("%v", err)
	}
	defer leave()
	return g.read(ctx, src, req, proof)
}

// read makes the events of an authentic request: one, for most senders.
func (g *Gateway) read(ctx context.Context, src *Source, req *Request, proof Verification) ([]*Event, reply) {
	plain := req.readable()
	req.Plain = nil // the event holds its data
	env, err := src.Parser.Parse(plain, proof)
	if err != nil {
		return nil, badPayload.because("%v", err)
	}
	proof.Secrets = src.Secrets
	var spent SchemaEffort // for all events
	event := func(env Envelope, req *Request, body []byte, item int) (*Event, reply) {
		if rp := unfit(env); rp.status != 0 {
			return nil, rp
		}
		var violation *SchemaViolation
		if src.Schemas != nil {
			var rp reply
			if violation, spent, rp = g.violation(ctx, src, env, spent); rp.status != 0 {
				return nil, rp
			}
		}
		key, signed := dedupeKey(env, body), signedKey(proof, env, item) // of the bytes as sent
		if masked := maskData(env.Data, src.Secrets); !bytes.Equal(masked, env.Data) {
			env.Data, env.Parsed = masked, nil
		}
		if len(env.Data) > maxParsed {
			env.Parsed = nil
		}
		return &Event{
			Source: src.Name, Type: env.Type, WebhookID: env.ID, DedupeKey: key, SignedKey: signed,
			CorrelationID: env.CorrelationID, OccurredAt: env.OccurredAt, ReceivedAt: req.ReceivedAt,
			Data: env.Data, Parsed: env.Parsed, Request: req, Verification: proof, Violation: violation,
		}, reply{}
	}
	if !env.Split {
		if env.Data == nil {
			env.Data = json.RawMessage(plain.Body)
		}
		ev, rp := event(env, req, req.Body, 0)
		if rp.status != 0 {
			return nil, rp
		}
		return []*Event{ev}, reply{}
	}
	if len(env.Batch) > maxBatch {
		return nil, badPayload.because("%d events in one request; at most %d are taken", len(env.Batch), maxBatch)
	}
	evs := make([]*Event, len(env.Batch))
	for i, item := range env.Batch {
		of := req
		if i > 0 {
			// The first event has the whole request.
			of = &Request{
				Method: req.Method, URL: req.URL, RemoteAddr: req.RemoteAddr, Header: http.Header{},
				Body: maskData(item.Data, src.Secrets), ReceivedAt: req.ReceivedAt,
			}
		}
		var rp reply
		if evs[i], rp = event(item, of, item.Data, i); rp.status != 0 {
			return nil, rp
		}
	}
	return evs, reply{}
}

// maxName bounds the names in an event, which stand in every list, in bytes.
const maxName = 1024

// unfit refuses what could not be stored or listed; status 0 is fit.
func unfit(env Envelope) reply {
	for _, name := range [...]struct{ what, text string }{{"type", env.Type}, {"id", env.ID}, {"correlation id", env.CorrelationID}} {
		if len(name.text) > maxName {
			return badPayload.because("the %s is %d bytes long, more than %d", name.what, len(name.text), maxName)
		}
	}
	if tooDeep(env.Data) {
		return badPayload.because("the body is nested deeper than %d levels", maxDepth)
	}
	return reply{}
}

// maxDepth is how deep JSON may be nested. Later readers have a limit too (Go's is
// 10,000, others' are lower), and the API wraps it in some levels of its own: one webhook
// that is too deep would make every list that contains it unreadable.
const maxDepth = 1000

// tooDeep looks at valid JSON.
func tooDeep(data []byte) bool {
	// Nearly always, there are not even so many brackets.
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) <= maxDepth {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// Read verifies a request and reads it, as [Gateway] does with what it receives: for tools
// that judge a captured request. unreadable is why an authentic one is refused.
func (s *Source) Read(ctx context.Context, r *Request) (v Verification, env Envelope, unreadable, err error) {
	r.Plain = nil
	plain, rp := s.plain(r, max(s.MaxBodyBytes, defaultBodyLimit))
	r.Plain = plain
	if v, err = s.verify(ctx, r); err != nil || s.Parser == nil {
		return v, env, nil, err
	}
	if rp.status != 0 {
		return v, env, errors.New(rp.reason), nil
	}
	env, unreadable = s.Parser.Parse(r.readable(), v)
	return v, env, unreadable, nil
}
