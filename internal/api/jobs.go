package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/redact"
	"gaff/internal/scoped"
	"gaff/internal/wire"
	"gaff/jobs"
)

// Jobs has the operations on jobs; a *jobs.Service implements it.
type Jobs interface {
	LimitUse(ctx context.Context) ([]jobs.LimitUse, error)
	Submit(ctx context.Context, s jobs.Submission) (j *jobs.Job, created bool, err error)
	Register(ctx context.Context, jobID string, r jobs.Registration) (j *jobs.Job, created bool, err error)
	Cancel(ctx context.Context, jobID string) (*jobs.Job, error)
	Poll(ctx context.Context, jobID string) (*jobs.Job, error)
	WebhookURL(provider, jobID string) string
	CallbackSecrets() []string
	SaveBudget(ctx context.Context, b jobs.Budget) error
	RemoveBudget(ctx context.Context, name string) error
	Approve(ctx context.Context, jobID, by, comment string) (*jobs.Job, error)
	Reject(ctx context.Context, jobID, by, comment string) (*jobs.Job, error)
	Expected(j *jobs.Job) (takes time.Duration, at time.Time)
}

// maxJobBody bounds the body of a submit: an input may hold pictures.
const maxJobBody = 10 << 20

var errNoJobs = errors.Join(gaff.ErrConflict, errors.New("this gateway submits no jobs"))

// job makes a job's document, with the time at which it should end.
func (s *server) job(j jobs.Job) wire.Job {
	d := wire.NewJob(j)
	if s.o.Jobs != nil {
		d.Expect(s.o.Jobs.Expected(&j))
	}
	return d
}

func (s *server) jobDetail(ctx context.Context, j *jobs.Job) (none wire.JobDetail, err error) {
	log, err := s.store(ctx).JobLog(ctx, j.ID)
	if err != nil {
		return none, err
	}
	input, err := s.store(ctx).JobInput(ctx, j.ID)
	if err != nil {
		return none, err
	}
	var plan *jobs.Plan
	var past []jobs.Attempt
	if j.Attempt > 0 {
		if plan, past, err = s.store(ctx).JobPlan(ctx, j.ID); err != nil {
			return none, err
		}
	}
	d := wire.NewJobDetail(*j, log, input)
	d.SetPlan(j, plan, past)
	if j.Submit == jobs.SubmitWaiting && !j.Status.Settled() {
		if d.Position, err = s.store(ctx).JobPosition(ctx, j.ID); err != nil {
			return none, err
		}
	}
	if s.o.Jobs != nil {
		d.Expect(s.o.Jobs.Expected(j))
	}
	if isViewer(ctx) {
		d.WebhookURL, d.CallbackURL = wire.Text(redact.Host(j.WebhookURL)), wire.Text(redact.Host(j.Callback))
	}
	return d, nil
}

type jobsInput struct {
	wire.Page
	wire.JobQuery
}

func (s *server) listJobs(ctx context.Context, in *jobsInput) (wire.List[wire.Job], error) {
	f, err := in.Filter(in.After())
	if err != nil {
		return wire.List[wire.Job]{}, err
	}
	page, err := s.store(ctx).Jobs(ctx, f)
	return wire.NewList(page, s.job), err
}

func (s *server) getJob(ctx context.Context, in *anyIDInput) (none wire.JobDetail, err error) {
	j, err := s.store(ctx).Job(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return s.jobDetail(ctx, j)
}

type submitInput struct{ Body wire.JobSubmission }

type submitOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true if the key was known and the first job is returned."`
	Body     wire.JobDetail
}

func (s *server) submitJob(ctx context.Context, in *submitInput) (*submitOutput, error) {
	if s.o.Jobs == nil {
		return nil, errNoJobs
	}
	b := in.Body
	project, err := ownProject(ctx, b.ProjectID)
	if err != nil {
		return nil, err
	}
	if err := mayUsePriority(ctx, b.Priority); err != nil {
		return nil, err
	}
	j, created, err := s.o.Jobs.Submit(ctx, jobs.Submission{
		ID: b.ID, Provider: b.Provider, Model: b.Model, Kind: b.Kind, ProjectID: project, UserID: b.UserID,
		Input: json.RawMessage(b.Input), Metadata: json.RawMessage(b.Metadata), Caller: callerOf(ctx), IdempotencyKey: b.IdempotencyKey,
		Callback: b.CallbackURL, Fallback: b.Candidates(), NoReuse: b.Reuse != nil && !*b.Reuse, Priority: b.Priority,
	})
	if err != nil {
		return nil, err
	}
	remark(ctx, j.ID, map[string]string{"provider": j.Provider, "model": j.Model})
	out := &submitOutput{Location: "/api/v1/jobs/" + url.PathEscape(j.ID)}
	if !created {
		out.Replayed = "true"
	}
	out.Body, err = s.jobDetail(ctx, j)
	return out, err
}

// mayUsePriority returns an error for a priority that is for admins only, or that would put the jobs of
// a limited credential before those of others.
func mayUsePriority(ctx context.Context, priority int) error {
	if own := scopeOf(ctx).Project; own != "" && priority > 0 {
		return huma.Error403Forbidden(fmt.Sprintf("priority %d: a credential that is limited to a project (%s) may use at most 0", priority, own))
	}
	if n := noteOf(ctx); priority > jobs.MaxOperatorPriority && (n == nil || n.who.Role < Admin) {
		return huma.Error403Forbidden(fmt.Sprintf("priority %d: the role operator may use at most %d; use a key with the role admin, or a lower priority", priority, jobs.MaxOperatorPriority))
	}
	return nil
}

type registerInput struct {
	ID   string `path:"id" maxLength:"150"`
	Body wire.JobRegistration
}

func (s *server) registerJob(ctx context.Context, in *registerInput) (none wire.JobDetail, err error) {
	if s.o.Jobs == nil {
		return none, errNoJobs
	}
	b := in.Body
	project, err := ownProject(ctx, b.ProjectID)
	if err != nil {
		return none, err
	}
	if scope := scopeOf(ctx); scope.Limited() {
		// An id that another project uses must not be answered with that project's job.
		if j, err := s.o.Store.Job(ctx, in.ID); err == nil && !scope.HasJob(j.ID, j.ProjectID) {
			return none, scoped.Hidden("job", in.ID)
		}
	}
	j, _, err := s.o.Jobs.Register(ctx, in.ID, jobs.Registration{
		Provider: b.Provider, Model: b.Model, Kind: b.Kind, ProjectID: project, UserID: b.UserID, RequestID: b.RequestID,
		StatusURL: b.StatusURL, ResponseURL: b.ResponseURL, CancelURL: b.CancelURL, Metadata: json.RawMessage(b.Metadata), Callback: b.CallbackURL,
	})
	if err != nil {
		return none, err
	}
	return s.jobDetail(ctx, j)
}

func (s *server) cancelJob(ctx context.Context, in *anyIDInput) (wire.JobDetail, error) {
	return s.atProvider(ctx, in.ID, Jobs.Cancel)
}

func (s *server) pollJob(ctx context.Context, in *anyIDInput) (wire.JobDetail, error) {
	return s.atProvider(ctx, in.ID, Jobs.Poll)
}

// atProvider calls the provider about a job. An error of the provider's is a 502.
func (s *server) atProvider(ctx context.Context, id string, call func(Jobs, context.Context, string) (*jobs.Job, error)) (none wire.JobDetail, err error) {
	if s.o.Jobs == nil {
		return none, errNoJobs
	}
	if err := reachable(ctx, id, s.store(ctx).Job); err != nil {
		return none, err
	}
	j, err := call(s.o.Jobs, ctx, id)
	switch {
	case err != nil && !isOurs(err):
		return none, huma.Error502BadGateway(err.Error())
	case err != nil:
		return none, err
	}
	return s.jobDetail(ctx, j)
}

// isOurs distinguishes the gateway's errors from those of a provider.
func isOurs(err error) bool {
	for _, ours := range []error{gaff.ErrNotFound, gaff.ErrInvalid, gaff.ErrConflict, gaff.ErrUnavailable, gaff.ErrStopped, context.Canceled} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

func (s *server) listCallbackSecrets(context.Context, *noInput) (none wire.CallbackSecrets, err error) {
	if s.o.Jobs == nil {
		return none, errNoJobs
	}
	return wire.CallbackSecrets{Secrets: s.o.Jobs.CallbackSecrets()}, nil
}
