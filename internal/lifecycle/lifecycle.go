// Package lifecycle starts the parts of a process in order and stops them in reverse.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// DefaultPatience is how long a service may take to stop if its Patience is zero.
const DefaultPatience = 10 * time.Second

// Service is one part of a process. Each of its functions may be nil.
type Service struct {
	Name string
	// Start returns when the services after this one may rely on it. Its context ends when
	// the process is to stop.
	Start func(ctx context.Context) error
	// Run runs on its own goroutine after Start, until its context ends at the stop of this
	// service. An error before that stops all services.
	Run func(ctx context.Context) error
	// Stop releases what Start acquired, after Run has returned.
	Stop func(ctx context.Context) error
	// Patience bounds the end of Run, and Stop, together. Zero means DefaultPatience.
	Patience time.Duration
}

// Background returns a service that only runs a function until its context ends.
func Background(name string, run func(ctx context.Context)) Service {
	return Service{Name: name, Run: func(ctx context.Context) error {
		run(ctx)
		return nil
	}}
}

// Run starts the services in order, waits until ctx ends or the Run of a service fails, and
// stops them in reverse order. If a Start fails, the services before it are stopped. The
// error joins that failure and all errors of the stop; it is nil if ctx ended.
func Run(ctx context.Context, log *slog.Logger, services ...Service) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running []*started
	var err error
	for _, s := range services {
		if err = ctx.Err(); err == nil && s.Start != nil {
			err = s.Start(ctx)
		}
		if err != nil {
			break
		}
		running = append(running, run(ctx, s, fail))
	}
	if err == nil {
		<-ctx.Done()
	}
	if failed, ok := errors.AsType[*failure](context.Cause(ctx)); ok {
		err = failed.err
	}
	for _, s := range slices.Backward(running) {
		if stopped := s.stop(ctx); stopped != nil {
			log.Warn("a service did not stop cleanly", "service", s.Name, "error", stopped)
			err = errors.Join(err, stopped)
		}
	}
	return err
}

// failure is the cause of the end of all services because the Run of one failed.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }

// started is a service whose Start has succeeded.
type started struct {
	Service
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned; nil without Run
	err    error         // what Run returned after it was cancelled, once done is closed
}

// run begins the Run of a service.
func run(ctx context.Context, s Service, fail context.CancelCauseFunc) *started {
	r := &started{Service: s}
	if s.Run == nil {
		return r
	}
	// Stopping is in order, so Run outlives ctx until its turn comes.
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		switch err := s.Run(ctx); {
		case err == nil:
		case ctx.Err() == nil:
			fail(&failure{err})
		case !errors.Is(err, context.Canceled):
			r.err = err
		}
	}()
	return r
}

// stop ends Run and calls Stop. It returns when both are done, or after Patience.
func (s *started) stop(ctx context.Context) error {
	patience := s.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		var err error
		if s.done != nil {
			s.cancel()
			<-s.done
			err = s.err
		}
		if s.Stop != nil {
			err = errors.Join(err, s.Stop(ctx))
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: still running %s after it was asked to stop", s.Name, patience)
	}
}
