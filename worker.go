package gaff

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"gaff/internal/redact"
)

// attempt runs the handler once and records how it ended. It returns the failure.
func (g *Gateway) attempt(w Work) error {
	started := time.Now()
	w.Lease.StartedAt = started
	h := g.registry.Load().byName[w.Delivery.Handler]
	policy := g.policy(h, w.Event.Source)
	detail, err := g.run(w, h, policy.Timeout)
	took := time.Since(started)

	if err != nil && context.Cause(g.work) != nil && errors.Is(context.Cause(g.work), ErrStopped) && !isVerdict(err) {
		// Interrupted by the stop: no fault of the handler, so no attempt.
		g.giveBack(w)
		return err
	}
	out := judge(w, err, started, took, policy)
	out.Attempt.Detail = detail
	if g.opt.Hooks.Attempted != nil {
		g.opt.Hooks.Attempted(w.Event.Source, w.Delivery.Handler, out.Attempt.Outcome, took, time.Since(dueSince(w, policy)))
	}
	if errors.Is(err, Finished) {
		return nil
	}
	if out.State == StateDead || out.Attempt.Outcome == AttemptPanicked {
		// What a handler or a receiver said may quote the payload: it is with the attempt.
		g.log.Error("delivery failed", "event", w.Event.ID, "delivery", w.Delivery.ID, "source", w.Event.Source,
			"type", w.Event.Type, "attempt", w.Lease.Attempt, "outcome", out.Attempt.Outcome, "state", out.State.String(), "error", logText(err))
	} else if out.State == StateRetrying {
		g.log.Warn("delivery will be retried", "event", w.Event.ID, "delivery", w.Delivery.ID, "source", w.Event.Source,
			"type", w.Event.Type, "attempt", w.Lease.Attempt, "outcome", out.Attempt.Outcome, "at", out.RunAt, "error", logText(err))
	}
	g.finish(w, out)
	if out.State == StateSucceeded {
		return nil
	}
	return err
}

// logText is what the log holds of a handler's failure. Of a panic, the place where it
// happened is there, too: the stack names functions, and no values.
func logText(err error) string {
	var p *panicError
	if errors.As(err, &p) {
		return "panic: " + redact.Panic(p.value) + "\n" + p.stack
	}
	return redact.Error(err)
}

// replayAfter is how much later than its event a delivery must be made to be a replay: the first
// ones are stored with the event, which senders wait for no longer than this.
const replayAfter = 10 * time.Second

// dueSince is the time from which a delivery's latency is measured: the event's receipt, or the
// time at which it was to be made if someone chose a later one. A replay or a person's retry of
// an old event must not look like a slow delivery.
func dueSince(w Work, policy RetryPolicy) time.Time {
	d := w.Delivery
	switch {
	case d.MaxAttempts > policy.MaxAttempts: // a person allowed more attempts
		return d.RunAt
	case d.CreatedAt.Sub(w.Event.ReceivedAt) > replayAfter:
		return d.CreatedAt
	case w.Lease.Attempt == 1 && d.RunAt.After(w.Event.ReceivedAt): // scheduled
		return d.RunAt
	}
	return w.Event.ReceivedAt
}

// finish records an outcome. While the store is down there is nothing better to do than
// to wait for it: the handler's work is done, and trying it again would do it twice.
func (g *Gateway) finish(w Work, out Outcome) {
	for wait := 50 * time.Millisecond; ; wait = min(wait*2, 5*time.Second) {
		err := g.store.Finish(context.WithoutCancel(g.work), w.Lease, out)
		switch {
		case err == nil:
			if !out.State.Done() {
				if l := g.registry.Load().queues[w.Delivery.Queue]; l != nil {
					l.dueAt(out.RunAt)
				}
			}
			return
		case errors.Is(err, ErrLeaseLost):
			g.log.Info("delivery was finished by someone else", "delivery", w.Delivery.ID)
			return
		case errors.Is(err, ErrStopped):
			return
		}
		if more, ok := g.disabled.allow("record attempt", time.Now()); ok {
			g.log.Error("record attempt", "delivery", w.Delivery.ID, "error", err, "alsoSince", more)
		}
		select {
		case <-time.After(wait):
		case <-g.work.Done():
			return
		}
	}
}

// verdicts are a handler's own words, whatever its context says.
func isVerdict(err error) bool {
	var d *discardError
	var r *retryAfterError
	var s *snoozeError
	return errors.Is(err, Finished) || errors.As(err, &d) || errors.As(err, &r) || errors.As(err, &s)
}

// judge turns how a handler ended into what becomes of its delivery.
func judge(w Work, err error, started time.Time, took time.Duration, policy RetryPolicy) Outcome {
	out := Outcome{State: StateSucceeded, Attempt: Attempt{
		DeliveryID: w.Delivery.ID, Number: w.Lease.Attempt, Outcome: AttemptSucceeded, StartedAt: started, Duration: took,
	}}
	if err == nil || errors.Is(err, Finished) {
		return out
	}
	var discard *discardError
	var after *retryAfterError
	var snooze *snoozeError
	var panicked *panicError
	now := started.Add(took)
	out.Attempt.Error, out.Attempt.Outcome = err.Error(), AttemptFailed
	out.State, out.RunAt = StateRetrying, now.Add(policy.Wait(w.Lease.Attempt))
	switch {
	case errors.As(err, &snooze):
		out.State, out.RunAt = StatePending, now.Add(snooze.for_)
		if w.Delivery.Attempts > 0 {
			out.State = StateRetrying
		}
		out.Attempt.Outcome, out.Attempt.Error = AttemptSnoozed, ""
		return out
	case errors.As(err, &discard):
		out.State, out.Attempt.Outcome = StateDead, AttemptDiscarded
	case errors.Is(err, ErrUnavailable) && !errors.As(err, &after):
		// Our own database was gone: no fault of the handler's, and no attempt.
		out.State, out.RunAt = StatePending, now.Add(afterOutage)
		if w.Delivery.Attempts > 0 {
			out.State = StateRetrying
		}
		out.Attempt.Outcome, out.Attempt.Error = AttemptSnoozed, ""
		return out
	case errors.As(err, &after):
		out.RunAt = now.Add(after.after)
	case errors.As(err, &panicked):
		out.Attempt.Outcome = AttemptPanicked
	case errors.Is(err, errTimeout):
		out.Attempt.Outcome = AttemptTimedOut
	}
	if w.Lease.Attempt >= w.Delivery.MaxAttempts {
		out.State = StateDead
	}
	if out.State == StateDead {
		out.RunAt = time.Time{}
	}
	return out
}

// afterOutage is when a delivery is due again that our own database stood in the way of.
const afterOutage = 2 * time.Second

var errTimeout = errors.New("the handler took too long")

type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// grace is how long after its timeout a handler may take to notice it.
const grace = 5 * time.Second

// run calls the handler with a timeout. One that does not return even after the grace is
// left behind: its goroutine is lost, its lease is not, so whatever it still writes
// through the store comes too late. detail is a panic's stack, or
// what the handler noted.
func (g *Gateway) run(w Work, h *registered, timeout time.Duration) (detail string, err error) {
	if h == nil {
		// A newer version put it there, or an older one: someone else may know it.
		g.log.Warn("no handler of this name is registered; the delivery waits",
			"handler", w.Delivery.Handler, "delivery", w.Delivery.ID)
		return "", Snooze(time.Minute)
	}
	ctx, cancel := context.WithTimeoutCause(g.work, timeout, fmt.Errorf("%w (timeout %s)", errTimeout, timeout))
	defer cancel()
	ctx = context.WithValue(ctx, leaseKey{}, w.Lease)
	ctx = context.WithValue(ctx, deliveryKey{}, &w.Delivery)
	var noted detailBox
	ctx = context.WithValue(ctx, detailKey{}, &noted)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- &panicError{p, string(debug.Stack())}
			}
		}()
		done <- h.handler.Handle(ctx, w.Event)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(grace):
			g.log.Error("handler does not return; its goroutine is left behind", "handler", w.Delivery.Handler,
				"delivery", w.Delivery.ID)
			err = context.Cause(ctx)
		}
	}
	var p *panicError
	if errors.As(err, &p) {
		detail = p.stack
	} else {
		detail = noted.text()
	}
	if err != nil && !isVerdict(err) && errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return detail, err
}
