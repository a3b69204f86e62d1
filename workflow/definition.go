// Package workflow executes workflows: declared sequences of jobs, waits, calls and approvals.
//
// A run is rows in the database. It advances only in transactions, one for each event: a job
// settled, a webhook arrived, a timer expired, a person approved. A function without side effects
// (next.go) computes the next steps, so a process that is killed at any point loses nothing and
// repeats nothing.
package workflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"gaff/internal/yamlfile"
)

// Limits of definitions and runs.
const (
	// MaxFile is the maximum size of a workflow file, in bytes.
	MaxFile = 256 << 10
	// MaxSteps is the maximum number of steps of a workflow, MaxItems of items of a for_each.
	MaxSteps = 100
	MaxItems = 1000
	// MaxInput is the maximum size of the input of a run, MaxValue of the input or result of
	// a step, in bytes of JSON.
	MaxInput = 1 << 20
	MaxValue = 1 << 20
)

// Workflow is a declared sequence of steps. Expressions are CEL; strings may contain them as
// ${ expression }.
type Workflow struct {
	// Name is lower case letters, digits, "-" and "_", at most 64.
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Inputs are the inputs of a run, in the order of the start form.
	Inputs []Input `yaml:"inputs,omitempty" json:"inputs,omitempty"`
	// On starts a run for each matching event, Schedule at times.
	On       []Trigger  `yaml:"on,omitempty" json:"on,omitempty"`
	Schedule []Schedule `yaml:"schedule,omitempty" json:"schedule,omitempty"`
	// Concurrency is the maximum number of concurrent jobs of all runs of this workflow; 0
	// means unlimited.
	Concurrency int `yaml:"concurrency,omitempty" json:"concurrency,omitempty"`
	// Timeout ends a run as failed; 0 means never.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	Steps   []Step   `yaml:"steps" json:"steps"`
}

// Input is one input of a run: the variable input.NAME.
type Input struct {
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Type is string, number, integer, boolean, list, object or any; empty means string.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
	// Items is the type of a list's items; empty means any.
	Items string `yaml:"items,omitempty" json:"items,omitempty"`
	// Required inputs have no default. Missing others have their default, or null.
	Required bool `yaml:"required,omitempty" json:"required,omitempty"`
	Default  any  `yaml:"default,omitempty" json:"default,omitempty"`
	// Enum lists the allowed values; empty allows all.
	Enum []any `yaml:"enum,omitempty" json:"enum,omitempty"`
	// Max is the maximum of a number, or of the length of a string or list; 0 means none.
	Max float64 `yaml:"max,omitempty" json:"max,omitempty"`
}

// Trigger starts a run for an event.
type Trigger struct {
	// Event is "source:type", such as "shop:order.paid"; "*" means any type.
	Event string `yaml:"event" json:"event"`
	// Filter is a condition on event; empty accepts all.
	Filter string `yaml:"filter,omitempty" json:"filter,omitempty"`
	// Project is the run's project; empty means that of the event's job.
	Project string `yaml:"project,omitempty" json:"project,omitempty"`
	// Key is an idempotency key: one run for each key. Empty means one for each event.
	Key string `yaml:"key,omitempty" json:"key,omitempty"`
	// Input is the input of the run.
	Input map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
}

// Schedule starts runs at times, each once, also with several nodes.
type Schedule struct {
	// Cron is five fields (minute hour day month weekday), or @hourly, @daily and the like.
	Cron string `yaml:"cron" json:"cron"`
	// Timezone is an IANA name; empty means UTC.
	Timezone string         `yaml:"timezone,omitempty" json:"timezone,omitempty"`
	Project  string         `yaml:"project,omitempty" json:"project,omitempty"`
	Input    map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
}

// Step is one step of a workflow. Exactly one of Submit, WaitFor, HTTP, Approve and Emit is
// set.
type Step struct {
	// Name is an identifier in lower case; results are steps.NAME.
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Needs are steps that must be done before. Steps that its expressions read are needed
	// without being listed.
	Needs []string `yaml:"needs,omitempty" json:"needs,omitempty"`
	// When is a condition; the step is skipped if it is false.
	When string `yaml:"when,omitempty" json:"when,omitempty"`
	// ForEach is an expression that gives a list. The step runs once for each item, with the
	// variables item and index, which counts from 0.
	ForEach string `yaml:"for_each,omitempty" json:"for_each,omitempty"`

	Submit  *Submit  `yaml:"submit,omitempty" json:"submit,omitempty"`
	WaitFor *WaitFor `yaml:"wait_for,omitempty" json:"wait_for,omitempty"`
	HTTP    *HTTP    `yaml:"http,omitempty" json:"http,omitempty"`
	Approve *Approve `yaml:"approve,omitempty" json:"approve,omitempty"`
	Emit    *Emit    `yaml:"emit,omitempty" json:"emit,omitempty"`

	Retry *Retry `yaml:"retry,omitempty" json:"retry,omitempty"`
	// Timeout is the time limit of one attempt of a job or call; 0 means none for jobs and
	// 30 seconds for calls.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// OnFailure is the effect of a failure on the run; empty means fail.
	OnFailure OnFailure `yaml:"on_failure,omitempty" json:"on_failure,omitzero"`
}

// Submit submits a job to a provider. The result is the job's result and its files.
type Submit struct {
	// Provider is the name of a provider. If it is empty, Model is an alias of the settings.
	Provider string `yaml:"provider,omitempty" json:"provider,omitempty"`
	// Model, or its synonym Service, is the provider's name for the work. It may contain
	// expressions.
	Model   string `yaml:"model,omitempty" json:"model,omitempty"`
	Service string `yaml:"service,omitempty" json:"service,omitempty"`
	// Kind is image, video or audio; may be empty.
	Kind     string         `yaml:"kind,omitempty" json:"kind,omitempty"`
	Input    map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
	Metadata map[string]any `yaml:"metadata,omitempty" json:"metadata,omitempty"`
	// Priority is from -100 to 100: of the jobs of a provider that wait, the highest is submitted first.
	Priority int `yaml:"priority,omitempty" json:"priority,omitempty"`
	// Reuse false has the provider do the work even if an earlier job has the result.
	Reuse *bool `yaml:"reuse,omitempty" json:"reuse,omitempty"`
	// Fallback are used in their order, each if the former one rejected the job, or failed by the
	// provider's own word.
	Fallback []Candidate `yaml:"fallback,omitempty" json:"fallback,omitempty"`
}

// Candidate is a provider and model that may do the job of a step.
type Candidate struct {
	Provider string `yaml:"provider" json:"provider"`
	Model    string `yaml:"model" json:"model"`
	// Input is an expression that builds the model's input from the variable input, the step's input.
	// Result is one that builds the step's result from the variable result.
	Input  string `yaml:"input,omitempty" json:"input,omitempty"`
	Result string `yaml:"result,omitempty" json:"result,omitempty"`
}

// WaitFor waits for an event. The result is {id, source, type, data, receivedAt}.
type WaitFor struct {
	Event string `yaml:"event" json:"event"` // "source:type", as in Trigger
	// Condition must hold for event; empty accepts the first event.
	Condition string `yaml:"condition,omitempty" json:"condition,omitempty"`
	// Correlation, unless empty, must be the event's correlation id (a source's job
	// pointer). It finds the run by an index; a condition is evaluated for each run.
	Correlation string `yaml:"correlation,omitempty" json:"correlation,omitempty"`
	// Deadline is the maximum time to wait; 0 means unlimited.
	Deadline Duration `yaml:"deadline,omitempty" json:"deadline,omitempty"`
	// Window is the time before the wait in which an earlier event counts, but not before
	// the run started. 0 means an hour.
	Window Duration `yaml:"window,omitempty" json:"window,omitempty"`
}

// HTTP calls a URL, with the header Idempotency-Key. The result is {status, body}.
type HTTP struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty"` // empty means POST
	URL    string `yaml:"url" json:"url"`
	// Headers may use secrets.NAME; they are not stored.
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Body is sent as JSON; no body is sent if it is missing.
	Body any `yaml:"body,omitempty" json:"body,omitempty"`
}

// Approve waits for a person to approve or reject. The result is {approved, by, comment}.
type Approve struct {
	Message string `yaml:"message,omitempty" json:"message,omitempty"`
	// Deadline is the maximum time to wait; 0 means unlimited.
	Deadline Duration `yaml:"deadline,omitempty" json:"deadline,omitempty"`
	// OnDeadline is fail or approve; empty means fail.
	OnDeadline string `yaml:"on_deadline,omitempty" json:"on_deadline,omitempty"`
}

// Emit makes an event of the source gaff, for handlers, destinations and other workflows.
type Emit struct {
	Type string `yaml:"type" json:"type"`
	Data any    `yaml:"data,omitempty" json:"data,omitempty"`
}

// Retry is the retry rule of a step. The default is 5 attempts for calls and 1 for others.
type Retry struct {
	Attempts int      `yaml:"attempts" json:"attempts"`
	Wait     Duration `yaml:"wait,omitempty" json:"wait,omitempty"`         // before the second; 0 means 10 s
	Factor   float64  `yaml:"factor,omitempty" json:"factor,omitempty"`     // of each further wait; 0 means 2
	MaxWait  Duration `yaml:"max_wait,omitempty" json:"max_wait,omitempty"` // 0 means 10 min
}

// OnFailure is the effect of a failure of a step: fail, skip or continue, or
// {run: STEP}.
type OnFailure struct {
	// Do is fail (also if empty), skip, continue, or run.
	Do string
	// Run is the fallback: the step that replaces this one.
	Run string
}

// Effects of a failure.
const (
	DoFail     = "fail"
	DoSkip     = "skip"
	DoContinue = "continue"
	DoRun      = "run"
)

// UnmarshalYAML reads a word, or {run: STEP}.
func (o *OnFailure) UnmarshalYAML(text []byte) error {
	var word string
	if yaml.Unmarshal(text, &word) == nil {
		return o.set(word)
	}
	var run struct {
		Run string `yaml:"run"`
	}
	if err := yaml.UnmarshalWithOptions(text, &run, yaml.Strict()); err != nil || run.Run == "" {
		return fmt.Errorf("on_failure: want fail, skip, continue, or {run: STEP}")
	}
	*o = OnFailure{DoRun, run.Run}
	return nil
}

func (o *OnFailure) set(word string) error {
	switch word {
	case DoFail, DoSkip, DoContinue:
		*o = OnFailure{Do: word}
		return nil
	}
	return fmt.Errorf("on_failure: unknown %.40q: want fail, skip, continue, or {run: STEP}", word)
}

// MarshalJSON is the reverse of UnmarshalJSON.
func (o OnFailure) MarshalJSON() ([]byte, error) {
	if o.Do == DoRun {
		return json.Marshal(map[string]string{"run": o.Run})
	}
	return json.Marshal(o.Do)
}

// UnmarshalJSON reads a word, or {"run": STEP}.
func (o *OnFailure) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		return o.set(word)
	}
	var run struct{ Run string }
	if json.Unmarshal(text, &run) != nil || run.Run == "" {
		return fmt.Errorf("on_failure: want fail, skip, continue, or {\"run\": STEP}")
	}
	*o = OnFailure{DoRun, run.Run}
	return nil
}

// IsZero reports whether encoders omit the field.
func (o OnFailure) IsZero() bool { return o == OnFailure{} }

// Duration is a time.Duration written as a string: "90s", "1h30m", "3d".
type Duration time.Duration

// maxDuration is the longest duration: a year.
const maxDuration = 366 * 24 * time.Hour

// ParseDuration parses a duration as time.ParseDuration does, and whole days as "3d".
func ParseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, perr := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, perr
	}
	if err != nil || d < 0 || d > maxDuration {
		return 0, fmt.Errorf("invalid duration %.40q: want one such as 90s, 15m, 2h or 3d, at most a year", text)
	}
	return Duration(d), nil
}

func (d Duration) String() string {
	t := time.Duration(d)
	if t > 0 && t%(24*time.Hour) == 0 {
		return strconv.Itoa(int(t/(24*time.Hour))) + "d"
	}
	return t.String()
}

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(text []byte) (err error) {
	var s string
	if err := yaml.Unmarshal(text, &s); err != nil {
		return err
	}
	*d, err = ParseDuration(s)
	return err
}

// MarshalJSON writes the text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text.
func (d *Duration) UnmarshalJSON(text []byte) (err error) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*d, err = ParseDuration(s)
	return err
}

var workflowName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// Parse reads a workflow file and checks it. The error is a [Faults]. If providers are named, a step
// can submit to no other.
func Parse(file string, text []byte, providers ...string) (*Compiled, error) {
	fail := func(line, column int, path, problem string) (*Compiled, error) {
		return nil, Faults{{File: file, Line: line, Column: column, Path: path, Problem: problem}}
	}
	parsed, err := yamlfile.Parse(text, MaxFile)
	if err != nil {
		line, column, problem := yamlError(err)
		return fail(line, column, "", problem)
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		return fail(1, 1, "", "want one YAML document with one workflow")
	}
	at := positions{}
	at.walk("", parsed.Docs[0].Body, 0)
	var w Workflow
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(&w); err != nil {
		line, column, problem := yamlError(err)
		return fail(line, column, "", problem)
	}
	c, faults := compile(&w, &checker{w: &w, file: file, at: at, providers: providers})
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// maxDepth is the maximum nesting of a file.
const maxDepth = 64

// Hash returns the SHA-256 of the JSON of the definition, in hex, and the JSON.
func (w *Workflow) Hash() (hash string, definition json.RawMessage, err error) {
	definition, err = json.Marshal(w)
	if err != nil {
		return "", nil, fmt.Errorf("workflow %s: %w", w.Name, err)
	}
	sum := sha256.Sum256(definition)
	return hex.EncodeToString(sum[:]), definition, nil
}

// FromJSON parses a stored definition.
func FromJSON(definition []byte) (*Workflow, error) {
	var w Workflow
	dec := json.NewDecoder(bytes.NewReader(definition))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("read a workflow definition: %w", err)
	}
	return &w, nil
}

// Kind returns the kind of a step: submit, wait_for, http, approve or emit.
func (s *Step) Kind() string {
	switch {
	case s.Submit != nil:
		return "submit"
	case s.WaitFor != nil:
		return "wait_for"
	case s.HTTP != nil:
		return "http"
	case s.Approve != nil:
		return "approve"
	}
	return "emit"
}
