package wire

import (
	"math"
	"time"

	"gaff"
	"gaff/jobs"
)

// Job is a job as lists and the stream have it.
type Job struct {
	ID          string `json:"id" example:"job_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	Provider    string `json:"provider" example:"fal"`
	Model       Text   `json:"model" example:"fal-ai/flux/dev"`
	Kind        Text   `json:"kind" example:"image"`
	ProjectID   Text   `json:"projectId"`
	UserID      Text   `json:"userId"`
	RequestID   Text   `json:"requestId" doc:"The provider's id of the job."`
	Status      string `json:"status" enum:"queued,processing,completed,failed,cancelled"`
	Result      JSON   `json:"result" doc:"As the provider sent it. Lists and the stream leave out a result of more than 64 KiB."`
	ResultSize  int64  `json:"resultSize" doc:"The length of the result in bytes; 0 if it has none."`
	Error       Text   `json:"error" doc:"For people."`
	ErrorType   Text   `json:"errorType" doc:"For programs, such as content_policy_violation."`
	SettledBy   Text   `json:"settledBy" doc:"webhook, reconciliation, submit (its answer held the result), or reuse (an earlier job had it); null until settled."`
	Metadata    JSON   `json:"metadata"`
	CreatedAt   Time   `json:"createdAt"`
	SubmittedAt Time   `json:"submittedAt"`
	SettledAt   Time   `json:"settledAt"`
	UpdatedAt   Time   `json:"updatedAt"`

	Submit         Text    `json:"submit" doc:"The state of the submit: waiting, sending, accepted, unknown (the answer was lost; it is not repeated), refused or held (a budget has no room, and the job waits for an approval). Null if gaff did not submit the job."`
	IdempotencyKey Text    `json:"idempotencyKey"`
	Cost           Text    `json:"cost" doc:"What the provider billed, in its own units; null if it did not say."`
	Charge         *Charge `json:"charge" doc:"What it costs in money; null if that is not known."`
	Priority       int     `json:"priority" doc:"From -100 to 100. Of a provider's jobs that wait, the highest is submitted first."`
	ReusedFrom     Text    `json:"reusedFrom" doc:"The job whose result this one has, in place of work at the provider."`
	Saved          Text    `json:"saved" doc:"What the job of reusedFrom cost, in the currency of charge; null if that is not known."`
	Attempt        int     `json:"attempt" doc:"Which of its candidates the job is at, from 1; 0: it has one provider only."`
	NextPollAt     Time    `json:"nextAskAt" doc:"When gaff polls the provider, unless a webhook arrives first."`
	Polls          int     `json:"asks" doc:"How often gaff polled the provider."`
	RunID          Text    `json:"runId"`
	StepID         Text    `json:"stepId"`

	ExpectedSeconds *float64 `json:"expectedSeconds" doc:"How long jobs of this model usually take, from submit to end. Null if that is not known yet, or the job has ended."`
	ExpectedAt      Time     `json:"expectedAt" doc:"When the job should be done by that measure. The job is late if this time has passed."`
}

// NewJob makes the document of a job. A result that is too long for lists is left out.
func NewJob(j jobs.Job) Job {
	d := Job{
		ID: j.ID, Provider: j.Provider, Model: Text(j.Model), Kind: Text(j.Kind), ProjectID: Text(j.ProjectID),
		UserID: Text(j.UserID), RequestID: Text(j.RequestID), Status: j.Status.String(), ResultSize: j.ResultSize,
		Error: Text(j.Error), ErrorType: Text(j.ErrorType), SettledBy: Text(j.SettledBy), Metadata: JSON(j.Metadata),
		CreatedAt: Time{j.CreatedAt}, SubmittedAt: Time{j.SubmittedAt}, SettledAt: Time{j.SettledAt}, UpdatedAt: Time{j.UpdatedAt},
		Submit: Text(j.Submit.String()), IdempotencyKey: Text(j.IdempotencyKey), Cost: Text(j.Cost), Charge: newCharge(j.Charge), Priority: j.Priority, ReusedFrom: Text(j.ReusedFrom), Attempt: j.Attempt, NextPollAt: Time{j.NextPollAt},
		Polls: j.Polls, RunID: Text(j.RunID), StepID: Text(j.StepID),
	}
	if len(j.Result) <= jobs.MaxListed {
		d.Result = JSON(j.Result)
	}
	if j.Saved > 0 {
		d.Saved = Text(j.Saved.String())
	}
	return d
}

// Expect sets how long the job should take and when it should end; nothing for a zero duration.
func (d *Job) Expect(takes time.Duration, at time.Time) {
	if takes > 0 {
		seconds := math.Round(takes.Seconds()*100) / 100
		d.ExpectedSeconds, d.ExpectedAt = &seconds, Time{at}
	}
}

// JobDetail is a job with its whole result, its input and its log.
type JobDetail struct {
	Job
	WebhookURL  Text       `json:"webhookUrl" doc:"The URL for the provider's webhook. Null if this gateway has no URL that the provider can reach."`
	CallbackURL Text       `json:"callbackUrl" doc:"The URL that the provider's webhook is passed on to."`
	StatusURL   Text       `json:"statusUrl"`
	ResponseURL Text       `json:"responseUrl"`
	CancelURL   Text       `json:"cancelUrl"`
	Input       JSON       `json:"input" doc:"The input that the job was submitted with; null if it is not stored."`
	Log         []LogEntry `json:"log" nullable:"false" doc:"Calls to the provider and its answers, oldest first."`

	Position int64        `json:"position" doc:"The place, from 1, among the jobs of its provider that wait to be submitted, by priority and turn; 0 if it does not wait. A limit without room lets others go before."`
	Alias    Text         `json:"alias" doc:"The alias that was submitted in place of a provider and model."`
	Attempts []JobAttempt `json:"attempts" nullable:"false" doc:"The former attempts of a job with a fallback, oldest first."`
	Fallback []Candidate  `json:"fallback" nullable:"false" doc:"The candidates that are used next, if this one fails."`
	Total    []Amount     `json:"total" nullable:"false" doc:"What the job costs with its former attempts, by currency."`
}

// JobAttempt is a former attempt of a job: the outcome of one of its candidates.
type JobAttempt struct {
	Attempt   int     `json:"attempt"`
	Provider  string  `json:"provider"`
	Model     Text    `json:"model"`
	RequestID Text    `json:"requestId"`
	Error     Text    `json:"error"`
	ErrorType Text    `json:"errorType"`
	Cost      Text    `json:"cost"`
	Charge    *Charge `json:"charge"`
	SentAt    Time    `json:"sentAt"`
	EndedAt   Time    `json:"endedAt"`
}

// Candidate is a provider and model that may do a job.
type Candidate struct {
	Provider string `json:"provider" example:"replicate"`
	Model    string `json:"model" example:"black-forest-labs/flux-schnell"`
	Input    string `json:"input,omitempty" maxLength:"16384" doc:"A CEL expression that builds the model's input from the variable input; without it the model gets the job's input." example:"{\"prompt\": input.prompt}"`
	Result   string `json:"result,omitempty" maxLength:"16384" doc:"A CEL expression that builds the job's result from the variable result." example:"{\"images\": [{\"url\": result.output[0]}]}"`
}

// Amount is a sum of money.
type Amount struct {
	Amount   string `json:"amount" example:"0.025" doc:"A decimal number."`
	Currency string `json:"currency" example:"USD"`
}

// SetPlan sets the candidates and the former attempts of a job; p may be nil.
func (d *JobDetail) SetPlan(j *jobs.Job, p *jobs.Plan, past []jobs.Attempt) {
	sums, order := map[string]jobs.Micros{}, []string{}
	add := func(c jobs.Charge) {
		if c.State == jobs.ChargeNone {
			return
		}
		if _, ok := sums[c.Currency]; !ok {
			order = append(order, c.Currency)
		}
		sums[c.Currency] += c.Amount
	}
	d.Attempts, d.Fallback, d.Total = []JobAttempt{}, []Candidate{}, []Amount{}
	for _, a := range past {
		add(a.Charge)
		d.Attempts = append(d.Attempts, JobAttempt{
			a.N, a.Provider, Text(a.Model), Text(a.RequestID), Text(a.Error), Text(a.ErrorType), Text(a.Cost), newCharge(a.Charge), Time{a.SentAt}, Time{a.EndedAt},
		})
	}
	add(j.Charge)
	for _, currency := range order {
		d.Total = append(d.Total, Amount{sums[currency].String(), currency})
	}
	if p == nil {
		return
	}
	d.Alias = Text(p.Alias)
	if !j.Status.Settled() && j.Attempt < len(p.Candidates) {
		for _, c := range p.Candidates[j.Attempt:] {
			d.Fallback = append(d.Fallback, Candidate(c))
		}
	}
}

// NewJobDetail makes the document of a job with its log and input.
func NewJobDetail(j jobs.Job, log []jobs.LogEntry, input []byte) JobDetail {
	d := JobDetail{
		Job: NewJob(j), WebhookURL: Text(j.WebhookURL), CallbackURL: Text(j.Callback), StatusURL: Text(j.StatusURL),
		ResponseURL: Text(j.ResponseURL), CancelURL: Text(j.CancelURL), Input: JSON(input), Log: []LogEntry{},
	}
	d.Result = JSON(j.Result)
	for _, e := range log {
		d.Log = append(d.Log, LogEntry{Time{e.At}, e.What, e.Text})
	}
	return d
}

// LogEntry is a line of a job's log.
type LogEntry struct {
	At   Time   `json:"at"`
	What string `json:"what" doc:"submit, webhook, ask, cancel, register, fallback, hold, charge or reuse."`
	Text string `json:"text"`
}

// JobSubmission is a job to submit to a provider.
type JobSubmission struct {
	ID             string `json:"id,omitempty" maxLength:"150" doc:"An id of your own for the job; no other job may have it."`
	Provider       string `json:"provider,omitempty" doc:"The name of the provider. Without it, model is an alias of models: in gaff.yaml." example:"fal"`
	Model          string `json:"model,omitempty" doc:"The provider's name for the work (a model, a service), or an alias." example:"fal-ai/flux/dev"`
	Input          Object `json:"input,omitempty" doc:"The input of the model."`
	ProjectID      string `json:"projectId,omitempty" maxLength:"256"`
	UserID         string `json:"userId,omitempty" maxLength:"256"`
	Kind           string `json:"kind,omitempty" maxLength:"256" doc:"image, video, audio or a name of your own."`
	Metadata       Object `json:"metadata,omitempty" doc:"Your own; the job has it in every answer."`
	IdempotencyKey string `json:"idempotencyKey,omitempty" maxLength:"256" doc:"A second request with the same key and token returns the first job, other members may differ."`
	CallbackURL    string `json:"callbackUrl,omitempty" doc:"Where the provider's webhook is passed on to, as it was received."`
	Priority       int    `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"Of the provider's jobs that wait, the highest is submitted first; 0 if it is missing. The role operator may use up to 10."`
	Reuse          *bool  `json:"reuse,omitempty" doc:"false: the provider does the work even if an earlier job has the result (reuse: in gaff.yaml)."`
	// Fallback are further candidates.
	Fallback []Candidate `json:"fallback,omitempty" maxItems:"8" doc:"Used in their order, each if the former one rejected the job, or failed by the provider's own word; never after a submit whose outcome is unknown."`
}

// Candidates returns Fallback in the form of the domain.
func (s JobSubmission) Candidates() (list []jobs.Candidate) {
	for _, c := range s.Fallback {
		list = append(list, jobs.Candidate(c))
	}
	return list
}

// JobRegistration is a job that an application submits to the provider itself.
type JobRegistration struct {
	Provider    string `json:"provider,omitempty" doc:"Required for a job that is not known yet." example:"fal"`
	RequestID   string `json:"requestId,omitempty" maxLength:"256" doc:"The provider's id of the job; can be set once."`
	Model       string `json:"model,omitempty"`
	Kind        string `json:"kind,omitempty" maxLength:"256"`
	ProjectID   string `json:"projectId,omitempty" maxLength:"256"`
	UserID      string `json:"userId,omitempty" maxLength:"256"`
	StatusURL   string `json:"statusUrl,omitempty" maxLength:"2048" doc:"The provider's URL for the job's status; this or the model is needed to poll the job."`
	ResponseURL string `json:"responseUrl,omitempty" maxLength:"2048"`
	CancelURL   string `json:"cancelUrl,omitempty" maxLength:"2048"`
	Metadata    Object `json:"metadata,omitempty"`
	CallbackURL string `json:"callbackUrl,omitempty" doc:"Where the provider's webhook is passed on to, as it was received."`
}

// CallbackSecrets sign the webhooks that are passed on.
type CallbackSecrets struct {
	Secrets []string `json:"secrets" nullable:"false" doc:"whsec_…; each of them signs (Standard Webhooks)."`
}

// JobQuery chooses jobs.
type JobQuery struct {
	Provider  string `query:"provider" flag:"provider" doc:"Only of this provider."`
	ProjectID string `query:"projectId" flag:"project" doc:"Only of this project."`
	UserID    string `query:"userId" flag:"user" doc:"Only of this user."`
	RequestID string `query:"requestId" flag:"request" doc:"Only with this id of the provider's."`
	Status    string `query:"status" flag:"status" enum:"queued,processing,completed,failed,cancelled" doc:"Only with this status: queued, processing, completed, failed or cancelled."`
	Model     string `query:"model" flag:"model" doc:"Only of this model."`
	ErrorType string `query:"errorType" flag:"error-type" doc:"Only failed with this error type, such as content_policy_violation; none: failed without a type."`
	Since     string `query:"since" flag:"since" doc:"Created at or after: a time, or a duration such as 24h for that long ago."`
	Until     string `query:"until" flag:"until" doc:"Created before."`
	Submit    string `query:"submit" flag:"submit" enum:"held" doc:"held: only jobs that a budget holds until they are approved."`
	Query     string `query:"q" flag:"q" doc:"Text in the model or the input, such as words of the prompt. A page searches 50,000 jobs; nextCursor continues after them."`
}

// Filter returns the query as stores take it.
func (q JobQuery) Filter(c gaff.Cursor) (f jobs.JobFilter, err error) {
	f = jobs.JobFilter{Provider: q.Provider, ProjectID: q.ProjectID, UserID: q.UserID, RequestID: q.RequestID, Model: q.Model, ErrorType: q.ErrorType, Held: q.Submit == jobs.SubmitHeld.String(), Query: q.Query, Cursor: c}
	if status, ok := jobs.ParseJobStatus(q.Status); ok {
		f.Status = &status
	}
	f.Since, f.Until, err = period(q.Since, q.Until)
	return f, err
}
