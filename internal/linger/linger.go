// Package linger delivers responses that are sent before the request's body was read.
//
// If a server answers early and closes the connection while the client still writes, its kernel
// sends a reset, and the client's kernel discards the response. The client sees a network error
// instead of a 413 and keeps retrying. So the rest of the body is read and dropped, within limits
// of bytes and time, as nginx does.
package linger

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Limits for reading after the response.
const (
	maxBytes = 64 << 20
	maxTime  = 30 * time.Second
	maxPause = 5 * time.Second // between two reads
	// maxAtOnce bounds the lingering connections; others are closed at once.
	maxAtOnce = 256

	// net/http reads the rest of a body up to this size before it answers.
	small = 256 << 10
)

var lingering atomic.Int32

// Handler calls next, and after the response drops the unread rest of the body. Small bodies cost
// nothing.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength >= 0 && r.ContentLength < small {
			next.ServeHTTP(w, r)
			return
		}
		rc := http.NewResponseController(w)
		if rc.EnableFullDuplex() != nil { // so that the answer does not wait for the body
			next.ServeHTTP(w, r)
			return
		}
		rest := &body{ReadCloser: r.Body}
		request := *r
		request.Body = rest
		next.ServeHTTP(w, &request)
		if !rest.ended && (rest.begun || !strings.EqualFold(r.Header.Get("Expect"), "100-continue")) {
			rest.drop(rc)
		}
	})
}

// body is a request's body that records how far it was read.
type body struct {
	io.ReadCloser
	begun, ended, closed bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (int, error) {
	b.begun = true
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err != nil
	return n, err
}

// Close stops the handler from reading. The server closes the body itself.
func (b *body) Close() error {
	b.closed = true
	return nil
}

// drop sends the response, and reads the rest of the body.
func (b *body) drop(rc *http.ResponseController) {
	defer lingering.Add(-1)
	if lingering.Add(1) > maxAtOnce {
		return
	}
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	end := time.Now().Add(maxTime)
	buf := make([]byte, 16<<10)
	for left := maxBytes; left > 0; {
		deadline := time.Now().Add(maxPause)
		if deadline.After(end) {
			deadline = end
		}
		if rc.SetReadDeadline(deadline) != nil {
			return
		}
		n, err := b.read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}
