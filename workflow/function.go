package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/workflow/runs"
)

// functionScheme begins the URL of an http step that calls a function of the program.
const functionScheme = "func:"

// Function is a step of a workflow in Go: an http step with the URL func:NAME. body is the step's
// body, null without one; the returned value, encoded as JSON, is the result's body. An error is
// retried by the step's policy, except one of gaff.Discard. A function can be called again with the same
// [CallKey] if the process ended before its result was stored.
type Function func(ctx context.Context, body json.RawMessage) (any, error)

type callKey struct{}

// CallKey returns the key of the call that a [Function] runs for, the same at each repetition; empty
// outside one.
func CallKey(ctx context.Context) string {
	key, _ := ctx.Value(callKey{}).(string)
	return key
}

// callsFunction reports whether a step names a function. Only the definition can: a URL that comes from
// a webhook never does.
func callsFunction(h *HTTP) bool { return strings.HasPrefix(h.URL, functionScheme) }

// callFunction makes one call of a function.
func (e *Engine) callFunction(ctx context.Context, c *call, s *stepState, u *runs.Step) (result map[string]any, retryable bool, err error) {
	name := strings.TrimPrefix(c.URL, functionScheme)
	var f Function
	if e.o.Functions != nil {
		f = e.o.Functions(name)
	}
	if f == nil {
		return nil, false, fmt.Errorf("the program has no function %q", excerpt.Text(name, 60))
	}
	defer func() {
		if p := recover(); p != nil {
			result, retryable, err = nil, true, fmt.Errorf("function %s panicked: %v", name, p)
		}
	}()
	body := c.Body
	if body == nil {
		body = json.RawMessage("null")
	}
	value, err := f(context.WithValue(ctx, callKey{}, idempotencyKey(s, u)), body)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			err = cause
		}
		return nil, !gaff.IsDiscarded(err), err
	}
	text, err := json.Marshal(value)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("encode the result of function %s: %w", name, err)
	case len(text) > maxReply:
		return nil, false, fmt.Errorf("the result of function %s is longer than %d bytes", name, maxReply)
	}
	return map[string]any{"status": int64(http.StatusOK), "body": decode(text)}, false, nil
}
