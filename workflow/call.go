package workflow

import (
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
	"gaff/workflow/runs"
)

// maxReply is how much of a reply to a call is read, in bytes.
const maxReply = 1 << 20

// call is what an http step was given, as it is stored; headers are not.
type call struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// handleCall makes the call of an http step. A kill in the midst of it makes it be repeated,
// with the same Idempotency-Key.
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
	result, again, failure := e.call(ctx, a, s, u)
	if failure != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), gaff.ErrStopped) {
		return failure // made again at the next start
	}
	return e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		s, u := a.st.find(m.Step, m.Item)
		if !current(u) {
			return false, nil
		}
		if failure != nil {
			a.fail(s, u, failure.Error(), !again)
		} else {
			a.complete(s, u, result)
		}
		return true, nil
	})
}

// call makes one call. again tells that another try may end better.
func (e *Engine) call(ctx context.Context, a *advance, s *stepState, u *runs.Step) (result map[string]any, again bool, err error) {
	if e.o.Client == nil {
		return nil, false, errors.New("http steps are switched off")
	}
	vars, err := a.variables(s.def.startRefs)
	if err != nil {
		return nil, true, err
	}
	if u.Item >= 0 {
		over, err := a.v.items(s.def.Name)
		if err != nil {
			return nil, true, err
		}
		if u.Item < len(over) {
			vars["item"], vars["index"] = over[u.Item], int64(u.Item)
		}
	}
	input, err := a.v.(*loader).input(u.Name, u.Item)
	if err != nil {
		return nil, true, err
	}
	var c call
	if err := json.Unmarshal(input, &c); err != nil {
		return nil, false, fmt.Errorf("read what the step was given: %w", err)
	}
	timeout := callTimeout
	if t := time.Duration(s.def.Timeout); t > 0 {
		timeout = min(t, maxCallTimeout)
	}
	callCtx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no reply within %s", timeout))
	defer cancel()
	var body io.Reader
	if c.Body != nil {
		body = strings.NewReader(string(c.Body))
	}
	req, err := http.NewRequestWithContext(callCtx, c.Method, c.URL, body)
	if err != nil {
		return nil, false, err
	}
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" || req.URL.Host == "" {
		return nil, false, fmt.Errorf("%s is no address: want http:// or https://", shorten(c.URL))
	}
	if c.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "gaff")
	// The same at every automatic try, so that the receiver does the work once; another
	// after a person had it done again.
	first := *u
	first.Attempt -= u.Tries - 1
	req.Header.Set("Idempotency-Key", u.RunID+"/"+stepKey(s, &first))
	vars["secrets"] = e.o.Secrets
	for name, text := range s.def.headers {
		if text == nil {
			continue
		}
		v, err := text.eval(vars)
		if err != nil {
			return nil, false, fmt.Errorf("header %s: %w", name, err)
		}
		req.Header.Set(name, asText(v))
	}
	res, err := e.o.Client.Do(req)
	if err != nil {
		if cause := context.Cause(callCtx); cause != nil {
			err = cause
		}
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err // the address is shown beside it
		}
		return nil, true, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, true, fmt.Errorf("read the reply: %w", err)
	case res.StatusCode < 200 || res.StatusCode > 299:
		temporary := res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout ||
			res.StatusCode == http.StatusTooEarly || res.StatusCode == http.StatusConflict
		return nil, temporary, fmt.Errorf("answered %s: %s", res.Status, shorten(strings.ToValidUTF8(string(text), "")))
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
