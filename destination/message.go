package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gaff"
	"gaff/client"
	"gaff/internal/jsonscan"
	"gaff/internal/redact"
	"gaff/jobs"
)

// outgoing is the message of one attempt.
type outgoing struct {
	method string
	header http.Header
	body   []byte
	// secrets are the places of the sender's secret in it.
	secrets []string
	// drop is set if a transformation returned null: nothing is to be sent. logs are its lines of
	// console.log.
	drop bool
	logs []string
}

// Headers of replayed events.
const (
	// HeaderEdited is the id of the original of an edited event.
	HeaderEdited = "Gaff-Edited"
	// HeaderReplay is the id of the replay to a URL.
	HeaderReplay = "Gaff-Replay"
)

// shown returns the body as it is stored with an attempt.
func (out *outgoing) shown() []byte {
	return redact.Body(out.header.Get("Content-Type"), out.body, out.secrets)
}

// message writes an event in the destination's form, without what authenticates the request.
func (d *Destination) message(ctx context.Context, ev *gaff.Event) (*outgoing, error) {
	out := &outgoing{method: http.MethodPost, header: http.Header{"Content-Type": {"application/json"}}}
	if d.Format == FormatOriginal && ev.Request != nil {
		out.header, out.body, out.secrets = passOn(ev.Request.Header), ev.Request.Body, ev.Verification.Secrets
	} else {
		e, err := d.o.envelope(ctx, ev)
		if err != nil {
			return nil, err
		}
		if err := d.fill(ctx, ev, e, out); err != nil {
			return nil, err
		}
	}
	if ev.Verification.Scheme == gaff.EditedScheme {
		out.header.Set(HeaderEdited, ev.ParentID)
	}
	return out, nil
}

// fill sets the body and the headers that an envelope has in the destination's form.
func (d *Destination) fill(ctx context.Context, ev *gaff.Event, e *client.Envelope, out *outgoing) error {
	err := d.write(ctx, e, out)
	if err != nil {
		return err
	}
	switch d.Format {
	case FormatCloudEvents:
		out.body, err = d.o.cloudEvent(ev, out.body)
		out.header.Set("Content-Type", "application/cloudevents+json")
	case FormatCloudEventsBinary:
		for name, value := range d.o.cloudAttributes(ev) {
			out.header.Set("Ce-"+name, escapeCE(value))
		}
	}
	if err != nil {
		return gaff.Discard(fmt.Errorf("write the event: %w", err))
	}
	return nil
}

// authenticate adds the destination's own headers and the signatures.
func (d *Destination) authenticate(out *outgoing, id string, now time.Time) error {
	for name, values := range d.compiled.header {
		out.header[name] = values
	}
	if d.SignatureHeader != "" {
		out.header.Set(d.SignatureHeader, d.plainSignature(out.body))
	}
	if len(d.standard) > 0 {
		return d.sign(out, id, now)
	}
	return nil
}

// sign adds a signature of each secret.
func (d *Destination) sign(out *outgoing, id string, now time.Time) error {
	var signatures []string
	for _, secret := range d.standard {
		s, err := client.Sign(secret, id, now.Unix(), out.body)
		if err != nil {
			return err
		}
		signatures = append(signatures, s)
	}
	out.header.Set(client.HeaderID, id)
	out.header.Set(client.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	out.header.Set(client.HeaderSignature, strings.Join(signatures, " "))
	return nil
}

// hopByHop are headers that belong to the connection a request came by, or that a proxy on
// its way added.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect", "Accept-Encoding",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip", "Forwarded", "Via",
}

// passOn copies the headers that a request has from end to end.
func passOn(header http.Header) http.Header {
	out := header.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, value := range header.Values("Connection") {
		for name := range strings.SplitSeq(value, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		out.Del(name)
	}
	return out
}

// Original returns what [FormatOriginal] sends of an event: the body and the headers from
// end to end. ok is false for inner events.
func Original(ev *gaff.Event) (header http.Header, body []byte, ok bool) {
	if ev.Request == nil {
		return nil, nil, false
	}
	return passOn(ev.Request.Header), ev.Request.Body, true
}

// NewEnvelope encodes the [client.Envelope] of an event; l may be nil.
func NewEnvelope(ctx context.Context, ev *gaff.Event, l Lookup) (json.RawMessage, error) {
	e, err := (&Options{Lookup: l}).envelope(ctx, ev)
	if err != nil {
		return nil, err
	}
	return e.MarshalJSON()
}

// lookupWait is the delay of a delivery whose job could not be read.
const lookupWait = 5 * time.Second

func (o *Options) envelope(ctx context.Context, ev *gaff.Event) (*client.Envelope, error) {
	e := &client.Envelope{
		ID: ev.ID, Source: ev.Source, Type: ev.Type, Timestamp: ev.ReceivedAt.UTC().Truncate(time.Millisecond), Data: validJSON(ev.Data),
		Event: client.Event{WebhookID: ev.WebhookID, CorrelationID: ev.CorrelationID, OccurredAt: when(ev.OccurredAt), ProjectID: ev.ProjectID, ParentID: ev.ParentID},
	}
	if o.Lookup == nil {
		return e, nil
	}
	j, files, err := o.Lookup.JobOf(ctx, ev)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		// A failure of the database is not the receiver's: it counts no attempt.
		return nil, gaff.Snooze(lookupWait)
	}
	if j != nil {
		e.Job = &client.Job{
			ID: j.ID, Provider: j.Provider, Model: j.Model, Kind: j.Kind, ProjectID: j.ProjectID, UserID: j.UserID,
			RequestID: j.RequestID, Status: j.Status.String(), Result: validJSON(j.Result), Error: j.Error, ErrorType: j.ErrorType,
			SettledBy: j.SettledBy, Metadata: validJSON(j.Metadata), CreatedAt: when(j.CreatedAt), SubmittedAt: when(j.SubmittedAt),
			SettledAt: when(j.SettledAt),
		}
	}
	for i := range files {
		e.Media = append(e.Media, mediaOf(files, &files[i]))
	}
	return e, nil
}

// mediaOf describes one of a job's files.
func mediaOf(files []jobs.Media, m *jobs.Media) client.Media {
	doc := client.Media{
		ID: m.ID, JobID: m.JobID, ProjectID: m.ProjectID, URL: m.URL, StoredURL: m.Links.StoredURL,
		StoredURLExpiresAt: when(m.Links.ExpiresAt), ThumbnailURL: m.Links.ThumbnailURL, LinkURL: m.Links.LinkURL,
		LinkThumbnailURL: m.Links.LinkThumbnailURL, MediaType: m.MediaType, ContentType: m.ContentType,
		Size: max(m.Size, 0), SHA256: m.SHA256, Metadata: validJSON(m.Metadata),
	}
	if poster := jobs.PosterOf(files, m); poster != nil {
		doc.PosterURL, doc.LinkPosterURL = poster.Links.StoredURL, poster.Links.LinkURL
	}
	return doc
}

// validJSON returns JSON unchanged, except that bytes that are not UTF-8 are replaced: strict
// readers would reject the whole document. Invalid JSON becomes null.
func validJSON(raw json.RawMessage) json.RawMessage {
	switch {
	case len(raw) == 0 || !jsonscan.Valid(raw):
		return json.RawMessage("null")
	case !utf8.Valid(raw):
		return bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	}
	return raw
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// cloudAttributes are the context attributes of CloudEvents 1.0.
func (o *Options) cloudAttributes(ev *gaff.Event) map[string]string {
	source := o.BaseURL + gaff.PathPrefix + url.PathEscape(ev.Source)
	if ev.Source == gaff.InternalSource {
		if source = o.BaseURL; source == "" {
			source = "/"
		}
	}
	attrs := map[string]string{
		"specversion": "1.0", "id": ev.ID, "source": source, "type": ev.Source + "." + ev.Type,
		"time": ev.ReceivedAt.UTC().Format(time.RFC3339Nano),
	}
	if ev.CorrelationID != "" {
		attrs["subject"] = ev.CorrelationID
	}
	return attrs
}

func (o *Options) cloudEvent(ev *gaff.Event, envelope []byte) ([]byte, error) {
	doc := map[string]any{"datacontenttype": "application/json", "data": json.RawMessage(envelope)}
	for name, value := range o.cloudAttributes(ev) {
		doc[name] = value
	}
	return json.Marshal(doc)
}

// escapeCE writes an attribute as the HTTP binding wants it: everything but printable ASCII,
// and space, quote and percent, as %XX.
func escapeCE(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c > ' ' && c < 0x7f && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
