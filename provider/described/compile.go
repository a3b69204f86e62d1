package described

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gaff/internal/cel"
	"gaff/internal/fault"
	"gaff/internal/suggest"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

// Variables of expressions, by place.
var (
	requestVariables = cel.Variables{
		"base": cel.String, "model": cel.String, "input": cel.Any, "webhook_url": cel.String, "webhook_secret": cel.String,
		"job_id": cel.String, "token": cel.String, "secrets": cel.Map(cel.String),
	}
	workVariables   = cel.Variables{"id": cel.String}
	answerVariables = cel.Variables{"response": cel.Any, "http_status": cel.Int, "headers": cel.Map(cel.String), "model": cel.String, "id": cel.String, "base": cel.String}
	bodyVariables   = cel.Variables{"body": cel.Any}
)

// compiled is a checked description.
type compiled struct {
	d        *Description
	headers  map[string]*cel.Template
	submit   call
	refused  *cel.Expression
	notNow   *cel.Expression
	notTaken []int
	id       *cel.Expression
	status   *cel.Expression // Submit.StatusURL
	cancelAt *cel.Expression // Submit.CancelURL
	err      *cel.Expression
	errType  *cel.Expression
	now      *reading // Submit.Immediate
	poll     *call
	read     *reading // of a poll
	missing  *jobs.JobStatus
	cancel   *call
	ended    []int
	hook     *hook
	files    map[string]*cel.Template
	hosts    []string
}

// call is a compiled request.
type call struct {
	method  string
	url     *cel.Template
	query   map[string]*cel.Template
	headers map[string]*cel.Template
	body    *cel.Expression
	form    bool
}

// reading is a compiled [Reading].
type reading struct {
	status, progress, result, files, err, errType, cost *cel.Expression
	states                                              map[string]jobs.JobStatus
}

// hook is a compiled [Webhook].
type hook struct {
	id, job, same, status *cel.Expression
	eventType             *cel.Expression
	states                map[string]jobs.JobStatus
	unsigned              bool
}

// Check returns the faults of a description, each with the path of its field.
func (d *Description) Check() fault.List {
	_, faults := compile(d)
	return faults
}

type checker struct {
	fault.List
	request, work, answer, body *cel.Env
}

func compile(d *Description) (*compiled, fault.List) {
	k := &checker{}
	for _, place := range []struct {
		env  **cel.Env
		sets []cel.Variables
	}{
		{&k.request, []cel.Variables{requestVariables}}, {&k.work, []cel.Variables{requestVariables, workVariables}},
		{&k.answer, []cel.Variables{answerVariables}}, {&k.body, []cel.Variables{bodyVariables}},
	} {
		var err error
		if *place.env, err = cel.NewEnv(nil, place.sets...); err != nil {
			k.Add("", "%v", err)
			return nil, k.List
		}
	}
	c := &compiled{d: d, hosts: slices.Clone(d.Hosts)}
	k.base(d, c)
	c.headers = k.templates(k.request, "headers", d.Headers)
	k.compileSubmit(d, c)
	k.compilePoll(d, c)
	k.compileCancel(d, c)
	k.compileWebhook(d, c)
	if d.Files != nil {
		c.files = k.templates(k.request, "files.headers", d.Files.Headers)
	}
	k.numbers(d)
	if len(k.List) > 0 {
		return nil, k.List
	}
	return c, nil
}

func (k *checker) base(d *Description, c *compiled) {
	if d.Title == "" {
		k.Add("title", "missing; the provider's name for people is wanted")
	}
	u, err := url.Parse(d.BaseURL)
	switch {
	case d.BaseURL == "":
		k.Add("base_url", "missing; the URL that all requests begin with is wanted, such as https://api.example.com")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		k.Add("base_url", "%q is not a plain URL; write one such as https://api.example.com", d.BaseURL)
	default:
		c.hosts = append(c.hosts, u.Host)
	}
	for i, host := range d.Hosts {
		if host == "" || strings.ContainsAny(host, "/@ ?#*") {
			k.Add(fmt.Sprintf("hosts[%d]", i), "%q is not a host; write one such as files.example.com", host)
		}
	}
	if d.Input != "" && !isObject(d.Input) {
		k.Add("input", "is not a JSON object")
	}
	if t := d.Token; t != nil {
		k.secret(d, "token.issuer", t.Issuer)
		k.secret(d, "token.key", t.Key)
		if t.TTL <= 0 {
			k.Add("token.ttl", "missing; how long a token is valid is wanted, such as 30m")
		}
	}
}

func isObject(text string) bool {
	var m map[string]any
	return json.Unmarshal([]byte(text), &m) == nil && m != nil
}

func (k *checker) secret(d *Description, path, name string) {
	if _, ok := d.Secrets[name]; !ok {
		k.Add(path, "%q is not one of secrets%s", name, suggest.Hint(name, slices.Sorted(maps.Keys(d.Secrets))))
	}
}

func (k *checker) compileSubmit(d *Description, c *compiled) {
	s := &d.Submit
	c.submit = call{
		method: k.method("submit.method", s.Method, http.MethodPost), url: k.url(k.request, "submit.url", s.URL),
		query: k.templates(k.request, "submit.query", s.Query), headers: k.templates(k.request, "submit.headers", s.Headers), form: s.Form,
		body: k.expression(k.request, "submit.body", s.Body, nil),
	}
	c.refused = k.expression(k.answer, "submit.refused", s.Refused, cel.Bool)
	c.notNow = k.expression(k.answer, "submit.not_now", s.NotNow, cel.Bool)
	c.notTaken = k.statuses("submit.not_taken", s.NotTaken)
	c.id = k.expression(k.answer, "submit.id", s.ID, nil)
	c.status = k.expression(k.answer, "submit.status_url", s.StatusURL, nil)
	c.cancelAt = k.expression(k.answer, "submit.cancel_url", s.CancelURL, nil)
	c.err = k.expression(k.answer, "submit.error", s.Error, nil)
	c.errType = k.expression(k.answer, "submit.error_type", s.ErrorType, nil)
	switch {
	case s.Immediate != nil && s.Media != "":
		k.Add("submit.media", "immediate is set too; keep one of the two")
	case s.Immediate != nil:
		c.now = k.reading("submit.immediate", s.Immediate)
	case s.Media == "" && s.ID == "":
		k.Add("submit.id", "missing; an expression for the id of the work is wanted, such as response.id")
	case s.Media == "" && d.Poll == nil && (d.Webhook == nil || d.Webhook.Same == ""):
		k.Add("poll", "missing; how to read the state and the result of the work is wanted")
	}
}

func (k *checker) compilePoll(d *Description, c *compiled) {
	if d.Poll == nil {
		return
	}
	p := d.Poll
	c.poll = &call{
		method: k.method("poll.method", p.Method, http.MethodGet), url: k.url(k.work, "poll.url", p.URL),
		query: k.templates(k.work, "poll.query", p.Query), headers: k.templates(k.work, "poll.headers", p.Headers),
	}
	c.read = k.reading("poll", &p.Reading)
	if p.Missing != "" {
		s, ok := jobs.ParseJobStatus(p.Missing)
		if !ok {
			k.Add("poll.missing", "%q is not a status of a job; one of %s is wanted", p.Missing, statuses)
		}
		c.missing = &s
	}
}

func (k *checker) compileCancel(d *Description, c *compiled) {
	if d.Cancel == nil {
		return
	}
	c.cancel = &call{
		method: k.method("cancel.method", d.Cancel.Method, http.MethodPost), url: k.url(k.work, "cancel.url", d.Cancel.URL),
		headers: k.templates(k.work, "cancel.headers", d.Cancel.Headers), body: k.expression(k.work, "cancel.body", d.Cancel.Body, nil),
	}
	c.ended = k.statuses("cancel.ended", d.Cancel.Ended)
}

func (k *checker) compileWebhook(d *Description, c *compiled) {
	w := d.Webhook
	if w == nil {
		return
	}
	c.hook = &hook{
		id: k.required(k.body, "webhook.id", w.ID), job: k.expression(k.body, "webhook.job", w.Job, nil), same: k.expression(k.body, "webhook.same", w.Same, nil),
		status: k.expression(k.body, "webhook.status", w.Status, nil), unsigned: w.Unsigned,
		eventType: k.expression(k.body, "webhook.type", w.Type, nil),
	}
	if w.Same == "" {
		k.required(k.body, "webhook.status", w.Status)
		c.hook.states = k.states("webhook.states", w.States)
		if d.Poll == nil {
			k.Add("webhook.same", "missing: the result is fetched by a poll, and there is no poll")
		}
	}
	set := 0
	for _, is := range []bool{w.Preset != "", w.Verify != nil, w.Unsigned} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		k.Add("webhook", "one of preset, verify and unsigned is wanted")
	case w.Unsigned && d.Poll == nil:
		k.Add("webhook.unsigned", "a poll is wanted: the result of an unsigned webhook is fetched by one")
	case w.Unsigned && w.Account:
		k.Add("webhook.account", "an unsigned webhook needs a URL for each job")
	case w.Preset != "":
		if _, ok := sender.Preset(w.Preset); !ok {
			k.Add("webhook.preset", "%q is not known%s", w.Preset, suggest.Hint(w.Preset, sender.Presets()))
		}
	case w.Verify != nil:
		for _, f := range w.Verify.Check(verify.Options{}) {
			if f.Path != "secrets" {
				k.Add("webhook.verify."+f.Path, "%s", f.Problem)
			}
		}
	}
}

func (k *checker) numbers(d *Description) {
	if d.Rate < 0 || d.Rate > 1000 {
		k.Add("rate", "must be requests a second, from 0 to 1000")
	}
	if d.Concurrency < 0 || d.Concurrency > 1000 {
		k.Add("concurrency", "must be a number from 1 to 1000, or 0")
	}
	if d.Expected < 0 {
		k.Add("expected", "must not be negative")
	}
	if b := d.Billing; b != nil && b.Unit == "" {
		k.Add("billing.unit", "missing; what the cost counts is wanted, such as USD or credit")
	} else if b != nil && b.Price != "" {
		if p, err := strconv.ParseFloat(b.Price, 64); err != nil || p < 0 {
			k.Add("billing.price", "%q is not a price; write one such as 0.01", b.Price)
		}
		if b.Currency == "" || b.Date == "" || b.Source == "" {
			k.Add("billing.price", "currency, date and source are wanted beside it")
		}
	}
}

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func (k *checker) method(path, given, preset string) string {
	if given == "" {
		return preset
	}
	if !slices.Contains(methods, given) {
		k.OneOf(path, given, strings.Join(methods, ", "))
	}
	return given
}

func (k *checker) url(env *cel.Env, path, text string) *cel.Template {
	if !strings.HasPrefix(text, "${base}") {
		k.Add(path, "must begin with ${base}, such as ${base}/v1/jobs")
		return nil
	}
	return k.template(env, path, text)
}

func (k *checker) templates(env *cel.Env, path string, texts map[string]string) map[string]*cel.Template {
	out := map[string]*cel.Template{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		out[name] = k.template(env, path+"."+name, text)
	}
	return out
}

func (k *checker) template(env *cel.Env, path, text string) *cel.Template {
	t, err := env.CompileTemplate(text, cel.StepCost)
	if err != nil {
		k.Add(path, "%s", problem(err))
	}
	return t
}

func (k *checker) required(env *cel.Env, path, text string) *cel.Expression {
	if text == "" {
		k.Add(path, "missing; an expression is wanted")
		return nil
	}
	return k.expression(env, path, text, nil)
}

// expression compiles a text; nil for an empty one.
func (k *checker) expression(env *cel.Env, path, text string, want *cel.Type) *cel.Expression {
	if text == "" {
		return nil
	}
	e, err := env.Compile(text, want, cel.StepCost)
	if err != nil {
		k.Add(path, "%s", problem(err))
	}
	return e
}

func problem(err error) string {
	if e, ok := errors.AsType[*cel.Error](err); ok {
		return e.Problem
	}
	return err.Error()
}

func (k *checker) reading(path string, r *Reading) *reading {
	return &reading{
		status: k.required(k.answer, path+".status", r.Status), states: k.states(path+".states", r.States),
		progress: k.expression(k.answer, path+".progress", r.Progress, nil), result: k.expression(k.answer, path+".result", r.Result, nil),
		files: k.expression(k.answer, path+".files", r.Files, nil), err: k.expression(k.answer, path+".error", r.Error, nil),
		errType: k.expression(k.answer, path+".error_type", r.ErrorType, nil), cost: k.expression(k.answer, path+".cost", r.Cost, nil),
	}
}

const statuses = "queued, processing, completed, failed, cancelled"

func (k *checker) states(path string, words map[string]string) map[string]jobs.JobStatus {
	if len(words) == 0 {
		k.Add(path, "missing; what the provider's words mean is wanted, such as {succeeded: completed}")
	}
	out := map[string]jobs.JobStatus{}
	for _, word := range slices.Sorted(maps.Keys(words)) {
		meaning := words[word]
		s, ok := jobs.ParseJobStatus(meaning)
		if !ok {
			k.Add(path+"."+word, "%q is not a status of a job; one of %s is wanted%s", meaning, statuses, suggest.Hint(meaning, strings.Split(statuses, ", ")))
		}
		out[word] = s
	}
	return out
}

func (k *checker) statuses(path string, texts []string) (list []int) {
	for _, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil || n < 400 || n > 599 {
			k.Add(path, "%q is not an HTTP status from 400 to 599", text)
		}
		list = append(list, n)
	}
	return list
}
