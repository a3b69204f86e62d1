package broker

import (
	"context"
	"sync"

	"gaff/internal/redact"
)

// Lazy makes a value at its first use, and again after a failure. One caller makes it; the
// others wait for that, each for as long as its context allows.
type Lazy[T any] struct {
	Make func(context.Context) (T, error)

	mu   sync.Mutex
	has  bool
	v    T
	busy chan struct{} // closed when the running attempt ends; nil if none runs
}

// Get returns the value, and makes it if it is missing.
func (l *Lazy[T]) Get(ctx context.Context) (v T, err error) {
	for {
		l.mu.Lock()
		if l.has {
			defer l.mu.Unlock()
			return l.v, nil
		}
		busy := l.busy
		if busy == nil {
			l.busy = make(chan struct{})
			l.mu.Unlock()
			return l.fill(ctx)
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
	}
}

// fill makes the value for all waiting callers.
func (l *Lazy[T]) fill(ctx context.Context) (v T, err error) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil {
			l.v, l.has = v, true
		}
		close(l.busy)
		l.busy = nil
	}()
	err = redact.Const("connecting panicked") // unless Make returns
	v, err = l.Make(ctx)
	return v, err
}

// Made returns the value to the caller that closes it; ok is false before the first one.
func (l *Lazy[T]) Made() (v T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, l.has = l.has, false
	return l.v, ok
}
