package wire

import (
	"strings"

	"gaff"
	"gaff/destination"
)

// MaxPreviewBody bounds each body of a preview, in bytes.
const MaxPreviewBody = 64 << 10

// PreviewRequest asks what a destination would make of stored events. Members that are missing are
// those of Destination, if it is given.
type PreviewRequest struct {
	Destination string   `json:"destination,omitempty" minLength:"1" doc:"A destination, whose settings the other members replace."`
	Events      []string `json:"events,omitempty" doc:"Which events: source:type with *."`
	Filter      *string  `json:"filter,omitempty" doc:"A CEL condition; empty for none."`
	Format      *string  `json:"format,omitempty" enum:"envelope,original,cloudevents,cloudevents-binary,spec"`
	Transform   *string  `json:"transform,omitempty" doc:"A CEL expression; empty for none."`
	TransformJS *string  `json:"transformJs,omitempty" doc:"JavaScript; empty for none."`
	IDs         []string `json:"ids,omitempty" maxItems:"20" doc:"Stored events; without, the newest ones that match."`
	Source      string   `json:"source,omitempty" minLength:"1" doc:"Only events of this source."`
	Type        string   `json:"type,omitempty" minLength:"1" doc:"Only events of this type."`
	Limit       int      `json:"limit,omitempty" minimum:"1" maximum:"20" doc:"How many events; 5 by default."`
}

// Spec returns the specification to preview: that of the destination, with the members of the request.
func (r PreviewRequest) Spec(of destination.Spec) destination.Spec {
	s := destination.Spec{
		Name: "preview", URL: "https://preview.invalid/", Events: of.Events, Filter: of.Filter, Format: of.Format, Transform: of.Transform,
		TransformJS: of.TransformJS, Batch: of.Batch,
	}
	for _, m := range [...]struct{ from, to *string }{{r.Filter, &s.Filter}, {r.Format, &s.Format}, {r.Transform, &s.Transform}, {r.TransformJS, &s.TransformJS}} {
		if m.from != nil {
			*m.to = *m.from
		}
	}
	switch {
	case r.TransformJS != nil && *r.TransformJS != "" && r.Transform == nil:
		s.Transform = ""
	case r.Transform != nil && *r.Transform != "" && r.TransformJS == nil:
		s.TransformJS = ""
	}
	if r.Events != nil {
		s.Events = r.Events
	}
	return s
}

// Previews is the answer to a preview.
type Previews struct {
	Events []Preview `json:"events" nullable:"false"`
	Failed int       `json:"failed" doc:"How many of them have an error."`
}

// Preview is what a destination would make of an event.
type Preview struct {
	ID          string            `json:"id"`
	Source      string            `json:"source"`
	Type        string            `json:"type"`
	ReceivedAt  Time              `json:"receivedAt"`
	Matches     bool              `json:"matches" doc:"Whether the events of the destination choose it."`
	Passes      bool              `json:"passes" doc:"Whether the filter does."`
	FilterError Text              `json:"filterError" doc:"Why the filter has no value for it; such an event does not pass."`
	Sent        bool              `json:"sent" doc:"Whether it would be sent: it is chosen, and its transformation neither failed nor returned null."`
	Before      string            `json:"before" doc:"The envelope, as JSON."`
	After       Text              `json:"after" doc:"The body of the request; null if it has none."`
	Truncated   bool              `json:"truncated" doc:"A body was longer than 64 KiB, and is cut."`
	Headers     map[string]string `json:"headers" doc:"Those of the body and of the transformation. Secrets are masked."`
	Logs        []string          `json:"logs" nullable:"false" doc:"The lines of console.log."`
	Error       Text              `json:"error" doc:"Why the transformation failed; null if it did not."`
}

// previewBody returns a body, cut after MaxPreviewBody.
func previewBody(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), MaxPreviewBody)]), "")
}

// NewPreview makes the document of a preview.
func NewPreview(ev *gaff.Event, p destination.Preview) Preview {
	doc := Preview{
		ID: ev.ID, Source: ev.Source, Type: ev.Type, ReceivedAt: Time{ev.ReceivedAt}, Matches: p.Matches, Passes: p.Passes,
		Before: previewBody(p.Envelope), After: Text(previewBody(p.Body)),
		Truncated: max(len(p.Envelope), len(p.Body)) > MaxPreviewBody, Headers: map[string]string{}, Logs: texts(p.Logs),
	}
	doc.Sent = p.Matches && p.Passes && !p.Drop && p.Err == nil
	if p.FilterError != nil {
		doc.FilterError = Text(p.FilterError.Error())
	}
	if p.Err != nil {
		doc.Error = Text(p.Err.Error())
	}
	for name, values := range p.Header {
		doc.Headers[name] = strings.Join(values, ", ")
	}
	return doc
}
