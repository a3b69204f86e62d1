package schema

import (
	"context"
	"errors"
	"runtime"
	"time"

	"gaff"
)

// maxWait is how long the events of one request wait, together, until other values are validated.
const maxWait = 5 * time.Second

// ErrBusy means that other values were validated for so long that this one was not.
var ErrBusy = errors.New("too many other events are being validated")

// running bounds how many values are validated at once, so that the memory of their problems is
// bounded too.
var running = make(chan struct{}, max(runtime.GOMAXPROCS(0), 2))

// Share bounds how many values of one source are validated at once: half of all, so that slow
// validations of one source delay no other source.
type Share chan struct{}

// NewShare returns the share of a source.
func NewShare() Share { return make(Share, cap(running)/2) }

// enter waits until a value may be validated, and counts the time. The caller calls leave.
func (s Share) enter(ctx context.Context, spent *gaff.SchemaEffort) error {
	if err := take(ctx, s, spent); err != nil {
		return err
	}
	if err := take(ctx, running, spent); err != nil {
		<-s
		return err
	}
	return nil
}

func (s Share) leave() {
	<-running
	<-s
}

// take takes one of the places. The error is ErrBusy, or that of ctx.
func take(ctx context.Context, places chan struct{}, spent *gaff.SchemaEffort) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	began := time.Now()
	defer func() { spent.Waited += time.Since(began) }()
	limit := time.NewTimer(maxWait - spent.Waited)
	defer limit.Stop()
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-limit.C:
		return ErrBusy
	}
}
