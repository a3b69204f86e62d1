package lastframe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"gaff"
	"gaff/internal/httpx"
	"gaff/internal/redact"
	"gaff/jobs"
)

const (
	callTimeout = 25 * time.Second
	maxAnswer   = 1 << 20
)

// ClientOptions of a [Client]. Client is required.
type ClientOptions struct {
	// URL is the service's base, without a slash at the end. Empty: nothing can be
	// submitted.
	URL string
	// Key is sent as a bearer token; empty: none is.
	Key string
	// HTTP makes the calls. It must not follow redirects to other hosts.
	HTTP *http.Client
}

// Client is the Last Frame service as a jobs.Provider, by the contract of
// docs/lastframe.md. A job's model is the service's name, its input
// {"inputs":[{"url":"…"}],"options":{…}}.
type Client struct{ o ClientOptions }

// NewClient makes a client.
func NewClient(o ClientOptions) *Client { return &Client{o} }

// Name is "lastframe".
func (c *Client) Name() string { return Name }

// Account is a fingerprint of the key.
func (c *Client) Account() string {
	if c.o.Key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("lastframe key " + c.o.Key))
	return hex.EncodeToString(sum[:6])
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

type input struct {
	Inputs  []json.RawMessage `json:"inputs"`
	Options json.RawMessage   `json:"options"`
}

// Check wants a service as the model, and at least one input.
func (c *Client) Check(s *jobs.Submission) error {
	var in input
	switch {
	case c.o.URL == "":
		return &jobs.InvalidError{Field: "provider", Text: "Last Frame cannot be reached: set GAFF_LASTFRAME_URL"}
	case !serviceName.MatchString(s.Model):
		return &jobs.InvalidError{Field: "model", Text: fmt.Sprintf(`%.60q is not a service of Last Frame, such as "video-stitch"`, s.Model)}
	case json.Unmarshal(s.Input, &in) != nil || len(in.Inputs) == 0:
		return &jobs.InvalidError{Field: "input", Text: `must be {"inputs":[{"url":"…"}, …]}, and may hold "options"`}
	}
	return nil
}

type submission struct {
	Service        string            `json:"service"`
	Inputs         []json.RawMessage `json:"inputs"`
	Options        json.RawMessage   `json:"options,omitempty"`
	WebhookURL     string            `json:"webhook_url,omitempty"`
	Metadata       Metadata          `json:"metadata"`
	IdempotencyKey string            `json:"idempotency_key"`
}

// Submit posts the work. The service knows a job by its idempotency key, so that an answer
// that was lost is asked for again, and the work is done once.
func (c *Client) Submit(ctx context.Context, j *jobs.Job, raw json.RawMessage, webhookURL string) (jobs.Accepted, error) {
	var in input
	if err := json.Unmarshal(raw, &in); err != nil {
		return jobs.Accepted{}, &jobs.Rejected{Text: "input: " + err.Error(), Type: "invalid_input"}
	}
	body, err := json.Marshal(submission{
		Service: j.Model, Inputs: in.Inputs, Options: in.Options, WebhookURL: webhookURL, IdempotencyKey: j.ID,
		Metadata: Metadata{ProjectID: j.ProjectID, UserID: j.UserID, OriginalJobID: j.ID},
	})
	if err != nil {
		return jobs.Accepted{}, &jobs.Rejected{Text: "input: " + err.Error(), Type: "invalid_input"}
	}
	res, err := c.call(ctx, http.MethodPost, c.o.URL+"/v1/jobs", body, j.ID)
	if err != nil {
		return jobs.Accepted{}, &jobs.NotNow{Err: redact.Errorf("Last Frame did not answer: %w", err)}
	}
	switch {
	case res.status/100 == 2:
		var p struct {
			JobID     string `json:"job_id"`
			StatusURL string `json:"status_url"`
		}
		if err := json.Unmarshal(res.body, &p); err != nil || p.JobID == "" {
			return jobs.Accepted{}, redact.Answered("Last Frame", res.status, fmt.Sprintf(" without a job_id: %.200q", res.body))
		}
		return jobs.Accepted{RequestID: p.JobID, StatusURL: p.StatusURL}, nil
	case res.status == http.StatusTooManyRequests || res.status == http.StatusRequestTimeout || res.status >= 500:
		return jobs.Accepted{}, &jobs.NotNow{After: min(res.retryAfter, time.Hour), Err: res.fault()}
	}
	return jobs.Accepted{}, &jobs.Rejected{Text: res.fault().Error(), Type: "refused"}
}

type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

func (a answer) fault() error {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.body, &e) == nil && e.Error != "" {
		return redact.Answered("Last Frame", a.status, fmt.Sprintf(": %.300s", e.Error))
	}
	return redact.Answered("Last Frame", a.status, "")
}

func (c *Client) call(ctx context.Context, method, address string, body []byte, idempotencyKey string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if c.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "gaff")
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = redact.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	wait, _ := httpx.RetryAfter(resp.Header, time.Now())
	return answer{resp.StatusCode, text, wait}, err
}

// CheckAddress returns an error for an address that the key must not be sent to.
func (c *Client) CheckAddress(address string) error {
	u, err := url.Parse(address)
	base, berr := url.Parse(c.o.URL)
	if err != nil || berr != nil || u.User != nil || u.Scheme != base.Scheme || u.Host != base.Host {
		return redact.Const("is not an address of Last Frame, which GAFF_LASTFRAME_URL names")
	}
	return nil
}

// Repeatable is true: the service knows a job by its idempotency key.
func (c *Client) Repeatable() bool { return true }

// RelaysHeader reports whether a header of a webhook is Last Frame's own.
func (c *Client) RelaysHeader(name string) bool { return strings.HasPrefix(name, "X-Lastframe-") }

// CanPoll wants the request's id.
func (c *Client) CanPoll(j *jobs.Job) bool { return c.o.URL != "" && j.RequestID != "" }

func (c *Client) address(j *jobs.Job) string {
	if j.StatusURL != "" && c.CheckAddress(j.StatusURL) == nil {
		return j.StatusURL
	}
	return c.o.URL + "/v1/jobs/" + url.PathEscape(j.RequestID)
}

// Poll reads the job, which the service shows as its webhook does.
func (c *Client) Poll(ctx context.Context, j *jobs.Job) (jobs.Update, error) {
	res, err := c.call(ctx, http.MethodGet, c.address(j), nil, "")
	switch {
	case err != nil:
		return jobs.Update{}, err
	case res.status == http.StatusNotFound || res.status == http.StatusGone:
		return jobs.Update{}, redact.Errorf("%w: %w", res.fault(), jobs.ErrNoSuchWork)
	case res.status/100 != 2:
		return jobs.Update{}, res.fault()
	}
	var p Payload
	if err := json.Unmarshal(res.body, &p); err != nil {
		return jobs.Update{}, redact.Errorf("Last Frame's answer is not what docs/lastframe.md says: %w", err)
	}
	switch p.Status {
	case "queued":
		return jobs.Update{Provider: Name, Status: jobs.JobQueued}, nil
	case "cancelled":
		return jobs.Update{Provider: Name, Status: jobs.JobCancelled}, nil
	}
	u, err := Interpreter{}.Interpret(&gaff.Event{Source: Name, Data: res.body, ReceivedAt: time.Now()})
	if err == nil && u.RequestID != j.RequestID {
		err = redact.Errorf("Last Frame answers with job %.60q", u.RequestID)
	}
	return u, err
}

// Cancel asks the service to stop.
func (c *Client) Cancel(ctx context.Context, j *jobs.Job) error {
	res, err := c.call(ctx, http.MethodPost, c.o.URL+"/v1/jobs/"+url.PathEscape(j.RequestID)+"/cancel", nil, "")
	switch {
	case err != nil:
		return err
	case res.status == http.StatusConflict:
		return jobs.ErrEnded
	case res.status == http.StatusNotFound || res.status == http.StatusGone:
		return jobs.ErrNoSuchWork
	case res.status/100 != 2:
		return res.fault()
	}
	return nil
}

var (
	_ jobs.Provider       = (*Client)(nil)
	_ jobs.AddressChecker = (*Client)(nil)
	_ jobs.HeaderRelay    = (*Client)(nil)
	_ jobs.Repeater       = (*Client)(nil)
)
