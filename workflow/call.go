package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/workflow/runs"
)

// maxReply is the maximum size of a reply, in bytes.
const maxReply = 1 << 20

// call is the evaluated input of an http step, as stored with the step. Headers are not stored,
// because they may contain secrets.
type call struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// handleCall makes the call of an http step. After a crash the call is repeated with the same
// Idempotency-Key.
func (e *Engine) handleCall(ctx context.Context, ev *gaff.Event) error {
	var m message
	if err := json.Unmarshal(ev.Data, &m); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	a, err := e.load(ctx, m.RunID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, u := a.st.find(m.Step, m.Item)
	current := func(u *runs.Step) bool {
		return u != nil && u.Status == runs.StepRunning && u.Attempt == m.Attempt
	}
	if !current(u) {
		return nil
	}
	result, retryable, failure := e.call(ctx, a, s, u)
	if failure != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), gaff.ErrStopped) {
		return failure // repeated after the next start
	}
	return e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		s, u := a.st.find(m.Step, m.Item)
		if !current(u) {
			return false, nil
		}
		if failure != nil {
			a.fail(s, u, failure.Error(), !retryable)
		} else {
			a.complete(s, u, result)
		}
		return true, nil
	})
}

// call makes one call. retryable reports whether another attempt can succeed.
func (e *Engine) call(ctx context.Context, a *advance, s *stepState, u *runs.Step) (result map[string]any, retryable bool, err error) {
	vars, err := a.unitVariables(s.def.startRefs, u)
	if err != nil {
		return nil, true, err
	}
	input, err := a.values.input(u.Name, u.Item)
	if err != nil {
		return nil, true, err
	}
	var c call
	if err := json.Unmarshal(input, &c); err != nil {
		return nil, false, fmt.Errorf("read the input of the step: %w", err)
	}
	timeout := callTimeout
	if t := time.Duration(s.def.Timeout); t > 0 {
		timeout = min(t, maxCallTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no reply within %s", timeout))
	defer cancel()
	if callsFunction(s.def.HTTP) {
		return e.callFunction(ctx, &c, s, u)
	}
	if e.o.Client == nil {
		return nil, false, errors.New("http steps are switched off")
	}
	req, err := e.callRequest(ctx, &c, s, u, vars)
	if err != nil {
		return nil, false, err
	}
	res, err := e.o.Client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err // the URL is shown beside it
		}
		return nil, true, err
	}
	defer res.Body.Close()
	return readReply(res)
}

// callRequest returns the request of a call.
func (e *Engine) callRequest(ctx context.Context, c *call, s *stepState, u *runs.Step, vars map[string]any) (*http.Request, error) {
	var body io.Reader
	if c.Body != nil {
		body = bytes.NewReader(c.Body)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, c.URL, body)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" || req.URL.Host == "" {
		return nil, fmt.Errorf("invalid URL %s: want http:// or https://", excerpt.Line(c.URL, 79))
	}
	if c.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "gaff")
	req.Header.Set("Idempotency-Key", idempotencyKey(s, u))
	vars["secrets"] = e.o.Secrets
	for name, text := range s.def.headers {
		if text == nil {
			continue
		}
		v, err := evalText(text, vars)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		req.Header.Set(name, v)
	}
	return req, nil
}

// idempotencyKey is the same for automatic attempts, so that the receiver processes the call once.
// An attempt that a person asked for has another.
func idempotencyKey(s *stepState, u *runs.Step) string {
	first := *u
	first.Attempt -= u.AttemptsSinceReset - 1
	return u.RunID + "/" + stepKey(s, &first)
}

// readReply returns the result of a call.
func readReply(res *http.Response) (result map[string]any, retryable bool, err error) {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, true, fmt.Errorf("read the reply: %w", err)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return nil, temporary(res.StatusCode), fmt.Errorf("answered %s: %s", res.Status, excerpt.Line(strings.ToValidUTF8(string(text), ""), 79))
	case len(text) > maxReply:
		return nil, false, fmt.Errorf("the reply is longer than %d bytes", maxReply)
	}
	result = map[string]any{"status": int64(res.StatusCode), "body": nil}
	if json.Valid(text) {
		result["body"] = decode(text)
	} else {
		result["body"] = strings.ToValidUTF8(string(text), "\uFFFD")
	}
	return result, false, nil
}

// temporary reports whether a status means that another attempt can succeed.
func temporary(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusConflict:
		return true
	}
	return status >= 500
}
