package fal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gaff"
)

// Result is the payload of a completed image generation, the most common one; for other
// models decode [Payload] into a type of your own. Decoding takes the payload alone, or a
// whole webhook body of either dialect.
type Result struct {
	Images []File      `json:"images"`
	Video  *File       `json:"video"`
	Seed   json.Number `json:"seed"`
	Prompt string      `json:"prompt"`
	// Extra is the whole payload.
	Extra json.RawMessage `json:"-"`
}

// File is one file of a result. Any field but URL may be missing.
type File struct {
	URL         string      `json:"url"`
	ContentType string      `json:"content_type"`
	FileName    string      `json:"file_name"`
	FileSize    int64       `json:"file_size"`
	Width       int         `json:"width"`
	Height      int         `json:"height"`
	Duration    json.Number `json:"duration"`
}

// UnmarshalJSON decodes a payload, also out of a webhook body. A body without a payload is an
// error: see [Payload].
func (r *Result) UnmarshalJSON(data []byte) error {
	if env, err := decode(data); err == nil && env.isWebhook() {
		if data, err = env.payload(); err != nil {
			return err
		}
	}
	type plain Result // without this method
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*r = Result(p)
	r.Extra = slices.Clone(data)
	return nil
}

// isWebhook reports whether this is the body of a webhook, not a payload, whose members are the
// model's own.
func (e *envelope) isWebhook() bool {
	_, known := words[e.Status]
	return known && e.RequestID != ""
}

// payload returns the model's result, in either dialect.
func (e *envelope) payload() (json.RawMessage, error) {
	payload := e.Payload
	if words[e.Status].document {
		payload = e.Result
	}
	if len(payload) > 0 && !bytes.Equal(payload, []byte("null")) {
		return payload, nil
	}
	if e.PayloadError != "" {
		return nil, fmt.Errorf("fal put no result into the webhook (%s): handle gaff:job.completed, whose job has it", e.PayloadError)
	}
	return nil, errors.New("the webhook has no payload")
}

// Payload returns what the model returned, out of an event of either dialect; for [Failed] it
// is fal's error body. It is an error if the webhook has none: fal leaves out what it cannot
// write as JSON, and an event in progress has nothing yet.
func Payload(ev *gaff.Event) (json.RawMessage, error) {
	env, err := decode(ev.Data)
	if err != nil {
		return nil, err
	}
	return env.payload()
}

// Handle makes a handler of a function that takes the [Payload] of a completed generation decoded
// into T, such as a [Result]. See [Handler].
func Handle[T any](f func(ctx context.Context, payload T) error) gaff.Handler {
	return Handler(func(ctx context.Context, _ *gaff.Event, payload T) error { return f(ctx, payload) })
}

// Handler makes a handler of a function that takes an event's [Payload] decoded into T, such
// as a [Result]. An event without a payload, or one that does not fit T, is discarded with
// the reason: another attempt would read the same.
func Handler[T any](f func(ctx context.Context, ev *gaff.Event, payload T) error) gaff.Handler {
	return gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
		raw, err := Payload(ev)
		var payload T
		if err == nil {
			err = json.Unmarshal(raw, &payload)
		}
		if err != nil {
			return gaff.Discard(fmt.Errorf("read the payload of %s:%s as %T: %w", ev.Source, ev.Type, payload, err))
		}
		return f(ctx, ev, payload)
	})
}
