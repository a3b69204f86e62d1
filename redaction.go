package gaff

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"gaff/internal/redact"
)

// Redaction says which values of a source's requests are not stored.
type Redaction struct {
	// Pointers are JSON pointers into the body; "*" means every item of a list. A body that
	// is not JSON is read as JSON first, as handlers see it. Headers are names of headers.
	Pointers, Headers []string
	// Processed keeps the values until all handlers have processed the event successfully. Else
	// they are removed before the event is stored.
	Processed bool
}

// Empty reports whether nothing is removed.
func (r *Redaction) Empty() bool { return len(r.Pointers)+len(r.Headers) == 0 }

// places are the pointers as internal/redact has them.
func (r *Redaction) places() (places []string) {
	for _, pointer := range r.Pointers {
		places = append(places, "json:"+pointer)
	}
	return places
}

// Apply replaces the values in an event by "[masked]", and reports whether it changed the event. The
// request of the event is replaced, not changed. A body that is not the event's data, such as a form
// or a batch of events, may have the values anywhere, so the data replaces it.
func (r *Redaction) Apply(ev *Event) (changed bool) {
	var body []byte
	if ev.Request != nil {
		body = ev.Request.Body
	}
	if places := r.places(); len(places) > 0 {
		changed = ev.Request != nil && !bytes.Equal(ev.Data, body)
		if masked := maskData(ev.Data, places); !bytes.Equal(masked, ev.Data) {
			ev.Data, ev.Parsed, changed = masked, nil, true
		}
		body = ev.Data
	}
	if ev.Request == nil {
		return changed
	}
	header := ev.Request.Header
	for _, name := range r.Headers {
		values := header.Values(name)
		if len(values) == 0 || slices.Equal(values, []string{redact.Masked}) {
			continue
		}
		header = header.Clone()
		header.Set(name, redact.Masked)
		changed = true
	}
	if changed {
		req := *ev.Request
		req.Header, req.Body, req.Plain = header, body, nil
		ev.Request = &req
	}
	return changed
}

// shown are the places that no reader of a rejected request sees.
func (r *Redaction) shown() []string {
	places := r.places()
	for _, name := range r.Headers {
		places = append(places, "header:"+strings.ToLower(http.CanonicalHeaderKey(name)))
	}
	return places
}
