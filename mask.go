package gaff

import (
	"bytes"
	"net/http"
	"slices"

	"gaff/internal/redact"
)

// Masked returns the event as it may be shown: its secrets, by Proof.Secrets and by the
// given places, are masked in the URL, the headers, the body and Data of it and of its
// copies. It shares what needs no masking.
func (d *EventDetail) Masked(secrets []string) *EventDetail {
	shown := *d
	shown.Log = *d.Log.Masked(secrets)
	places := union(d.Verification.Secrets, secrets)
	shown.Copies = slices.Clone(d.Copies)
	for i, c := range shown.Copies {
		shown.Copies[i].Header = redact.Header(c.Header, places)
		shown.Copies[i].Body = redact.Body(http.Header(c.Header).Get("Content-Type"), c.Body, places)
	}
	return &shown
}

// Masked returns the log as it may be shown; see [EventDetail.Masked].
func (l *Log) Masked(secrets []string) *Log {
	shown := *l
	places := union(l.Verification.Secrets, secrets)
	if l.Source != InternalSource {
		shown.Data = maskData(l.Data, places)
	}
	if r := l.Request; r != nil {
		shown.Request = r.masked(places)
	}
	return &shown
}

func (r *Request) masked(places []string) *Request {
	shown := *r
	shown.URL, shown.Header = redact.URL(r.URL, places), redact.Header(r.Header, places)
	shown.Body = redact.Body(r.Header.Get("Content-Type"), r.Body, places)
	return &shown
}

// maskData masks the JSON that a body is read as, of a whole request or of an item of one.
func maskData(data []byte, places []string) []byte {
	if len(places) == 0 {
		return data
	}
	if slices.Contains(places, "body") {
		return []byte(`"` + redact.Masked + `"`)
	}
	if slices.ContainsFunc(places, redact.InBody) && bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte(`"`)) {
		// A body that was read as text, such as a form where any body is taken: the secret
		// may be anywhere in it.
		return []byte(`"` + redact.Masked + `"`)
	}
	return redact.JSON(redact.JSON(data, places), redact.Items(places))
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// secrets returns the places of a source's secret; none for an unknown source.
func (s *Source) secrets() []string {
	if s == nil {
		return nil
	}
	if s.Redaction.Empty() {
		return s.Secrets
	}
	return union(s.Secrets, s.Redaction.shown())
}
