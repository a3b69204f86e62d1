package described

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"gaff/internal/cel"
	"gaff/internal/redact"
	"gaff/jobs"
)

// decode parses JSON with numbers as written; nil for anything else.
func decode(raw []byte) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil
	}
	return v
}

// text evaluates an expression to a text; empty if it is nil, null or has no value.
func text(e *cel.Expression, vars map[string]any) string {
	if e == nil {
		return ""
	}
	v, err := e.Value(vars)
	if err != nil {
		return ""
	}
	return asText(v)
}

func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}

// read returns the change that an answer says about a job.
func (c *Client) read(r *reading, j *jobs.Job, vars map[string]any, body []byte, at time.Time) (jobs.Update, error) {
	u := jobs.Update{Provider: c.o.Name, RequestID: j.RequestID}
	v, err := r.status.Value(vars)
	if err != nil {
		return u, redact.Errorf("status: %w", err)
	}
	word := asText(v)
	status, known := r.states[word]
	if !known {
		return u, redact.Errorf("unknown status %.40q of %s", word, redact.Own(c.c.d.Title))
	}
	u.Status, u.Progress = status, text(r.progress, vars)
	if status.Settled() {
		u.Cost = amount(text(r.cost, vars))
	}
	switch status {
	case jobs.JobCompleted:
		if err := c.result(r, &u, vars, body, at); err != nil {
			return jobs.Update{}, err
		}
	case jobs.JobFailed:
		u.Error, u.ErrorType = cmp.Or(text(r.err, vars), "failed without a reason"), text(r.errType, vars)
	case jobs.JobQueued, jobs.JobProcessing, jobs.JobCancelled: // have no result
	}
	return u, nil
}

// result sets the result and the files of completed work.
func (c *Client) result(r *reading, u *jobs.Update, vars map[string]any, body []byte, at time.Time) error {
	u.Result = bytes.TrimSpace(body)
	if r.result != nil {
		v, err := r.result.Value(vars)
		if err != nil {
			return redact.Errorf("result: %w", err)
		}
		if u.Result, err = unwrapped(v); err != nil {
			return redact.Errorf("result: %w", err)
		}
	}
	if !json.Valid(u.Result) {
		return redact.Const("the result is not JSON")
	}
	if r.files == nil {
		u.Files, u.FilesTotal = jobs.Files(c.o.Name, u.Result, at)
		return nil
	}
	v, err := r.files.Value(vars)
	if err != nil {
		return redact.Errorf("files: %w", err)
	}
	list, err := unwrapped(v)
	if err != nil {
		return redact.Errorf("files: %w", err)
	}
	u.Files, u.FilesTotal = jobs.FilesOf(c.o.Name, list, "/files", at)
	return nil
}

// unwrapped returns a value as JSON; of an object or a list that is written as JSON in a text, the
// object or list.
func unwrapped(v any) (json.RawMessage, error) {
	if s, ok := v.(string); ok {
		inner := strings.TrimSpace(s)
		if inner != "" && (inner[0] == '{' || inner[0] == '[') && json.Valid([]byte(inner)) {
			return json.RawMessage(inner), nil
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// amount returns a number that is not negative; empty for any other text.
func amount(text string) string {
	if n, err := strconv.ParseFloat(text, 64); err != nil || !(n >= 0) || n > 1e12 || len(text) > 40 {
		return ""
	}
	return text
}
