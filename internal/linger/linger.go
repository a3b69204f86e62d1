// Package linger lets a client hear an answer that came before the end of its request's body.
//
// A server that answers early and closes the connection while the client still writes makes the
// server's kernel send a reset, and the client's kernel then throws the answer away. The client
// sees a network error in place of a 413, and tries again for as long as it tries at all. So
// the rest of the body is read and dropped, bounded in bytes and time, as nginx does.
package linger

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of what is read after the answer.
const (
	maxBytes = 64 << 20
	maxTime  = 30 * time.Second
	maxPause = 5 * time.Second // between two reads
	// maxAtOnce is how many connections may linger; the others are closed at once.
	maxAtOnce = 256

	// net/http reads the rest of a body up to this size by itself, before it answers.
	small = 256 << 10
)

var lingering atomic.Int32

// Handler passes requests on to next, and drops what it left of their bodies after it has
// answered. Small bodies cost nothing.
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

// body is a request's body that remembers how far it was read.
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

// Close keeps the handler from reading more. The server closes the body itself.
func (b *body) Close() error {
	b.closed = true
	return nil
}

// drop sends the answer, and reads what the client still writes.
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
