package custom

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gaff"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

// Interpreter reads a sender's events as changes to jobs, by a description. It is a
// jobs.Interpreter; make it with [NewInterpreter].
type Interpreter struct {
	provider string
	jobs     sender.Jobs
	words    map[string]jobs.JobStatus
	fields   *verify.Fields
	// The places of each field's texts in what fields reads: a run for each of id, job,
	// status, error, error type, project, user, kind and required values; output is the last.
	runs     [9][2]int
	required []string // texts, in the order of the last run
}

// NewInterpreter readies a description. provider is the jobs' provider, which is the
// source's name.
func NewInterpreter(provider string, mapping sender.Jobs) (*Interpreter, error) {
	in := &Interpreter{provider: provider, jobs: mapping, words: map[string]jobs.JobStatus{}}
	if len(mapping.ID)+len(mapping.Job) == 0 {
		return nil, fmt.Errorf("jobs.id: missing; where the body names the work is wanted")
	}
	for word, status := range mapping.Words {
		s, ok := jobs.ParseJobStatus(status)
		if !ok {
			return nil, fmt.Errorf("jobs.words.%s: %q is not a status of a job", word, status)
		}
		in.words[word] = s
	}
	in.jobs.Output = slices.DeleteFunc(slices.Clone(mapping.Output), func(p string) bool { return p == "" })
	require := slices.Sorted(maps.Keys(mapping.Require))
	for _, pointer := range require {
		in.required = append(in.required, mapping.Require[pointer])
	}
	var list []string
	for i, run := range [...]sender.Pointers{
		mapping.ID, mapping.Job, mapping.Status, mapping.Error, mapping.ErrorType, mapping.Project, mapping.User, mapping.Kind, require,
	} {
		in.runs[i] = [2]int{len(list), len(list) + len(run)}
		list = append(list, run...)
	}
	list = append(list, in.jobs.Output...)
	var err error
	if in.fields, err = verify.NewFields(list...); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return in, nil
}

// reading is what an event's body holds of a job.
type reading struct {
	id, job, status, err, errType, project, user, kind string
	broken                                             bool // a required value differs
}

func (in *Interpreter) read(body []byte) (r reading, err error) {
	texts, err := in.fields.Read(body)
	if err != nil {
		return r, err
	}
	for i, to := range []*string{&r.id, &r.job, &r.status, &r.err, &r.errType, &r.project, &r.user, &r.kind} {
		*to = cmp.Or(texts[in.runs[i][0]:in.runs[i][1]]...)
	}
	last := in.runs[len(in.runs)-1]
	for i, text := range texts[last[0]:last[1]] {
		r.broken = r.broken || text != "" && text != in.required[i]
	}
	return r, nil
}

// Interpret reads an event as a change to a job that is known by its request id, or by
// ours where the sender echoes it. A status word that has no meaning changes nothing.
func (in *Interpreter) Interpret(ev *gaff.Event) (jobs.Update, error) {
	r, err := in.read(ev.Data)
	if err != nil {
		return jobs.Update{}, gaff.Discard(err)
	}
	status, known := in.words[r.status]
	if r.broken {
		status, known = jobs.JobFailed, true
	}
	if !known || r.id == "" && r.job == "" {
		return jobs.Update{}, jobs.ErrNoChange
	}
	u := jobs.Update{
		Provider: in.provider, RequestID: r.id, JobID: r.job, Status: status,
		ProjectID: r.project, UserID: r.user, Kind: r.kind,
	}
	switch status {
	case jobs.JobCompleted:
		if err := in.result(ev, &u); err != nil {
			return jobs.Update{}, gaff.Discard(err)
		}
	case jobs.JobFailed:
		u.Error, u.ErrorType = cmp.Or(r.err, "failed without a reason"), r.errType
	case jobs.JobQueued, jobs.JobProcessing, jobs.JobCancelled: // have no result
	}
	return u, nil
}

// result sets the result of a completed job, and the files in it: of the first place of
// jobs.output that holds something, or of the whole body if no place is described.
func (in *Interpreter) result(ev *gaff.Event, u *jobs.Update) error {
	if len(in.jobs.Output) == 0 {
		u.Result = bytes.Clone(ev.Data)
		u.Files, u.FilesTotal = jobs.Files(in.provider, ev.Data, ev.ReceivedAt)
		return nil
	}
	values, err := in.fields.Raw(ev.Data)
	if err != nil {
		return err
	}
	values = values[len(values)-len(in.jobs.Output):]
	for i, value := range values {
		if output := unwrapped(value); len(output) > 0 {
			u.Result = bytes.Clone(output)
			u.Files, u.FilesTotal = jobs.FilesOf(in.provider, output, in.jobs.Output[i], ev.ReceivedAt)
			return nil
		}
	}
	return nil
}

// unwrapped returns a value; of an object or a list that is written as JSON in a text, the
// object or list itself; and nil for null and the empty text.
func unwrapped(value []byte) []byte {
	var text string
	if bytes.Equal(value, []byte("null")) {
		return nil
	}
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &text) != nil {
		return value
	}
	inner := strings.TrimSpace(text)
	switch {
	case inner == "":
		return nil
	case (inner[0] == '{' || inner[0] == '[') && verify.ValidJSON([]byte(inner)) == nil:
		return []byte(inner)
	}
	return value
}

// Provider is a jobs.Provider for senders that are only described: applications submit
// the work themselves and register it; gaff follows it by its webhooks only.
type Provider string

// Name is the source's.
func (p Provider) Name() string { return string(p) }

// WebhookOnly says that it is one; see jobs.WebhookOnly.
func (p Provider) WebhookOnly() {}

var errOnlyDescribed = errors.New("gaff knows this provider by its webhooks only")

// Check refuses all submissions.
func (p Provider) Check(*jobs.Submission) error {
	return &jobs.InvalidError{Field: "provider", Text: string(p) + " is known by its webhooks only: submit the work there, with " +
		gaff.PathPrefix + string(p) + " as its webhook, and register it by PUT /api/v1/jobs/{id} with its requestId"}
}

// Account is empty: there is no key.
func (p Provider) Account() string { return "" }

// Submit is never called, for Check refuses.
func (p Provider) Submit(context.Context, *jobs.Job, json.RawMessage, string) (jobs.Accepted, error) {
	return jobs.Accepted{}, errOnlyDescribed
}

// CanPoll reports that it cannot.
func (p Provider) CanPoll(*jobs.Job) bool { return false }

// Poll is never called, for CanAsk is false.
func (p Provider) Poll(context.Context, *jobs.Job) (jobs.Update, error) {
	return jobs.Update{}, errOnlyDescribed
}

// Cancel is never called, for CanAsk is false.
func (p Provider) Cancel(context.Context, *jobs.Job) error { return errOnlyDescribed }
