package gaff

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// runner calls the handlers of a worker, one after the other, on a goroutine of its own: a handler
// that does not return must not keep the worker. The goroutine is used again, because a new one would
// grow its stack for each attempt. The zero value works; a runner must be left in the end.
type runner struct {
	calls chan func() error
	done  chan error
}

// start begins a call, whose error comes from the returned channel. The former call has ended, or
// the runner was left.
func (r *runner) start(call func() error) <-chan error {
	if r.calls == nil {
		calls, done := make(chan func() error, 1), make(chan error, 1)
		r.calls, r.done = calls, done
		go func() {
			for call := range calls {
				done <- recovered(call)
			}
		}()
	}
	r.calls <- call
	return r.done
}

// leave lets the goroutine end, after its call if it has one. The next call gets another goroutine.
func (r *runner) leave() {
	if r.calls != nil {
		close(r.calls)
		r.calls, r.done = nil, nil
	}
}

type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recovered returns the error of a call, or its panic.
func recovered(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, string(debug.Stack())}
		}
	}()
	return call()
}

// attemptContext is the context of a handler, with the attempt that it makes.
type attemptContext struct {
	context.Context
	lease    Lease
	delivery *Delivery
	detail   detailBox
}

type attemptKey struct{}

// attemptFrom returns the attempt that a handler is making; nil outside a handler.
func attemptFrom(ctx context.Context) *attemptContext {
	a, _ := ctx.Value(attemptKey{}).(*attemptContext)
	return a
}

func (a *attemptContext) Value(key any) any {
	if _, ok := key.(attemptKey); ok {
		return a
	}
	return a.Context.Value(key)
}

// timeoutError is errTimeout of a handler with this timeout.
type timeoutError time.Duration

func (t timeoutError) Error() string {
	return fmt.Sprintf("%v (timeout %s)", errTimeout, time.Duration(t))
}

func (timeoutError) Unwrap() error { return errTimeout }
