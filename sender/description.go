package sender

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gaff/internal/fault"
	"gaff/verify"
)

// UnknownType is the type of events whose request names none.
const UnknownType = "unknown"

// Description describes a sender. It is read from JSON (the presets, vector files) and YAML
// (a source's "verify:" block) by the same names.
type Description struct {
	// Scheme is how the sender signs. Its ID is also the place of the event's id.
	verify.Scheme `yaml:",inline"`

	// EventType and Subject are the places of the event's type and of the authenticated
	// party. Verification covers them only if the signature covers their places.
	EventType *verify.Location `json:"event_type,omitempty" yaml:"event_type,omitempty"`
	Subject   *verify.Location `json:"subject,omitempty" yaml:"subject,omitempty"`
	// Distinct are places whose texts, with the id, identify an event, for senders whose id
	// names an object that has several events. The place "receipt" is the time of receipt:
	// for senders whose identical requests are different events.
	Distinct []verify.Location `json:"distinct,omitempty" yaml:"distinct,omitempty"`

	// Challenge lists the calls by which the sender tests that it reaches the right receiver.
	Challenge Challenges `json:"challenge,omitempty" yaml:"challenge,omitempty"`
	// Batch says how one request splits into several events; nil: it is one.
	Batch *Batch `json:"batch,omitempty" yaml:"batch,omitempty"`
	// Jobs says where a body holds the state of a job; nil: the sender runs no jobs.
	Jobs *Jobs `json:"jobs,omitempty" yaml:"jobs,omitempty"`
	// MaxBody is the largest body that the sender sends, in bytes; zero: unknown, or the
	// gateway's default limit is enough. A source's own max_body takes precedence.
	MaxBody int64 `json:"max_body,omitempty" yaml:"max_body,omitempty"`
	// Ack is the answer that the sender requires; nil: the gateway's default answer.
	Ack *Ack `json:"ack,omitempty" yaml:"ack,omitempty"`
}

// Jobs has JSON pointers to the state of a job in a body. Of several pointers, the first that finds
// a value counts.
type Jobs struct {
	// ID is the provider's id of the work, Job the id of gaff's job that the provider echoes.
	ID  Pointers `json:"id,omitempty" yaml:"id,omitempty" alias:"request_id"`
	Job Pointers `json:"job,omitempty" yaml:"job,omitempty"`
	// Status is the word that Words translates to queued, processing, completed, failed
	// or cancelled; other words change nothing. Without a Status the word is "".
	Status Pointers          `json:"status,omitempty" yaml:"status,omitempty"`
	Words  map[string]string `json:"words,omitempty" yaml:"words,omitempty"`
	// Require maps pointers to the text that must be there, if any is. Another text means that the
	// work failed, for any status.
	Require map[string]string `json:"require,omitempty" yaml:"require,omitempty"`
	// Output points to the result, which contains the files; empty: the body. A result may be JSON
	// in a text.
	Output Pointers `json:"output,omitempty" yaml:"output,omitempty"`
	// Error is text for people, ErrorType a code.
	Error     Pointers `json:"error,omitempty" yaml:"error,omitempty"`
	ErrorType Pointers `json:"error_type,omitempty" yaml:"error_type,omitempty"`
	// Project, User and Kind of the job, as the submitter set them, if the provider echoes them.
	Project Pointers `json:"project,omitempty" yaml:"project,omitempty"`
	User    Pointers `json:"user,omitempty" yaml:"user,omitempty"`
	Kind    Pointers `json:"kind,omitempty" yaml:"kind,omitempty"`
}

// Batch says how one request splits into several events, by JSON pointers.
type Batch struct {
	// Items points to the list; empty: the body is the list. A "*" is each item of an outer list:
	// "/entry/*/changes". Of several pointers, the first that finds a list counts.
	Items Pointers `json:"items" yaml:"items"`
	// ID and Type point into an item; several texts are joined by ".". Without an id, an item is
	// identified by its content.
	ID   Pointers `json:"id,omitempty" yaml:"id,omitempty"`
	Type Pointers `json:"type,omitempty" yaml:"type,omitempty"`
}

// Lists returns Items; without any, the pointer to the whole body.
func (b *Batch) Lists() []string {
	if len(b.Items) == 0 {
		return []string{""}
	}
	return b.Items
}

// Ack is a fixed answer.
type Ack struct {
	// EmptyErrors is set if rejections must have an empty body too.
	EmptyErrors bool `json:"bare,omitempty" yaml:"bare,omitempty"`
	// Status is 200 if zero.
	Status      int    `json:"status,omitempty" yaml:"status,omitempty"`
	ContentType string `json:"content_type,omitempty" yaml:"content_type,omitempty"`
	Body        string `json:"body,omitempty" yaml:"body,omitempty"`
}

// Pointers is a list of JSON pointers; in a file, one text or a list.
type Pointers []string

// UnmarshalJSON takes a text or a list of texts.
func (p *Pointers) UnmarshalJSON(text []byte) error { return (*verify.Texts)(p).UnmarshalJSON(text) }

// UnmarshalYAML takes a text or a list of texts.
func (p *Pointers) UnmarshalYAML(unmarshal func(any) error) error {
	return (*verify.Texts)(p).UnmarshalYAML(unmarshal)
}

// jobStatuses are the values of Jobs.Words.
var jobStatuses = []string{"queued", "processing", "completed", "failed", "cancelled"}

// Check returns the faults of a description with an operator's options, each with the path of
// its field: the description's own fields, or secrets[N], keys[N] and settings.NAME.
func (d Description) Check(o verify.Options) fault.List {
	_, err := New(d, o)
	scheme, _ := errors.AsType[fault.List](err)
	_, err = NewHandshaker(d, HandshakeOptions{Settings: o.Settings, Client: o.Client})
	challenge, _ := errors.AsType[fault.List](err)
	return slices.Concat(scheme, challenge, d.checkReading())
}

// checkReading returns the faults of the fields that say how to read a body and answer it:
// content, batch, ack and jobs.
func (d Description) checkReading() (f fault.List) {
	pointer := func(path, text string) {
		if text == "" {
			return
		}
		if _, err := verify.NewFields(text); err != nil {
			f.Add(path, "%v", err)
		}
	}
	list := func(path string, p Pointers) {
		for i, text := range p {
			at := path
			if len(p) > 1 {
				at = fmt.Sprintf("%s[%d]", path, i)
			}
			pointer(at, text)
		}
	}
	if field, ok := strings.CutPrefix(d.Content, "form:"); d.Content != "" && d.Content != "form" && d.Content != "any" && (!ok || field == "") {
		f.Add("content", "%q is not known; form, form:FIELD or any is wanted", d.Content)
	}
	if b := d.Batch; b != nil {
		list("batch.items", b.Items)
		list("batch.id", b.ID)
		list("batch.type", b.Type)
	}
	if a := d.Ack; a != nil && a.Status != 0 && (a.Status < 200 || a.Status > 299) {
		f.Add("ack.status", "%d; a status from 200 to 299 is wanted", a.Status)
	}
	if j := d.Jobs; j != nil {
		if len(j.ID)+len(j.Job) == 0 {
			f.Add("jobs.id", "missing; where the body names the work is wanted, such as /id")
		}
		list("jobs.output", j.Output)
		list("jobs.id", j.ID)
		list("jobs.job", j.Job)
		list("jobs.status", j.Status)
		list("jobs.error", j.Error)
		list("jobs.error_type", j.ErrorType)
		list("jobs.project", j.Project)
		list("jobs.user", j.User)
		list("jobs.kind", j.Kind)
		list("jobs.require", slices.Sorted(maps.Keys(j.Require)))
		for _, word := range slices.Sorted(maps.Keys(j.Words)) {
			if !slices.Contains(jobStatuses, j.Words[word]) {
				f.Add("jobs.words."+word, "%q is not a status of a job; want one of %s", j.Words[word], strings.Join(jobStatuses, ", "))
			}
		}
		if len(j.Words) == 0 {
			f.Add("jobs.words", "missing; what the sender's status words mean is wanted, such as {succeeded: completed}")
		}
	}
	return f
}

// HeaderNames returns the headers that a verifier of the description reads, in canonical form,
// sorted.
func (d Description) HeaderNames() []string {
	places := []*verify.Location{d.EventType, d.Subject}
	for i := range d.Distinct {
		places = append(places, &d.Distinct[i])
	}
	return d.Scheme.HeaderNames(places...)
}

func strictJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
