package gaff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff/internal/redact"
)

// dispatch claims due deliveries: at the start, when a retry is due, when another node or an
// operator made a delivery due, and when the queue has room again for a backlog.
func (g *Gateway) dispatch(l *queue) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wake := g.store.Wake(l.name)
	for {
		select {
		case <-g.quit:
			return
		case <-timer.C:
		case <-l.nudge:
		case <-wake:
			l.backlog.Store(true)
		}
		timer.Reset(g.fetch(l))
	}
}

// claimPerWorker is how many deliveries are claimed at once for each worker of a queue.
const claimPerWorker = 4

// fetch claims as much as there is room for and returns how long to wait.
func (g *Gateway) fetch(l *queue) time.Duration {
	l.setNext(time.Now().Add(pollEvery))
	for {
		room := int(min(l.room.Load(), int64(l.want.Load())*claimPerWorker))
		if room <= 0 || l.queuedBytes.Load() >= l.bytes {
			// A worker that finishes nudges.
			l.backlog.Store(true)
			return pollEvery
		}
		if l.gone.Load() {
			return pollEvery
		}
		if gate := g.limiter(g.registry.Load(), l); gate != nil {
			n, again := gate.Ready(time.Now())
			if n <= 0 {
				l.backlog.Store(true)
				again = min(max(again, time.Millisecond), pollEvery)
				l.setNext(time.Now().Add(again))
				return again
			}
			room = min(room, n)
		}
		l.backlog.Store(false)
		if !l.reserve(room, 0) {
			continue
		}
		work, err := g.store.Claim(g.work, ClaimParams{Queue: l.name, Now: time.Now(), Limit: room})
		l.unreserve(room-len(work), 0)
		if err != nil {
			if !errors.Is(err, ErrStopped) && g.work.Err() == nil {
				g.log.Error("claim deliveries", "lane", l.name, "error", err)
			}
			return pollEvery
		}
		for _, w := range work {
			size := memoryOf(w.Event)
			l.queuedBytes.Add(size)
			l.queue.push(queued{w, size})
		}
		if len(work) == room {
			continue
		}
		return g.untilNext(l)
	}
}

func (g *Gateway) untilNext(l *queue) time.Duration {
	due, err := g.store.NextDue(g.work, l.name)
	wait := pollEvery
	if err == nil && !due.IsZero() {
		wait = max(min(time.Until(due), pollEvery), 0)
	}
	l.setNext(time.Now().Add(wait))
	return wait
}

// limiter is the one of a queue's handler; nil if it has none.
func (g *Gateway) limiter(reg *registry, l *queue) Limiter {
	if l.name == "" {
		return nil
	}
	if h := reg.byName[l.name]; h != nil && h.queue == l {
		return h.Limiter
	}
	return nil
}

// limiterReady reports whether something that comes now may be started at once.
func (g *Gateway) limiterReady(reg *registry, l *queue, now time.Time) bool {
	if l.gone.Load() {
		return false
	}
	gate := g.limiter(reg, l)
	if gate == nil {
		return true
	}
	n, _ := gate.Ready(now)
	return n > 0
}

func (g *Gateway) worker(l *queue) {
	var r runner
	defer r.leave()
	for !l.retire() {
		select {
		case <-g.quit:
			return
		case <-l.queue.ready:
		}
		if l.retire() {
			l.queue.ready <- struct{}{}
			return
		}
		w := l.queue.pop()
		l.queuedBytes.Add(-w.size)
		g.await(w.Work)
		out, gated := g.pass(l, &r, w.Work)
		g.end(l, w.Work, out)
		// Room for several, so that a backlog is claimed in batches.
		l.room.Add(1)
		if l.backlog.Load() && (gated || l.roomy()) {
			l.wake()
		}
	}
}

// await waits for the turn of an attempt of a replay.
func (g *Gateway) await(w Work) {
	if !w.Background() {
		return
	}
	if wait := g.pace.turn(time.Now()); wait > 0 {
		select {
		case <-time.After(wait):
		case <-g.quit:
		}
	}
}

// limiterWait is how long a worker waits for the limiter before it gives the delivery back.
const limiterWait = time.Second

// pass makes an attempt once the queue's limiter admits it, or gives the delivery back. The outcome is nil if
// nothing is to be stored; gated reports whether the queue has a limiter.
func (g *Gateway) pass(l *queue, r *runner, w Work) (out *Outcome, gated bool) {
	for {
		gate := g.limiter(g.registry.Load(), l)
		if gate == nil && !l.gone.Load() {
			out, _ = g.attempt(r, w)
			return out, false
		}
		again := limiterWait + 1
		if gate != nil {
			var ok bool
			if ok, again = gate.Enter(time.Now()); ok {
				out, _ = g.attempt(r, w)
				return out, true
			}
		}
		if again > limiterWait {
			g.giveBack(w)
			l.backlog.Store(true)
			return nil, true
		}
		select {
		case <-time.After(max(again, time.Millisecond)):
		case <-g.quit:
			g.giveBack(w)
			return nil, true
		}
	}
}

// end stores the outcome of an attempt. If other deliveries are queued, another goroutine does, and the worker goes
// on with them: otherwise a queue would make one attempt for each worker in the time of a commit. The ends of
// replays are stored in turn: the pace of replays, which spares the replies to webhooks, was measured so.
func (g *Gateway) end(l *queue, w Work, out *Outcome) {
	if out == nil {
		return
	}
	if w.Background() || len(l.queue.ready) == 0 || !l.beginEnd() {
		g.finish(w, *out)
		return
	}
	w.Event = nil // the end does not need the body, whose memory nothing counts from here on
	g.workers.Go(func() {
		defer l.ending.Add(-1)
		g.finish(w, *out)
	})
}

// giveBack releases a claimed delivery that was not begun.
func (g *Gateway) giveBack(w Work) {
	err := g.store.Release(context.WithoutCancel(g.work), []Lease{w.Lease})
	if err != nil && !errors.Is(err, ErrStopped) {
		g.log.Error("release delivery", "delivery", w.Delivery.ID, "error", err)
	}
}

// attempt runs the handler once. It returns the outcome, nil if nothing is to be stored, and the failure.
func (g *Gateway) attempt(r *runner, w Work) (*Outcome, error) {
	started := time.Now()
	w.Lease.StartedAt = started
	h := g.registry.Load().byName[w.Delivery.Handler]
	policy := g.policy(h, w.Event.Source)
	ctx, end := g.traceAttempt(w, policy)
	detail, err := g.run(ctx, r, w, h, policy.Timeout)
	took := time.Since(started)

	if err != nil && context.Cause(g.work) != nil && errors.Is(context.Cause(g.work), ErrStopped) && !isVerdict(err) {
		// Interrupted by the stop: no fault of the handler, so no attempt.
		end("interrupted", err)
		g.giveBack(w)
		return nil, err
	}
	out := judge(w, err, started, took, policy)
	out.Attempt.Detail, out.Background = detail, w.Background()
	end(out.Attempt.Outcome, err)
	if out.State == StateDead {
		out.Failure = NewFailure(w.Delivery.Handler, w.Event, err)
	}
	if g.opt.Hooks.Attempted != nil {
		g.opt.Hooks.Attempted(w.Event.Source, w.Delivery.Handler, out.Attempt.Outcome, took, time.Since(dueSince(w, policy)))
	}
	if errors.Is(err, Finished) {
		return nil, nil
	}
	if out.State == StateDead || out.Attempt.Outcome == AttemptPanicked {
		// What a handler or a receiver said may quote the payload: it is with the attempt.
		g.log.Error("delivery failed", "event", w.Event.ID, "delivery", w.Delivery.ID, "source", w.Event.Source,
			"type", w.Event.Type, "attempt", w.Lease.Attempt, "outcome", out.Attempt.Outcome, "state", out.State.String(), "error", logText(err))
	} else if out.State == StateRetrying {
		g.log.Warn("delivery will be retried", "event", w.Event.ID, "delivery", w.Delivery.ID, "source", w.Event.Source,
			"type", w.Event.Type, "attempt", w.Lease.Attempt, "outcome", out.Attempt.Outcome, "at", out.RunAt, "error", logText(err))
	}
	return &out, err
}

// logText returns the text of a handler's failure for the log. A panic comes with its stack,
// which names functions but no values.
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
	case w.Background():
		return d.CreatedAt
	case w.Lease.Attempt == 1 && d.RunAt.After(w.Event.ReceivedAt): // scheduled
		return d.RunAt
	}
	return w.Event.ReceivedAt
}

// finish records an outcome. If the store is down it waits: the handler has done its work,
// and another attempt would do it twice.
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
		if more, ok := g.disabled.allow("record attempt", "", time.Now()); ok {
			g.log.Error("record attempt", "delivery", w.Delivery.ID, "error", err, "alsoSince", more)
		}
		select {
		case <-time.After(wait):
		case <-g.work.Done():
			return
		}
	}
}

// isVerdict reports whether err is the handler's own decision, which holds even if its
// context has ended.
func isVerdict(err error) bool {
	return errors.Is(err, Finished) || isA[*discardError](err) || isA[*retryAfterError](err) || isA[*snoozeError](err)
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// judge returns the outcome of an attempt that ended with err.
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

// afterOutage is the delay of a delivery whose attempt failed because of our own database.
const afterOutage = 2 * time.Second

var errTimeout = errors.New("the handler took too long")

// grace is how long after its timeout a handler may take to notice it.
const grace = 5 * time.Second

// run calls the handler with a timeout. One that does not return even after the grace is
// abandoned: its goroutine leaks, but the lease moves on, so its later writes through the
// store fail. detail is the stack of a panic, or the handler's own note.
func (g *Gateway) run(ctx context.Context, r *runner, w Work, h *registered, timeout time.Duration) (detail string, err error) {
	if h == nil {
		// A newer version put it there, or an older one: someone else may know it.
		g.log.Warn("no handler of this name is registered; the delivery waits",
			"handler", w.Delivery.Handler, "delivery", w.Delivery.ID)
		return "", Snooze(time.Minute)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
	defer cancel()
	of := &attemptContext{Context: ctx, lease: w.Lease, delivery: &w.Delivery}
	handlerCtx, endReply := withReply(of, w)
	done := r.start(func() error {
		defer endReply()
		return h.handler.Handle(handlerCtx, w.Event)
	})
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(grace):
			g.log.Error("handler does not return; its goroutine is left behind", "handler", w.Delivery.Handler,
				"delivery", w.Delivery.ID)
			err = context.Cause(ctx)
			r.leave()
		}
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		detail = p.stack
	} else {
		detail = of.detail.text()
	}
	if err != nil && !isVerdict(err) && errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return detail, err
}
