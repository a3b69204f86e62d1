package jobs

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Jobs are submitted by workers that take them in the order of their events. So that a project or user
// with many jobs does not delay others, only a few jobs of a provider are given to the workers at a
// time; the others wait in the queue of the database, which all nodes share, until it is their turn and
// their limits have room.

// Priorities of jobs, from the last to the first.
const (
	MinPriority = -100
	MaxPriority = 100
	// MaxOperatorPriority is the highest one that callers with the role operator may use.
	MaxOperatorPriority = 10
)

const (
	// unsentFor is how long a job that was given to the workers, and was not sent, counts as one that
	// they are about to send. After it the provider does not accept it now, or a node ended.
	unsentFor = 10 * time.Second
	// queueTick is how often the queue is checked while jobs wait; another node may have made room.
	queueTick = time.Second
	// queueIdle is how often a node checks whether jobs of other nodes wait.
	queueIdle = 5 * time.Second
	// cleanEvery is how often rows of jobs that have ended are removed from the queue, and cleanAfter how
	// long rows stay of jobs that no limit counts.
	cleanEvery = 10 * time.Second
	cleanAfter = time.Minute
	// queueBatch is how many waiting jobs are read at once. frontRounds is how often, in a transaction, from
	// the front of the queue on, and deepRounds how often behind the place that an earlier one reached.
	queueBatch  = 100
	frontRounds = 10
	deepRounds  = 40
	// maxFull is how many full limits a query leaves out. Jobs of others are read, and left.
	maxFull = 256
)

// QueuePlace is the place of a waiting job in the queue of its provider: its priority (negated), turn,
// and so on. The zero value is before all jobs.
type QueuePlace struct {
	Rank, Turn, Late, Since int64
	JobID                   string
}

// before reports whether p is nearer to the front.
func (p QueuePlace) before(q QueuePlace) bool {
	if p.JobID == "" || q.JobID == "" {
		return p.JobID == "" && q.JobID != ""
	}
	return cmp.Or(cmp.Compare(p.Rank, q.Rank), cmp.Compare(p.Turn, q.Turn), cmp.Compare(p.Late, q.Late), cmp.Compare(p.Since, q.Since),
		cmp.Compare(p.JobID, q.JobID)) < 0
}

// QueueQuery chooses waiting jobs.
type QueueQuery struct {
	// Planned leaves out jobs without a plan.
	Planned bool
	// Full leaves out the jobs that one of these limits counts.
	Full map[LimitKey]bool
	// After leaves out the jobs up to a place.
	After QueuePlace
	Limit int
}

// QueuedJob is a job in the queue: it waits, or limits count it.
type QueuedJob struct {
	JobID, Provider, Model, ProjectID, UserID string
	Priority                                  int
	// First puts it before others of its priority.
	First bool
	// Released is set if the job need not wait: it is only counted.
	Released bool
	// Held is set if a limit counts it until it ends.
	Held bool
	// Attempt is that of the job.
	Attempt int
	// Place is where a waiting job is.
	Place QueuePlace
}

func (q *QueuedJob) job() *Job {
	return &Job{ID: q.JobID, Provider: q.Provider, Model: q.Model, ProjectID: q.ProjectID, UserID: q.UserID, Attempt: q.Attempt}
}

// window is how many jobs of a provider are given to the workers at a time.
func (l *Service) window(provider string) int { return 2 * l.workers(l.provider(provider)) }

// workers is how many submits of a provider a node sends at once.
func (l *Service) workers(p Provider) int {
	if paced, ok := p.(Paced); ok {
		_, submits := paced.Pace()
		return cmp.Or(submits, submitWorkers)
	}
	return submitWorkers
}

// dispatch has a job submitted that is stored as waiting: now, or when it is its turn.
func (l *Service) dispatch(ctx context.Context, tx Tx, j *Job, first bool) error {
	now, err := l.takeTurn(ctx, tx, j, first, false)
	if err != nil || !now {
		return err
	}
	return l.emitSubmit(ctx, tx, j)
}

// takeTurn reports whether a job may be submitted now. If not, it waits in the queue. A direct submit is
// made by the caller, and needs no worker.
func (l *Service) takeTurn(ctx context.Context, tx Tx, j *Job, first, direct bool) (now bool, err error) {
	limits := l.limitsOf(j)
	if direct && len(limits) == 0 {
		return true, nil
	}
	unsent, waits, err := tx.QueueState(ctx, j.Provider, l.window(j.Provider)+1)
	if err != nil {
		return false, err
	}
	if j.Submit == SubmitWaiting && !direct {
		unsent-- // the job itself
	}
	now = !waits && (direct || unsent < l.window(j.Provider))
	if now && len(limits) == 0 {
		return true, nil
	}
	if err := tx.LockQueue(ctx); err != nil {
		return false, err
	}
	if now {
		room := newRooms(tx)
		full, _, err := room.full(ctx, limits)
		if err != nil {
			return false, err
		}
		if now = full == nil; now {
			if err := room.take(ctx, limits); err != nil {
				return false, err
			}
		}
	}
	q := &QueuedJob{
		JobID: j.ID, Provider: j.Provider, Model: j.Model, ProjectID: j.ProjectID, UserID: j.UserID, Priority: j.Priority,
		First: first, Released: now, Held: counted(limits),
	}
	if !now {
		l.wakeQueue(true)
	}
	return now, tx.JoinQueue(ctx, q)
}

// reserveTurn takes the room of limits for a call whose answer is the result, which cannot wait. The
// error is a LimitError without room. held is set if the job must be stored, so that limits count it.
func (l *Service) reserveTurn(ctx context.Context, tx Tx, j *Job) (held bool, err error) {
	limits := l.limitsOf(j)
	if len(limits) == 0 {
		return false, nil
	}
	if err := tx.LockQueue(ctx); err != nil {
		return false, err
	}
	room := newRooms(tx)
	full, at, err := room.full(ctx, limits)
	if err != nil {
		return false, err
	}
	if full != nil {
		after := time.Second
		if !at.IsZero() {
			after = at.Sub(tx.Now())
		}
		return false, &LimitError{full.LimitKey, full.Limit, after}
	}
	if err := room.take(ctx, limits); err != nil || !counted(limits) {
		return false, err
	}
	return true, tx.JoinQueue(ctx, &QueuedJob{
		JobID: j.ID, Provider: j.Provider, Model: j.Model, ProjectID: j.ProjectID, UserID: j.UserID, Released: true, Held: true,
	})
}

// wakeQueue has the queue checked, if jobs may wait. waits says that one does.
func (l *Service) wakeQueue(waits bool) {
	if waits {
		l.noteQueue()
	} else if !l.queueMayWait() {
		return
	}
	select {
	case l.queuePoke <- struct{}{}:
	default:
	}
}

// noteQueue stores that jobs wait in the queue: for a while, since the transaction that adds one may
// not have ended yet.
func (l *Service) noteQueue() { l.queueUntil.Store(time.Now().Add(3 * queueTick).UnixNano()) }

// queueMayWait reports whether jobs were seen in the queue lately.
func (l *Service) queueMayWait() bool { return time.Now().UnixNano() < l.queueUntil.Load() }

// runQueue gives waiting jobs to the workers until ctx ends.
func (l *Service) runQueue(ctx context.Context) {
	for {
		next, err := l.releaseAll(ctx)
		if err != nil && ctx.Err() == nil {
			l.o.Log.Error("the queue of jobs cannot be checked", "error", err)
		}
		wait := queueIdle
		if l.queueMayWait() {
			wait = queueTick
		}
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.queuePoke:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// releaseAll releases the jobs of all providers whose turn it is. next is when a rate has room again;
// zero if no job waits for that.
func (l *Service) releaseAll(ctx context.Context) (next time.Time, err error) {
	providers, rows, err := l.o.Store.QueuedProviders(ctx)
	if err != nil {
		return next, err
	}
	if rows && time.Since(l.queueCleaned) >= cleanEvery {
		l.queueCleaned = time.Now()
		if err := l.cleanQueue(ctx); err != nil {
			return next, err
		}
	}
	for _, provider := range providers {
		l.noteQueue()
		at, err := l.release(ctx, provider)
		if err != nil {
			return next, err
		}
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, nil
}

// cleanQueue removes rows from the queue that count for nothing any more.
func (l *Service) cleanQueue(ctx context.Context) error {
	return l.o.Store.Write(ctx, func(tx Tx) error {
		if err := tx.LockQueue(ctx); err != nil {
			return err
		}
		return tx.CleanQueue(ctx, tx.Now().Add(-cleanAfter))
	})
}

// release releases the jobs of a provider whose turn it is.
func (l *Service) release(ctx context.Context, provider string) (next time.Time, err error) {
	if l.provider(provider) == nil {
		return next, nil
	}
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		next = time.Time{}
		rest, err := restUntil(ctx, tx, provider)
		if err != nil {
			return err
		}
		if err := tx.LockQueue(ctx); err != nil {
			return err
		}
		unsent, err := tx.UnsentJobs(ctx, provider, tx.Now().Add(-unsentFor))
		if err != nil {
			return err
		}
		// While the provider rests, jobs that have another one move on.
		next, err = l.releaseSome(ctx, tx, provider, !rest.IsZero(), l.window(provider)-unsent)
		return err
	})
	return next, err
}

// releaseSome releases at most n jobs of a provider; with planned only such that have a plan. It reads the
// front of the queue, and then, at most once in queueTick, a part of the rest: behind the place at which
// the last part ended. So a job behind any number of others whose limits are full is found.
func (l *Service) releaseSome(ctx context.Context, tx Tx, provider string, planned bool, n int) (next time.Time, err error) {
	r := &releasing{l: l, tx: tx, provider: provider, room: newRooms(tx), left: n, query: QueueQuery{Planned: planned, Full: map[LimitKey]bool{}, Limit: queueBatch}}
	if end, err := r.rounds(ctx, frontRounds); err != nil || end {
		return r.next, err
	}
	sweep := l.sweeps[provider]
	if time.Since(sweep.at) < queueTick {
		return r.next, nil
	}
	if r.query.After.before(sweep.place) {
		r.query.After = sweep.place
	}
	end, err := r.rounds(ctx, deepRounds)
	if err != nil {
		return r.next, err
	}
	sweep.at, sweep.place = time.Now(), r.query.After
	if end {
		sweep.place = QueuePlace{}
	}
	l.sweeps[provider] = sweep
	return r.next, nil
}

// sweep is the part of a queue behind its front that was read last: when, and up to which place.
type sweep struct {
	at    time.Time
	place QueuePlace
}

// releasing releases jobs of a provider within a transaction.
type releasing struct {
	l        *Service
	tx       Tx
	provider string
	room     *rooms
	left     int       // how many jobs may still be released
	next     time.Time // when a rate has room again
	query    QueueQuery
}

// rounds reads at most n batches of waiting jobs, and releases those whose limits have room. end is set
// if nothing is left to do: the queue ends, or no more jobs may be released.
func (r *releasing) rounds(ctx context.Context, n int) (end bool, err error) {
	for range n {
		if r.left <= 0 {
			return true, nil
		}
		batch, err := r.tx.NextQueued(ctx, r.provider, r.query)
		if err != nil {
			return false, err
		}
		if err := r.batch(ctx, batch); err != nil {
			return false, err
		}
		if len(batch) < r.query.Limit || r.query.Full[LimitKey{"provider", r.provider}] {
			return true, nil
		}
	}
	return false, nil
}

// batch releases the jobs of a batch whose limits have room.
func (r *releasing) batch(ctx context.Context, batch []QueuedJob) error {
	limits := make([][]keyLimit, len(batch))
	for i := range batch {
		limits[i] = r.l.limitsOf(batch[i].job())
	}
	if err := r.room.look(ctx, slices.Concat(limits...)...); err != nil {
		return err
	}
	for i := range batch {
		q := &batch[i]
		r.query.After = q.Place
		full, at, err := r.room.full(ctx, limits[i])
		if err != nil {
			return err
		}
		if full != nil {
			if len(r.query.Full) < maxFull || full.Scope == "provider" {
				r.query.Full[full.LimitKey] = true
			}
			if !at.IsZero() && (r.next.IsZero() || at.Before(r.next)) {
				r.next = at
			}
			continue
		}
		if err := r.l.releaseOne(ctx, r.tx, q, r.room, limits[i]); err != nil {
			return err
		}
		if r.left--; r.left == 0 {
			return nil
		}
	}
	return nil
}

// releaseOne gives a job to the workers.
func (l *Service) releaseOne(ctx context.Context, tx Tx, q *QueuedJob, room *rooms, limits []keyLimit) error {
	if err := room.take(ctx, limits); err != nil {
		return err
	}
	if err := tx.ReleaseJob(ctx, q.JobID, counted(limits)); err != nil {
		return err
	}
	return l.emitSubmit(ctx, tx, q.job())
}
