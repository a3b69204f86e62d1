package gaff

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Schemas validate the data of a source's events.
type Schemas struct {
	// Validate returns how the data of an event of a type violates its schema; nil if it does not,
	// or the type has no schema. spent is what it returned for the event before in the same request;
	// it bounds the effort of a request by that. An error is why it cannot validate now: the sender
	// gets 503, and retries. It is called by many goroutines at once.
	Validate func(ctx context.Context, eventType string, data []byte, spent SchemaEffort) (*SchemaViolation, SchemaEffort, error)
	// Refuse answers a request with a violation 422, and stores a rejection in place of its events.
	// Otherwise they are stored with it.
	Refuse bool
}

// SchemaEffort is the effort of validating the events of one request.
type SchemaEffort struct {
	// Steps is the number of comparisons with parts of a schema.
	Steps int
	// Waited is the time until validations of other requests ended.
	Waited time.Duration
}

// SchemaViolation says how the data of an event violates a schema.
type SchemaViolation struct {
	// Schema names the schema: the event type that it is for, or "*".
	Schema   string          `json:"schema"`
	Problems []SchemaProblem `json:"problems"`
	// More is the number of problems that are left out.
	More int `json:"more,omitempty"`
}

// SchemaProblem is one problem. It has no values of the event.
type SchemaProblem struct {
	// Path is the JSON pointer of the value; empty for the whole data.
	Path string `json:"path"`
	// Keyword is that of the schema, such as "required"; may be empty.
	Keyword string `json:"keyword,omitempty"`
	Message string `json:"message"`
}

// String returns the first problem, and the number of the others.
func (v *SchemaViolation) String() string {
	if len(v.Problems) == 0 {
		return "violates its schema"
	}
	first := v.Problems[0]
	path := first.Path
	if path == "" {
		path = "the body"
	}
	text := path + " " + first.Message
	if more := len(v.Problems) - 1 + v.More; more > 0 {
		text += fmt.Sprintf(" (and %d more problems)", more)
	}
	return text
}

// violation validates data, and adds to the effort for the request; status 0 lets it in.
func (g *Gateway) violation(ctx context.Context, src *Source, env Envelope, spent SchemaEffort) (*SchemaViolation, SchemaEffort, reply) {
	v, spent, err := src.Schemas.Validate(ctx, env.Type, env.Data, spent)
	if err != nil {
		return nil, spent, tryAgain.because("validate by the schema: %v", err)
	}
	if v == nil {
		return nil, spent, reply{}
	}
	if g.opt.Hooks.Violated != nil {
		g.opt.Hooks.Violated(src.Name, v.Schema, src.Schemas.Refuse)
	}
	if !src.Schemas.Refuse {
		return v, spent, reply{}
	}
	return v, spent, violates(v)
}

// violates answers a violation. The sender is verified, so it gets the problems.
func violates(v *SchemaViolation) reply {
	body, err := json.Marshal(struct {
		Error    string          `json:"error"`
		Problems []SchemaProblem `json:"problems"`
	}{"Schema violation", v.Problems})
	if err != nil {
		body = []byte(`{"error":"Schema violation"}`)
	}
	rp := reply{status: http.StatusUnprocessableEntity, body: string(body)}
	return rp.because("violates the schema for %q: %s", v.Schema, v)
}
