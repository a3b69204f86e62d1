package fal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/redact"
	"gaff/jobs"
)

// Paths of the two ways in which programs written for fal use gaff in its place.
const (
	// ProxyPath is where @fal-ai/client's proxyUrl points to.
	ProxyPath = "/api/fal/proxy"
	// QueuePath is what may follow the gateway's host in FAL_QUEUE_RUN_HOST of fal's Python
	// client.
	QueuePath = "/api/fal/queue"
	// RunPath is the base URL for programs that call fal.run and take a base URL only.
	RunPath = "/api/fal/run"
)

// TargetHeader names the address that a proxied call is meant for.
const TargetHeader = "X-Fal-Target-Url"

// Headers that a caller may add, to say what its job is for.
const (
	projectHeader     = "X-Gaff-Project"
	userHeader        = "X-Gaff-User"
	kindHeader        = "X-Gaff-Kind"
	metadataHeader    = "X-Gaff-Metadata"
	reuseHeader       = "X-Gaff-Reuse"
	priorityHeader    = "X-Gaff-Priority"
	idempotencyHeader = "Idempotency-Key"
)

// jobHeader names the job in the answer to a submit.
const jobHeader = "X-Gaff-Job-Id"

const (
	maxProxied = 10 << 20
	// proxyTimeout bounds calls that are only passed on: fal.run answers when the work is
	// done.
	proxyTimeout = 10 * time.Minute
	// waitForFirst is how long a repeated call waits for the outcome of the first.
	waitForFirst = 30 * time.Second
)

// Jobs has the operations on jobs that the proxy uses; a *jobs.Service is one.
type Jobs interface {
	Begin(ctx context.Context, s jobs.Submission, callKey string) (*jobs.Call, error)
	Reserve(ctx context.Context, s jobs.Submission) error
	Release(ctx context.Context, jobID string) error
	Record(ctx context.Context, s jobs.Submission, u jobs.Update, startedAt time.Time) (*jobs.Job, error)
	Answered(ctx context.Context, jobID string, answer jobs.Accepted, submitErr error) error
	RecordUpdate(ctx context.Context, provider, requestID string, u jobs.Update) error
	Job(ctx context.Context, jobID string) (*jobs.Job, error)
	Cancel(ctx context.Context, jobID string) (*jobs.Job, error)
	HasAlias(name string) bool
	CallerOf(ctx context.Context, provider, requestID string) (caller string, ok bool)
	WebhookURL(provider, jobID string) string
}

// ProxyOptions of a [Proxy]. Queue, Jobs, Authorize and Log are required.
type ProxyOptions struct {
	Queue *Queue
	Jobs  Jobs
	// Authorize names the caller by the credential that it showed. The error is
	// provider.ErrUnknownCaller, provider.ErrNotAllowed, or that it could not be found out.
	Authorize func(r *http.Request) (caller string, err error)
	// Address is that of the client; nil: the peer's.
	Address func(r *http.Request) string
	// Origins are web pages' origins, such as "https://app.example.com", whose visitors may
	// submit to Models without a token. Models are patterns as path.Match has them, but *
	// at the end matches any rest: "fal-ai/flux/*". Both or none.
	Origins, Models []string
	// BaseURL is the gateway's, for addresses in answers. Empty: taken from the request.
	BaseURL string
	Log     *slog.Logger
}

// Proxy lets programs that were written for fal work through gaff: every submit becomes a
// job, with gaff's webhook URL, and fal's response is returned.
type Proxy struct{ o ProxyOptions }

// NewProxy makes a proxy.
func NewProxy(o ProxyOptions) *Proxy { return &Proxy{o} }

// target is what a call is meant for.
type target struct {
	url *url.URL // at fal, or where fal's queue is configured to be
	// queue is set for the queue, whose path is parts.
	queue bool
	// run is set for fal.run, which answers when the work is done.
	run   bool
	parts []string
	// rewrite turns addresses of the queue in an answer into those of gaff.
	rewrite string
}

// webhookParameter is that of a submit, where fal posts the result to.
const webhookParameter = "fal_webhook"

// setWebhook names where fal is to post the result; empty: nowhere.
func (t *target) setWebhook(address string) {
	query := t.url.Query()
	query.Del(webhookParameter)
	if address != "" {
		query.Set(webhookParameter, address)
	}
	t.url.RawQuery = query.Encode()
}

// submits reports whether the call, if it is a POST, submits work.
func (t *target) submits() bool { return t.queue && !slices.Contains(t.parts, "requests") }

// request is the id and the rest of a call about a request: "status", "cancel", "".
func (t *target) request() (id, what string) {
	i := slices.Index(t.parts, "requests")
	if !t.queue || i < 2 || i+1 >= len(t.parts) {
		return "", ""
	}
	return t.parts[i+1], strings.Join(t.parts[i+2:], "/")
}

// Proxy serves ProxyPath.
func (p *Proxy) Proxy() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.cors(w, r) {
			return
		}
		t, err := p.target(r.Header.Get(TargetHeader))
		if err != nil {
			p.o.Log.Debug("proxied call refused", "target", r.Header.Get(TargetHeader), "error", err)
			answerJSON(w, http.StatusBadRequest, map[string]any{"detail": "Invalid request", "reason": err.Error()})
			return
		}
		p.serve(w, r, t)
	})
}

// Queue serves as fal's queue: below QueuePath, and at the root for a host of its own.
func (p *Proxy) Queue() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, below := strings.CutPrefix(r.URL.EscapedPath(), QueuePath)
		t, err := p.queueTarget(rest, r.URL.RawQuery)
		if err != nil {
			answerJSON(w, http.StatusNotFound, map[string]any{"detail": fmt.Sprintf("Path %s not found", excerpt.Text(rest, 80)), "reason": err.Error()})
			return
		}
		t.rewrite = p.base(r)
		if below {
			t.rewrite += QueuePath
		}
		p.serve(w, r, t)
	})
}

func (p *Proxy) base(r *http.Request) string {
	if p.o.BaseURL != "" {
		return p.o.BaseURL
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// target judges where a call is to go: fal's hosts, by https, and nothing else.
func (p *Proxy) target(text string) (*target, error) {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return nil, errors.New("the header x-fal-target-url is missing or no address")
	}
	q := p.o.Queue
	if u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("the target must be a plain address")
	}
	own := u.Scheme == q.base.Scheme && u.Host == q.base.Host
	if u.Scheme != "https" && !own {
		return nil, errors.New("the target must be https")
	}
	switch {
	case own || u.Host == "queue.fal.run":
		return p.queueTarget(u.EscapedPath(), u.RawQuery)
	case u.Host == "fal.run" && len(u.Path) > 1:
		return p.runTarget(u)
	case (u.Host == "rest.fal.ai" || u.Host == "rest.alpha.fal.ai") && strings.HasPrefix(u.Path, "/storage/upload/"):
		switch u.Path {
		case "/storage/upload/initiate", "/storage/upload/initiate-multipart", "/storage/upload/complete-multipart":
		default:
			return nil, errors.New("of fal's files only uploads may be begun")
		}
		if q.o.URL != DefaultQueueURL {
			// A stand-in plays all of fal's hosts.
			u = &url.URL{Scheme: q.base.Scheme, Host: q.base.Host, Path: u.Path, RawQuery: u.RawQuery}
		}
		return &target{url: u}, nil
	}
	return nil, fmt.Errorf("%.80q is not a host of fal's that the proxy forwards to", u.Host)
}

// Run serves as fal.run, below RunPath.
func (p *Proxy) Run() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest := strings.TrimPrefix(r.URL.EscapedPath(), RunPath)
		u, err := url.Parse(DefaultRunURL + rest)
		var t *target
		if err == nil {
			u.RawQuery = r.URL.RawQuery
			t, err = p.runTarget(u)
		}
		if err != nil {
			answerJSON(w, http.StatusNotFound, map[string]any{"detail": fmt.Sprintf("Path %s not found", excerpt.Text(rest, 80)), "reason": err.Error()})
			return
		}
		p.serve(w, r, t)
	})
}

// runTarget is of a call that is answered when the work is done.
func (p *Proxy) runTarget(u *url.URL) (*target, error) {
	parts := segments(u.Path)
	if len(parts) < 2 || path.Clean(u.Path) != strings.TrimRight(u.Path, "/") {
		return nil, errors.New("the path is not one of fal.run, such as /fal-ai/flux/dev")
	}
	base := p.o.Queue.o.RunURL
	if base == "" {
		return nil, errors.New("fal.run cannot be reached: GAFF_FAL_QUEUE_URL names another queue, and GAFF_FAL_RUN_URL is not set")
	}
	if base == DefaultRunURL {
		return &target{url: u, run: true, parts: parts}, nil
	}
	to, err := url.Parse(base + u.EscapedPath())
	if err != nil {
		return nil, errors.New("the path is not one of fal.run")
	}
	to.RawQuery = u.RawQuery
	return &target{url: to, run: true, parts: parts}, nil
}

func segments(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" })
}

func (p *Proxy) queueTarget(escaped, query string) (*target, error) {
	plainPath, err := url.PathUnescape(escaped)
	if err != nil || plainPath != escaped || path.Clean("/"+plainPath) != "/"+strings.Trim(plainPath, "/") {
		return nil, errors.New("the path is not one of fal's queue")
	}
	t := &target{queue: true, parts: segments(plainPath)}
	if len(t.parts) < 2 {
		return nil, errors.New("the path names no model, such as /fal-ai/flux/dev")
	}
	if t.url, err = url.Parse(p.o.Queue.o.URL + "/" + strings.Join(t.parts, "/")); err != nil {
		return nil, errors.New("the path is not one of fal's queue")
	}
	t.url.RawQuery = query
	return t, nil
}

// serve answers a call to a known target.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, t *target) {
	who, err := p.caller(r, t)
	if err != nil {
		p.turnAway(w, err)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut:
	default:
		w.Header().Set("Allow", "GET, POST, PUT")
		answerJSON(w, http.StatusMethodNotAllowed, map[string]any{"detail": "Method Not Allowed"})
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(proxyTimeout + time.Minute)) // where the server can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxProxied))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		answerJSON(w, http.StatusRequestEntityTooLarge, map[string]any{
			"detail": fmt.Sprintf("the body has more than %d MiB; upload files first (fal.storage.upload) and put their URLs into the input", maxProxied>>20),
		})
		return
	case err != nil:
		answerJSON(w, http.StatusBadRequest, map[string]any{"detail": "the body broke off before its end"})
		return
	}
	if r.Method == http.MethodPost && t.submits() {
		p.submit(w, r, t, who, body)
		return
	}
	if id, _ := t.request(); id != "" {
		j, err := p.candidateJob(r.Context(), id)
		switch {
		case err != nil:
			p.o.Log.Error("a job of the proxy cannot be read", "job", id, "error", err)
			w.Header().Set("Retry-After", "5")
			answerJSON(w, http.StatusServiceUnavailable, map[string]any{"detail": "gaff cannot read the job at the moment"})
			return
		case j != nil:
			p.serveCandidate(w, r, t, j)
			return
		}
	}
	p.pass(w, r, t, who, body)
}

// passedOn returns the caller's headers that fal gets.
func passedOn(from http.Header) http.Header {
	to := http.Header{}
	for name, values := range from {
		if strings.HasPrefix(name, "X-Fal-") && name != TargetHeader && name != "X-Fal-Signature" && !strings.HasPrefix(name, "X-Fal-Webhook-") ||
			strings.HasPrefix(name, "X-App-Fal-") {
			to[name] = values
		}
	}
	to.Set("X-Fal-Client-Proxy", "gaff")
	return to
}

// submit makes a job of a call before it goes to fal.
func (p *Proxy) submit(w http.ResponseWriter, r *http.Request, t *target, who caller, body []byte) {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	s := p.submission(r, t, who, body)
	call, err := p.o.Jobs.Begin(r.Context(), s, callKey(t, &s))
	var invalid *jobs.InvalidError
	var full *jobs.BudgetError
	switch {
	case errors.As(err, &full):
		answerJSON(w, http.StatusPaymentRequired, map[string]any{"detail": full.Error()})
		return
	case errors.As(err, &invalid):
		answerJSON(w, http.StatusUnprocessableEntity, map[string]any{
			"detail": []any{map[string]any{"loc": []string{"gaff", invalid.Field}, "msg": invalid.Text, "type": "invalid_submission"}},
		})
		return
	case err != nil:
		// Nothing was sent, so the client may well try again.
		p.o.Log.Error("proxied submit cannot be written down", "error", err)
		w.Header().Set("Retry-After", "5")
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"detail": "gaff cannot write the job down just now"})
		return
	}
	// The call ends as it does whether or not the client waits for it.
	ctx, j := context.WithoutCancel(r.Context()), call.Job
	var out answer
	switch {
	case j.Attempt > 0:
		out = queueAnswer(http.StatusOK, p.queueState(t, j), j)
		if !call.Created {
			out.header.Set("Idempotency-Replayed", "true")
		}
	case call.Created:
		if j.WebhookURL != "" {
			t.setWebhook(j.WebhookURL)
		}
		a := p.o.Queue.send(ctx, http.MethodPost, t.url.String(), body, passedOn(r.Header), maxAnswer)
		accepted, submitErr := readSubmit(a)
		if err := p.o.Jobs.Answered(ctx, j.ID, accepted, submitErr); err != nil {
			p.o.Log.Error("the outcome of a proxied submit is not stored", "job", j.ID, "request", accepted.RequestID, "error", err)
		}
		out = p.outcome(j, a, submitErr)
	default:
		out = p.first(r.Context(), j)
	}
	err = p.reply(w, t, out)
	call.Delivered(ctx, err == nil && r.Context().Err() == nil)
}

// submission is the job that a call asks for. A page without a token says nothing about the
// job: it would be any visitor's word.
func (p *Proxy) submission(r *http.Request, t *target, who caller, body []byte) jobs.Submission {
	s := jobs.Submission{Provider: Name, Model: strings.Join(t.parts, "/"), Input: body, Caller: who.id}
	if t.queue && p.o.Jobs.HasAlias(s.Model) {
		s.Provider = "" // the model has candidates
	}
	if key := r.Header.Get(idempotencyHeader); key != "" {
		s.IdempotencyKey = "proxy:" + key
	}
	if who.page != "" {
		t.setWebhook("")
		s.ProjectID = pageProject(who.page)
		return s
	}
	s.Kind, s.ProjectID, s.UserID = r.Header.Get(kindHeader), r.Header.Get(projectHeader), r.Header.Get(userHeader)
	s.Metadata = json.RawMessage(r.Header.Get(metadataHeader))
	if priority, err := strconv.Atoi(r.Header.Get(priorityHeader)); err == nil {
		s.Priority = min(max(priority, jobs.MinPriority), jobs.MaxOperatorPriority)
	}
	s.NoReuse = strings.EqualFold(r.Header.Get(reuseHeader), "false")
	// If fal cannot reach this gateway, it goes on calling the application itself.
	if p.o.Jobs.WebhookURL(Name, "any") != "" {
		s.Callback = t.url.Query().Get(webhookParameter)
	}
	return s
}

// callKey is the same for two calls that ask for the same.
func callKey(t *target, s *jobs.Submission) string {
	sum := sha256.New()
	for _, part := range []string{s.Caller, t.url.String(), s.ProjectID, s.UserID, s.Kind, s.IdempotencyKey, string(s.Input)} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// outcome is the response to the caller. Clients repeat a submit on 429, 502, 503 and 504,
// and the Python one on 408 and 409 too: they get none of these unless nothing was taken.
func (p *Proxy) outcome(j *jobs.Job, a answer, err error) answer {
	var later *jobs.NotNow
	var refused *jobs.Rejected
	switch {
	case err == nil, errors.As(err, &refused) && a.err == nil && a.status != http.StatusRequestTimeout && a.status != http.StatusConflict:
		a.header.Set(jobHeader, j.ID)
		return a
	case errors.As(err, &later) && a.err == nil:
		return a // nothing was taken, and so there is no job
	case errors.As(err, &later):
		return again("fal could not be reached; nothing was submitted", "upstream_unreachable")
	case refused != nil:
		return problem(http.StatusBadRequest, refused.Text, refused.Type, j.ID)
	}
	return problem(http.StatusInternalServerError,
		"fal's answer was lost, and the job may be running: gaff does not submit it again, and settles it when fal's webhook comes. Do not repeat the call; ask gaff for the job",
		"submit_outcome_unknown", j.ID)
}

// problem is an answer of gaff's own about a job.
func problem(status int, detail, code, jobID string) answer {
	body, _ := json.Marshal(map[string]any{"detail": detail, "error_type": code, "gaff_job_id": jobID})
	return answer{status: status, body: body, header: http.Header{
		"Content-Type": {"application/json"}, "X-Fal-Error-Type": {code}, jobHeader: {jobID},
	}}
}

// again asks the caller to repeat the call soon: nothing was submitted.
func again(detail, code string) answer {
	body, _ := json.Marshal(map[string]any{"detail": detail, "error_type": code})
	return answer{status: http.StatusServiceUnavailable, body: body, header: http.Header{
		"Content-Type": {"application/json"}, "X-Fal-Error-Type": {code}, "Retry-After": {"5"},
	}}
}

// first answers a repeated call with what became of the first.
func (p *Proxy) first(ctx context.Context, j *jobs.Job) answer {
	deadline := time.Now().Add(waitForFirst)
	for j.Submit == jobs.SubmitSending && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return problem(499, "the caller went away", "client_disconnected", j.ID)
		case <-time.After(100 * time.Millisecond):
		}
		switch now, err := p.o.Jobs.Job(ctx, j.ID); {
		case err == nil:
			j = now
		case errors.Is(err, gaff.ErrNotFound):
			return again("fal did not take the first call of this kind; repeat it", "not_accepted")
		}
	}
	if j.RequestID != "" {
		q := p.o.Queue
		body, _ := json.Marshal(map[string]any{
			"status": "IN_QUEUE", "request_id": j.RequestID, "response_url": q.address(j.ResponseURL, j, ""),
			"status_url": q.address(j.StatusURL, j, "/status"), "cancel_url": q.address(j.CancelURL, j, "/cancel"),
			"queue_position": 0, "logs": nil, "metrics": map[string]any{},
		})
		return answer{status: http.StatusOK, body: body, header: http.Header{
			"Content-Type": {"application/json"}, "X-Fal-Request-Id": {j.RequestID}, "Idempotency-Replayed": {"true"},
			jobHeader: {j.ID},
		}}
	}
	if j.Submit == jobs.SubmitRejected {
		return problem(http.StatusBadRequest, j.Error, j.ErrorType, j.ID)
	}
	return p.outcome(j, answer{}, errors.New("unknown"))
}

// pass forwards a call unchanged, and records what the response says about a job.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, t *target, who caller, body []byte) {
	q := p.o.Queue
	ctx, began, runs := r.Context(), time.Now(), t.run && r.Method == http.MethodPost
	if runs {
		// The work is paid for, and becomes a job, whether or not the client waits for it.
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	var reader io.Reader
	if r.Method != http.MethodGet && len(body) > 0 {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, t.url.String(), reader)
	if err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]any{"detail": "Invalid request"})
		return
	}
	req.Header = passedOn(r.Header)
	req.Header.Set("Accept", "application/json")
	if accept := r.Header.Get("Accept"); strings.Contains(accept, "text/event-stream") {
		req.Header.Set("Accept", accept)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "gaff")
	if q.o.Key != "" {
		req.Header.Set("Authorization", "Key "+q.o.Key)
	}
	var run *ran
	if runs {
		if run = p.ran(r, t, who, body, began); !p.hasRoom(w, r, run) {
			return
		}
	}
	resp, err := q.o.Client.Do(req)
	if err != nil {
		if r.Context().Err() == nil {
			p.o.Log.Warn("proxied call failed", "path", t.url.Path, "error", redact.Error(err))
		}
		status := http.StatusBadGateway
		if !t.queue {
			// A call of fal.run is work that is paid for; clients repeat on 502.
			status = http.StatusInternalServerError
		}
		if run != nil {
			p.lost(run, err)
		}
		answerJSON(w, status, map[string]any{"detail": "fal did not answer"})
		return
	}
	defer resp.Body.Close()
	if runs {
		p.passRun(w, resp, run)
		return
	}
	id, what := t.request()
	if what == "status/stream" || !t.queue || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		p.stream(w, resp)
		return
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxResult+1)); err != nil || len(a.body) > maxResult {
		answerJSON(w, http.StatusBadGateway, map[string]any{"detail": "fal's answer broke off, or is too long"})
		return
	}
	if id != "" {
		p.learn(context.WithoutCancel(r.Context()), r.Method, id, what, a)
	}
	_ = p.reply(w, t, a)
}

// learn records what a forwarded response says about a job.
func (p *Proxy) learn(ctx context.Context, method, id, what string, a answer) {
	var s status
	_ = json.Unmarshal(a.body, &s) // the fields stay empty if it is not a status
	u := jobs.Update{Provider: Name, RequestID: id, Status: jobs.JobProcessing}
	switch {
	case method == http.MethodGet && what == "status" && a.status/100 == 2 && s.Status == "IN_QUEUE":
		u.Status = jobs.JobQueued
	case method == http.MethodGet && what == "status" && a.status/100 == 2 && s.Status == "IN_PROGRESS":
	case method == http.MethodGet && what == "status" && a.status/100 == 2 && s.Status == "COMPLETED",
		method == http.MethodPut && what == "cancel" && s.Status == "ALREADY_COMPLETED":
		u.Fetch = true
	case method == http.MethodGet && (what == "" || what == "response") && a.status/100 == 2:
		done, err := readResult(a, status{}, &jobs.Job{RequestID: id}, time.Now())
		if err != nil {
			return
		}
		u = done
	case method == http.MethodGet && (what == "" || what == "response") && a.status == http.StatusUnprocessableEntity:
		u.Fetch = true
	case method == http.MethodPut && what == "cancel" && a.status/100 == 2:
		u.Status = jobs.JobCancelled
	default:
		return
	}
	if err := p.o.Jobs.RecordUpdate(ctx, Name, id, u); err != nil {
		p.o.Log.Warn("what a passing answer says is not stored", "request", id, "error", err)
	}
}

// notPassed are headers of a response that belong to the connection, or would be wrong.
var notPassed = []string{
	"Connection", "Content-Encoding", "Content-Length", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Set-Cookie",
	"Proxy-Authenticate", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Strict-Transport-Security",
}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		if !slices.Contains(notPassed, name) {
			to[name] = values
		}
	}
}

// reply writes an answer of fal's. The error means that the caller did not get it.
func (p *Proxy) reply(w http.ResponseWriter, t *target, a answer) error {
	copyHeader(w.Header(), a.header)
	if t.rewrite != "" {
		a.body = p.rewrite(a.body, t.rewrite)
	}
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// rewrite turns the queue's addresses in an answer into those below base, so that a client
// that follows them comes back here. A body that is not an object, or has no such URLs, stays unchanged.
func (p *Proxy) rewrite(body []byte, base string) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return body
	}
	changed := false
	for _, name := range []string{"status_url", "response_url", "cancel_url"} {
		var address string
		if json.Unmarshal(members[name], &address) != nil || p.o.Queue.CheckAddress(address) != nil {
			continue
		}
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		rest := strings.TrimPrefix(u.Path, strings.TrimRight(p.o.Queue.base.Path, "/"))
		if members[name], err = json.Marshal(base + rest); err != nil {
			return body
		}
		changed = true
	}
	if !changed {
		return body
	}
	if text, err := json.Marshal(members); err == nil {
		return text
	}
	return body
}

// stream forwards a response as it arrives.
func (p *Proxy) stream(w http.ResponseWriter, resp *http.Response) {
	copyHeader(w.Header(), resp.Header)
	flush := http.NewResponseController(w)
	w.WriteHeader(resp.StatusCode)
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = flush.Flush()
		}
		if err != nil {
			return
		}
	}
}

func answerJSON(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
