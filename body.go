package gaff

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"gaff/internal/payload"
)

// trusted is how many bytes are set aside on the word of a Content-Length alone.
const trusted = 64 << 10

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

var (
	errOverLimit  = errors.New("over the limit")
	errOverBudget = errors.New("over the budget")
)

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

// booking is a body's part of the bytes that all calls may hold at once. It ends when the call
// and the store, which may still be writing for a sender that got a 503, have both released it.
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

// A body over largeBody bytes is verified, and then parsed, in one of a few places, so that it
// delays no small one. Callers that are not verified yet have places of their own: they cannot
// take those of verified requests.
const (
	largeBody       = 1 << 20
	largeUnverified = 4
	largeVerified   = 2
)

// places bounds how many do something at once.
type places chan struct{}

// errNoPlace: the caller left, or its time was over, before there was a place.
var errNoPlace = errors.New("too many large bodies are being read: send it later, or fewer at once")

// take waits for a place for a body of a size; a small one needs none.
func (p places) take(ctx context.Context, size int64) (leave func(), err error) {
	if size <= largeBody {
		return func() {}, nil
	}
	select {
	case p <- struct{}{}:
		return func() { <-p }, nil
	case <-ctx.Done():
		return nil, errNoPlace
	}
}

// unpack sets the request's Plain, if the body is packed. The reply is for an authentic
// request whose body cannot be unpacked; status 0 means none. The unpacked bytes count
// with the body.
func (g *Gateway) unpack(src *Source, req *Request, booked *booking) (rp reply) {
	if len(req.Header["Content-Encoding"]) == 0 {
		return reply{}
	}
	if !booked.grow(payload.MaxUnpacked(len(req.Body), src.MaxBodyBytes)) {
		return tryAgain.because("bodies of %d bytes are being received already: raise limits.in_flight", g.opt.InFlightBytes)
	}
	req.Plain, rp = src.plain(req, src.MaxBodyBytes)
	return rp
}

// unpackedSize is the largest that the body can be unpacked.
func (r *Request) unpackedSize(src *Source) int64 {
	if len(r.Header["Content-Encoding"]) == 0 || !src.AcceptGzip {
		return int64(len(r.Body))
	}
	return max(int64(len(r.Body)), payload.MaxUnpacked(len(r.Body), src.MaxBodyBytes))
}

// plain returns the unpacked body; nil if nothing has packed it.
func (s *Source) plain(r *Request, limit int64) ([]byte, reply) {
	header := r.Header["Content-Encoding"]
	encodings := payload.Encodings(header)
	if !payload.Packed(encodings, r.Body) {
		return nil, reply{}
	}
	name := strings.Join(header, ", ")
	if !s.AcceptGzip {
		return nil, badPayload.because("Content-Encoding %.100q: compressed bodies are refused unless accept_gzip is set", name)
	}
	data, err := payload.Unpack(encodings, r.Body, limit)
	if errors.Is(err, payload.ErrTooLarge) {
		return nil, tooLarge.because("the unpacked body is over the limit of %d bytes: raise max_body of the source", limit)
	}
	if err != nil {
		return nil, badPayload.because("Content-Encoding %.100q: %v", name, err)
	}
	return data, reply{}
}

// Text is the body as its readers take it: unpacked, and UTF-8 without a byte order mark if
// the body is text at all. Signatures cover Body, not this.
func (r *Request) Text() []byte {
	body := r.Body
	if r.Plain != nil {
		body = r.Plain
	}
	return payload.Text(r.Header.Get("Content-Type"), body)
}

// readable returns the request for parsers, whose body is its text.
func (r *Request) readable() *Request {
	text := r.Text()
	if r.Plain == nil && len(text) == len(r.Body) && (len(text) == 0 || &text[0] == &r.Body[0]) {
		return r
	}
	plain := *r
	plain.Body, plain.Plain = text, nil
	return &plain
}
