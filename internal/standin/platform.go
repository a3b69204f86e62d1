package standin

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// requests plays fal's platform API: the account's requests of some models, those that
// ended last before the others. Work under way is not in it.
func (f *Fal) requests(w http.ResponseWriter, r *http.Request) {
	if !authorized(w, r, f.o.Key) {
		return
	}
	q := r.URL.Query()
	limit, lerr := strconv.Atoi(cmp.Or(q.Get("limit"), "50"))
	cursor, cerr := base64.StdEncoding.DecodeString(cmp.Or(q.Get("cursor"), "MQ=="))
	page, perr := strconv.Atoi(string(cursor))
	now := time.Now()
	since, serr := parseDate(q.Get("start"), now.Add(-24*time.Hour))
	until, uerr := parseDate(q.Get("end"), now)
	var models []string
	for _, list := range q["endpoint_id"] {
		models = append(models, strings.Split(list, ",")...)
	}
	for _, param := range [...]struct {
		name string
		bad  bool
	}{
		{"endpoint_id", len(models) == 0 || len(models) > 50}, {"limit", lerr != nil || limit < 1 || limit > 100},
		{"cursor", cerr != nil || perr != nil || page < 1}, {"start", serr != nil}, {"end", uerr != nil},
	} {
		if param.bad {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"type": "validation_error", "message": "Invalid " + param.name}})
			return
		}
	}
	f.mu.Lock()
	var ended []*falJob
	for _, known := range f.order {
		j := f.jobs[known.id]
		if j != nil && falWord(known, now) == "COMPLETED" && slices.Contains(models, j.model) && !j.done.Before(since) && j.done.Before(until) {
			ended = append(ended, j)
		}
	}
	f.mu.Unlock()
	slices.SortStableFunc(ended, func(a, b *falJob) int { return b.done.Compare(a.done) })
	from := min((page-1)*limit, len(ended))
	shown := ended[from:min(from+limit, len(ended))]
	items := []any{}
	for _, j := range shown {
		result, failed := f.outcome(j)
		item := map[string]any{
			"request_id": j.id, "endpoint_id": j.model, "sent_at": stampOf(j.submitted), "started_at": stampOf(j.start), "ended_at": stampOf(j.done),
			"status_code": http.StatusOK, "duration": j.done.Sub(j.start).Seconds(),
		}
		if failed != nil {
			item["status_code"], result = failed.status, failed.body
		}
		if slices.Contains(q["expand"], "payloads") {
			item["json_input"], item["json_output"] = j.input, result
		}
		items = append(items, item)
	}
	more := from+len(shown) < len(ended)
	body := map[string]any{"items": items, "has_more": more, "next_cursor": nil}
	if more {
		body["next_cursor"] = base64.StdEncoding.EncodeToString(fmt.Append(nil, page+1))
	}
	writeJSON(w, http.StatusOK, body)
}

func parseDate(text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	return time.Parse(time.RFC3339, text)
}

func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
