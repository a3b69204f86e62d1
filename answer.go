package gaff

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Answer has a source answer its senders with what a handler responds: for commands and interactions
// that show the answer to a person. An event is stored before anything is answered, and the handler
// has its deliveries, attempts and retries as always.
type Answer struct {
	// Handler is the name of the handler or destination. Empty: no one is waited for.
	Handler string
	// Wait is how long after its receipt a request is answered at the latest.
	Wait time.Duration
	// Else is answered if the handler does not respond in time, fails, or does not take the event;
	// nil: the source's usual answer.
	Else *Reply
}

// maxAnswering is how many requests wait for a handler at once; more get Else at once.
const maxAnswering = 256

// MaxAnswerBytes bounds the body of a response that is passed on to a sender.
const MaxAnswerBytes = 64 << 10

// PendingReply is the reply to a sender that waits for a handler of the event.
type PendingReply struct {
	handler string
	once    sync.Once
	reply   chan Reply // has one place; closed without a reply if the handler gives none
}

// end gives the reply, once; nil for none.
func (p *PendingReply) end(r *Reply) (ok bool) {
	p.once.Do(func() {
		if ok = r != nil; ok {
			p.reply <- *r
		}
		close(p.reply)
	})
	return ok
}

type pendingKey struct{}

// pendingReply returns the reply that a request or an attempt is to give; nil for none.
func pendingReply(ctx context.Context) *PendingReply {
	p, _ := ctx.Value(pendingKey{}).(*PendingReply)
	return p
}

// AwaitsReply reports whether a sender waits for what the handler responds ([Respond]).
func AwaitsReply(ctx context.Context) bool { return pendingReply(ctx) != nil }

// Respond answers the sender that waits for the handler: status 200, with the body and its type. It
// returns false if no sender waits, or the body is larger than [MaxAnswerBytes]. Outside a handler it does nothing.
func Respond(ctx context.Context, contentType string, body []byte) bool {
	p := pendingReply(ctx)
	if p == nil || len(body) > MaxAnswerBytes {
		return false
	}
	return p.end(&Reply{
		Status: http.StatusOK, ContentType: contentType, Body: body,
		// It is shown to a program. If a browser gets it, it runs nothing of it.
		Header: http.Header{"Content-Security-Policy": {"default-src 'none'; sandbox"}},
	})
}

// expectReply prepares a request's context for a source that waits for a handler. done must be called
// at the end of the request.
func (g *Gateway) expectReply(ctx context.Context, src *Source) (_ context.Context, p *PendingReply, done func()) {
	if src.Answer == nil || src.Answer.Handler == "" {
		return ctx, nil, func() {}
	}
	select {
	case g.answering <- struct{}{}:
	default:
		return ctx, nil, func() {}
	}
	p = &PendingReply{handler: src.Answer.Handler, reply: make(chan Reply, 1)}
	return context.WithValue(ctx, pendingKey{}, p), p, func() { <-g.answering }
}

// awaitReply returns what the handler of a stored event responds; false if it does not in time. It
// does not wait for a delivery that was not begun with the event.
func (g *Gateway) awaitReply(ctx context.Context, src *Source, p *PendingReply, received time.Time, rcs []Receipt) (Reply, bool) {
	begun := false
	for _, rc := range rcs {
		for _, w := range rc.Work {
			begun = begun || w.Delivery.Handler == p.handler
		}
	}
	if !begun {
		return Reply{}, false
	}
	timer := time.NewTimer(src.Answer.Wait - time.Since(received))
	defer timer.Stop()
	select {
	case r, ok := <-p.reply:
		return r, ok
	case <-timer.C:
	case <-ctx.Done():
	case <-g.quit:
	}
	p.end(nil) // what the handler responds later is for its attempt alone
	return Reply{}, false
}

// answerStored returns the reply to a request whose events are stored.
func (g *Gateway) answerStored(ctx context.Context, src *Source, p *PendingReply, received time.Time, rcs []Receipt) reply {
	if p != nil {
		if r, ok := g.awaitReply(ctx, src, p, received, rcs); ok {
			return reply{status: r.Status, fixed: &r}
		}
	}
	switch {
	case src.Answer != nil && src.Answer.Else != nil:
		return reply{status: src.Answer.Else.Status, fixed: src.Answer.Else}
	case src.Ack != nil:
		return reply{status: src.Ack.Status, fixed: src.Ack}
	}
	return reply{status: http.StatusOK, body: thanks(rcs)}
}

// withReply adds the reply of an event to the context of an attempt by its handler. end is called
// after the attempt: an attempt without a response ends the waiting.
func withReply(ctx context.Context, w Work) (_ context.Context, end func()) {
	p := w.Event.Reply
	if p == nil || p.handler != w.Delivery.Handler || w.Lease.Attempt != 1 {
		return ctx, func() {}
	}
	return context.WithValue(ctx, pendingKey{}, p), func() { p.end(nil) }
}
