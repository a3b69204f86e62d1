// Package inproc asks handlers of this process what a client would ask them from outside.
package inproc

import (
	"bytes"
	"net/http"
)

// Answer is what a handler answered.
type Answer struct {
	Status int // 200 if the handler set none
	Header http.Header
	Body   []byte
}

// Ask has a handler serve a request and returns the whole answer, which is held in memory:
// streams are not for it.
func Ask(h http.Handler, r *http.Request) *Answer {
	w := &writer{answer: Answer{Header: http.Header{}}}
	h.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	w.answer.Body = w.body.Bytes()
	return &w.answer
}

type writer struct {
	answer Answer
	body   bytes.Buffer
}

func (w *writer) Header() http.Header { return w.answer.Header }

func (w *writer) WriteHeader(status int) {
	if w.answer.Status == 0 {
		w.answer.Status = status
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
