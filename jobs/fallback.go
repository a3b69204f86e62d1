package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
)

// Candidate is a provider and model that may do a job.
type Candidate struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	// Input is an expression that builds the model's input from the variable input; empty: the model
	// gets the job's input. Result is one that builds the job's result from the variable result.
	Input  string `json:"input,omitempty"`
	Result string `json:"result,omitempty"`
}

// Plan has the candidates of a job in the order in which they are used. A job moves to the next one
// if a candidate rejects it, or fails by the provider's own word.
type Plan struct {
	// Alias is the name that the caller gave in place of a provider and model; empty if none.
	Alias      string      `json:"alias,omitempty"`
	Candidates []Candidate `json:"candidates"`
	// Since is when the current attempt began.
	Since time.Time `json:"-"`
}

// Attempt is a former attempt of a job: the outcome of one of its candidates.
type Attempt struct {
	// N counts from 1.
	N                          int
	Provider, Model, RequestID string
	Error, ErrorType           string
	// Cost and Charge are as those of a [Job].
	Cost            string
	Charge          Charge
	SentAt, EndedAt time.Time
}

const (
	// MaxCandidates bounds the plan of a job.
	MaxCandidates = 8
	// fallbackPatience is how long a candidate may not accept a job, as with 429, before the next one
	// gets it.
	fallbackPatience = 30 * time.Second
)

// Error types of attempts that gaff itself ended.
const (
	errorTypeBudget     = "budget_reached"
	errorTypeNoProvider = "unknown_provider"
)

// HasAlias reports whether a name is an alias.
func (l *Service) HasAlias(name string) bool { return len(l.alias(name)) > 0 }

func (l *Service) alias(name string) []Candidate {
	if l.o.Alias == nil || name == "" {
		return nil
	}
	return l.o.Alias(name)
}

// prepared is the plan of a submission. It is made outside of the transaction: expressions take time.
type prepared struct {
	plan  *Plan
	reuse reusable
	err   error
}

// prepare checks the candidates of a submission, once.
func (l *Service) prepare(s *Submission) {
	if s.prepared != nil {
		return
	}
	if len(s.Input) == 0 {
		s.Input = json.RawMessage("{}")
	}
	s.prepared = &prepared{}
	if !isObject(s.Input) {
		s.prepared.err = &InvalidError{"input", "must be a JSON object: what the model gets"}
		return
	}
	if s.prepared.plan, s.prepared.err = l.plan(s); s.prepared.err == nil {
		s.prepared.reuse = l.reusable(s, s.prepared.plan)
	}
}

// plan returns the candidates of a submission, and sets its provider and model to those of the first
// one. It returns nil if there is one candidate, which gets the input as it is.
func (l *Service) plan(s *Submission) (*Plan, error) {
	p := &Plan{Candidates: []Candidate{{Provider: s.Provider, Model: s.Model}}}
	if s.Provider == "" {
		found := l.alias(s.Model)
		if len(found) == 0 {
			return nil, &InvalidError{"provider", fmt.Sprintf("is missing, and model %.80q is not an alias of models: in gaff.yaml; the providers are %s",
				s.Model, strings.Join(l.names(), ", "))}
		}
		p.Alias, p.Candidates = s.Model, append([]Candidate(nil), found...)
		s.Provider, s.Model = found[0].Provider, found[0].Model
	}
	own := len(p.Candidates)
	p.Candidates = append(p.Candidates, s.Fallback...)
	if len(p.Candidates) > MaxCandidates {
		return nil, &InvalidError{"fallback", fmt.Sprintf("a job has %d candidates; at most %d are allowed", len(p.Candidates), MaxCandidates)}
	}
	if first := p.Candidates[0]; len(p.Candidates) == 1 && first.Input == "" && first.Result == "" {
		return nil, nil
	}
	for i, c := range p.Candidates {
		field := ""
		switch {
		case i >= own:
			field = fmt.Sprintf("fallback[%d].", i-own)
		case p.Alias != "":
			field = fmt.Sprintf("models.%s[%d].", p.Alias, i)
		}
		if err := l.checkCandidate(c, s, field); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkCandidate returns the mistake in a candidate, so that a fallback does not fail when it is
// needed. field names the candidate in errors.
func (l *Service) checkCandidate(c Candidate, s *Submission, field string) error {
	p := l.provider(c.Provider)
	if p == nil {
		return l.unknownProvider(field+"provider", c.Provider)
	}
	if c.Result != "" && l.o.Mapping == nil {
		return &InvalidError{field + "result", "this gateway evaluates no expressions"}
	}
	input, err := l.mapped(c, s.Input)
	if err != nil {
		return &InvalidError{field + "input", err.Error()}
	}
	one := *s
	one.Provider, one.Model, one.Input = c.Provider, c.Model, input
	err = p.Check(&one)
	if bad, ok := errors.AsType[*InvalidError](err); ok && field != "" {
		return &InvalidError{field + bad.Field, bad.Text}
	}
	return err
}

func (l *Service) unknownProvider(field, name string) error {
	return &InvalidError{field, fmt.Sprintf("%.40q is not one that work can be submitted to; there are %s", name, strings.Join(l.names(), ", "))}
}

// mapped returns the input that a candidate gets.
func (l *Service) mapped(c Candidate, input json.RawMessage) (json.RawMessage, error) {
	if c.Input == "" {
		return input, nil
	}
	if l.o.Mapping == nil {
		return nil, errors.New("this gateway evaluates no expressions")
	}
	out, err := l.o.Mapping(c.Input, "input", input)
	if err == nil && !isObject(out) {
		err = errors.New("does not build an object")
	}
	return out, err
}

// candidate returns the candidate that a job is at; zero for a job without a plan.
func candidate(ctx context.Context, tx Tx, j *Job) (Candidate, error) {
	if j.Attempt == 0 {
		return Candidate{}, nil
	}
	p, err := tx.Plan(ctx, j.ID)
	if err != nil || p == nil || j.Attempt > len(p.Candidates) {
		return Candidate{}, err
	}
	return p.Candidates[j.Attempt-1], nil
}

// sameAttempt reports whether a ticket or an answer is about the attempt that a job is at. A job
// without a plan has one attempt.
func sameAttempt(j *Job, attempt int) bool { return max(j.Attempt, 1) == max(attempt, 1) }

// fallBack moves a job whose candidate failed, or rejected it, to the next candidate, in the
// transaction in which the failure is stored. If no candidate is left, moved is false, and u is the
// failure of the last one. It does nothing for a failure after which the provider may yet do the work.
func (l *Service) fallBack(ctx context.Context, tx Tx, j *Job, u *Update) (moved bool, err error) {
	if j.Attempt == 0 || u.Uncertain {
		return false, nil
	}
	p, err := tx.Plan(ctx, j.ID)
	if err != nil || p == nil {
		return false, err
	}
	for j.Attempt < len(p.Candidates) {
		next := p.Candidates[j.Attempt]
		text := fmt.Sprintf("attempt %d, %s %s, failed: %s; next is %s %s", j.Attempt, j.Provider, j.Model, cmp.Or(u.Error, u.ErrorType), next.Provider, next.Model)
		if err := tx.AddLogEntry(ctx, j.ID, "fallback", text); err != nil {
			return false, err
		}
		if err := tx.LeaveQueue(ctx, j.ID); err != nil {
			return false, err
		}
		past := l.ended(tx.Now(), j, u)
		l.turn(j, next)
		if err := tx.NextAttempt(ctx, j, past); err != nil {
			return false, err
		}
		if l.provider(next.Provider) == nil {
			j.Submit = SubmitRejected
			*u = Update{Status: JobFailed, Error: l.unknownProvider("provider", next.Provider).Error(), ErrorType: errorTypeNoProvider}
			continue
		}
		j.Submit = SubmitWaiting
		held, err := l.admit(ctx, tx, j)
		if full, ok := errors.AsType[*BudgetError](err); ok {
			j.Submit, j.Charge = SubmitRejected, Charge{}
			*u = Update{Status: JobFailed, Error: full.Error(), ErrorType: errorTypeBudget}
			if err := l.BudgetReached(ctx, tx, full); err != nil {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		if err := tx.SaveJob(ctx, j); err != nil {
			return false, err
		}
		if held != nil {
			return true, l.hold(ctx, tx, j, held)
		}
		return true, l.dispatch(ctx, tx, j, true)
	}
	return false, nil
}

// ended describes the attempt that a job is at, which failed.
func (l *Service) ended(now time.Time, j *Job, u *Update) Attempt {
	done := *j
	done.Status, done.Cost = JobFailed, cmp.Or(u.Cost, j.Cost)
	l.charge(&done)
	return Attempt{
		N: j.Attempt, Provider: j.Provider, Model: j.Model, RequestID: j.RequestID, Error: excerpt.Text(u.Error, maxAttemptError), ErrorType: u.ErrorType,
		Cost: done.Cost, Charge: done.Charge, SentAt: j.SentAt, EndedAt: now,
	}
}

// maxAttemptError bounds the error of an attempt, in bytes.
const maxAttemptError = 1000

// turn sets the fields of a job to those of its next attempt. The status stays: it only moves forward.
func (l *Service) turn(j *Job, next Candidate) {
	j.Attempt++
	j.Provider, j.Model, j.RequestID, j.Cost, j.Charge = next.Provider, next.Model, "", "", Charge{}
	j.StatusURL, j.ResponseURL, j.CancelURL, j.Account = "", "", "", ""
	j.SentAt, j.SubmittedAt, j.NextPollAt, j.Polls, j.Misses = time.Time{}, time.Time{}, time.Time{}, 0, 0
	j.WebhookURL = l.WebhookURL(j.Provider, j.ID)
	if p := l.provider(j.Provider); p != nil {
		j.Account = p.Account()
	}
}

// impatient reports whether the next candidate gets a job that its provider does not accept now, and
// asks to wait for after. It was given to the workers at begun.
func (l *Service) impatient(ctx context.Context, tx Tx, j *Job, begun time.Time, after time.Duration) (bool, error) {
	if j.Attempt == 0 {
		return false, nil
	}
	p, err := tx.Plan(ctx, j.ID)
	if err != nil || p == nil || j.Attempt >= len(p.Candidates) {
		return false, err
	}
	return tx.Now().Add(after).Sub(laterOf(p.Since, begun)) >= fallbackPatience, nil
}

// mapResult builds the result of a completed job from that of its provider. A result from which it
// cannot be built stays as it is.
func (l *Service) mapResult(ctx context.Context, tx Tx, j *Job, u *Update) error {
	if j.Attempt == 0 || l.o.Mapping == nil || u.Result == nil {
		return nil
	}
	c, err := candidate(ctx, tx, j)
	if err != nil || c.Result == "" {
		return err
	}
	result, err := l.o.Mapping(c.Result, "result", u.Result)
	if err != nil {
		return tx.AddLogEntry(ctx, j.ID, "fallback", "the result is as the provider sent it: the expression of its candidate fails: "+err.Error())
	}
	u.Result = result
	return nil
}

// formerError says that an event is about an attempt of a job that has moved on.
type formerError struct{ jobID string }

func (e *formerError) Error() string { return "the event is about a former attempt of job " + e.jobID }

// former returns a formerError if an update is about a former attempt of a job, or the error of the
// store; else nil.
func former(ctx context.Context, tx Tx, u Update) error {
	if u.RequestID == "" {
		return nil
	}
	jobID, err := tx.JobOfAttempt(ctx, u.Provider, u.RequestID)
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return &formerError{jobID}
}
