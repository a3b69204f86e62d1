package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/httpx"
	"gaff/internal/id"
	"gaff/internal/redact"
)

// Probe sends a test event, "gaff:test", once, regardless of filter and state. It returns the
// exchange, nil if no request was made, and the error of either.
func (d *Destination) Probe(ctx context.Context) (*Exchange, error) {
	now := time.Now()
	ev := &gaff.Event{
		ID: id.New(id.Event, now), Source: gaff.InternalSource, Type: "test", ReceivedAt: now,
		Data: json.RawMessage(`{"message":"a test of gaff's; there is nothing to do"}`),
	}
	out, err := d.message(ctx, ev)
	switch {
	case err != nil:
		return nil, err
	case out.drop:
		return nil, errors.New("nothing was sent: the transformation returned null for the test event")
	case d.Batch != nil:
		out = d.joined([]batchItem{{out: out}})
	}
	if err := d.authenticate(out, ev.ID, now); err != nil {
		return nil, err
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	ex := d.send(ctx, cancel, out)
	return ex, ex.err
}

// Exchange is the request and the response of one attempt, shortened; it is stored with it.
type Exchange struct {
	Request    Sent      `json:"request"`
	Response   *Received `json:"response,omitempty"` // nil without a response
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
	// Of a response so much is stored; up to drained is read, so that the connection can be
	// reused.
	maxStoredBody  = 4 << 10
	keptOfGood     = 512
	drained        = 64 << 10
	bodyWait       = 3 * time.Second
	storedHeaders  = 24
	maxStoredValue = 256
	maxDetail      = 15 << 10
)

// exchange makes the request. It reads a bounded part of the response, for a bounded time.
func (d *Destination) exchange(ctx context.Context, cancel context.CancelFunc, out *outgoing) *Exchange {
	ex := d.unsent(out, nil)
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
		ex.Request.Body = clip(out.shown(), maxStoredBody)
		return ex
	}
	defer res.Body.Close()
	// The status is known; a body that hangs must not block the worker.
	late := time.AfterFunc(bodyWait, cancel)
	defer late.Stop()
	good := res.StatusCode/100 == 2
	keep := maxStoredBody
	if good {
		keep = keptOfGood
	} else {
		ex.Request.Body = clip(out.shown(), maxStoredBody)
	}
	wanted := keep + 1
	awaited := good && gaff.AwaitsReply(ctx)
	if awaited {
		wanted = gaff.MaxAnswerBytes + 1
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, int64(wanted)))
	if awaited && err == nil {
		gaff.Respond(ctx, answerType(res.Header), head)
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, res.Body, drained)
	}
	ex.Response = &Received{
		Status: res.StatusCode, Headers: keepHeaders(res.Header, nil), Body: clip(head, keep),
		Truncated: len(head) > keep || err == nil || !errors.Is(err, io.EOF),
	}
	ex.retryAfter, ex.hasRetryAfter = httpx.RetryAfter(res.Header, time.Now())
	return ex
}

// answerType returns the content type of a response for the sender that waits for it.
func answerType(header http.Header) string {
	if kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type")); err == nil {
		return mime.FormatMediaType(kind, parameters)
	}
	return "application/octet-stream"
}

// unsent returns an exchange without a response.
func (d *Destination) unsent(out *outgoing, err error) *Exchange {
	return &Exchange{err: err, Request: Sent{Method: out.method, URL: redact.Host(d.URL), Headers: d.sentHeaders(out), Bytes: len(out.body)}}
}

// plain removes the URL from an error, and names the timeout.
func plain(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return redact.Const("the connection was closed without an answer")
	}
	return err
}

// hint explains a response, for the error.
func (ex *Exchange) hint() string {
	switch {
	case ex.Response.Status/100 == 3:
		return fmt.Sprintf("redirects are not followed; if the receiver has moved to %.200q, enter that URL", ex.Response.Headers["Location"])
	case ex.Response.Body != "":
		return fmt.Sprintf("%.200s", strings.Join(strings.Fields(ex.Response.Body), " "))
	}
	return ""
}

// note stores the exchange with the attempt, shortened until it fits.
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
		ex.Request.Body = clip(ex.Request.Body, len(ex.Request.Body)/2)
		if ex.Response != nil {
			ex.Response.Body, ex.Response.Truncated = clip(ex.Response.Body, len(ex.Response.Body)/2), true
		}
	}
}

func clip[T string | []byte](text T, limit int) string {
	return strings.ToValidUTF8(string(excerpt.Prefix(text, limit)), "\uFFFD")
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
	for name, values := range redact.Headers(header, secrets) {
		if len(kept) == storedHeaders {
			break
		}
		kept[clip(name, 128)] = clip(redact.Signature(name, strings.Join(values, ", ")), maxStoredValue)
	}
	return kept
}

// judge turns a response into the outcome of the attempt.
func (d *Destination) judge(ctx context.Context, ex *Exchange, delivery gaff.Delivery) error {
	if ex.err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) || errors.Is(context.Cause(ctx), gaff.ErrStopped) {
			d.health.abstain()
			return ex.err
		}
		d.record(delivery.ID, ex.err)
		return ex.err
	}
	status := ex.Response.Status
	if status/100 == 2 {
		d.record(delivery.ID, nil)
		return nil
	}
	err := error(&statusError{status, ex.hint()})
	now := time.Now()
	switch {
	case status == http.StatusGone:
		d.health.abstain()
		d.disable("the receiver answered 410 Gone")
		return err
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		if !ex.hasRetryAfter {
			break
		}
		// The receiver works, so its circuit stays closed.
		after := min(ex.retryAfter, time.Duration(d.LongestWait))
		d.health.hold(now.Add(after), err)
		policy := d.HandleOptions().Retry
		return gaff.RetryAfter(max(after, policy.Wait(delivery.Attempts+1)), err)
	case d.final(status):
		// The receiver works, and rejects this event.
		d.health.answered(err)
		return gaff.Discard(err)
	}
	d.record(delivery.ID, err)
	return err
}

// statusError is an answer other than 2xx. hint quotes the receiver.
type statusError struct {
	status int
	hint   string
}

func (e *statusError) Error() string {
	if e.hint == "" {
		return e.LogText()
	}
	return e.LogText() + ": " + e.hint
}

// LogText returns the status alone: the answer is with the attempt.
func (e *statusError) LogText() string {
	return fmt.Sprintf("answered %d %s", e.status, http.StatusText(e.status))
}

// HTTPStatus returns the status of the answer, by which failures are grouped.
func (e *statusError) HTTPStatus() int { return e.status }

func (d *Destination) final(status int) bool {
	for _, s := range d.Final {
		if s == status {
			return true
		}
	}
	return false
}

func (d *Destination) disable(reason string) {
	d.health.pause(StateDisabled, reason)
	d.o.Log.Warn("destination disabled; resume it when the receiver is back", "destination", d.Name, "reason", reason)
	if d.o.Disabled != nil {
		d.o.Disabled(d.Name, reason)
	}
}
