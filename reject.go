package gaff

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"gaff/internal/excerpt"
	"gaff/internal/httpx"
	"gaff/internal/id"
	"gaff/internal/redact"
)

// Of a rejection, this much is kept.
const (
	rejectedBody   = 2 << 10
	rejectedValue  = 256
	rejectedFields = 64
)

// Of refused requests, so many bytes a second and at once are kept whole.
const (
	quarantineRate  = 1 << 20
	quarantineBurst = 16 << 20
)

// rejectWait bounds how long an answer waits for the note about it: nearly always that is
// written by then. Else it is written later.
const rejectWait = 400 * time.Millisecond

// After a note took longer, no answer waits for one for as long as slowNotesFor: the disk or the
// database is stalled.
const slowNotesFor = 10 * time.Second

// reject keeps a refused request where operators can see it.
func (g *Gateway) reject(r *http.Request, req *Request, src *Source, source string, rp reply) {
	now := time.Now()
	url := redact.URL(g.publicURL(r), src.secrets())
	if src == nil {
		url = redact.Query(url)
	}
	rj := &Rejection{
		ID: id.New(id.Rejection, now), Source: excerpt.Text(source, 64), Status: rp.status, Reason: excerpt.Text(rp.reason, 1024),
		Method: excerpt.Text(r.Method, 16), URL: excerpt.Text(url, 1024), RemoteAddr: g.client(r),
		Header: src.rejectedHeader(r.Header), BodySize: max(r.ContentLength, 0), ReceivedAt: now,
	}
	if req != nil {
		rj.BodySize = int64(len(req.Body))
		shown := redact.Body(r.Header.Get("Content-Type"), req.Body, src.secrets())
		rj.Body = bytes.Clone(shown[:min(len(shown), rejectedBody)])
		if rp.status == http.StatusUnauthorized || rp.status == http.StatusBadRequest || rp.status == http.StatusUnprocessableEntity {
			// A mended configuration may take it for authentic and readable. What one
			// client can make us write for that is bounded in speed, too.
			if _, ok := g.quarantine.take(source+" "+httpx.ClientAt(rj.RemoteAddr), now, int64(len(req.Body))+1024); ok {
				rj.Whole = req
			}
		}
	}
	if more, ok := g.disabled.allow("refused", strconv.Itoa(rj.Status), now); ok {
		reason := rj.Reason
		if rj.Status == http.StatusBadRequest {
			reason = "unreadable" // the error may quote the payload
		}
		if rj.Status == http.StatusUnprocessableEntity {
			reason = "schema violation" // the problems name members of the payload
		}
		g.log.Warn("webhook refused", "source", rj.Source, "status", rj.Status, "reason", reason,
			"remote", rj.RemoteAddr, "rejection", rj.ID, "alsoSince", more)
	}
	wait, began := rejectWait, time.Now()
	if began.UnixNano() < g.slowNotes.Load() {
		wait = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wait)
	defer cancel()
	err := g.store.Reject(ctx, rj)
	if took := time.Since(began); took >= rejectWait {
		g.slowNotes.Store(began.Add(took + slowNotesFor).UnixNano())
	}
	if err != nil {
		if more, ok := g.disabled.allow("not noted", "", now); ok {
			g.log.Warn("refused webhook not noted", "source", rj.Source, "error", err, "alsoSince", more)
		}
	}
}

// harmless are headers whose values are stored of every rejected request: they describe the
// call, and hold no proof.
var harmless = []string{
	"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Host",
	"Traceparent", "Transfer-Encoding", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id",
}

// rejectedHeader copies the header of a rejected request in bounded size: of those that the
// source's verifier reads, and of harmless ones, the values, of others only the names. Its
// proof is masked: a secret entirely, a signature in part, so that one can see which it was.
func (s *Source) rejectedHeader(header http.Header) http.Header {
	kept := make(http.Header, min(len(header), rejectedFields))
	for name, values := range redact.Headers(header, s.secrets()) {
		if len(kept) == rejectedFields {
			break
		}
		shown := slices.Contains(harmless, name) || s != nil && slices.Contains(s.Headers, name)
		for _, value := range values[:min(len(values), 4)] {
			switch {
			case !shown:
				value = redact.Masked
			case value != redact.Masked:
				value = redact.Signature(name, value)
			}
			kept.Add(excerpt.Text(name, 128), excerpt.Text(value, rejectedValue))
		}
	}
	return kept
}

// logLimiter lets a message about something through once in a while, and counts the rest, so that
// untrusted clients and bursts cannot fill the log.
type logLimiter struct {
	mu   sync.Mutex
	last map[logKey]time.Time
	more map[logKey]int
}

type logKey struct{ message, about string }

const sometimesEvery = time.Second

// allow reports whether to log now, and how many of the same were left out since.
func (s *logLimiter) allow(message, about string, now time.Time) (more int, ok bool) {
	key := logKey{message, about}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last[key]) < sometimesEvery {
		s.more[key]++
		return 0, false
	}
	if s.last == nil {
		s.last, s.more = map[logKey]time.Time{}, map[logKey]int{}
	}
	more = s.more[key]
	s.last[key], s.more[key] = now, 0
	return more, true
}
