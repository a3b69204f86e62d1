package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
)

// Options of a handler. Store, Router and Interpreter are required.
type Options struct {
	Store       Store
	Router      Router
	Interpreter Interpreter
	// Patience is how long an event for a job that is not known waits for it: the
	// webhook may overtake the answer to the submit. Zero means 2 minutes.
	Patience time.Duration
}

// NewHandler returns the handler that turns a provider's events into job status, media
// and an inner event, "job.completed", "job.failed" or "job.cancelled" of the source
// "gaff", whose data is a [JobSettled].
func NewHandler(o Options) gaff.Handler {
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	return &handler{o}
}

// JobSettled is the data of the inner event about a job that came to its end.
type JobSettled struct {
	JobID     string `json:"jobId"`
	Provider  string `json:"provider"`
	ProjectID string `json:"projectId"`
	UserID    string `json:"userId"`
	Kind      string `json:"kind"`
	Status    string `json:"status"`
	SettledBy string `json:"settledBy"`
}

type handler struct{ o Options }

func (h *handler) Handle(ctx context.Context, ev *gaff.Event) error {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return gaff.Discard(errors.New("pipeline handler called outside a delivery"))
	}
	u, err := h.o.Interpreter.Interpret(ev)
	if errors.Is(err, ErrNoChange) {
		return nil
	}
	if err != nil {
		return err
	}
	err = h.o.Store.Apply(ctx, lease, func(tx Tx) error { return h.apply(ctx, tx, ev, u) })
	if errors.Is(err, errUnknownJob) {
		return h.wait(ev, err)
	}
	if err != nil {
		return err
	}
	return gaff.Finished
}

// ErrNoChange is what an [Interpreter] returns for an event that says nothing of a job.
var ErrNoChange = errors.New("no change to a job")

var errUnknownJob = errors.New("unknown request")

// wait puts an event off whose job is not known: one second at first, then as long again
// as the event is old.
func (h *handler) wait(ev *gaff.Event, err error) error {
	age := time.Since(ev.ReceivedAt)
	if age >= h.o.Patience {
		return gaff.Discard(err)
	}
	return gaff.Snooze(min(max(age, time.Second), h.o.Patience-age+time.Second))
}

func (h *handler) apply(ctx context.Context, tx Tx, ev *gaff.Event, u Update) error {
	j, found, err := h.job(ctx, tx, u)
	if err != nil {
		return err
	}
	before := j.Status
	settles := (!found || !before.Settled()) && u.Status.Settled()
	if !found || !before.Settled() && u.Status >= before {
		j.learn(u)
		if settles {
			j.SettledBy, j.SettledAt = SettledByWebhook, tx.Now()
		}
		if found {
			err = tx.SaveJob(ctx, j)
		} else if err = tx.InsertJob(ctx, j); errors.Is(err, gaff.ErrConflict) {
			// One request, one job: a second one that claims it goes without.
			j.RequestID = ""
			err = tx.InsertJob(ctx, j)
		}
		if err != nil {
			return err
		}
	}
	// Files of a job that had failed or been cancelled before are not its result.
	if u.Status == JobCompleted && j.Status == JobCompleted {
		for _, file := range u.Files {
			file.JobID, file.ProjectID = j.ID, j.ProjectID
			if _, err := tx.AddMedia(ctx, &file); err != nil {
				return err
			}
		}
	}
	if !settles {
		return nil
	}
	return h.emit(ctx, tx, ev, j)
}

// job finds the job that an update is about, or makes it where that is allowed.
func (h *handler) job(ctx context.Context, tx Tx, u Update) (j *Job, found bool, err error) {
	if u.JobID != "" {
		j, err = tx.Job(ctx, u.JobID)
		if errors.Is(err, gaff.ErrNotFound) && !u.Create && u.RequestID != "" {
			// What the sender echoes need not be an id of ours.
			j, err = tx.JobByRequest(ctx, u.Provider, u.RequestID)
		}
	} else {
		j, err = tx.JobByRequest(ctx, u.Provider, u.RequestID)
	}
	if err == nil {
		return j, true, nil
	}
	if !errors.Is(err, gaff.ErrNotFound) {
		return nil, false, err
	}
	if !u.Create || u.JobID == "" {
		return nil, false, fmt.Errorf("%w %q: no job of this gateway was submitted under it", errUnknownJob, u.RequestID)
	}
	j = &Job{
		ID: u.JobID, Provider: u.Provider, RequestID: u.RequestID, Kind: u.Kind, ProjectID: u.ProjectID, UserID: u.UserID,
		CreatedAt: tx.Now(),
	}
	return j, false, nil
}

// learn takes over what an update says. What the job knows already stays.
func (j *Job) learn(u Update) {
	j.Status = u.Status
	j.Kind = cmp.Or(j.Kind, u.Kind)
	j.ProjectID = cmp.Or(j.ProjectID, u.ProjectID)
	j.UserID = cmp.Or(j.UserID, u.UserID)
	if u.Status == JobFailed {
		j.Error, j.ErrorType = u.Error, u.ErrorType
	}
	if u.Result != nil {
		j.Result = u.Result
	}
}

func (h *handler) emit(ctx context.Context, tx Tx, cause *gaff.Event, j *Job) error {
	data, err := json.Marshal(JobSettled{
		JobID: j.ID, Provider: j.Provider, ProjectID: j.ProjectID, UserID: j.UserID, Kind: j.Kind,
		Status: j.Status.String(), SettledBy: j.SettledBy,
	})
	if err != nil {
		return fmt.Errorf("describe job %s: %w", j.ID, err)
	}
	ev := &gaff.Event{
		Source: gaff.InnerSource, Type: "job." + j.Status.String(), DedupeKey: "job:" + j.ID + ":" + j.Status.String(),
		CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data, ParentID: cause.ID, Hop: cause.Hop + 1,
	}
	return tx.Emit(ctx, ev, h.o.Router.Route(ev))
}
