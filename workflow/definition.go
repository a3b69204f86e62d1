// Package workflow makes the next step happen by itself: a declared sequence of jobs,
// waits, calls and decisions, and the engine that moves its runs forward.
//
// A run is rows in the database. It moves only inside transactions, each the work of one
// event: a job that ended, a webhook that came, a timer, a person's decision. What is to be
// done next is computed by a function without side effects ([Compiled] and its next), so a
// process that is killed at any point loses nothing and does nothing twice.
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

// Limits of what a definition and a run may hold.
const (
	// MaxFile bounds a workflow file, in bytes.
	MaxFile = 256 << 10
	// MaxSteps bounds the steps of a workflow, MaxItems the items of a for_each.
	MaxSteps = 100
	MaxItems = 1000
	// MaxInput bounds the input of a run, MaxValue what one step is given or gives, both
	// in bytes of JSON.
	MaxInput = 1 << 20
	MaxValue = 1 << 20
)

// Workflow is a declared sequence of steps. Written as YAML, its keys are those of the
// tags; expressions are CEL, and text may hold them as ${ expression }.
type Workflow struct {
	// Name is lower case letters, digits, "-" and "_", at most 64.
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Inputs are what a run is started with, in the order of the start form.
	Inputs []Input `yaml:"inputs,omitempty" json:"inputs,omitempty"`
	// On starts a run for each event that fits; Schedule starts runs by the clock.
	On       []Trigger  `yaml:"on,omitempty" json:"on,omitempty"`
	Schedule []Schedule `yaml:"schedule,omitempty" json:"schedule,omitempty"`
	// Concurrency is how many jobs of all runs of this workflow may be under way at once;
	// 0 means no limit.
	Concurrency int `yaml:"concurrency,omitempty" json:"concurrency,omitempty"`
	// Timeout ends a run as failed; 0 means never.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	Steps   []Step   `yaml:"steps" json:"steps"`
}

// Input is one value that a run is started with: the variable input.NAME.
type Input struct {
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Type is string, number, integer, boolean, list, object or any; empty means string.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
	// Items is the type of a list's items; empty means any.
	Items string `yaml:"items,omitempty" json:"items,omitempty"`
	// Required inputs have no default and must be given. Others are null if they have none.
	Required bool `yaml:"required,omitempty" json:"required,omitempty"`
	Default  any  `yaml:"default,omitempty" json:"default,omitempty"`
	// Enum lists the allowed values; empty allows all.
	Enum []any `yaml:"enum,omitempty" json:"enum,omitempty"`
	// Max bounds a number, or the length of a text or list; 0 means no bound.
	Max float64 `yaml:"max,omitempty" json:"max,omitempty"`
}

// Trigger starts a run for an event.
type Trigger struct {
	// Event is "source:type", such as "fal:generation.completed"; "*" stands for any type.
	Event string `yaml:"event" json:"event"`
	// Filter is a condition on event; empty takes all.
	Filter string `yaml:"filter,omitempty" json:"filter,omitempty"`
	// Project gives the run's project, as text; empty: that of the event's job.
	Project string `yaml:"project,omitempty" json:"project,omitempty"`
	// Key makes runs unique: one for each key. Empty: one for each event.
	Key string `yaml:"key,omitempty" json:"key,omitempty"`
	// Input is what the run is started with.
	Input map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
}

// Schedule starts runs by the clock, each time once, however many gateways run.
type Schedule struct {
	// Cron is five fields (minute hour day month weekday), or @hourly, @daily and the like.
	Cron string `yaml:"cron" json:"cron"`
	// Timezone is an IANA name; empty means UTC.
	Timezone string         `yaml:"timezone,omitempty" json:"timezone,omitempty"`
	Project  string         `yaml:"project,omitempty" json:"project,omitempty"`
	Input    map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
}

// Step is one part of a workflow. Exactly one of Submit, WaitFor, HTTP, Approve and Emit
// says what it does.
type Step struct {
	// Name is an identifier in lower case; results are steps.NAME.
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Needs are steps that must be done before. Steps that an expression here speaks of are
	// needed without being listed.
	Needs []string `yaml:"needs,omitempty" json:"needs,omitempty"`
	// When is a condition; the step is skipped where it is false.
	When string `yaml:"when,omitempty" json:"when,omitempty"`
	// ForEach is an expression for a list; the step is done once for each item, which is
	// the variable item, with its number, from 0, as index.
	ForEach string `yaml:"for_each,omitempty" json:"for_each,omitempty"`

	Submit  *Submit  `yaml:"submit,omitempty" json:"submit,omitempty"`
	WaitFor *WaitFor `yaml:"wait_for,omitempty" json:"wait_for,omitempty"`
	HTTP    *HTTP    `yaml:"http,omitempty" json:"http,omitempty"`
	Approve *Approve `yaml:"approve,omitempty" json:"approve,omitempty"`
	Emit    *Emit    `yaml:"emit,omitempty" json:"emit,omitempty"`

	Retry *Retry `yaml:"retry,omitempty" json:"retry,omitempty"`
	// Timeout bounds one try of a job or call; 0 means no bound for jobs and 30 seconds
	// for calls.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// OnFailure says what a failure means for the run; empty means fail.
	OnFailure OnFailure `yaml:"on_failure,omitempty" json:"on_failure,omitzero"`
}

// Submit asks a provider for work. The result is what it returns, and its files.
type Submit struct {
	// Provider is fal or lastframe.
	Provider string `yaml:"provider" json:"provider"`
	// Model is fal's model, Service Last Frame's service; text that may hold expressions.
	Model   string `yaml:"model,omitempty" json:"model,omitempty"`
	Service string `yaml:"service,omitempty" json:"service,omitempty"`
	// Kind is image, video or audio; empty if it does not matter.
	Kind     string         `yaml:"kind,omitempty" json:"kind,omitempty"`
	Input    map[string]any `yaml:"input,omitempty" json:"input,omitempty"`
	Metadata map[string]any `yaml:"metadata,omitempty" json:"metadata,omitempty"`
}

// WaitFor waits for an event. The result is {id, source, type, data, receivedAt}.
type WaitFor struct {
	Event string `yaml:"event" json:"event"` // "source:type", as in Trigger
	// Condition must hold for event; empty takes the first that comes.
	Condition string `yaml:"condition,omitempty" json:"condition,omitempty"`
	// Correlation, if not empty, must be the event's correlation id (a source's job
	// pointer); it finds the run at once, where a condition is tried for each run.
	Correlation string `yaml:"correlation,omitempty" json:"correlation,omitempty"`
	// Deadline is how long to wait; 0 means for ever.
	Deadline Duration `yaml:"deadline,omitempty" json:"deadline,omitempty"`
	// Window is how far back an event counts that came before the wait began, but not
	// before the run did. 0 means an hour.
	Window Duration `yaml:"window,omitempty" json:"window,omitempty"`
}

// HTTP calls an address, with the header Idempotency-Key. The result is {status, body}.
type HTTP struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty"` // empty means POST
	URL    string `yaml:"url" json:"url"`
	// Headers may use secrets.NAME; they are not stored.
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Body is sent as JSON; nothing is sent if it is missing.
	Body any `yaml:"body,omitempty" json:"body,omitempty"`
}

// Approve waits for a person's decision. The result is {approved, by, comment}.
type Approve struct {
	Message string `yaml:"message,omitempty" json:"message,omitempty"`
	// Deadline is how long to wait; 0 means for ever.
	Deadline Duration `yaml:"deadline,omitempty" json:"deadline,omitempty"`
	// OnDeadline is fail or approve; empty means fail.
	OnDeadline string `yaml:"on_deadline,omitempty" json:"on_deadline,omitempty"`
}

// Emit makes an event of the source gaff, for handlers, destinations and other workflows.
type Emit struct {
	Type string `yaml:"type" json:"type"`
	Data any    `yaml:"data,omitempty" json:"data,omitempty"`
}

// Retry says how often a failed step is tried again. Calls have 5 attempts if they say
// nothing, all others 1.
type Retry struct {
	Attempts int      `yaml:"attempts" json:"attempts"`
	Wait     Duration `yaml:"wait,omitempty" json:"wait,omitempty"`         // before the second; 0 means 10 s
	Factor   float64  `yaml:"factor,omitempty" json:"factor,omitempty"`     // of each further wait; 0 means 2
	MaxWait  Duration `yaml:"max_wait,omitempty" json:"max_wait,omitempty"` // 0 means 10 min
}

// OnFailure is what the failure of a step means: the word fail, skip or continue, or
// {run: STEP}.
type OnFailure struct {
	// Do is fail (also if empty), skip, continue, or run.
	Do string
	// Run is the step that is done in this one's place.
	Run string
}

// What a failure means.
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
	return fmt.Errorf("on_failure: %.40q is none: want fail, skip, continue, or {run: STEP}", word)
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

// IsZero tells encoders that there is nothing to write.
func (o OnFailure) IsZero() bool { return o == OnFailure{} }

// Duration is a time.Duration that is written as text: "90s", "1h30m", "3d".
type Duration time.Duration

// maxDuration bounds every duration: a year.
const maxDuration = 366 * 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, and whole days as "3d".
func ParseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, perr := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, perr
	}
	if err != nil || d < 0 || d > maxDuration {
		return 0, fmt.Errorf("%.40q is no duration: want one such as 90s, 15m, 2h or 3d, at most a year", text)
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

// Parse reads a workflow file and checks it. The error is a [Faults].
func Parse(file string, text []byte) (*Compiled, error) {
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
	c, faults := compile(&w, file, at)
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// maxDepth bounds how deep a file may nest.
const maxDepth = 64

// Hash names a definition: the SHA-256 of its JSON, in hex.
func (w *Workflow) Hash() (hash string, definition json.RawMessage, err error) {
	definition, err = json.Marshal(w)
	if err != nil {
		return "", nil, fmt.Errorf("workflow %s: %w", w.Name, err)
	}
	sum := sha256.Sum256(definition)
	return hex.EncodeToString(sum[:]), definition, nil
}

// FromJSON reads a definition as it is stored.
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

// Kind names what a step does: submit, wait_for, http, approve or emit.
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
