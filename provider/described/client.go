package described

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gaff/internal/cel"
	"gaff/internal/excerpt"
	"gaff/internal/httpx"
	"gaff/internal/redact"
	"gaff/jobs"
)

// Options of a [Client].
type Options struct {
	// Name is that of the jobs' provider and of the source of its webhooks.
	Name string
	// BaseURL replaces that of the description; empty keeps it.
	BaseURL string
	Secrets map[string]string
	// WebhookSecret is sent to providers that are given one with each submit.
	WebhookSecret string
	// Rate and Concurrency replace those of the description; zero keeps them.
	Rate        float64
	Concurrency int
	// Muted is set if the provider's webhooks cannot be verified, so that it is polled.
	Muted bool
	// HTTP makes the calls. It must not follow redirects: requests carry secrets.
	HTTP *http.Client
}

// Client is a described provider as a jobs.Provider.
type Client struct {
	o Options
	c *compiled
}

// New returns the client of a description. The error is a fault.List.
func New(d *Description, o Options) (*Client, error) {
	c, faults := compile(d)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	o.BaseURL = strings.TrimRight(cmp.Or(o.BaseURL, d.BaseURL), "/")
	u, err := url.Parse(o.BaseURL)
	if err != nil {
		return nil, redact.Errorf("base URL: %w", err)
	}
	c.hosts = append(slices.Clone(d.Hosts), u.Host)
	return &Client{o, c}, nil
}

// Name is the provider's.
func (c *Client) Name() string { return c.o.Name }

// Description returns the description that the client works by.
func (c *Client) Description() *Description { return c.c.d }

// Polled reports whether the provider sends no webhooks that can be verified.
func (c *Client) Polled() bool { return c.c.d.Polled() || c.o.Muted }

// Pace returns how many requests may be made a second for polls, and how many submits may be sent
// at once; zero for gaff's own limits.
func (c *Client) Pace() (rate float64, submits int) {
	return cmp.Or(c.o.Rate, c.c.d.Rate), cmp.Or(c.o.Concurrency, c.c.d.Concurrency)
}

// Usual returns how long a job usually takes; zero if unknown.
func (c *Client) Usual() time.Duration { return c.c.d.Expected }

var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:@-]*(/[A-Za-z0-9][A-Za-z0-9_.:@-]*)*$`)

// Check wants a model that can be part of a URL, and the secrets.
func (c *Client) Check(s *jobs.Submission) error {
	d := c.c.d
	word := cmp.Or(d.Model, "model")
	switch {
	case s.Model == "":
		return &jobs.InvalidError{Field: "model", Text: fmt.Sprintf("is missing; write the name of a %s of %s, such as %q", word, d.Title, d.Example)}
	case len(s.Model) > 200 || !modelName.MatchString(s.Model):
		return &jobs.InvalidError{Field: "model", Text: fmt.Sprintf("%.60q is not the name of a %s of %s, such as %q", s.Model, word, d.Title, d.Example)}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Secrets)) {
		if c.o.Secrets[name] == "" {
			return &jobs.InvalidError{Field: "provider", Text: fmt.Sprintf("%s takes no work without its secret; set providers.%s.secrets.%s", d.Title, c.o.Name, name)}
		}
	}
	return nil
}

// Account is a fingerprint of the secrets.
func (c *Client) Account() string {
	if len(c.o.Secrets) == 0 {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s secrets", c.o.Name)
	for _, name := range slices.Sorted(maps.Keys(c.o.Secrets)) {
		fmt.Fprintf(h, " %s=%q", name, c.o.Secrets[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// CheckAddress returns an error for a URL that must not get the secrets.
func (c *Client) CheckAddress(address string) error {
	u, err := url.Parse(address)
	base, berr := url.Parse(c.o.BaseURL)
	switch {
	case err != nil || berr != nil || u.User != nil || u.Fragment != "":
		return redact.Const("is not a plain URL")
	case !slices.Contains(c.c.hosts, u.Host) || u.Scheme != base.Scheme && u.Scheme != "https":
		return redact.Errorf("is not an address of %s: its hosts are %s", redact.Own(c.c.d.Title), redact.Own(strings.Join(c.c.hosts, ", ")))
	}
	return nil
}

// Repeatable reports whether the provider takes the same work once.
func (c *Client) Repeatable() bool { return c.c.d.Submit.Repeatable }

// SubmitTimeout is how long a submit may take.
func (c *Client) SubmitTimeout() time.Duration {
	if c.c.now != nil || c.c.d.Submit.Media != "" {
		return immediateTimeout
	}
	return callTimeout
}

// variables are those of requests.
func (c *Client) variables(j *jobs.Job, input any, webhookURL string) map[string]any {
	v := map[string]any{
		"base": c.o.BaseURL, "model": j.Model, "input": input, "webhook_url": webhookURL, "webhook_secret": c.o.WebhookSecret,
		"job_id": j.ID, "id": j.RequestID, "secrets": c.o.Secrets, "token": "",
	}
	if c.o.Secrets == nil {
		v["secrets"] = map[string]string{}
	}
	if t := c.c.d.Token; t != nil {
		v["token"] = jsonToken(c.o.Secrets[t.Issuer], c.o.Secrets[t.Key], time.Now(), t.TTL)
	}
	return v
}

// of are the variables of an answer.
func (c *Client) of(j *jobs.Job, a answer) map[string]any {
	header := map[string]string{}
	for name, values := range a.header {
		header[strings.ToLower(name)] = values[0]
	}
	return map[string]any{
		"response": decode(a.body), "http_status": int64(a.status), "headers": header, "model": j.Model, "id": j.RequestID, "base": c.o.BaseURL,
	}
}

// Submit sends the work once. An answer that is lost or cannot be read leaves the outcome unknown.
func (c *Client) Submit(ctx context.Context, j *jobs.Job, input json.RawMessage, webhookURL string) (jobs.Accepted, error) {
	if c.c.d.Webhook == nil || c.c.d.Webhook.Account {
		webhookURL = ""
	}
	vars := c.variables(j, decode(input), webhookURL)
	if _, err := c.request(ctx, &c.c.submit, "", vars); err != nil {
		return jobs.Accepted{}, &jobs.Rejected{Text: "the request cannot be built: " + err.Error(), Type: "invalid_input"}
	}
	a := c.send(ctx, &c.c.submit, "", vars, c.SubmitTimeout())
	switch {
	case a.err != nil && a.unsent:
		return jobs.Accepted{}, &jobs.NotNow{Err: redact.Errorf("%s could not be reached: %w", redact.Own(c.c.d.Title), a.err)}
	case a.err != nil:
		return jobs.Accepted{}, redact.Errorf("the answer of %s was lost: %w", redact.Own(c.c.d.Title), a.err)
	case a.status/100 == 2 && c.c.d.Submit.Media != "":
		return c.file(a), nil
	}
	return c.readSubmit(j, a)
}

// readSubmit returns the outcome of a submit.
func (c *Client) readSubmit(j *jobs.Job, a answer) (jobs.Accepted, error) {
	vars := c.of(j, a)
	after, _ := httpx.RetryAfter(a.header, time.Now())
	later := &jobs.NotNow{After: min(after, time.Hour), Err: c.fault(a, vars, "")}
	switch {
	case a.status == http.StatusTooManyRequests || slices.Contains(c.c.notTaken, a.status):
		return jobs.Accepted{}, later
	case a.status/100 == 2:
		return c.accepted(j, a, vars, later)
	case a.status >= 500 || a.status == http.StatusRequestTimeout || a.status/100 == 3 || a.status/100 == 1:
		return jobs.Accepted{}, later.Err
	case a.status == http.StatusUnauthorized:
		return jobs.Accepted{}, &jobs.Rejected{Text: c.c.d.Title + " refused the secret (401): check providers." + c.o.Name + ".secrets", Type: "unauthorized"}
	}
	return jobs.Accepted{}, &jobs.Rejected{Text: later.Err.Error(), Type: text(c.c.errType, vars)}
}

// accepted reads an answer of status 2xx.
func (c *Client) accepted(j *jobs.Job, a answer, vars map[string]any, later *jobs.NotNow) (jobs.Accepted, error) {
	if is(c.c.notNow, vars) {
		return jobs.Accepted{}, later
	}
	if is(c.c.refused, vars) {
		return jobs.Accepted{}, &jobs.Rejected{Text: later.Err.Error(), Type: text(c.c.errType, vars)}
	}
	out := jobs.Accepted{RequestID: text(c.c.id, vars), StatusURL: text(c.c.status, vars), CancelURL: text(c.c.cancelAt, vars)}
	if c.c.now != nil {
		u, err := c.read(c.c.now, j, vars, a.body, time.Now())
		if err != nil {
			return jobs.Accepted{}, redact.Answered(c.c.d.Title, a.status, ", but its result cannot be read: "+err.Error())
		}
		out.RequestID = cmp.Or(out.RequestID, j.ID)
		out.Update = &u
		return out, nil
	}
	if out.RequestID == "" {
		return jobs.Accepted{}, redact.Answered(c.c.d.Title, a.status, fmt.Sprintf(" without an id: %.200q", a.body))
	}
	if len(out.RequestID) > 256 {
		return jobs.Accepted{}, redact.Answered(c.c.d.Title, a.status, fmt.Sprintf(" with an id of %d bytes", len(out.RequestID)))
	}
	return out, nil
}

// file makes the result of an answer that is the file itself.
func (c *Client) file(a answer) jobs.Accepted {
	contentType := cmp.Or(c.c.d.Submit.Media, a.header.Get("Content-Type"))
	result, _ := json.Marshal(map[string]any{"file": map[string]string{
		"url": "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(a.body), "content_type": contentType,
	}})
	u := jobs.Update{Provider: c.o.Name, Status: jobs.JobCompleted, Result: result}
	u.Files, u.FilesTotal = jobs.Files(c.o.Name, result, time.Now())
	id := cmp.Or(a.header.Get("Request-Id"), a.header.Get("X-Request-Id"), rand.Text())
	u.RequestID = id
	return jobs.Accepted{RequestID: id, Update: &u}
}

// fault is the error of an answer that is not a success.
func (c *Client) fault(a answer, vars map[string]any, what string) error {
	reason := cmp.Or(text(c.c.err, vars), excerpt.Text(strings.TrimSpace(string(a.body)), 200))
	if reason != "" {
		reason = ": " + excerpt.Text(reason, 300)
	}
	return redact.Answered(c.c.d.Title, a.status, what+reason)
}

// CanPoll wants a poll in the description, and the request's id.
func (c *Client) CanPoll(j *jobs.Job) bool { return c.c.poll != nil && j.RequestID != "" }

// Poll reads the state of the work, and its result once there is one.
func (c *Client) Poll(ctx context.Context, j *jobs.Job) (jobs.Update, error) {
	if c.c.poll == nil {
		return jobs.Update{}, redact.Errorf("%s cannot be polled", redact.Own(c.c.d.Title))
	}
	a := c.send(ctx, c.c.poll, c.told(j.StatusURL), c.variables(j, nil, j.WebhookURL), callTimeout)
	if a.err != nil {
		return jobs.Update{}, a.err
	}
	vars := c.of(j, a)
	switch {
	case a.status == http.StatusNotFound && c.c.missing != nil:
		return jobs.Update{Provider: c.o.Name, RequestID: j.RequestID, Status: *c.c.missing}, nil
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		return jobs.Update{}, redact.Errorf("%w: %w", c.fault(a, vars, " for the status"), jobs.ErrNoSuchWork)
	case a.status/100 != 2:
		return jobs.Update{}, c.fault(a, vars, " for the status")
	}
	if vars["response"] == nil {
		return jobs.Update{}, redact.Answered(c.c.d.Title, a.status, fmt.Sprintf(" for the status, but not with JSON: %.200q", a.body))
	}
	return c.read(c.c.read, j, vars, a.body, time.Now())
}

// told returns a URL that the provider returned, if the secrets may go there.
func (c *Client) told(address string) string {
	if address != "" && c.CheckAddress(address) == nil {
		return address
	}
	return ""
}

// Cancel asks the provider to stop.
func (c *Client) Cancel(ctx context.Context, j *jobs.Job) error {
	if c.c.cancel == nil {
		return jobs.ErrNoCancel
	}
	a := c.send(ctx, c.c.cancel, c.told(j.CancelURL), c.variables(j, nil, ""), callTimeout)
	switch {
	case a.err != nil:
		return a.err
	case a.status/100 == 2:
		return nil
	case slices.Contains(c.c.ended, a.status) || a.status == http.StatusConflict:
		return jobs.ErrEnded
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		return jobs.ErrNoSuchWork
	}
	return c.fault(a, c.of(j, a), " for the cancellation")
}

// FileHeaders returns the headers with which a file of a result is fetched; nil if none are needed
// or the URL is not one of the provider's.
func (c *Client) FileHeaders(address string) http.Header {
	if len(c.c.files) == 0 || c.CheckAddress(address) != nil {
		return nil
	}
	h := http.Header{}
	if setHeaders(h, c.c.files, c.variables(&jobs.Job{}, nil, "")) != nil {
		return nil
	}
	return h
}

// is evaluates a condition; false if it has no value.
func is(e *cel.Expression, vars map[string]any) bool {
	if e == nil {
		return false
	}
	v, err := e.Bool(vars)
	return err == nil && v
}

var (
	_ jobs.Provider       = (*Client)(nil)
	_ jobs.AddressChecker = (*Client)(nil)
	_ jobs.Repeater       = (*Client)(nil)
)
