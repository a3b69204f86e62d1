package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/redact"
	"gaff/jobs"
)

// Jobs is what the API does about jobs; a *jobs.Service is one.
type Jobs interface {
	Submit(ctx context.Context, s jobs.Submission) (j *jobs.Job, created bool, err error)
	Register(ctx context.Context, jobID string, r jobs.Registration) (j *jobs.Job, created bool, err error)
	Cancel(ctx context.Context, jobID string) (*jobs.Job, error)
	Poll(ctx context.Context, jobID string) (*jobs.Job, error)
	WebhookURL(provider, jobID string) string
	CallbackSecrets() []string
	Expected(j *jobs.Job) (takes time.Duration, at time.Time)
}

// maxJobBody bounds what a job is submitted with: an input may hold pictures.
const maxJobBody = 10 << 20

type noteDoc struct {
	At   *string `json:"at" format:"date-time"`
	What string  `json:"what" doc:"submit, webhook, ask, cancel or register."`
	Text string  `json:"text"`
}

// jobDetail is a job with what only its own page shows.
type jobDetail struct {
	jobDoc
	WebhookURL  *string   `json:"webhookUrl" doc:"The address that the provider was, or is to be, given. Null: this gateway has none that can be reached."`
	CallbackURL *string   `json:"callbackUrl" doc:"Where the provider's webhook is passed on to."`
	StatusURL   *string   `json:"statusUrl"`
	ResponseURL *string   `json:"responseUrl"`
	CancelURL   *string   `json:"cancelUrl"`
	Input       rawJSON   `json:"input" doc:"What it was submitted with; null if it is not kept."`
	Log         []noteDoc `json:"log" nullable:"false" doc:"What was asked of the provider, and what it answered."`
}

func (s *server) jobDetail(ctx context.Context, j *jobs.Job) (*output[jobDetail], error) {
	d := jobDetail{
		jobDoc: s.jobDoc(*j), WebhookURL: orNull(j.WebhookURL), CallbackURL: orNull(j.Callback), StatusURL: orNull(j.StatusURL),
		ResponseURL: orNull(j.ResponseURL), CancelURL: orNull(j.CancelURL), Log: []noteDoc{},
	}
	if isViewer(ctx) {
		d.WebhookURL, d.CallbackURL = orNull(redact.Host(j.WebhookURL)), orNull(redact.Host(j.Callback))
	}
	d.Result = rawJSON(j.Result)
	notes, err := s.o.Store.JobLog(ctx, j.ID)
	if err != nil {
		return nil, s.failure(err)
	}
	for _, n := range notes {
		d.Log = append(d.Log, noteDoc{stamp(n.At), n.What, n.Text})
	}
	input, err := s.o.Store.JobInput(ctx, j.ID)
	if err != nil {
		return nil, s.failure(err)
	}
	d.Input = rawJSON(input)
	return &output[jobDetail]{d}, nil
}

// object is any JSON object.
type object json.RawMessage

func (o *object) UnmarshalJSON(text []byte) error {
	*o = append((*o)[:0], text...)
	return nil
}

func (o object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

type submitInput struct {
	Body struct {
		ID             string `json:"id,omitempty" maxLength:"150" doc:"The job's id, if it is to be one of your own; must not be taken."`
		Provider       string `json:"provider" doc:"fal or lastframe." example:"fal"`
		Model          string `json:"model,omitempty" doc:"What is to be done: the model at fal, the service at Last Frame." example:"fal-ai/flux/dev"`
		Input          object `json:"input,omitempty" doc:"What the model gets."`
		ProjectID      string `json:"projectId,omitempty" maxLength:"256"`
		UserID         string `json:"userId,omitempty" maxLength:"256"`
		Kind           string `json:"kind,omitempty" maxLength:"256" doc:"image, video, audio or what you call it."`
		Metadata       object `json:"metadata,omitempty" doc:"Your own; comes back with the job."`
		IdempotencyKey string `json:"idempotencyKey,omitempty" maxLength:"256" doc:"The same key again, with the same token, returns the first job, whatever else is sent."`
		CallbackURL    string `json:"callbackUrl,omitempty" doc:"Where the provider's webhook is passed on to, as it came."`
	}
}

type submitOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true if the key was known, and the first job is returned."`
	Body     jobDetail
}

type callbackSecrets struct {
	Secrets []string `json:"secrets" nullable:"false" doc:"whsec_…, each of which signs (Standard Webhooks)."`
}

type registerInput struct {
	ID   string `path:"id" maxLength:"150"`
	Body struct {
		Provider    string `json:"provider,omitempty" doc:"Required for a job that is not known yet." example:"fal"`
		RequestID   string `json:"requestId,omitempty" maxLength:"256" doc:"The provider's name for the work; can be set once."`
		Model       string `json:"model,omitempty"`
		Kind        string `json:"kind,omitempty" maxLength:"256"`
		ProjectID   string `json:"projectId,omitempty" maxLength:"256"`
		UserID      string `json:"userId,omitempty" maxLength:"256"`
		StatusURL   string `json:"statusUrl,omitempty" maxLength:"2048" doc:"The provider's address of the work; it, or the model, is needed to ask after the job."`
		ResponseURL string `json:"responseUrl,omitempty" maxLength:"2048"`
		CancelURL   string `json:"cancelUrl,omitempty" maxLength:"2048"`
		Metadata    object `json:"metadata,omitempty"`
		CallbackURL string `json:"callbackUrl,omitempty" doc:"Where the provider's webhook is passed on to, as it came."`
	}
}

func (s *server) describeJobs(api huma.API) {
	submit := operation(http.MethodPost, "/api/v1/jobs", "submit-job", "Submit work to a provider, with the webhook address filled in", Operator)
	submit.DefaultStatus, submit.MaxBodyBytes, submit.BodyReadTimeout = http.StatusAccepted, takes(maxJobBody), 30*time.Second
	huma.Register(api, submit, func(ctx context.Context, in *submitInput) (*submitOutput, error) {
		if s.o.Jobs == nil {
			return nil, s.failure(errNoJobs)
		}
		b := in.Body
		j, created, err := s.o.Jobs.Submit(ctx, jobs.Submission{
			ID: b.ID, Provider: b.Provider, Model: b.Model, Kind: b.Kind, ProjectID: b.ProjectID, UserID: b.UserID,
			Input: notNull(b.Input), Metadata: notNull(b.Metadata), Caller: callerOf(ctx), IdempotencyKey: b.IdempotencyKey,
			Callback: b.CallbackURL,
		})
		if err != nil {
			return nil, s.failure(err)
		}
		d, err := s.jobDetail(ctx, j)
		if err != nil {
			return nil, err
		}
		out := &submitOutput{Location: "/api/v1/jobs/" + url.PathEscape(j.ID), Body: d.Body}
		if !created {
			out.Replayed = "true"
		}
		return out, nil
	})
	secrets := operation(http.MethodGet, "/api/v1/callback-secrets", "list-callback-secrets", "Read the secrets that sign what is posted to jobs' callback URLs", Admin)
	huma.Register(api, secrets, func(context.Context, *struct{}) (*output[callbackSecrets], error) {
		if s.o.Jobs == nil {
			return nil, s.failure(errNoJobs)
		}
		return &output[callbackSecrets]{callbackSecrets{s.o.Jobs.CallbackSecrets()}}, nil
	})
	put := operation(http.MethodPut, "/api/v1/jobs/{id}", "register-job", "Tell of work that your application submits by itself", Operator)
	put.MaxBodyBytes = takes(jobs.MaxMetadata + maxBody)
	huma.Register(api, put, func(ctx context.Context, in *registerInput) (*output[jobDetail], error) {
		if s.o.Jobs == nil {
			return nil, s.failure(errNoJobs)
		}
		b := in.Body
		j, _, err := s.o.Jobs.Register(ctx, in.ID, jobs.Registration{
			Provider: b.Provider, Model: b.Model, Kind: b.Kind, ProjectID: b.ProjectID, UserID: b.UserID, RequestID: b.RequestID,
			StatusURL: b.StatusURL, ResponseURL: b.ResponseURL, CancelURL: b.CancelURL, Metadata: notNull(b.Metadata), Callback: b.CallbackURL,
		})
		if err != nil {
			return nil, s.failure(err)
		}
		return s.jobDetail(ctx, j)
	})
	for _, act := range []struct {
		path, id, summary string
		do                func(Jobs, context.Context, string) (*jobs.Job, error)
	}{
		{"/api/v1/jobs/{id}/cancel", "cancel-job", "Cancel a job, at the provider too", Jobs.Cancel},
		{"/api/v1/jobs/{id}/ask", "ask-job", "Ask the provider after a job now", Jobs.Poll},
	} {
		op := operation(http.MethodPost, act.path, act.id, act.summary, Operator)
		op.Errors = append(op.Errors, http.StatusBadGateway)
		huma.Register(api, op, func(ctx context.Context, in *jobIDInput) (*output[jobDetail], error) {
			if s.o.Jobs == nil {
				return nil, s.failure(errNoJobs)
			}
			j, err := act.do(s.o.Jobs, ctx, in.ID)
			if err != nil {
				if isOurs(err) {
					return nil, s.failure(err)
				}
				return nil, huma.Error502BadGateway(err.Error())
			}
			return s.jobDetail(ctx, j)
		})
	}
}

var errNoJobs = errors.Join(gaff.ErrConflict, errors.New("this gateway submits no jobs"))

// isOurs tells the errors of the gateway from those of a provider.
func isOurs(err error) bool {
	for _, ours := range []error{gaff.ErrNotFound, gaff.ErrInvalid, gaff.ErrConflict, gaff.ErrUnavailable, gaff.ErrStopped, context.Canceled} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

func notNull(o object) json.RawMessage {
	if strings.TrimSpace(string(o)) == "null" {
		return nil
	}
	return json.RawMessage(o)
}
