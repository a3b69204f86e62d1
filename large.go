package gaff

import (
	"context"
	"errors"
)

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
	x.proof, x.err = src.verify(ctx, req)
	return x, reply{}
}
