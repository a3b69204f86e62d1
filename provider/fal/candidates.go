package fal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// Jobs of a model that has candidates (models: in gaff.yaml) are submitted by gaff. Callers of the
// proxy get answers in the form of fal's queue, with the job's id as the id of the request.

// candidateJob returns the job of a request whose id is that of a job with candidates; nil for a
// request of fal's.
func (p *Proxy) candidateJob(ctx context.Context, requestID string) (*jobs.Job, error) {
	if !strings.HasPrefix(requestID, "job_") {
		return nil, nil
	}
	j, err := p.o.Jobs.Job(ctx, requestID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil, nil
	}
	if err != nil || j.Attempt == 0 {
		return nil, err
	}
	return j, nil
}

// callerOf names who asked for the work of a request.
func (p *Proxy) callerOf(ctx context.Context, requestID string) (caller string, ok bool) {
	if j, err := p.candidateJob(ctx, requestID); err == nil && j != nil {
		return j.Caller, true
	}
	return p.o.Jobs.CallerOf(ctx, Name, requestID)
}

// statusNames are fal's words for jobs that have not ended.
var statusNames = map[jobs.JobStatus]string{jobs.JobQueued: "IN_QUEUE", jobs.JobProcessing: "IN_PROGRESS"}

// queueState is the state of a job in the words of fal's queue.
func (p *Proxy) queueState(t *target, j *jobs.Job) map[string]any {
	status := cmp.Or(statusNames[j.Status], "COMPLETED")
	base := p.o.Queue.o.URL + "/" + strings.Join(t.parts[:2], "/") + "/requests/" + url.PathEscape(j.ID)
	return map[string]any{
		"status": status, "request_id": j.ID, "response_url": base, "status_url": base + "/status", "cancel_url": base + "/cancel",
		"queue_position": 0, "logs": []any{}, "metrics": map[string]any{},
	}
}

// queueAnswer is an answer about a job in the form of fal's queue.
func queueAnswer(status int, body any, j *jobs.Job) answer {
	text, _ := json.Marshal(body)
	return answer{status: status, body: text, header: http.Header{
		"Content-Type": {"application/json"}, "X-Fal-Request-Id": {j.ID}, jobHeader: {j.ID},
	}}
}

// serveCandidate answers a call about a job with candidates.
func (p *Proxy) serveCandidate(w http.ResponseWriter, r *http.Request, t *target, j *jobs.Job) {
	_, what := t.request()
	switch {
	case r.Method == http.MethodGet && what == "status":
		_ = p.reply(w, t, queueAnswer(http.StatusOK, p.queueState(t, j), j))
	case r.Method == http.MethodGet && what == "status/stream":
		p.streamCandidate(w, r, t, j)
	case r.Method == http.MethodGet && (what == "" || what == "response"):
		_ = p.reply(w, t, resultAnswer(j))
	case r.Method == http.MethodPut && what == "cancel":
		_ = p.reply(w, t, p.cancelCandidate(r.Context(), j))
	default:
		answerJSON(w, http.StatusMethodNotAllowed, map[string]any{"detail": "Method Not Allowed"})
	}
}

// resultAnswer is the answer to a call for the result.
func resultAnswer(j *jobs.Job) answer {
	detail := map[string]any{"detail": "Request is still in progress"}
	switch j.Status {
	case jobs.JobCompleted:
		var result json.RawMessage = []byte("null")
		if len(j.Result) > 0 {
			result = j.Result
		}
		return queueAnswer(http.StatusOK, result, j)
	case jobs.JobFailed:
		detail["detail"], detail["error_type"] = j.Error, j.ErrorType
		a := queueAnswer(http.StatusUnprocessableEntity, detail, j)
		if j.ErrorType != "" {
			a.header.Set("X-Fal-Error-Type", j.ErrorType)
		}
		return a
	case jobs.JobCancelled:
		detail["detail"] = "Request was cancelled"
	case jobs.JobQueued, jobs.JobProcessing: // have no result
	}
	return queueAnswer(http.StatusBadRequest, detail, j)
}

func (p *Proxy) cancelCandidate(ctx context.Context, j *jobs.Job) answer {
	_, err := p.o.Jobs.Cancel(ctx, j.ID)
	switch {
	case errors.Is(err, gaff.ErrConflict):
		return queueAnswer(http.StatusBadRequest, map[string]any{"status": "ALREADY_COMPLETED"}, j)
	case err != nil:
		p.o.Log.Error("a job of the proxy cannot be cancelled", "job", j.ID, "error", err)
		return queueAnswer(http.StatusInternalServerError, map[string]any{"detail": "gaff cannot cancel it at the moment"}, j)
	}
	return queueAnswer(http.StatusAccepted, map[string]any{"status": "CANCELLATION_REQUESTED"}, j)
}

// lookAtJob is how often a stream of a status reads the job.
const lookAtJob = 500 * time.Millisecond

// streamCandidate sends the status as server-sent events, at each change, until the job has ended.
func (p *Proxy) streamCandidate(w http.ResponseWriter, r *http.Request, t *target, j *jobs.Job) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Fal-Request-Id", j.ID)
	ctx, cancel := context.WithTimeout(r.Context(), proxyTimeout)
	defer cancel()
	for last := jobs.JobStatus(-1); ; {
		if j.Status != last {
			last = j.Status
			text, _ := json.Marshal(p.queueState(t, j))
			if t.rewrite != "" {
				text = p.rewrite(text, t.rewrite)
			}
			if _, err := w.Write([]byte("data: " + string(text) + "\n\n")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
		if j.Status.Settled() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAtJob):
		}
		now, err := p.o.Jobs.Job(ctx, j.ID)
		if err != nil {
			return
		}
		j = now
	}
}
