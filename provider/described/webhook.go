package described

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/jobs"
	"gaff/sender"
)

// Interpreter reads the webhooks of a described provider as changes to jobs.
type Interpreter struct{ c *Client }

// NewInterpreter returns the interpreter of a client's webhooks.
func NewInterpreter(c *Client) Interpreter { return Interpreter{c} }

// Interpret reads an event. Unless the body is signed and has the form of the answer to a poll, an
// end is only a hint: the result is fetched with the operator's own secret.
func (in Interpreter) Interpret(ev *gaff.Event) (jobs.Update, error) {
	h := in.c.c.hook
	body := decode(ev.Data)
	vars := map[string]any{"body": body}
	id, job := text(h.id, vars), text(h.job, vars)
	if body == nil || id == "" && job == "" {
		return jobs.Update{}, gaff.Discard(errors.New("the body does not name the work"))
	}
	u, err := in.interpret(ev, id, vars)
	if job != "" {
		u.JobID, u.RequestID = job, ""
	}
	return u, err
}

func (in Interpreter) interpret(ev *gaff.Event, id string, vars map[string]any) (jobs.Update, error) {
	h, j := in.c.c.hook, &jobs.Job{RequestID: id}
	if h.same != nil {
		u, err := in.same(ev, j, vars)
		if err != nil {
			return jobs.Update{}, gaff.Discard(err)
		}
		if h.unsigned && u.Status.Settled() {
			return in.fetch(id), nil
		}
		return u, nil
	}
	status, known := h.states[text(h.status, vars)]
	switch {
	case !known:
		return jobs.Update{}, jobs.ErrNoChange
	case status.Settled():
		return in.fetch(id), nil
	}
	return jobs.Update{Provider: in.c.o.Name, RequestID: id, Status: status}, nil
}

// same reads the part of a body that is as the answer to a poll.
func (in Interpreter) same(ev *gaff.Event, j *jobs.Job, vars map[string]any) (jobs.Update, error) {
	v, err := in.c.c.hook.same.Value(vars)
	if err != nil {
		return jobs.Update{}, fmt.Errorf("webhook.same: %w", err)
	}
	part, err := unwrapped(v)
	if err != nil {
		return jobs.Update{}, err
	}
	return in.c.read(in.c.c.read, j, in.c.of(j, answer{status: 200, body: part}), part, ev.ReceivedAt)
}

// fetch is a change to a job whose result must be fetched.
func (in Interpreter) fetch(id string) jobs.Update {
	return jobs.Update{Provider: in.c.o.Name, RequestID: id, Status: jobs.JobCompleted, Fetch: true}
}

// JobURLs is the verifier of senders that sign nothing: it accepts a request to the URL of a job.
// That the URL is one that gaff issued is checked by gaff.Source.CheckCallbackToken.
type JobURLs struct{ Source string }

// Verify returns an error for a request to the URL of the source itself.
func (v JobURLs) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	_, rest, ok := strings.Cut(r.URL, gaff.PathPrefix+v.Source+"/")
	rest, _, _ = strings.Cut(rest, "?")
	if !ok || rest == "" || strings.Contains(rest, "/") {
		return gaff.Verification{}, errors.New("the sender signs nothing, so only the URL of a job is accepted")
	}
	return gaff.Verification{Scheme: "job-url"}, nil
}

// Parser returns a parser that gives events their type: that of webhook.type, else the one that inner
// reads, else "job." and the status of the work, such as job.completed.
func (in Interpreter) Parser(inner gaff.Parser) gaff.Parser { return parser{inner, in} }

type parser struct {
	gaff.Parser
	in Interpreter
}

func (p parser) Parse(r *gaff.Request, v gaff.Verification) (gaff.Envelope, error) {
	env, err := p.Parser.Parse(r, v)
	if err != nil || env.Split {
		return env, err
	}
	h := p.in.c.c.hook
	if h.eventType == nil && env.Type != sender.UnknownType {
		return env, nil
	}
	data := []byte(env.Data)
	if data == nil {
		data = r.Body
	}
	vars := map[string]any{"body": decode(data)}
	if own := text(h.eventType, vars); own != "" {
		env.Type = excerpt.Text(own, maxType)
	} else if env.Type == sender.UnknownType {
		if status, known := p.in.status(vars); known {
			env.Type = "job." + status.String()
		}
	}
	return env, nil
}

// maxType is the longest type of an event, in bytes.
const maxType = 128

// status returns the status of the work that a webhook is about.
func (in Interpreter) status(vars map[string]any) (status jobs.JobStatus, known bool) {
	h := in.c.c.hook
	if h.same == nil {
		status, known = h.states[text(h.status, vars)]
		return status, known
	}
	v, err := h.same.Value(vars)
	if err != nil {
		return status, false
	}
	part, err := unwrapped(v)
	if err != nil {
		return status, false
	}
	read := in.c.c.read
	status, known = read.states[text(read.status, in.c.of(&jobs.Job{}, answer{status: 200, body: part}))]
	return status, known
}
