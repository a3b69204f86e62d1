package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"gaff"
)

const (
	// repeatWithin is how long a call is taken for a repetition of one whose answer was
	// lost; clients repeat within seconds.
	repeatWithin = 2 * time.Minute
	// otherNodeDead is when a call that another process took cannot be under way any more.
	otherNodeDead = time.Minute
	// abandoned is Job.OwedBy once the caller left without its answer.
	abandoned = "-"
)

// WithoutToken is the prefix of callers who showed no credential. They never find a job by
// an idempotency key that no caller is known of.
const WithoutToken = "page:"

// Call is a submit whose caller waits for the answer, such as one through a proxy.
type Call struct {
	// Job is the call's. Created is false if an earlier call made it: one whose caller left
	// without its answer, or one of the same idempotency key.
	Job     *Job
	Created bool

	service *Service
	owner   string // Job.OwedBy while the caller waits
	stop    func() bool
}

// owner names a call: the process, when it took the job, and a unique part.
func (l *Service) owner(now time.Time) string {
	return l.process + " " + strconv.FormatInt(now.UnixMicro(), 10) + " " + rand.Text()
}

// Begin writes down a job whose submit the caller makes itself, right after, unless the job has a
// plan (its Attempt is not 0): then the service submits it. The caller stores the
// outcome by [Service.Answered], and ends the call by [Call.Delivered]. ctx ends when the
// caller leaves. callKey is a hash of the call: if the caller of an earlier call of the same
// key left without its answer, that call's job is returned in place of a new one. A caller
// that still waits shares its job with nobody, unless both name one idempotency key.
func (l *Service) Begin(ctx context.Context, s Submission, callKey string) (*Call, error) {
	l.prepare(&s)
	c := &Call{service: l, owner: l.owner(time.Now())}
	// Before the row can be seen: the next operation of the same commit may read it.
	l.calls.Store(c.owner, ctx)
	err := l.o.Store.Write(ctx, func(tx Tx) (err error) {
		c.Job, c.Created, err = l.beginCall(ctx, tx, s, callKey, c.owner)
		return err
	})
	if err != nil {
		l.calls.Delete(c.owner)
		l.reached(ctx, err)
		return nil, err
	}
	if c.Job.OwedBy != c.owner {
		// Found by its idempotency key: the answer may be had again at any time.
		l.calls.Delete(c.owner)
		c.stop = func() bool { return false }
		return c, nil
	}
	c.stop = context.AfterFunc(ctx, func() { c.abandon(context.WithoutCancel(ctx)) })
	return c, nil
}

func (l *Service) beginCall(ctx context.Context, tx Tx, s Submission, callKey, owner string) (j *Job, created bool, err error) {
	if j, err = l.first(ctx, tx, s); j != nil || err != nil {
		return j, false, err
	}
	if j, err = l.repeated(ctx, tx, callKey, owner); j != nil || err != nil {
		return j, false, err
	}
	j, plan, err := l.newJob(tx, &s)
	if err != nil {
		return nil, false, err
	}
	j.CallKey, j.OwedBy = callKey, owner
	reusePlan := plan
	if reusePlan == nil {
		reusePlan = onlyCandidate(j)
	}
	if reused, created, err := l.reuse(ctx, tx, j, reusePlan, s); reused != nil || err != nil {
		return reused, created, err
	}
	j.Submit = SubmitWaiting
	held, err := l.admit(ctx, tx, j)
	if err != nil {
		return nil, false, err
	}
	if plan == nil && held != nil {
		// It is submitted when it is approved, and has the caller's answer until then.
		plan, j.Attempt = onlyCandidate(j), 1
	}
	if plan == nil {
		now, err := l.takeTurn(ctx, tx, j, false, true)
		if err != nil {
			return nil, false, err
		}
		if !now {
			plan, j.Attempt = onlyCandidate(j), 1
			return l.add(ctx, tx, j, plan, s)
		}
	}
	if plan != nil {
		return l.queue(ctx, tx, j, plan, held, s)
	}
	j.Submit, j.SentAt, j.NextPollAt = SubmitSending, tx.Now(), tx.Now().Add(stillSending)
	return l.insert(ctx, tx, j, s)
}

// onlyCandidate is the plan of a call that gaff answers itself, with the id of the job.
func onlyCandidate(j *Job) *Plan {
	return &Plan{Candidates: []Candidate{{Provider: j.Provider, Model: j.Model}}}
}

// repeated finds the job of an earlier call of the key whose caller left without its
// answer, and makes it the owner's.
func (l *Service) repeated(ctx context.Context, tx Tx, callKey, owner string) (*Job, error) {
	jobs, err := tx.JobsByCall(ctx, callKey, tx.Now().Add(-repeatWithin))
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if l.underWay(tx.Now(), j) || j.Submit == SubmitRejected {
			continue // another's, or nothing was taken: this call is a new attempt
		}
		j.OwedBy = owner
		return j, tx.SaveJob(ctx, j)
	}
	return nil, nil
}

// underWay reports whether the caller of a job that is owed may still be connected.
func (l *Service) underWay(now time.Time, j *Job) bool {
	if j.OwedBy == abandoned {
		return false
	}
	if caller, here := l.calls.Load(j.OwedBy); here {
		return caller.(context.Context).Err() == nil
	}
	process, rest, _ := strings.Cut(j.OwedBy, " ")
	if process == l.process || !l.o.Shared {
		return false
	}
	// Another node's: it says when a caller leaves, unless it died.
	taken := j.CreatedAt
	if us, err := strconv.ParseInt(strings.Split(rest, " ")[0], 10, 64); err == nil {
		taken = time.UnixMicro(us)
	}
	return now.Sub(taken) < otherNodeDead
}

// Delivered ends a call. got reports whether its caller has the answer.
func (c *Call) Delivered(ctx context.Context, got bool) {
	if !c.stop() {
		return // the caller left, and abandon takes care of it
	}
	if !got {
		c.abandon(ctx)
		return
	}
	defer c.service.calls.Delete(c.owner)
	if err := c.hand(ctx, ""); err != nil {
		c.service.o.Log.Error("that a caller has its answer is not stored", "job", c.Job.ID, "error", err)
	}
}

// abandon lets a repetition of the call have its job, on any node.
func (c *Call) abandon(ctx context.Context) {
	c.service.calls.Delete(c.owner)
	if !c.service.o.Shared {
		return // a call of this process that is not in calls is not under way
	}
	if err := c.hand(ctx, abandoned); err != nil {
		c.service.o.Log.Error("that a caller left without its answer is not stored", "job", c.Job.ID, "error", err)
	}
}

// hand stores who owes the answer from now on, unless a repetition took the job meanwhile.
func (c *Call) hand(ctx context.Context, to string) error {
	return c.service.o.Store.Write(ctx, func(tx Tx) error {
		j, err := tx.Job(ctx, c.Job.ID)
		if errors.Is(err, gaff.ErrNotFound) {
			return nil // the provider did not accept it, and the job was removed
		}
		if err != nil || j.OwedBy != c.owner {
			return err
		}
		j.OwedBy = to
		return tx.SaveJob(ctx, j)
	})
}
