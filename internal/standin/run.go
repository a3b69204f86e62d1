package standin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// RunPath is below which a stand-in for fal plays fal.run, whose calls are answered when the
// work is done.
const RunPath = "/fal.run"

// run serves POST RunPath/{owner}/{alias}[/…], and with /stream at the end as server-sent
// events.
func (f *Fal) run(w http.ResponseWriter, r *http.Request) {
	if !authorized(w, r, f.o.Key) {
		return
	}
	parts := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, RunPath), "/"), "/")
	last := len(parts) - 1
	stream := last > 1 && parts[last] == "stream"
	if stream {
		parts = parts[:last]
	}
	if len(parts) < 2 {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": fmt.Sprintf("Path %s not found", r.URL.Path)})
		return
	}
	j, _, ok := f.take(w, r, parts, "")
	if !ok {
		return
	}
	w.Header().Set("x-fal-request-id", j.id)
	if j.faults.Has(UnknownOutcome) {
		panic(http.ErrAbortHandler)
	}
	if result, failed := f.outcome(j); stream && failed == nil {
		f.streamResult(w, r, j, result)
		return
	}
	if sleepUntil(r.Context(), j.done) {
		f.answerResult(w, j)
	}
}

// previews is how many events a stream has before the last one.
const previews = 3

// streamResult sends previews while the work goes on, of the form of the result, and then
// the result: clients take the last event for it.
func (f *Fal) streamResult(w http.ResponseWriter, r *http.Request, j *falJob, result any) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	for n := range previews + 1 {
		at := j.start.Add(j.done.Sub(j.start) * time.Duration(n) / previews)
		if !sleepUntil(r.Context(), at) {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", pythonJSON(result)); err != nil {
			return
		}
		_ = flush.Flush()
	}
}

// sleepUntil reports whether the time came before ctx ended.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
