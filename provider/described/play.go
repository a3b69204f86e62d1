package described

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/jobs"
)

// Finding is the outcome of one step of [Play]. Problem is empty if it went as expected.
type Finding struct{ Step, Problem string }

const (
	playWebhook = "https://hooks.example.com/api/v1/webhooks/play/job_play.mac"
	playJob     = "job_play"
)

// Play submits, polls and cancels by a description, against a server that answers with the
// examples and with faults, and returns what it found. The error is that it could not be played.
func Play(ctx context.Context, name string, d *Description, e *Examples) ([]Finding, error) {
	s := &stand{e: e, answers: map[string][]byte{}, statuses: map[string]int{}}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(ln) }()
	defer func() { _ = server.Close() }()
	secrets := map[string]string{}
	for name := range d.Secrets {
		secrets[name] = name + "-secret"
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c, err := New(d, Options{Name: name, BaseURL: "http://" + ln.Addr().String(), Secrets: secrets, WebhookSecret: "webhook-secret", HTTP: client})
	if err != nil {
		return nil, err
	}
	p := &play{ctx: ctx, c: c, d: d, e: e, s: s}
	p.submit()
	p.poll()
	p.webhook()
	p.verification()
	p.cancel()
	p.faults()
	return p.findings, nil
}

// play collects findings.
type play struct {
	ctx      context.Context
	c        *Client
	d        *Description
	e        *Examples
	s        *stand
	findings []Finding
}

func (p *play) find(step string, err error) {
	f := Finding{Step: step}
	if err != nil {
		f.Problem = err.Error()
	}
	p.findings = append(p.findings, f)
}

// job is the played job, once its id is known.
func (p *play) job(id string) *jobs.Job {
	return &jobs.Job{ID: playJob, Provider: p.c.Name(), Model: p.e.Model, RequestID: id}
}

func (p *play) input() json.RawMessage {
	raw, _ := jsonOf(p.e.Input) // of YAML, so it can be written
	return raw
}

func jsonOf(members map[string]any) (json.RawMessage, error) { return json.Marshal(members) }

func (p *play) send() (jobs.Accepted, error) {
	return p.c.Submit(p.ctx, p.job(""), p.input(), playWebhook)
}

func (p *play) submit() {
	check := p.c.Check(&jobs.Submission{Model: p.e.Model, Input: p.input()})
	if check != nil {
		p.find("check", check)
	}
	p.s.set("submit", &p.e.Accepted)
	got, err := p.send()
	if found := p.s.found(); found != nil {
		err = found
	}
	switch {
	case err != nil:
	case p.e.Expect.ID != "" && got.RequestID != p.e.Expect.ID:
		err = fmt.Errorf("the id is %q; the examples say %q", got.RequestID, p.e.Expect.ID)
	case got.Update != nil:
		err = p.settled(*got.Update)
	}
	p.find("submit", err)
	if p.e.Refused == nil {
		return
	}
	p.s.set("submit", p.e.Refused)
	_, err = p.send()
	refused, ok := errors.AsType[*jobs.Rejected](err)
	switch found := p.s.found(); {
	case found != nil:
		err = found
	case !ok:
		err = fmt.Errorf("the answer is not read as a rejection: %s", outcome(err))
	case !strings.Contains(refused.Text, p.e.Expect.RefusedError):
		err = fmt.Errorf("the error is %q; the examples say %q", refused.Text, p.e.Expect.RefusedError)
	default:
		err = nil
	}
	p.find("refused submit", err)
}

// outcome names the outcome of a submit. It wraps nothing, so that it is not read as an outcome itself.
func outcome(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

// settled compares completed work with what the examples say.
func (p *play) settled(u jobs.Update) error {
	var files []string
	for _, f := range u.Files {
		files = append(files, strings.Replace(f.URL, p.c.o.BaseURL, "BASE_URL", 1))
	}
	switch {
	case u.Status != jobs.JobCompleted:
		return fmt.Errorf("the status is %s, not completed", u.Status)
	case !slices.Equal(files, p.e.Expect.Files):
		return fmt.Errorf("the files are %q; the examples say %q", files, p.e.Expect.Files)
	case u.Cost != p.e.Expect.Cost:
		return fmt.Errorf("the cost is %q; the examples say %q", u.Cost, p.e.Expect.Cost)
	}
	return nil
}

func (p *play) poll() {
	if p.e.Poll == nil || p.d.Poll == nil {
		if (p.e.Poll == nil) != (p.d.Poll == nil) {
			p.find("poll", errors.New("only one of description and examples has it"))
		}
		return
	}
	ask := func(r *Response) (jobs.Update, error) {
		p.s.set("poll", r)
		u, err := p.c.Poll(p.ctx, p.job(p.e.Expect.ID))
		if found := p.s.found(); found != nil {
			err = found
		}
		return u, err
	}
	if p.e.Running != nil {
		u, err := ask(p.e.Running)
		want := p.e.Expect.Running
		if want == "" {
			want = jobs.JobProcessing.String()
		}
		switch {
		case err != nil:
		case u.Status.String() != want:
			err = fmt.Errorf("the status is %s; the examples say %s", u.Status, want)
		case p.e.Expect.Progress != "" && u.Progress != p.e.Expect.Progress:
			err = fmt.Errorf("the progress is %q; the examples say %q", u.Progress, p.e.Expect.Progress)
		}
		p.find("poll of running work", err)
	}
	if p.e.Done != nil {
		u, err := ask(p.e.Done)
		if err == nil {
			err = p.settled(u)
		}
		p.find("poll of completed work", err)
	}
	if p.e.Failed != nil {
		u, err := ask(p.e.Failed)
		switch {
		case err != nil:
		case u.Status != jobs.JobFailed:
			err = fmt.Errorf("the status is %s, not failed", u.Status)
		case u.Error != p.e.Expect.Error || u.ErrorType != p.e.Expect.ErrorType:
			err = fmt.Errorf("the error is %q, %q; the examples say %q, %q", u.Error, u.ErrorType, p.e.Expect.Error, p.e.Expect.ErrorType)
		}
		p.find("poll of failed work", err)
	}
}

func (p *play) webhook() {
	if p.d.Webhook == nil || p.e.Webhook == nil {
		if p.d.Webhook != nil {
			p.find("webhook", errors.New("the examples have none"))
		}
		return
	}
	raw, err := jsonOf(p.e.Webhook)
	if err != nil {
		p.find("webhook", err)
		return
	}
	u, err := NewInterpreter(p.c).Interpret(&gaff.Event{Source: p.c.Name(), Data: raw, ReceivedAt: time.Now()})
	switch {
	case err != nil:
	case u.RequestID != p.e.Expect.ID && u.JobID != playJob:
		err = fmt.Errorf("the id is %q; the examples say %q", u.RequestID, p.e.Expect.ID)
	case !u.Fetch:
		err = p.settled(u)
	}
	p.find("webhook", err)
}

func (p *play) cancel() {
	if p.e.Cancel == nil || p.d.Cancel == nil {
		if (p.e.Cancel == nil) != (p.d.Cancel == nil) {
			p.find("cancel", errors.New("only one of description and examples has it"))
		}
		return
	}
	answer := p.e.Cancelled
	if answer == nil {
		answer = &Response{}
	}
	p.s.set("cancel", answer)
	err := p.c.Cancel(p.ctx, p.job(p.e.Expect.ID))
	if found := p.s.found(); found != nil {
		err = found
	}
	p.find("cancel", err)
}

// faults answers submits and polls with faults. A submit of unknown outcome must be neither a
// rejection nor one that is repeated.
func (p *play) faults() {
	submit := func(step string, status int, text string, ok func(error) bool, want string) {
		p.s.set("submit", &Response{Status: status, Text: text})
		_, err := p.send()
		switch missed := p.s.missed(); {
		case missed != nil:
			err = missed
		case ok(err):
			err = nil
		default:
			err = fmt.Errorf("the outcome is %s; want %s", outcome(err), want)
		}
		p.find(step, err)
	}
	later := func(err error) bool { _, is := errors.AsType[*jobs.NotNow](err); return is }
	unknown := func(err error) bool {
		_, refused := errors.AsType[*jobs.Rejected](err)
		return err != nil && !refused && !later(err)
	}
	submit("submit answered 429", http.StatusTooManyRequests, "{}", later, "a later attempt")
	submit("submit answered 502", http.StatusBadGateway, "bad gateway", unknown, "unknown")
	if p.d.Submit.Media == "" {
		submit("submit answered 200 with another body", http.StatusOK, "<html>", unknown, "unknown")
	}
	submit("submit cut off", cutOff, "", unknown, "unknown")
	if p.d.Poll == nil {
		return
	}
	for _, r := range []*Response{{Status: 500, Text: "error"}, {Status: 200, Text: "<html>"}, {Status: 429, Text: "{}"}} {
		p.s.set("poll", r)
		u, err := p.c.Poll(p.ctx, p.job(p.e.Expect.ID))
		switch missed := p.s.missed(); {
		case missed != nil:
			err = missed
		case err != nil:
			err = nil
		default:
			err = fmt.Errorf("it is read as %s; want an error, after which gaff polls again", u.Status)
		}
		p.find(fmt.Sprintf("poll answered %d %s", r.Status, r.Text), err)
	}
}

// cutOff is a status with which the server closes the connection instead of answering.
const cutOff = 1

// stand is the server of the examples.
type stand struct {
	e        *Examples
	mu       sync.Mutex
	current  string // which request is wanted next
	answers  map[string][]byte
	statuses map[string]int
	problem  error
}

// found returns how the last request differs from the examples.
func (s *stand) found() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// missed returns the problem of the last request, if the examples do not have that request at all.
func (s *stand) missed() error {
	if missed, ok := errors.AsType[*missedError](s.found()); ok {
		return missed
	}
	return nil
}

// missedError says that a request is not the one that the examples have.
type missedError struct {
	method, uri, step string
	want              *Request
}

func (e *missedError) Error() string {
	if e.want == nil {
		return fmt.Sprintf("the description asks for %s %s; the examples have no %s", e.method, e.uri, e.step)
	}
	return fmt.Sprintf("the description asks for %s %s; the examples say %s %s (%s.path)", e.method, e.uri, e.want.Method, e.want.Path, e.step)
}

func (s *stand) set(what string, r *Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem, s.current = nil, what
	s.answers[what], s.statuses[what] = r.bytes(), r.Status
}

// ServeHTTP answers with the example of a request.
func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[string]*Request{"submit": &s.e.Submit, "poll": s.e.Poll, "cancel": s.e.Cancel}
	for _, what := range slices.Sorted(maps.Keys(known)) {
		want := known[what]
		if want == nil || want.Method != r.Method || want.Path != r.URL.RequestURI() {
			continue
		}
		s.problem = want.compare(r)
		status := s.statuses[what]
		if status == cutOff {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = w.Write(s.answers[what])
		return
	}
	s.problem = &missedError{r.Method, r.URL.RequestURI(), s.current, known[s.current]}
	w.WriteHeader(http.StatusTeapot)
}

// compare returns how a request differs from the provider's example.
func (want *Request) compare(r *http.Request) error {
	for name, value := range want.Headers {
		got := r.Header.Get(name)
		if rest, ok := strings.CutSuffix(value, "*"); got != value && !(ok && strings.HasPrefix(got, rest)) {
			return fmt.Errorf("the header %s is %q; the examples say %q", name, got, value)
		}
	}
	if want.Body == nil {
		return nil
	}
	got, err := bodyOf(r)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(want.Body)
	if err != nil {
		return err
	}
	raw = []byte(strings.ReplaceAll(string(raw), "WEBHOOK_URL", playWebhook))
	var expected map[string]any
	if err := json.Unmarshal(raw, &expected); err != nil {
		return err
	}
	if !reflect.DeepEqual(got, expected) {
		have, _ := json.Marshal(got)
		return fmt.Errorf("the body is %s; the examples say %s", have, raw)
	}
	return nil
}

// bodyOf reads a JSON body or a form.
func bodyOf(r *http.Request) (map[string]any, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			return nil, err
		}
		fields := map[string]any{}
		for name, values := range r.MultipartForm.Value {
			fields[name] = values[0]
		}
		return fields, nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		return nil, fmt.Errorf("the body is not a JSON object: %q", raw)
	}
	return got, nil
}
