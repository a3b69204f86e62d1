package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"gaff"
)

// JobSettled is the data of the internal event about a settled job.
type JobSettled struct {
	JobID     string `json:"jobId"`
	Provider  string `json:"provider"`
	ProjectID string `json:"projectId"`
	UserID    string `json:"userId"`
	Kind      string `json:"kind"`
	Status    string `json:"status"`
	SettledBy string `json:"settledBy"`
	// RunID and StepID are the workflow step that the job works for; empty if none.
	RunID  string `json:"runId,omitempty"`
	StepID string `json:"stepId,omitempty"`
	// AwaitStored is set if copies of the job's files are being made: gaff:job.stored follows.
	AwaitStored bool `json:"awaitStored"`
}

// change is an update of a job, on its way into the store.
type change struct {
	job *Job
	// stored is set if the job has a row.
	stored bool
	update Update
	// by is one of the SettledBy… constants, for a change that settles the job; may be empty.
	by string
	// cause is the event that brought the update; nil: none did.
	cause *gaff.Event
	// service charges a job that it settles; nil: nothing is charged.
	service *Service
}

// apply stores a change, and reports whether it settled the job: then the internal event about
// that is stored too. An update of a settled job changes nothing, but adds missing files of a
// completed one.
func (c change) apply(ctx context.Context, tx Tx, router Router) (settled bool, err error) {
	j, open := c.job, !c.stored || !c.job.Status.Settled()
	if c.stored && open && c.service != nil {
		switch c.update.Status {
		case JobFailed:
			if moved, err := c.service.fallBack(ctx, tx, j, &c.update); err != nil || moved {
				return false, err
			}
		case JobCompleted:
			if err := c.service.mapResult(ctx, tx, j, &c.update); err != nil {
				return false, err
			}
		case JobQueued, JobProcessing, JobCancelled: // no end, or one by request
		}
	}
	u, reserved := c.update, j.Charge
	settled = open && u.Status.Settled()
	if err := c.save(ctx, tx); err != nil {
		return false, err
	}
	if settled && reserved.State == ChargeReserved {
		if err := noteExcess(ctx, tx, j, reserved); err != nil {
			return false, err
		}
	}
	copies := false
	// Files of a job that had failed or been cancelled before are not its result.
	if u.Status == JobCompleted && j.Status == JobCompleted {
		for _, file := range u.Files {
			file.JobID, file.ProjectID = j.ID, j.ProjectID
			pending, err := addFile(ctx, tx, router, c.cause, &file)
			if err != nil {
				return false, err
			}
			copies = copies || pending
		}
	}
	if !settled {
		return false, nil
	}
	if err := noteLeftOut(ctx, tx, j, u); err != nil {
		return false, err
	}
	if err := emitCallback(ctx, tx, router, c.cause, j); err != nil {
		return false, err
	}
	return true, emitSettled(ctx, tx, router, c.cause, j, copies)
}

// save writes the job's row. A status never moves back, and a settled job keeps its row.
func (c change) save(ctx context.Context, tx Tx) error {
	j, u := c.job, c.update
	if c.stored && j.Status.Settled() {
		return nil
	}
	if c.stored && u.Status < j.Status {
		return tx.SaveJob(ctx, j) // no progress, but the time of the next poll
	}
	j.learn(u)
	if u.Status.Settled() {
		j.SettledBy, j.SettledAt = c.by, tx.Now()
		if c.service != nil {
			c.service.charge(j)
		}
	}
	if c.stored {
		return tx.SaveJob(ctx, j)
	}
	err := tx.InsertJob(ctx, j)
	if errors.Is(err, gaff.ErrConflict) {
		// One request belongs to one job: a second job that claims it gets none.
		j.RequestID = ""
		err = tx.InsertJob(ctx, j)
	}
	return err
}

// noteExcess adds to the log of a job by how much the provider's charge exceeds the estimate.
func noteExcess(ctx context.Context, tx Tx, j *Job, reserved Charge) error {
	more := j.Charge.Amount - reserved.Amount
	if j.Charge.State != ChargeBilled || j.Charge.Currency != reserved.Currency || more <= 0 {
		return nil
	}
	return tx.AddLogEntry(ctx, j.ID, "charge", fmt.Sprintf("%s charged %s %s, %s more than the estimate", j.Provider, j.Charge.Amount, j.Charge.Currency, more))
}

// noteLeftOut adds to the log of a job that only the first of its files are stored.
func noteLeftOut(ctx context.Context, tx Tx, j *Job, u Update) error {
	if u.Status != JobCompleted || u.FilesTotal <= len(u.Files) {
		return nil
	}
	what := "ask"
	if j.SettledBy == SettledByWebhook {
		what = "webhook"
	}
	return tx.AddLogEntry(ctx, j.ID, what, fmt.Sprintf("%s of %s files stored: a job has at most %s; the links of all are in its result",
		thousands(len(u.Files)), thousands(u.FilesTotal), thousands(maxFiles)))
}

// thousands writes a number as 20,000.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

func emitSettled(ctx context.Context, tx Tx, router Router, cause *gaff.Event, j *Job, copies bool) error {
	data, err := json.Marshal(JobSettled{
		JobID: j.ID, Provider: j.Provider, ProjectID: j.ProjectID, UserID: j.UserID, Kind: j.Kind,
		Status: j.Status.String(), SettledBy: j.SettledBy, RunID: j.RunID, StepID: j.StepID, AwaitStored: copies,
	})
	if err != nil {
		return fmt.Errorf("describe job %s: %w", j.ID, err)
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: "job." + j.Status.String(), DedupeKey: "job:" + j.ID + ":" + j.Status.String(),
		CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data,
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	return tx.Emit(ctx, ev, router.Route(ev))
}

// fail ends a job as failed by what gaff knows itself.
func (l *Service) fail(ctx context.Context, tx Tx, j *Job, text, code, by string) error {
	return l.end(ctx, tx, j, Update{Status: JobFailed, Error: text, ErrorType: code}, by)
}

// end applies a failure that gaff finds itself.
func (l *Service) end(ctx context.Context, tx Tx, j *Job, u Update, by string) error {
	_, err := change{job: j, stored: true, update: u, by: by, service: l}.apply(ctx, tx, l.o.Router)
	return err
}

// report records a settled job for durations and metrics; j may be nil.
func (l *Service) report(j *Job) {
	if j == nil || !j.Status.Settled() {
		return
	}
	l.wakeQueue(false) // limits have room
	l.durations.measure(j)
	if l.o.Settled != nil {
		l.o.Settled(j.Provider, j.SettledBy, j.Status)
	}
}
