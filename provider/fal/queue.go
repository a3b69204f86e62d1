package fal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"gaff/internal/httpx"
	"gaff/internal/redact"
	"gaff/jobs"
)

// DefaultQueueURL is fal's queue, DefaultRunURL answers when the work is done, and DefaultAPIURL its platform API, which can list the
// requests of an account.
const (
	DefaultQueueURL = "https://queue.fal.run"
	DefaultRunURL   = "https://fal.run"
	DefaultAPIURL   = "https://api.fal.ai/v1"
)

const (
	// callTimeout bounds each call to fal.
	callTimeout = 25 * time.Second
	maxAnswer   = 64 << 10
	maxResult   = 32 << 20
)

// falHosts are those that the key may be sent to, beside the configured one.
var falHosts = []string{"queue.fal.run"}

// QueueOptions of a [Queue]. Client is required.
type QueueOptions struct {
	// Key is sent to fal. Empty: no work can be submitted to fal's own queue.
	Key string
	// URL is the queue, without a slash at the end. Empty: DefaultQueueURL.
	URL string
	// RunURL is the host of calls that are answered when the work is done. Empty:
	// DefaultRunURL if URL is fal's own, else none.
	RunURL string
	// APIURL is the platform API, by which a request is found whose submit was not
	// answered. Empty: DefaultAPIURL if URL is fal's own, else none.
	APIURL string
	// Client makes the calls. It must not follow redirects to other hosts.
	Client *http.Client
}

// Queue is fal's queue as a jobs.Provider.
type Queue struct {
	o    QueueOptions
	base *url.URL
}

// NewQueue fails on an invalid URL.
func NewQueue(o QueueOptions) (*Queue, error) {
	if o.URL == "" {
		o.URL = DefaultQueueURL
	}
	if o.URL == DefaultQueueURL {
		o.APIURL, o.RunURL = cmp.Or(o.APIURL, DefaultAPIURL), cmp.Or(o.RunURL, DefaultRunURL)
	}
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || o.Client == nil {
		return nil, fmt.Errorf("fal: queue %q: want a whole URL, and a client", o.URL)
	}
	return &Queue{o: o, base: base}, nil
}

// Name is "fal".
func (q *Queue) Name() string { return Name }

// Account is a fingerprint of the key.
func (q *Queue) Account() string {
	if q.o.Key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("fal key " + q.o.Key))
	return hex.EncodeToString(sum[:6])
}

var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)+$`)

// Check wants a model such as "fal-ai/flux/dev", and a key.
func (q *Queue) Check(s *jobs.Submission) error {
	switch {
	case s.Model == "":
		return &jobs.InvalidError{Field: "model", Text: `is missing; write fal's id of it, such as "fal-ai/flux/dev"`}
	case len(s.Model) > 200 || !modelName.MatchString(s.Model) || slices.Contains(strings.Split(s.Model, "/"), "requests"):
		return &jobs.InvalidError{Field: "model", Text: fmt.Sprintf(`%.60q is not the id of a model at fal, such as "fal-ai/flux/dev"`, s.Model)}
	case q.o.Key == "" && q.o.URL == DefaultQueueURL:
		return &jobs.InvalidError{Field: "provider", Text: "fal takes no work without a key; set FAL_KEY"}
	}
	return nil
}

// app is the part of a model's id that the addresses of its requests have.
func app(model string) string {
	parts := strings.Split(model, "/")
	n := 2
	if parts[0] == "workflows" || parts[0] == "comfy" {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// CheckAddress returns an error for a URL that must not get the key.
func (q *Queue) CheckAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.Fragment != "":
		return redact.Const("is not a plain URL")
	case u.Scheme == q.base.Scheme && u.Host == q.base.Host:
	case u.Scheme == "https" && slices.Contains(falHosts, u.Host):
	default:
		return fmt.Errorf("is not an address of fal's queue: %s is, and %s", q.base.Host, strings.Join(falHosts, ", "))
	}
	return nil
}

// address is the one that fal told, if the key may go there, else built from the model.
func (q *Queue) address(told string, j *jobs.Job, suffix string) string {
	if told != "" && q.CheckAddress(told) == nil {
		return told
	}
	if j.Model == "" || j.RequestID == "" {
		return ""
	}
	return q.o.URL + "/" + app(j.Model) + "/requests/" + url.PathEscape(j.RequestID) + suffix
}

// submission is fal's answer to a submit.
type submission struct {
	RequestID   string `json:"request_id"`
	StatusURL   string `json:"status_url"`
	ResponseURL string `json:"response_url"`
	CancelURL   string `json:"cancel_url"`
}

// Submit posts the input. It is never repeated if fal may have it: fal has no idempotency keys, and
// bills each request.
func (q *Queue) Submit(ctx context.Context, j *jobs.Job, input json.RawMessage, webhookURL string) (jobs.Accepted, error) {
	address := q.o.URL + "/" + j.Model
	if webhookURL != "" {
		address += "?fal_webhook=" + url.QueryEscape(webhookURL)
	}
	a := q.send(ctx, http.MethodPost, address, input, nil, maxAnswer)
	return readSubmit(a)
}

// readSubmit returns the outcome of a submit.
func readSubmit(a answer) (jobs.Accepted, error) {
	switch {
	case a.err != nil && a.unsent:
		return jobs.Accepted{}, &jobs.NotNow{Err: redact.Errorf("fal could not be reached: %w", a.err)}
	case a.err != nil:
		return jobs.Accepted{}, redact.Errorf("fal's answer was lost: %w", a.err)
	case a.status/100 == 2:
		var s submission
		if err := json.Unmarshal(a.body, &s); err != nil || s.RequestID == "" {
			return jobs.Accepted{}, redact.Answered("fal", a.status, fmt.Sprintf(" without a request_id: %.200q", a.body))
		}
		return jobs.Accepted{RequestID: s.RequestID, StatusURL: s.StatusURL, ResponseURL: s.ResponseURL, CancelURL: s.CancelURL}, nil
	}
	text, code := Failure(nil, a.body)
	if code == "" {
		code = a.header.Get("X-Fal-Error-Type")
	}
	err := redact.Answered("fal", a.status, ": "+text)
	switch {
	case a.notTaken():
		return jobs.Accepted{}, &jobs.NotNow{After: retryAfter(a.header), Err: err}
	case a.status >= 500 || a.status == http.StatusRequestTimeout || a.status/100 == 3:
		return jobs.Accepted{}, err
	case a.status == http.StatusUnauthorized:
		return jobs.Accepted{}, &jobs.Rejected{Text: "fal refused the key (401): check FAL_KEY", Type: "unauthorized"}
	}
	return jobs.Accepted{}, &jobs.Rejected{Text: err.Error(), Type: code}
}

// notTaken reports whether fal itself says that it did not take a submit.
func (a answer) notTaken() bool {
	switch {
	case a.status == http.StatusTooManyRequests:
		return true
	case a.status < 500 || a.header.Get("X-Fal-Request-Id") != "":
		return false
	case a.status == http.StatusServiceUnavailable:
		return true
	case a.status == http.StatusGatewayTimeout && a.header.Get("X-Fal-Request-Timeout-Type") == "user":
		return true // the caller's own limit for the start ran out
	}
	retryable := cmp.Or(a.header.Get("X-Fal-Retryable"), a.header.Get("X-Fal-Needs-Retry"))
	return retryable == "true" || retryable == "1"
}

// retryAfter returns the wait that the header demands, up to an hour; zero if it is missing.
func retryAfter(h http.Header) time.Duration {
	wait, _ := httpx.RetryAfter(h, time.Now())
	return min(wait, time.Hour)
}

// answer is the result of a call.
type answer struct {
	status int
	header http.Header
	body   []byte
	// err is set without a whole response. unsent is set if there was no connection either: then
	// fal cannot have the request.
	err    error
	unsent bool
}

// send makes a call with the key.
func (q *Queue) send(ctx context.Context, method, address string, body []byte, header http.Header, limit int64) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A transport without trace events may have connected.
	var wanted, got atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) }, GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	defer func() { a.unsent = wanted.Load() && !got.Load() }()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return answer{err: err}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if q.o.Key != "" {
		req.Header.Set("Authorization", "Key "+q.o.Key)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gaff")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := q.o.Client.Do(req)
	if err != nil {
		return answer{err: plain(err)}
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, header: resp.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); a.err == nil && int64(len(a.body)) > limit {
		a.err = redact.Errorf("the answer is longer than %d bytes", limit)
	}
	return a
}

// plain removes the URL from a client's error: it may contain a callback token.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// CanPoll wants the request's id, and its address or model.
func (q *Queue) CanPoll(j *jobs.Job) bool {
	return j.RequestID != "" && q.address(j.StatusURL, j, "/status") != "" && (q.o.Key != "" || q.o.URL != DefaultQueueURL)
}

// Poll reads the status and, once the job is done, the result.
func (q *Queue) Poll(ctx context.Context, j *jobs.Job) (jobs.Update, error) {
	u := jobs.Update{Provider: Name, RequestID: j.RequestID}
	address := q.address(j.StatusURL, j, "/status")
	if address == "" {
		return u, redact.Const("neither the address nor the model of the request is known")
	}
	a := q.send(ctx, http.MethodGet, address, nil, nil, maxAnswer)
	if err := a.fault("the status"); err != nil {
		return u, err
	}
	var s status
	if err := json.Unmarshal(a.body, &s); err != nil {
		return u, redact.Errorf("fal's status is not what it sends: %w", err)
	}
	switch s.Status {
	case "IN_QUEUE":
		u.Status = jobs.JobQueued
		return u, nil
	case "IN_PROGRESS":
		u.Status = jobs.JobProcessing
		return u, nil
	case "COMPLETED":
		r := q.send(ctx, http.MethodGet, q.address(j.ResponseURL, j, ""), nil, nil, maxResult)
		return readResult(r, s, j, time.Now())
	}
	return u, redact.Errorf("unknown status %.40q of fal", s.Status)
}

// status is fal's status of a job. A failed job is completed, with an error.
type status struct {
	Status    string `json:"status"`
	Error     string `json:"error"`
	ErrorType string `json:"error_type"`
}

// fault returns the error of a response other than 2xx.
func (a answer) fault(what string) error {
	switch {
	case a.err != nil:
		return a.err
	case a.status/100 == 2:
		return nil
	case a.status == http.StatusNotFound:
		return redact.Errorf("fal answered 404 for %s: %w", redact.Own(what), jobs.ErrNoSuchWork)
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return redact.Answered("fal", a.status, " for "+what+": check FAL_KEY")
	}
	text, _ := Failure(nil, a.body)
	return redact.Answered("fal", a.status, " for "+what+": "+text)
}

// readResult turns the answer to the question for a result into how the job ended. A
// passing fault of fal's is an error, and asked again.
func readResult(r answer, s status, j *jobs.Job, at time.Time) (jobs.Update, error) {
	u := jobs.Update{Provider: Name, RequestID: j.RequestID, Status: jobs.JobFailed}
	if r.err == nil {
		u.Cost = billed(r.header)
	}
	switch {
	case r.err != nil:
		return u, r.err
	case r.status/100 == 2 && s.Error == "":
		if !json.Valid(r.body) {
			u.Error, u.ErrorType = "completed, but the result is not JSON", "result_unreadable"
			return u, nil
		}
		u.Status, u.Result = jobs.JobCompleted, r.body
		u.Files, u.FilesTotal = jobs.Files(Name, r.body, at)
		return u, nil
	case s.Error == "" && (r.status == http.StatusNotFound || r.status == http.StatusGone):
		if r.status == http.StatusNotFound && j.Misses == 0 {
			return u, r.fault("the result")
		}
		u.Error, u.ErrorType = "completed, but fal keeps the result no longer: it does so for minutes if it is large, or not stored", "result_expired"
		return u, nil
	case s.Error == "" && r.status != http.StatusUnprocessableEntity && !(isModelError(r.body) && j.Polls >= 3):
		return u, r.fault("the result")
	}
	if json.Valid(r.body) && r.status/100 != 2 {
		u.Result = r.body
	}
	top, _ := json.Marshal(s.Error)
	u.Error, u.ErrorType = Failure(top, u.Result)
	if u.ErrorType == "" {
		if u.ErrorType = s.ErrorType; u.ErrorType == "" {
			u.ErrorType = r.header.Get("X-Fal-Error-Type")
		}
	}
	return u, nil
}

// isModelError reports whether a body is an error of fal's, rather than one of something
// on the way.
func isModelError(body []byte) bool {
	var e struct {
		Detail json.RawMessage `json:"detail"`
	}
	return json.Unmarshal(body, &e) == nil && len(e.Detail) > 0
}

// billed reads what fal billed; empty if it does not say, or not as a number.
func billed(h http.Header) string {
	units := h.Get("X-Fal-Billable-Units")
	if units == "" {
		return ""
	}
	if _, err := strconv.ParseFloat(units, 64); err != nil || len(units) > 40 {
		return ""
	}
	return units
}

// Cancel asks fal to stop.
func (q *Queue) Cancel(ctx context.Context, j *jobs.Job) error {
	a := q.send(ctx, http.MethodPut, q.address(j.CancelURL, j, "/cancel"), nil, nil, maxAnswer)
	var s status
	_ = json.Unmarshal(a.body, &s) // not every answer has one
	switch {
	case a.err == nil && a.status == http.StatusBadRequest && s.Status == "ALREADY_COMPLETED":
		return jobs.ErrEnded
	case a.err == nil && a.status == http.StatusConflict:
		return jobs.ErrEnded
	}
	return a.fault("the cancellation")
}

// RelaysHeader reports whether a header of a webhook is fal's own.
func (q *Queue) RelaysHeader(name string) bool { return strings.HasPrefix(name, "X-Fal-") }

// Find looks through the account's ended requests of the model for one with the job's
// input. The platform API lists a request only once it has ended.
func (q *Queue) Find(ctx context.Context, j *jobs.Job, input json.RawMessage, known func(string) bool) (jobs.Accepted, error) {
	if q.o.APIURL == "" || q.o.Key == "" {
		return jobs.Accepted{}, jobs.ErrNoSuchWork
	}
	var wanted any
	if err := json.Unmarshal(input, &wanted); err != nil {
		return jobs.Accepted{}, err
	}
	// Clocks may differ a little; a much later request is another one.
	from, until := j.SentAt.Add(-30*time.Second), j.SentAt.Add(5*time.Minute)
	query := url.Values{
		"endpoint_id": {j.Model}, "limit": {"100"}, "expand": {"payloads"}, "start": {from.UTC().Format(time.RFC3339)},
	}
	for range 20 { // pages
		a := q.send(ctx, http.MethodGet, q.o.APIURL+"/models/requests/by-endpoint?"+query.Encode(), nil, nil, maxResult)
		if err := a.fault("the list of requests"); err != nil {
			return jobs.Accepted{}, err
		}
		var page struct {
			Items []struct {
				RequestID string    `json:"request_id"`
				SentAt    time.Time `json:"sent_at"`
				Input     any       `json:"json_input"`
			} `json:"items"`
			NextCursor string `json:"next_cursor"`
			HasMore    bool   `json:"has_more"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return jobs.Accepted{}, redact.Errorf("fal's list of requests is not what it documents: %w", err)
		}
		for _, item := range page.Items {
			if item.RequestID != "" && item.SentAt.After(from) && item.SentAt.Before(until) &&
				reflect.DeepEqual(item.Input, wanted) && !known(item.RequestID) {
				return jobs.Accepted{RequestID: item.RequestID}, nil
			}
		}
		if !page.HasMore || page.NextCursor == "" {
			break
		}
		query.Set("cursor", page.NextCursor)
	}
	return jobs.Accepted{}, jobs.ErrNoSuchWork
}

var (
	_ jobs.Provider       = (*Queue)(nil)
	_ jobs.Finder         = (*Queue)(nil)
	_ jobs.AddressChecker = (*Queue)(nil)
	_ jobs.HeaderRelay    = (*Queue)(nil)
)
