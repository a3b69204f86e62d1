package verify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/payload"
)

// graph is Microsoft Graph: each notification of a batch has the shared text.
type graph struct {
	states token // compares digests
	list   pointers
	item   pointers
}

func (v *graph) describe() string { return "a shared text in clientState of each notification" }

func (v *graph) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "msgraph"}
	found, err := v.list.find(r.Text())
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var items []json.RawMessage
	if len(found[0]) == 0 || found[0][0] != '[' || json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		return out, fmt.Errorf("body: %w: value is not a list with notifications", ErrMalformed)
	}
	for i, item := range items {
		raw, err := v.item.find(item)
		if err != nil {
			return out, fmt.Errorf("notification %d: %w: %w", i, ErrMalformed, err)
		}
		text, ok := claimText(raw[0])
		if !ok || text == "" {
			return out, fmt.Errorf("notification %d: clientState: %w", i, ErrMissing)
		}
		if out.KeyID = v.states.match(text); out.KeyID == "" {
			return out, fmt.Errorf("notification %d: clientState: %w", i, ErrMismatch)
		}
	}
	return out, nil
}

func (v *graph) sign(r *gaff.Request, _ time.Time) error {
	found, err := v.list.find(r.Text())
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		items = []json.RawMessage{nil}
		if r.Body, err = payload.SetJSON(r.Body, "/value", []any{map[string]any{"id": strings.ToLower(rand.Text()), "changeType": "updated"}}); err != nil {
			return err
		}
	}
	for i := range items {
		if r.Body, err = payload.SetJSON(r.Body, fmt.Sprintf("/value/%d/clientState", i), v.states.plain[0]); err != nil {
			return err
		}
	}
	return nil
}

func newGraph(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	s.Token = &Token{Location: Location{In: "json", Pointer: "/clientState"}}
	v := &graph{states: *newToken(s, o, f)}
	v.list.must("/value")
	v.item.must("/clientState")
	return v
}
