package gaff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff/internal/id"
	"gaff/internal/linger"
	"gaff/internal/redact"
)

// PathPrefix is where webhooks come in; the source's name follows.
const PathPrefix = "/api/v1/webhooks/"

const (
	maxCallbackToken = 256
	maxDedupeKey     = 256
	// maxName bounds the names in an event, which stand in every list.
	maxName = 1024
	// Of a rejection, this much is kept.
	rejectedBody   = 2 << 10
	rejectedValue  = 256
	rejectedFields = 64
	// retryAfter is told to senders when nothing can be kept, in seconds.
	retryAfter = "5"
	// notAdmittedRetry is the Retry-After, in seconds, of an event that [Source.Admit] does not admit for now.
	notAdmittedRetry = 60
)

// IngestHandler returns the handler of the receiving addresses, to be mounted at
// [PathPrefix]. It never redirects. A sender hears a refusal although it still writes its body.
func (g *Gateway) IngestHandler() http.Handler {
	return linger.Handler(http.HandlerFunc(g.serveWebhook))
}

// reply is how a call ended.
type reply struct {
	status int
	body   string
	// reason is for the operator.
	reason string
	// fixed is sent in place of body, for handshakes and senders that insist on a text.
	fixed *Reply
	// retryAfter is told in seconds; 0 is the usual time.
	retryAfter int
	// unstored leaves no rejection: a client's other ones are stored.
	unstored bool
}

var (
	unknownSource = reply{status: http.StatusNotFound, body: `{"error":"Unknown webhook source"}`, reason: "unknown source"}
	tryAgain      = reply{status: http.StatusServiceUnavailable, body: `{"error":"Webhook processing failed"}`}
	badSignature  = reply{status: http.StatusUnauthorized, body: `{"error":"Invalid signature"}`}
	badPayload    = reply{status: http.StatusBadRequest, body: `{"error":"Invalid payload"}`}
	tooLarge      = reply{status: http.StatusRequestEntityTooLarge, body: `{"error":"Payload too large"}`}
	badMethod     = reply{status: http.StatusMethodNotAllowed, body: `{"error":"Method not allowed"}`, reason: "method"}
)

func (rp reply) because(format string, args ...any) reply {
	rp.reason = fmt.Sprintf(format, args...)
	return rp
}

func (g *Gateway) serveWebhook(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
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
// not lose the webhook, so the sender is told to come again.
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
	rcs, rp := g.storeRequest(r.Context(), src, req, proof, handle, booked)
	switch {
	case rp.status != 0:
		return req, rp
	case src.Ack != nil:
		return req, reply{status: src.Ack.Status, fixed: src.Ack}
	}
	return req, reply{status: http.StatusOK, body: thanks(rcs)}
}

// thanks is the answer to a request that is kept.
func thanks(rcs []Receipt) string {
	if len(rcs) == 0 {
		return `{"success":true,"events":0}`
	}
	body := `{"success":true,"id":"` + rcs[0].ID + `"`
	if len(rcs) > 1 {
		body += `,"events":` + strconv.Itoa(len(rcs))
	}
	if !slices.ContainsFunc(rcs, func(rc Receipt) bool { return !rc.Duplicate }) {
		body += `,"duplicate":true`
	}
	return body + "}"
}

// storeRequest makes the events of an authentic request and stores them in one commit. booked, if not
// nil, is held until the store has dropped them.
func (g *Gateway) storeRequest(ctx context.Context, src *Source, req *Request, proof Verification, handle string, booked *booking) ([]Receipt, reply) {
	evs, rp := g.readLarge(ctx, src, req, proof)
	if rp.status != 0 || len(evs) == 0 {
		return nil, rp
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
	}
	rcs, err := g.acceptAll(ctx, evs, routes, booked)
	if err != nil {
		if more, ok := g.disabled.allow("not kept "+src.Name, req.ReceivedAt); ok {
			g.log.Error("webhook not kept", "source", src.Name, "type", evs[0].Type, "error", err, "alsoSince", more)
		}
		return nil, tryAgain.because("%v", err)
	}
	for i, rc := range rcs {
		switch {
		case rc.Conflict:
			g.log.Warn("a known id came again with another body", "event", rc.ID, "source", src.Name, "webhookId", evs[i].WebhookID)
		case len(routes[i]) == 0 && !rc.Duplicate:
			if more, ok := g.disabled.allow("unhandled "+src.Name, req.ReceivedAt); ok {
				g.log.Warn("no handler found for webhook", "event", rc.ID, "source", src.Name, "type", evs[i].Type, "alsoSince", more)
			}
		}
	}
	return rcs, reply{}
}

// readBody reads the exact bytes, at most the source's limit, and books them against the
// bytes that all calls may hold at once.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, src *Source) ([]byte, reply) {
	if r.ContentLength > src.MaxBodyBytes {
		// The rest is not read: the connection is closed instead.
		w.Header().Set("Connection", "close")
		return nil, tooLarge.because("Content-Length %d is over the limit of %d bytes: raise max_body of the source", r.ContentLength, src.MaxBodyBytes)
	}
	body, err := g.readBooked(r, src.MaxBodyBytes)
	if err == nil {
		return body, reply{}
	}
	g.inFlight.Add(-int64(cap(body)))
	w.Header().Set("Connection", "close")
	switch {
	case errors.Is(err, errOverLimit):
		return nil, tooLarge.because("the body is over the limit of %d bytes: raise max_body of the source", src.MaxBodyBytes)
	case errors.Is(err, errOverBudget):
		return nil, tryAgain.because("bodies of %d bytes are being received already: raise limits.in_flight", g.opt.InFlightBytes)
	}
	return nil, badPayload.because("the body could not be read to its end: %v", err)
}

// booking is a body's part of the bytes that all calls may hold at once. It ends when the call
// and the store, which may still be writing for a sender that was told 503, have both let go.
type booking struct {
	gateway *Gateway
	bytes   int64
	holders atomic.Int32
}

func (g *Gateway) book(bytes int64) *booking {
	b := &booking{gateway: g, bytes: bytes}
	b.holders.Store(1)
	return b
}

// grow books more, before anything is shared; false if there is no room.
func (b *booking) grow(bytes int64) bool {
	g := b.gateway
	if g.inFlight.Add(bytes) > g.opt.InFlightBytes {
		g.inFlight.Add(-bytes)
		return false
	}
	b.bytes += bytes
	return true
}

// share returns what another holder calls when it lets go.
func (b *booking) share() (release func()) {
	if b == nil {
		return nil
	}
	b.holders.Add(1)
	return b.release
}

func (b *booking) release() {
	if b.holders.Add(-1) == 0 {
		b.gateway.inFlight.Add(-b.bytes)
	}
}

var (
	errOverLimit  = errors.New("over the limit")
	errOverBudget = errors.New("over the budget")
)

// trusted is how many bytes are set aside on the word of a Content-Length alone.
const trusted = 64 << 10

// readBooked reads a body into a buffer that grows with what really comes, and books its
// size as it grows: a length that is only claimed takes no room from others. The caller
// gives back cap(body), on an error too.
func (g *Gateway) readBooked(r *http.Request, limit int64) (body []byte, err error) {
	size := int64(4 << 10)
	if r.ContentLength >= 0 {
		// One byte more, so that the end is seen without growing.
		size = min(r.ContentLength+1, trusted)
	}
	for {
		if grown := size - int64(cap(body)); g.inFlight.Add(grown) > g.opt.InFlightBytes {
			g.inFlight.Add(-grown)
			return body, errOverBudget
		}
		body = append(make([]byte, 0, size), body...)
		for len(body) < cap(body) {
			n, err := r.Body.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			switch {
			case int64(len(body)) > limit:
				return body, errOverLimit
			case errors.Is(err, io.EOF):
				return body, nil
			case err != nil:
				return body, err
			}
		}
		size = min(2*size, limit+1)
	}
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
	return g.read(src, req, proof)
}

// read makes the events of an authentic request: one, for most senders.
func (g *Gateway) read(src *Source, req *Request, proof Verification) ([]*Event, reply) {
	plain := req.readable()
	req.Plain = nil // the event holds its data
	env, err := src.Parser.Parse(plain, proof)
	if err != nil {
		return nil, badPayload.because("%v", err)
	}
	proof.Secrets = src.Secrets
	event := func(env Envelope, req *Request, body []byte, item int) *Event {
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
			Data: env.Data, Parsed: env.Parsed, Request: req, Verification: proof,
		}
	}
	if !env.Split {
		if env.Data == nil {
			env.Data = json.RawMessage(plain.Body)
		}
		if rp := unfit(env); rp.status != 0 {
			return nil, rp
		}
		return []*Event{event(env, req, req.Body, 0)}, reply{}
	}
	if len(env.Batch) > maxBatch {
		return nil, badPayload.because("%d events in one request; at most %d are taken", len(env.Batch), maxBatch)
	}
	evs := make([]*Event, len(env.Batch))
	for i, item := range env.Batch {
		if rp := unfit(item); rp.status != 0 {
			return nil, rp
		}
		of := req
		if i > 0 {
			// The whole request stands with its first event.
			of = &Request{
				Method: req.Method, URL: req.URL, RemoteAddr: req.RemoteAddr, Header: http.Header{},
				Body: maskData(item.Data, src.Secrets), ReceivedAt: req.ReceivedAt,
			}
		}
		evs[i] = event(item, of, item.Data, i)
	}
	return evs, reply{}
}

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

// maxDepth is how deep JSON may be nested. Whoever reads it later has a limit too (Go's is
// 10,000, others' are lower), and the API wraps it in some levels of its own: one webhook
// that is too deep would make every list that it stands in unreadable.
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

// The first parts of keys that are no sender's ids.
const (
	keyOfBody   = "sha256:"   // of an event without an id
	keyHashed   = "idsha256:" // of one that is too long, or no text
	keyMeasured = "idlen:"    // of an id that could be taken for something else
)

// dedupeKey is the sender's id, or the body's hash, joined with the status. Two pairs of id
// and status have two keys: an id that holds the separator, or begins as a key of another
// kind does, is written with its length. An id too long for an index is hashed.
func dedupeKey(env Envelope, body []byte) string {
	key := env.ID
	switch {
	case key == "":
		sum := sha256.Sum256(body)
		key = keyOfBody + hex.EncodeToString(sum[:])
	case strings.Contains(key, "\n"), strings.HasPrefix(key, keyOfBody), strings.HasPrefix(key, keyHashed), strings.HasPrefix(key, keyMeasured):
		key = keyMeasured + strconv.Itoa(len(key)) + ":" + key
	}
	if env.Status != "" {
		key += "\n" + env.Status
	}
	if len(key) > maxDedupeKey {
		sum := sha256.Sum256([]byte(key))
		return keyHashed + hex.EncodeToString(sum[:])
	}
	return key
}

// signedKey is the second key of the nth event of a request. Senders sign one body for events
// of several types, which a header tells apart.
func signedKey(proof Verification, env Envelope, n int) string {
	if proof.Signed == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(proof.Signed + " " + strconv.Itoa(n) + " " + env.Type))
	return hex.EncodeToString(sum[:])
}

func (g *Gateway) publicURL(r *http.Request) string {
	if g.opt.BaseURL != "" {
		return g.opt.BaseURL + r.URL.RequestURI()
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + r.URL.RequestURI()
}

func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (rp reply) write(w http.ResponseWriter) {
	h := w.Header()
	body := []byte(rp.body)
	contentType := "application/json"
	if rp.fixed != nil {
		body, contentType = rp.fixed.Body, rp.fixed.ContentType
		for name, values := range rp.fixed.Header {
			h[name] = values
		}
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if rp.status == http.StatusServiceUnavailable || rp.status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter)
		if rp.retryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(rp.retryAfter))
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rp.status)
	_, _ = w.Write(body)
}

// rejectWait bounds how long an answer waits for the note about it: nearly always that is
// written by then. Else it is written later.
const rejectWait = 400 * time.Millisecond

// After a note took longer, no answer waits for one for as long as slowNotesFor: the disk or the
// database is stalled.
const slowNotesFor = 10 * time.Second

// reject keeps a refused request where operators can see it.
func (g *Gateway) reject(r *http.Request, req *Request, src *Source, source string, rp reply) {
	now := time.Now()
	url := redact.URL(g.publicURL(r), src.secrets())
	if src == nil {
		url = redact.Query(url)
	}
	rj := &Rejection{
		ID: id.New(id.Rejection, now), Source: clipText(source, 64), Status: rp.status, Reason: clipText(rp.reason, 1024),
		Method: clipText(r.Method, 16), URL: clipText(url, 1024), RemoteAddr: g.client(r),
		Header: src.rejectedHeader(r.Header), BodySize: max(r.ContentLength, 0), ReceivedAt: now,
	}
	if req != nil {
		rj.BodySize = int64(len(req.Body))
		shown := redact.Body(r.Header.Get("Content-Type"), req.Body, src.secrets())
		rj.Body = bytes.Clone(shown[:min(len(shown), rejectedBody)])
		if rp.status == http.StatusUnauthorized || rp.status == http.StatusBadRequest {
			// A mended configuration may take it for authentic and readable. What one
			// client can make us write for that is bounded in speed, too.
			if _, ok := g.quarantine.take(source+" "+rj.RemoteAddr, now, int64(len(req.Body))+1024); ok {
				rj.Whole = req
			}
		}
	}
	if more, ok := g.disabled.allow("refused "+strconv.Itoa(rj.Status), now); ok {
		reason := rj.Reason
		if rj.Status == http.StatusBadRequest {
			reason = "unreadable" // what is wrong with a payload may quote it
		}
		g.log.Warn("webhook refused", "source", rj.Source, "status", rj.Status, "reason", reason,
			"remote", rj.RemoteAddr, "rejection", rj.ID, "alsoSince", more)
	}
	wait, began := rejectWait, time.Now()
	if began.UnixNano() < g.slowNotes.Load() {
		wait = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wait)
	defer cancel()
	err := g.store.Reject(ctx, rj)
	if took := time.Since(began); took >= rejectWait {
		g.slowNotes.Store(began.Add(took + slowNotesFor).UnixNano())
	}
	if err != nil {
		if more, ok := g.disabled.allow("not noted", now); ok {
			g.log.Warn("refused webhook not noted", "source", rj.Source, "error", err, "alsoSince", more)
		}
	}
}

// logLimiter lets a message through once in a while for each key, and counts the rest, so
// that strangers and bursts cannot fill the log.
type logLimiter struct {
	mu   sync.Mutex
	last map[string]time.Time
	more map[string]int
}

const sometimesEvery = time.Second

// allow reports whether to log now, and how many of the same were left out since.
func (s *logLimiter) allow(key string, now time.Time) (more int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last[key]) < sometimesEvery {
		s.more[key]++
		return 0, false
	}
	if s.last == nil {
		s.last, s.more = map[string]time.Time{}, map[string]int{}
	}
	more = s.more[key]
	s.last[key], s.more[key] = now, 0
	return more, true
}

func clipText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
