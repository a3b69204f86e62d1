package fal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/redact"
	"gaff/jobs"
)

// ran is a call of fal.run, on its way to become a job.
type ran struct {
	s     jobs.Submission
	began time.Time
}

// ran returns the job of a call of fal.run.
func (p *Proxy) ran(r *http.Request, t *target, who caller, body []byte, began time.Time) *ran {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	s := p.submission(r, t, who, body)
	// fal does the work at each call, and there is no webhook to pass on.
	s.ID, s.Model, s.IdempotencyKey, s.Callback = jobs.NewID(began), strings.TrimSuffix(s.Model, "/stream"), "", ""
	return &ran{s, began}
}

// hasRoom reserves room in the budgets and limits for a call of fal.run, and answers one that they have no room
// for.
func (p *Proxy) hasRoom(w http.ResponseWriter, r *http.Request, call *ran) bool {
	err := p.o.Jobs.Reserve(context.WithoutCancel(r.Context()), call.s)
	if full, ok := errors.AsType[*jobs.BudgetError](err); ok {
		answerJSON(w, http.StatusPaymentRequired, map[string]any{"detail": full.Error()})
		return false
	}
	if full, ok := errors.AsType[*jobs.LimitError](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(max(int(math.Ceil(full.After.Seconds())), 1)))
		answerJSON(w, http.StatusTooManyRequests, map[string]any{"detail": full.Error()})
		return false
	}
	if err != nil {
		p.o.Log.Error("budgets cannot be checked", "error", err)
		w.Header().Set("Retry-After", "5")
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"detail": "gaff cannot check the budgets at the moment; nothing was sent"})
		return false
	}
	return true
}

// lost stores that a call of fal.run was not answered: fal may have done the work.
func (p *Proxy) lost(call *ran, cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	err := p.o.Jobs.Answered(ctx, call.s.ID, jobs.Accepted{}, errors.New("fal.run did not answer: "+redact.Error(cause)))
	if err != nil && !errors.Is(err, gaff.ErrNotFound) {
		p.o.Log.Warn("that fal.run did not answer is not stored", "job", call.s.ID, "error", redact.Error(err))
	}
}

// release gives back the room of a call of fal.run that did no work.
func (p *Proxy) release(call *ran) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	if err := p.o.Jobs.Release(ctx, call.s.ID); err != nil {
		p.o.Log.Warn("the reservation of a call of fal.run is not released", "job", call.s.ID, "error", redact.Error(err))
	}
}

// passRun forwards the response of a call of fal.run, and records it as a settled job before the
// client has all of it.
func (p *Proxy) passRun(w http.ResponseWriter, resp *http.Response, call *ran) {
	a := answer{status: resp.StatusCode, header: resp.Header}
	contentType := resp.Header.Get("Content-Type")
	switch {
	case a.status/100 == 2 && strings.HasPrefix(contentType, "text/event-stream"):
		a.header.Set(jobHeader, call.s.ID)
		var last lastEvent
		err := p.streamRun(w, resp, &last)
		p.recordStream(call, a, &last, err)
		return
	case !isFinal(a.status) || !strings.Contains(contentType, "json"):
		p.release(call)
		p.stream(w, resp)
		return
	}
	a.header.Set(jobHeader, call.s.ID)
	var err error
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxResult+1)); err != nil {
		answerJSON(w, http.StatusInternalServerError, map[string]any{"detail": "fal's answer broke off"})
		p.recordRun(call, a, failedRun("fal's answer broke off", "response_lost"))
		return
	}
	if len(a.body) > maxResult {
		p.recordRun(call, a, failedRun("the result is larger than gaff stores; the client got it", "result_too_large"))
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(a.body), resp.Body))
		p.stream(w, resp)
		return
	}
	p.recordRun(call, a, resultOf(a))
	_ = p.reply(w, &target{}, a)
}

// isFinal reports whether a status settles the work: after others clients call again, or nothing was
// done.
func isFinal(status int) bool {
	return status/100 == 2 || status == http.StatusUnprocessableEntity || status == http.StatusInternalServerError
}

// resultOf reads a whole response of fal.run.
func resultOf(a answer) jobs.Update {
	var s status
	if a.status == http.StatusInternalServerError {
		s.Error = http.StatusText(a.status)
	}
	u, err := readResult(a, s, &jobs.Job{}, time.Now())
	if err != nil {
		return failedRun(redact.Error(err), "response_unreadable")
	}
	return u
}

func failedRun(text, code string) jobs.Update {
	return jobs.Update{Status: jobs.JobFailed, Error: text, ErrorType: code}
}

// recordStream records the last event of a stream as the result, as clients take it.
func (p *Proxy) recordStream(call *ran, a answer, last *lastEvent, err error) {
	switch a.body = last.result(); {
	case err != nil:
		p.recordRun(call, a, failedRun("the stream broke off", "response_lost"))
	case last.long:
		p.recordRun(call, a, failedRun("the result is larger than gaff stores; the client got it", "result_too_large"))
	case last.failed():
		a.status = http.StatusUnprocessableEntity
		p.recordRun(call, a, resultOf(a))
	default:
		p.recordRun(call, a, resultOf(a))
	}
}

// recordTime bounds the commit of a recorded call: its client waits.
const recordTime = 10 * time.Second

func (p *Proxy) recordRun(call *ran, a answer, u jobs.Update) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	u.Provider, u.RequestID, u.Cost = Name, a.header.Get("X-Fal-Request-Id"), billed(a.header)
	if _, err := p.o.Jobs.Record(ctx, call.s, u, call.began); err != nil {
		p.o.Log.Warn("a call of fal.run is not recorded", "job", call.s.ID, "request", u.RequestID, "error", redact.Error(err))
	}
}

// streamRun forwards a response as it arrives. It reads to the end although the client leaves.
func (p *Proxy) streamRun(w http.ResponseWriter, resp *http.Response, last *lastEvent) error {
	copyHeader(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	flush, gone := http.NewResponseController(w), false
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			last.read(buf[:n])
			if !gone {
				_, werr := w.Write(buf[:n])
				gone = werr != nil
				_ = flush.Flush()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// lastEvent keeps the data of the last event of a stream of server-sent events, in bounded memory.
type lastEvent struct {
	line, data, whole []byte
	kind, wholeKind   string
	long              bool
}

func (l *lastEvent) read(chunk []byte) {
	for len(chunk) > 0 && !l.long {
		before, after, ended := bytes.Cut(chunk, []byte("\n"))
		l.line, chunk = append(l.line, before...), after
		if len(l.line)+len(l.data) > maxResult {
			l.long, l.line, l.data, l.whole = true, nil, nil, nil
			return
		}
		if ended {
			l.field(bytes.TrimSuffix(l.line, []byte("\r")))
			l.line = l.line[:0]
		}
	}
}

// field reads one line.
func (l *lastEvent) field(line []byte) {
	if len(line) == 0 {
		if len(l.data) > 0 {
			l.whole, l.wholeKind = append(l.whole[:0], l.data...), l.kind
		}
		l.data, l.kind = l.data[:0], ""
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if len(l.data) > 0 {
			l.data = append(l.data, '\n')
		}
		l.data = append(l.data, value...)
	case "event":
		l.kind = string(value)
	}
}

// result is the data of the last whole event.
func (l *lastEvent) result() []byte { return bytes.TrimSpace(l.whole) }

// failed reports whether the last event is an error.
func (l *lastEvent) failed() bool {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	return l.wholeKind == "error" || isModelError(l.result()) || json.Unmarshal(l.result(), &e) == nil && len(e.Error) > 0 && string(e.Error) != "null"
}
