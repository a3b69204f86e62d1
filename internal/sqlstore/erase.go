package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"gaff"
	"gaff/internal/erase"
	"gaff/internal/id"
	"gaff/jobs"
)

var _ erase.Store = (*Store)(nil)

// eraseBatch is how many events, jobs or other rows one transaction of an erasure deletes.
const eraseBatch = 50

// Erase deletes what belongs to a target. Events come first, since they are found by the jobs, and
// once more at the end: webhooks may have come meanwhile.
func (s *Store) Erase(ctx context.Context, t erase.Target) (*erase.Found, error) {
	e, err := s.newErasure(ctx, t)
	if err == nil && t.Kind == erase.Media {
		return e.eraseFile(ctx)
	}
	if err == nil {
		err = e.find(ctx)
	}
	if err == nil {
		err = e.settled()
	}
	if err != nil {
		return nil, err
	}
	if err := e.eraseEvents(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{e.eraseScheduled, e.eraseJobs, e.eraseRuns, e.eraseProject, e.eraseBudgetsAndLogins} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	clear(e.events)
	if err := e.findEvents(ctx); err != nil && !errors.Is(err, gaff.ErrNotFound) {
		return nil, err
	}
	e.found.Events += int64(len(e.events))
	for _, step := range []func(context.Context) error{e.eraseEvents, e.eraseRejections, e.replaceIDs} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return &e.found, nil
}

// eraseFile deletes one file. Its job and the events about it stay.
func (e *erasure) eraseFile(ctx context.Context) (*erase.Found, error) {
	err := e.s.w.Do(ctx, &op{Run: func(t *tx) (err error) {
		e.found.Media, err = t.eraseMedia(`m.id = $1`, e.t.ID)
		return err
	}})
	if err == nil && e.found.Media == 0 {
		err = missing("media", e.t.ID)
	}
	if err != nil {
		return nil, err
	}
	return &e.found, nil
}

// settled returns an error if a job or a run is not settled.
func (e *erasure) settled() error {
	for _, open := range []struct {
		kind string
		ids  []string
	}{{"job", e.found.OpenJobs}, {"run", e.found.OpenRuns}} {
		if len(open.ids) > 0 {
			return fmt.Errorf("%w: %s %s is not finished", gaff.ErrConflict, open.kind, open.ids[0])
		}
	}
	return nil
}

// batches runs fn for all items, a few in a transaction, with pauses in which webhooks are stored.
func eraseInBatches[T any](ctx context.Context, s *Store, items []T, fn func(*tx, T) error) error {
	for part := range slices.Chunk(items, eraseBatch) {
		err := s.w.Do(ctx, &op{Run: func(t *tx) error {
			for _, item := range part {
				if err := fn(t, item); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(prunePause):
		}
	}
	return nil
}

// execAll runs statements that have the same only parameter.
func (t *tx) execAll(arg any, texts ...string) error {
	for _, text := range texts {
		if _, err := t.exec(text, arg); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) eraseEvents(ctx context.Context) error {
	if err := eraseInBatches(ctx, e.s, slices.Sorted(maps.Keys(e.events)), (*tx).eraseEvent); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	// The request of a batch is replaced by the event's own part of it.
	err := eraseInBatches(ctx, e.s, slices.Sorted(maps.Keys(e.whole)), func(t *tx, seq int64) error {
		_, err := t.exec(`update payload set body = data, sha256 = data_sha256, data = null, data_sha256 = null, request = null
			where seq = $1 and data is not null`, seq)
		return err
	})
	clear(e.whole)
	return err
}

// eraseEvent deletes an event. Deliveries that are not done are canceled, so that others of their
// key continue; a worker that processes one finds its lease lost.
func (t *tx) eraseEvent(seq int64) error {
	if err := t.cancelDeliveries(seq, 0, "the event was erased"); err != nil {
		return err
	}
	var p prunable
	err := t.row([]any{&p.seq, &p.received, &p.source, &p.status}, `select seq, received_at, source, status from event where seq = $1`+t.db.lock(), seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.deleteEvents([]prunable{p})
}

// cancelDeliveries cancels the deliveries of an event that are not done or hold others of their
// key, other than the n-th.
func (t *tx) cancelDeliveries(seq int64, but int, why string) error {
	var open []gaff.Lease
	err := t.each(func(r Row) error {
		var received int64
		l := gaff.Lease{Event: seq}
		if err := r.Scan(&l.Delivery, &received); err != nil {
			return err
		}
		l.EventID = id.OfEvent(fromMicros(received), seq)
		if l.Delivery != but {
			open = append(open, l)
		}
		return nil
	}, `select d.n, e.received_at from delivery d join event e on e.seq = d.seq where d.seq = $1 and (d.state < 3 or d.held = 2) order by d.n`, seq)
	if err != nil {
		return err
	}
	for _, l := range open {
		if err := t.cancel(l, why); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) eraseJobs(ctx context.Context) error {
	key, err := e.s.eraseKey(ctx)
	if err != nil {
		return err
	}
	err = eraseInBatches(ctx, e.s, slices.Sorted(maps.Keys(e.jobs)), func(t *tx, jobID string) error { return t.eraseJob(jobID, key) })
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	if e.t.Kind != erase.Project {
		return nil
	}
	for n := int64(1); n > 0; {
		err := e.s.w.Do(ctx, &op{Run: func(t *tx) (err error) {
			n, err = t.eraseMedia(`m.project_id = $1 and m.project_id <> ''`, e.t.ID)
			return err
		}})
		if err != nil {
			return fmt.Errorf("media: %w", err)
		}
	}
	return nil
}

// eraseJob deletes a settled job with its files, input and log, and stores hashes of its ids.
func (t *tx) eraseJob(jobID string, key []byte) error {
	var status jobs.JobStatus
	var provider, request string
	err := t.row([]any{&status, &provider, &request}, `select status, provider, request_id from job where id = $1`+t.db.lock(), jobID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case !status.Settled():
		return fmt.Errorf("%w: job %s is not finished", gaff.ErrConflict, jobID)
	}
	for n := int64(1); n > 0; {
		if n, err = t.eraseMedia(`m.job_id = $1`, jobID); err != nil {
			return err
		}
	}
	hashes := []string{eraseHash(key, "job", jobID)}
	if request != "" {
		hashes = append(hashes, eraseHash(key, "request", provider, request))
	}
	for _, hash := range hashes {
		if _, err := t.exec(`insert into erased (hash, at) values ($1, $2) on conflict (hash) do update set at = excluded.at`, hash, micros(t.now)); err != nil {
			return err
		}
	}
	if err := t.execAll(jobID, `update run_step set input = null, result = null, error = '' where job_id = $1 and job_id <> ''`); err != nil {
		return err
	}
	if err := t.removeReusedFrom(jobID); err != nil {
		return err
	}
	return t.deleteJob(jobID)
}

// removeReusedFrom removes the id of an erased job from the jobs that have its result. They keep the
// result and their files. No other job can get the result meanwhile: the row of the erased job is locked.
func (t *tx) removeReusedFrom(jobID string) error {
	_, err := t.exec(`update job_note set text = replace(text, $2, $3) where what = $4
		and job_id in (select id from job where reused_from = $1 and reused_from <> '')`, jobID, jobs.ReuseSource(jobID), jobs.ErasedSource, jobs.ReuseEntry)
	if err != nil {
		return err
	}
	return t.each(func(r Row) error {
		var reuser, provider string
		var status jobs.JobStatus
		if err := r.Scan(&reuser, &status, &provider); err != nil {
			return err
		}
		t.change("job", reuser, status.String(), provider)
		return nil
	}, `update job set reused_from = '' where reused_from = $1 and reused_from <> '' returning id, status, provider`, jobID)
}

// deleteJob deletes a job with its input, log and attempts. Its files are deleted before.
func (t *tx) deleteJob(jobID string) error {
	t.change("job", jobID, "removed", "")
	return t.execAll(jobID, `delete from job_input where job_id = $1`, `delete from job_note where job_id = $1`,
		`delete from job_plan where job_id = $1`, `delete from job_queue where job_id = $1`, `delete from job_attempt where job_id = $1`, `delete from job where id = $1`)
}

// eraseMedia deletes some of the rows of files that match a condition, and adds their copies to the
// list of files that are to be deleted from storage.
func (t *tx) eraseMedia(condition string, arg any) (n int64, err error) {
	type file struct {
		seq                    int64
		mediaID, job, key, pic string
	}
	var files []file
	err = t.each(func(r Row) error {
		var f file
		files = append(files, f)
		last := &files[len(files)-1]
		return r.Scan(&last.seq, &last.mediaID, &last.job, &last.key, &last.pic)
	}, `select m.seq, m.id, m.job_id, m.stored_url, m.thumbnail from media m where `+condition+` order by m.seq limit `+fmt.Sprint(eraseBatch), arg)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		for _, key := range []string{f.key, f.pic} {
			if err := t.dropFile(key); err != nil {
				return 0, err
			}
		}
		if _, err := t.exec(`delete from media where seq = $1`, f.seq); err != nil {
			return 0, err
		}
		// A result without all its files answers no other submit.
		if _, err := t.exec(`update job set reuse_key = '' where id = $1 and reuse_key <> ''`, f.job); err != nil {
			return 0, err
		}
		t.change("media", f.mediaID, "removed", "")
	}
	return int64(len(files)), nil
}

// dropFile adds a key to the list of files that are to be deleted from storage.
func (t *tx) dropFile(key string) error {
	if key == "" {
		return nil
	}
	_, err := t.exec(`insert into erased_file (name, at) values ($1, $2) on conflict (name) do nothing`, key, micros(t.now))
	return err
}

// JobErased reports whether a job was erased, by any of its names. Every webhook of a job asks, so the
// deferred rows wait: none of them is read here.
func (e *effects) JobErased(_ context.Context, refs ...jobs.JobRef) (bool, error) {
	e.independent = true
	defer func() { e.independent = false }()
	key, err := e.readEraseKey()
	if err != nil || key == nil {
		return false, err
	}
	var hashes []string
	for _, ref := range refs {
		switch {
		case ref.ID != "":
			hashes = append(hashes, eraseHash(key, "job", ref.ID))
		case ref.RequestID != "":
			hashes = append(hashes, eraseHash(key, "request", ref.Provider, ref.RequestID))
		}
	}
	if len(hashes) == 0 {
		return false, nil
	}
	var args []any
	err = e.row([]any{new(int64)}, `select at from erased where hash in `+marks(&args, hashes), args...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// readEraseKey returns the key of the hashes of erased ids, which it reads once in a transaction; nil
// if nothing was ever erased.
func (t *tx) readEraseKey() ([]byte, error) {
	if t.eraseKeyRead {
		return t.eraseKey, nil
	}
	var text string
	switch err := t.row([]any{&text}, `select value from setting where name = $1`, eraseKeySetting); {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return nil, err
	default:
		if text, err = t.s.unseal("setting "+eraseKeySetting, text); err != nil {
			return nil, err
		}
		t.eraseKey = []byte(text)
	}
	t.eraseKeyRead = true
	return t.eraseKey, nil
}

// DropBody removes the body of an event.
func (e *effects) DropBody(ctx context.Context, eventID string) error {
	seq, err := e.eventSeq(eventID)
	if err != nil {
		return err
	}
	lease, _ := gaff.LeaseFrom(ctx)
	if err := e.cancelDeliveries(seq, lease.Delivery, "the job of this webhook was erased"); err != nil {
		return err
	}
	return e.deleteBody(seq)
}

// DropFile adds a key to the list of files that are to be deleted from storage.
func (e *effects) DropFile(_ context.Context, key string) error { return e.dropFile(key) }

// ErasedFiles returns keys of files that are to be deleted from storage, in their order.
func (s *Store) ErasedFiles(ctx context.Context, after string, limit int) (keys []string, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	keys, err = column[string](ctx, s.read, `select name from erased_file where name > $1 order by name limit $2`, after, limit)
	return keys, s.fault(ctx, "erased files", err)
}

// FileErased removes a key from that list, if it was added before a time.
func (s *Store) FileErased(ctx context.Context, key string, before time.Time) error {
	return s.write(ctx, "erased files", func(t *tx) error {
		_, err := t.exec(`delete from erased_file where name = $1 and at < $2`, key, micros(before))
		return err
	})
}

// FileNamed reports whether a row names a file in storage. The last part of a key is the hash of the
// content, or of the picture's original.
func (s *Store) FileNamed(ctx context.Context, key string) (bool, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	n, err := column[int64](ctx, s.read, `select 1 from media where sha256 = $1 and sha256 <> '' and (stored_url = $2 or thumbnail = $2) limit 1`, path.Base(key), key)
	return len(n) > 0, s.fault(ctx, "erased files", err)
}

func (e *erasure) eraseRuns(ctx context.Context) error {
	return eraseInBatches(ctx, e.s, slices.Sorted(maps.Values(e.runs)), (*tx).eraseRun)
}

// eraseRun deletes a settled run with its steps.
func (t *tx) eraseRun(seq int64) error {
	var runID, workflow string
	err := t.row([]any{&runID, &workflow}, `select id, workflow from run where seq = $1 and status <> 0`+t.db.lock(), seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	t.change("run", runID, "removed", workflow)
	return t.execAll(seq, `delete from run_step where run = $1`, `delete from run where seq = $1`)
}

func (e *erasure) eraseProject(ctx context.Context) error {
	if e.t.Kind != erase.Project {
		return nil
	}
	e.s.projectsErased.Add(1)
	return e.s.w.Do(ctx, &op{
		Run: func(t *tx) error {
			return t.execAll(e.t.ID, `delete from project where id = $1`)
		},
		Committed: func() { e.s.projectsErased.Add(1) },
	})
}

// eraseBudgetsAndLogins deletes the budgets of a user or a project, and logins whose subject is the user.
func (e *erasure) eraseBudgetsAndLogins(ctx context.Context) error {
	return e.s.w.Do(ctx, &op{Run: func(t *tx) error {
		switch e.t.Kind {
		case erase.User:
			return t.execAll(e.t.ID, `delete from budget_spent where name in (select name from budget where user_id = $1)`, `delete from budget where user_id = $1`, `delete from session where subject = $1`)
		case erase.Project:
			return t.execAll(e.t.ID, `delete from budget_spent where name in (select name from budget where project_id = $1)`, `delete from budget where project_id = $1`)
		case erase.Job, erase.Event, erase.Media:
		}
		return nil
	}})
}

func (e *erasure) eraseRejections(ctx context.Context) error {
	return eraseInBatches(ctx, e.s, e.rejections, func(t *tx, seq int64) error {
		t.x.quarantined = -1 // the next one sums up again
		return t.execAll(seq, `delete from quarantine where rejection_id = (select id from rejection where seq = $1)`,
			`delete from rejection where seq = $1`)
	})
}

// replaceIDs replaces the id by the pseudonym in rows that stay.
func (e *erasure) replaceIDs(ctx context.Context) error {
	if e.match == nil {
		return nil
	}
	if err := e.findNaming(ctx); err != nil { // rows may have come meanwhile
		return err
	}
	match := e.naming()
	for i, r := range naming {
		err := eraseInBatches(ctx, e.s, e.named[i], func(t *tx, key any) error { return e.replaceIn(t, match, r, key) })
		if err != nil {
			return fmt.Errorf("%s: %w", r.table, err)
		}
	}
	return nil
}

func (e *erasure) replaceIn(t *tx, match *erase.Matcher, r namingTable, key any) error {
	for i, column := range r.columns() {
		var text []byte
		err := t.row([]any{&text}, `select `+column+` from `+r.table+` where `+r.key+` = $1`, key)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		replaced := match.Replace(text, e.pseudonym)
		if string(text) == e.t.ID {
			replaced = []byte(e.pseudonym)
		}
		if bytes.Equal(replaced, text) {
			continue
		}
		var value any = replaced
		if i < len(r.texts) {
			value = string(replaced)
		}
		if _, err := t.exec(`update `+r.table+` set `+column+` = $2 where `+r.key+` = $1`, key, value); err != nil {
			return err
		}
	}
	return nil
}
