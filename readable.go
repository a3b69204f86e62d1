package gaff

import (
	"context"
	"errors"
	"strings"

	"gaff/internal/payload"
)

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

// unpack sets the request's Plain, if the body is packed. The reply is for an authentic
// request whose body cannot be unpacked; status 0 is none. What it takes counts
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
