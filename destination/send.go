package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gaff"
	"gaff/client"
	"gaff/internal/excerpt"
	"gaff/internal/httpx"
	"gaff/internal/redact"
)

// outgoing is what one try sends.
type outgoing struct {
	method string
	header http.Header
	body   []byte
	// secrets are the places of the sender's secret in it.
	secrets []string
}

// shown returns the body as an attempt keeps it.
func (out *outgoing) shown() []byte {
	return redact.Body(out.header.Get("Content-Type"), out.body, out.secrets)
}

// outgoing builds the message. An error is one of the store's: nothing was sent.
func (d *Destination) outgoing(ctx context.Context, ev *gaff.Event, deliveryID string, now time.Time) (*outgoing, error) {
	out := &outgoing{method: http.MethodPost, header: http.Header{"Content-Type": {"application/json"}}}
	if d.Format == FormatOriginal && ev.Request != nil {
		out.header, out.body, out.secrets = passOn(ev.Request.Header), ev.Request.Body, ev.Verification.Secrets
	} else {
		e, err := d.o.envelope(ctx, ev)
		if err != nil {
			return nil, err
		}
		switch out.body, err = d.write(e); {
		case errors.Is(err, errTransform):
			return nil, err
		case err != nil:
			return nil, gaff.Discard(err)
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
			return nil, gaff.Discard(fmt.Errorf("write the event: %w", err))
		}
	}
	for name, values := range d.compiled.header {
		out.header[name] = values
	}
	if d.SignatureHeader != "" {
		out.header.Set(d.SignatureHeader, d.plainSignature(out.body))
	}
	if len(d.standard) > 0 {
		if err := d.sign(out, deliveryID, now); err != nil {
			return nil, gaff.Discard(err)
		}
	}
	return out, nil
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

// NewEnvelope writes what is sent of an event, a [client.Envelope]; l may be nil.
func NewEnvelope(ctx context.Context, ev *gaff.Event, l Lookup) (json.RawMessage, error) {
	e, err := (&Options{Lookup: l}).envelope(ctx, ev)
	if err != nil {
		return nil, err
	}
	return e.MarshalJSON()
}

// lookupWait is when an event is tried again whose job could not be read.
const lookupWait = 5 * time.Second

func (o *Options) envelope(ctx context.Context, ev *gaff.Event) (*client.Envelope, error) {
	e := &client.Envelope{
		ID: ev.ID, Source: ev.Source, Type: ev.Type, Timestamp: ev.ReceivedAt.UTC().Truncate(time.Millisecond), Data: validJSON(ev.Data),
		Event: client.Event{WebhookID: ev.WebhookID, CorrelationID: ev.CorrelationID, OccurredAt: when(ev.OccurredAt), ParentID: ev.ParentID},
	}
	if o.Lookup == nil {
		return e, nil
	}
	j, files, err := o.Lookup.JobOf(ctx, ev)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		// A failure of the database is not the receiver's: no attempt counts.
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
	for _, m := range files {
		e.Media = append(e.Media, client.Media{
			ID: m.ID, JobID: m.JobID, ProjectID: m.ProjectID, URL: m.URL, StoredURL: m.StoredURL, MediaType: m.MediaType,
			ContentType: m.ContentType, Size: max(m.Size, 0), SHA256: m.SHA256, Metadata: validJSON(m.Metadata),
		})
	}
	return e, nil
}

// validJSON returns JSON unchanged, except that bytes that are not UTF-8 are replaced: strict
// readers would reject the whole document. Invalid JSON becomes null.
func validJSON(raw json.RawMessage) json.RawMessage {
	switch {
	case len(raw) == 0 || !json.Valid(raw):
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

// Exchange is what was sent and answered at one try, in part; it is kept with the attempt.
type Exchange struct {
	Request    Sent      `json:"request"`
	Response   *Received `json:"response,omitempty"` // nil if there was none
	DurationMs float64   `json:"durationMs"`

	err           error
	retryAfter    time.Duration
	hasRetryAfter bool
}

// Sent is a request: headers with secrets masked, and the first bytes of the body.
type Sent struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"`
	Bytes   int               `json:"bytes"`
}

// Received is an answer: some headers, and the first bytes of the body.
type Received struct {
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body,omitempty"`
	Truncated bool              `json:"truncated,omitempty"`
}

const (
	// Of an answer so much is kept; so much more is read, so that the connection can be
	// used again.
	maxStoredBody  = 4 << 10
	keptOfGood     = 512
	drained        = 64 << 10
	bodyWait       = 3 * time.Second
	storedHeaders  = 24
	maxStoredValue = 256
	maxDetail      = 15 << 10
)

// exchange makes the request. Whatever the receiver does, little of it is read, and not for
// long.
func (d *Destination) exchange(ctx context.Context, cancel context.CancelFunc, out *outgoing) *Exchange {
	ex := &Exchange{Request: Sent{Method: out.method, URL: redact.Host(d.URL), Headers: d.sentHeaders(out), Bytes: len(out.body)}}
	started := time.Now()
	defer func() { ex.DurationMs = float64(time.Since(started).Microseconds()) / 1000 }()
	req, err := http.NewRequestWithContext(ctx, out.method, d.URL, bytes.NewReader(out.body))
	if err != nil {
		ex.err = err
		return ex
	}
	req.Header = out.header
	res, err := d.client.Do(req)
	if err != nil {
		ex.err = plain(ctx, err)
		ex.Request.Body = clipBody(out.shown(), maxStoredBody)
		return ex
	}
	defer res.Body.Close()
	// The status is there; a body that hangs must not hold the worker.
	late := time.AfterFunc(bodyWait, cancel)
	defer late.Stop()
	good := res.StatusCode/100 == 2
	keep := maxStoredBody
	if good {
		keep = keptOfGood
	} else {
		ex.Request.Body = clipBody(out.shown(), maxStoredBody)
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, int64(keep)+1))
	if err == nil {
		_, err = io.CopyN(io.Discard, res.Body, drained)
	}
	ex.Response = &Received{
		Status: res.StatusCode, Headers: keepHeaders(res.Header, nil), Body: clipBody(head, keep),
		Truncated: len(head) > keep || err == nil || !errors.Is(err, io.EOF),
	}
	ex.retryAfter, ex.hasRetryAfter = httpx.RetryAfter(res.Header, time.Now())
	return ex
}

// plain takes the URL off an error, and names the timeout.
func plain(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the connection was closed without an answer")
	}
	return err
}

// hint says what to do about an answer.
func (ex *Exchange) hint() string {
	switch {
	case ex.Response.Status/100 == 3:
		return fmt.Sprintf("redirects are not followed; if the receiver has moved to %.200q, enter that address", ex.Response.Headers["Location"])
	case ex.Response.Body != "":
		return fmt.Sprintf("%.200s", strings.Join(strings.Fields(ex.Response.Body), " "))
	}
	return ""
}

// note keeps the exchange with the attempt, cut until it fits.
func (ex *Exchange) note(ctx context.Context) {
	for {
		text, err := json.Marshal(ex)
		if err != nil {
			return
		}
		if len(text) <= maxDetail || ex.Request.Body == "" && (ex.Response == nil || ex.Response.Body == "") {
			gaff.SetDetail(ctx, string(text))
			return
		}
		ex.Request.Body = clipBody([]byte(ex.Request.Body), len(ex.Request.Body)/2)
		if ex.Response != nil {
			ex.Response.Body, ex.Response.Truncated = clipBody([]byte(ex.Response.Body), len(ex.Response.Body)/2), true
		}
	}
}

func clipBody(body []byte, limit int) string {
	return strings.ToValidUTF8(string(excerpt.Prefix(body, limit)), "\uFFFD")
}

// sentHeaders returns what an attempt keeps of a request's headers: without the values that
// the destination's settings add, and without the sender's secret.
func (d *Destination) sentHeaders(out *outgoing) map[string]string {
	secrets := slices.Clone(out.secrets)
	for name := range d.compiled.header {
		secrets = append(secrets, "header:"+name)
	}
	return keepHeaders(out.header, secrets)
}

func keepHeaders(header http.Header, secrets []string) map[string]string {
	kept := make(map[string]string, min(len(header), storedHeaders))
	for name, values := range redact.Header(header, secrets) {
		if len(kept) == storedHeaders {
			break
		}
		kept[clipBody([]byte(name), 128)] = clipBody([]byte(redact.Signature(name, strings.Join(values, ", "))), maxStoredValue)
	}
	return kept
}
