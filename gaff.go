package gaff

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Request is a webhook as it came in.
type Request struct {
	// Method and URL are the request line as the sender knew it: URL is the
	// configured public base joined with the path and query, not what a proxy
	// rewrote, because some senders sign the address too.
	Method, URL string
	// RemoteAddr is the peer's address without the port.
	RemoteAddr string
	// Header holds the headers as received. Names are canonical.
	Header http.Header
	// Body holds the exact bytes that were signed. Never nil for a received
	// request, but possibly empty.
	Body []byte
	// Plain is Body unpacked, if it came with a Content-Encoding and was unpacked; else nil.
	// It is not stored.
	Plain []byte
	// ReceivedAt is when the last byte of the body was read, by this machine's clock.
	ReceivedAt time.Time
}

// Source joins a name in the URL to a way of trusting and reading it.
type Source struct {
	// Name is the part of the address after /api/v1/webhooks/: lower case letters,
	// digits, "-" and "_", at most 64. "manage", "gaff" and "published" are taken.
	Name     string
	Verifier Verifier
	Parser   Parser
	// Handshaker may be nil: the sender has no such call.
	Handshaker Handshaker
	// Ack is answered in place of the usual JSON; nil for the usual.
	Ack *Reply
	// Answer has senders wait for what a handler responds; nil: nobody waits.
	Answer *Answer
	// EmptyErrors leaves the body of refusals empty, for senders that take a body for a failure.
	EmptyErrors bool
	// CheckCallbackToken judges the last part of an address with one, PathPrefix{source}/{handle},
	// of an authentic request; an error refuses it as a wrong signature would. Nil: any
	// handle is taken, and means nothing.
	CheckCallbackToken func(handle string) error
	// Admit judges an event of an authentic request before it is stored. An error rejects
	// the request with 429, so that the sender comes again. Nil: all are stored.
	Admit func(ctx context.Context, ev *Event) error
	// Schemas validate the data of verified requests; nil: none does.
	Schemas *Schemas
	// MaxBodyBytes bounds the body, in bytes. Zero means 1 MiB.
	MaxBodyBytes int64
	// AcceptGzip allows "Content-Encoding: gzip" and "deflate"; the unpacked size is bounded
	// by MaxBodyBytes too. The signature may cover the bytes as sent or the unpacked ones.
	AcceptGzip bool
	// Retry overrides the gateway's policy for this source's deliveries; nil keeps it.
	Retry *RetryPolicy
	// DisabledReason says why the source refuses everything, such as a secret that is not
	// set; empty for a source that works. It is logged at start and shown.
	DisabledReason string
	// Paused says why the source takes nothing for now; senders are answered 503, so that they come
	// again. Empty: it is not paused.
	Paused string
	// Guard bounds who may send and how much.
	Guard Guard
	// Secrets names the places of requests that hold the sender's secret as it is, such as a
	// shared token: "header:NAME", "query:NAME", "form:NAME", "json:/POINTER" (with "*" for
	// each item of a list), or "body". They are masked for every reader, and in Event.Data.
	Secrets []string
	// Headers names the headers that the Verifier reads. Of a rejected request only their
	// values are stored, and those of harmless ones.
	Headers []string
	// Redaction says which values of requests are not stored.
	Redaction Redaction
	// About describes the source to people: what the verifier expects, and where to
	// enter the address. Keys and values are free text; nothing secret.
	About map[string]string

	verified   *rate.Limiter // of Guard.Rate, for verified requests
	unverified *clientLimits // the same for each client address, for others
}

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

// Verification is what a [Verifier] learned about the sender.
type Verification struct {
	// Scheme names how the request was verified, such as "hmac-sha256".
	Scheme string
	// KeyID names the key that matched, never its value: a fingerprint of a secret or
	// a key id.
	KeyID string
	// Subject is the authenticated party where the scheme has one, such as the
	// id of a user.
	Subject string
	// Dialect says which of a source's formats this is, for its [Parser], if the
	// verification decides that. Empty for sources with one format.
	Dialect string
	// ID and Type are the event's id and type if the verifier's description
	// names their places (such as Standard Webhooks' webhook-id).
	ID, Type string
	// Status is joined with the id to tell events apart, as that of an [Envelope].
	Status string
	// Secrets are the places of the sender's secret in the request, as [Source.Secrets]
	// names them; the gateway sets them.
	Secrets []string
	// Content is JSON to read in place of the body, if the body is a sealed form of it (a
	// JSON Web Token, an encrypted message); empty: the body itself.
	Content string
	// Signed is the SHA-256, in hex, of the signed content, if that does not distinguish
	// events: a request that repeats it under another id is the same event. Empty: the
	// id is covered, or nothing is signed.
	Signed string
}

// Verifier checks that a request was sent by whom it claims.
//
// Verify must not read the clock: freshness is judged against r.ReceivedAt, so a
// captured request verifies the same way in a test or a replay as it did live. It
// returns an error that wraps [ErrUnverifiable] when the check cannot be made just now
// (public keys not to be had): the sender is then told to come again. Any other error
// refuses the request. It is called by many goroutines at once.
type Verifier interface {
	Verify(ctx context.Context, r *Request) (Verification, error)
}

// Parser reads what the gateway must know about an authentic request, and nothing
// more. An error refuses the request as unreadable (400).
//
// The body of r is [Request.Text]: unpacked, and UTF-8 without a byte order mark. Of a form
// the escapes may still be bytes of the charset that the content type names.
type Parser interface {
	Parse(r *Request, v Verification) (Envelope, error)
}

// Envelope is what a [Parser] reads from a request.
type Envelope struct {
	// Type is the event's type, such as "generation.completed". Required.
	Type string
	// ID is the sender's own id of the event; empty if it has none.
	ID string
	// Status is joined with ID to make the dedupe key, for senders that use one id
	// for several events of one piece of work.
	Status string
	// CorrelationID is the sender's name for the piece of work; see [Event].
	CorrelationID string
	// OccurredAt is the sender's own time of the event; zero if not told.
	OccurredAt time.Time
	// Data is the body as valid JSON; nil means that the body itself is it.
	Data json.RawMessage
	// Parsed is handed on to the event; see [Event]. Nil if there is nothing to hand on.
	Parsed any
	// Split is set where one request brings several events, or none: Batch holds them,
	// each with its Data. Of the envelope itself nothing else is read then.
	Split bool
	Batch []Envelope
}

// Reply is a fixed answer to a sender.
type Reply struct {
	Status      int
	ContentType string
	Header      http.Header
	Body        []byte
	// Reason says to the operator why a call was refused (a Status from 400 on); Note is
	// logged. Neither is sent.
	Reason, Detail string
}

// Handshaker answers the calls by which a sender checks the ownership of a URL: a GET
// with a challenge to echo, a signed ping that expects a pong. Such a call is not an event.
type Handshaker interface {
	// Methods lists the HTTP methods, besides POST, that the sender uses for it.
	Methods() []string
	// Handshake answers r. v is zero and err the verifier's refusal if r did not
	// verify. ok is false when r is an ordinary webhook after all.
	Handshake(ctx context.Context, r *Request, v Verification, err error) (rep Reply, ok bool)
}
