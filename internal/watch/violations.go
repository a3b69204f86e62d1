package watch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gaff"
	"gaff/internal/alert"
)

// violationsFor is how long after its last violation of a schema a source raises an alert.
const violationsFor = 10 * time.Minute

// Violations counts the events that violate a schema on this node. Sources and schemas bound its
// size: they are of the configuration.
type Violations struct {
	mu  sync.Mutex
	all map[violated]*violations
}

type violated struct{ source, schema string }

type violations struct {
	count   int64
	last    time.Time
	refused bool
}

// Record counts an event; see gaff.Hooks.
func (v *Violations) Record(source, schema string, refused bool) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = map[violated]*violations{}
	}
	of := v.all[violated{source, schema}]
	if of == nil {
		of = &violations{}
		v.all[violated{source, schema}] = of
	}
	of.count, of.last, of.refused = of.count+1, now, refused
}

// SchemaViolations finds the sources with recent violations of a schema.
func SchemaViolations(v *Violations) Check {
	return Check{Kind: gaff.EventSchemaViolation, Look: func(_ context.Context, now time.Time) (f alert.Finding, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		for of, n := range v.all {
			if now.Sub(n.last) >= violationsFor {
				delete(v.all, of)
				continue
			}
			if len(f.Signals) == maxSignals {
				break
			}
			effect := "are stored and marked"
			if n.refused {
				effect = "are refused"
			}
			f.Signals = append(f.Signals, alert.Signal{
				Cause: of.source + "/" + of.schema, Title: fmt.Sprintf("Events of source %s violate the schema for %s and %s", of.source, of.schema, effect),
				Count: n.count, SeenAt: n.last,
				Data: map[string]any{"source": of.source, "schema": of.schema, "refused": n.refused, "count": n.count},
			})
		}
		f.End = func(a *alert.Alert) alert.End {
			if now.Sub(a.SeenAt) < violationsFor { // of another node
				return alert.Unknown
			}
			return alert.Ended
		}
		return f, nil
	}}
}
