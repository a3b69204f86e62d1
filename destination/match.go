package destination

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gaff"
)

// Matches reports whether an event is for the destination.
func (d *Destination) Matches(s *gaff.Subject) bool {
	return d.Chooses(s.Event) && d.passes(s)
}

// Chooses reports whether Spec.Events chooses an event, past the filter.
func (d *Destination) Chooses(ev *gaff.Event) bool {
	return slices.ContainsFunc(d.globs, func(g glob) bool { return g.matches(ev) })
}

var filterVars = []string{"source", "type", "data", "webhookId", "correlationId"}

func (d *Destination) passes(s *gaff.Subject) bool {
	if d.filter == nil {
		return true
	}
	ok, err := d.filter.Bool(variablesOf(s))
	return err == nil && ok
}

// variablesOf returns the values of filterVars.
func variablesOf(s *gaff.Subject) map[string]any {
	return map[string]any{
		"source": s.Event.Source, "type": s.Event.Type, "data": s.Doc(), "webhookId": s.Event.WebhookID,
		"correlationId": s.Event.CorrelationID,
	}
}

// glob is one of Spec.Events.
type glob struct{ source, kind []string }

func newGlob(text string) (glob, error) {
	source, kind, ok := strings.Cut(text, ":")
	if !ok || source == "" || kind == "" || len(text) > 256 || strings.ContainsAny(text, " \t\r\n,") {
		return glob{}, fmt.Errorf(`%.80q is not of the form source:type, such as "shop:*" or "gaff:job.completed"`, text)
	}
	return glob{strings.Split(source, "*"), strings.Split(kind, "*")}, nil
}

func (g glob) matches(ev *gaff.Event) bool {
	if ev.Source == gaff.InternalSource && (len(g.source) > 1 || mechanical(ev.Type) && len(g.kind) > 1 && !strings.HasPrefix(g.kind[0], "workflow.")) {
		return false
	}
	return like(g.source, ev.Source) && (like(g.kind, ev.Type) || g.finished(ev))
}

// finished reports whether the pattern is "gaff:job.finished" or "gaff:run.finished", which
// stand for every way in which a job or a run ends, and the event is one of them.
func (g glob) finished(ev *gaff.Event) bool {
	if ev.Source != gaff.InternalSource || len(g.kind) != 1 {
		return false
	}
	subject, ok := strings.CutSuffix(g.kind[0], ".finished")
	if !ok || subject != "job" && subject != "run" {
		return false
	}
	switch strings.TrimPrefix(ev.Type, subject+".") {
	case "completed", "failed", "cancelled":
		return true
	}
	return false
}

// mechanical reports whether an internal event drives gaff itself. Only patterns that name such
// a type in full match it.
func mechanical(eventType string) bool {
	switch eventType {
	case "job.submit", "job.ask", "job.callback", gaff.EventAlertNotice:
		return true
	}
	return strings.HasPrefix(eventType, "workflow.")
}

// like matches text against a pattern that was split at its stars, in linear time.
func like(parts []string, text string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

// at returns the value at a pointer as text; "" if it is missing, or not a text, number or
// boolean.
func at(doc any, pointer []string) string {
	for _, token := range pointer {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != token {
				return ""
			}
			doc = v[i]
		default:
			return ""
		}
	}
	switch v := doc.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}
