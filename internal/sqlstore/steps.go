package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"gaff/jobs"
	"gaff/workflow/runs"
)

func (e *effects) SaveSteps(_ context.Context, runID string, steps []runs.Step) error {
	var run int64
	if err := e.row([]any{&run}, `select seq from run where id = $1`, runID); err != nil {
		return fmt.Errorf("save steps of %s: %w", runID, err)
	}
	for i := range steps {
		st := &steps[i]
		st.UpdatedAt = e.now
		_, err := e.exec(`insert into run_step (run, name, item, status, attempt, tries, job_id, input, result, error,
				wait_source, wait_type, wait_key, event_id, slot_a, slot_b, decider, due_at, cost, started_at,
				settled_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
			on conflict (run, name, item) do update set status = excluded.status, attempt = excluded.attempt,
				tries = excluded.tries, job_id = excluded.job_id, input = coalesce(excluded.input, run_step.input),
				result = case when excluded.status = 5 then coalesce(excluded.result, run_step.result) end,
				error = excluded.error, wait_source = excluded.wait_source, wait_type = excluded.wait_type,
				wait_key = excluded.wait_key, event_id = excluded.event_id, slot_a = excluded.slot_a,
				slot_b = excluded.slot_b, decider = excluded.decider, due_at = excluded.due_at, cost = excluded.cost,
				started_at = excluded.started_at, settled_at = excluded.settled_at, updated_at = excluded.updated_at`,
			run, st.Name, int64(st.Item), int64(st.Status), int64(st.Attempt), int64(st.AttemptsSinceReset), st.JobID, nilIfEmpty(st.Input),
			nilIfEmpty(st.Result), st.Error, st.WaitSource, st.WaitType, st.WaitKey, st.EventID, st.Slots[0], st.Slots[1],
			st.Decider, nullMicros(st.DueAt), st.Cost, nullMicros(st.StartedAt), nullMicros(st.SettledAt), micros(st.UpdatedAt))
		if err != nil {
			return fmt.Errorf("save step %s of %s: %w", st.Name, runID, err)
		}
	}
	return nil
}

func (e *effects) DropItems(_ context.Context, runID, step string) error {
	_, err := e.exec(`delete from run_step where run = (select seq from run where id = $1) and name = $2 and item >= 0`,
		runID, step)
	return err
}

const stepColumns = `s.name, s.item, s.status, s.attempt, s.tries, s.job_id, s.error, s.wait_source, s.wait_type, s.wait_key,
	s.event_id, s.slot_a, s.slot_b, s.decider, s.due_at, s.cost, s.started_at, s.settled_at, s.updated_at`

func scanStep(runID string, values bool) func(*sql.Rows) (runs.Step, error) {
	return func(rows *sql.Rows) (st runs.Step, err error) {
		var due, started, settled sql.NullInt64
		var updated int64
		var input, result []byte
		to := []any{&st.Name, &st.Item, &st.Status, &st.Attempt, &st.AttemptsSinceReset, &st.JobID, &st.Error, &st.WaitSource, &st.WaitType,
			&st.WaitKey, &st.EventID, &st.Slots[0], &st.Slots[1], &st.Decider, &due, &st.Cost, &started, &settled, &updated}
		if values {
			to = append(to, &input, &result)
		}
		err = rows.Scan(to...)
		st.RunID, st.DueAt, st.StartedAt, st.SettledAt, st.UpdatedAt =
			runID, fromNull(due), fromNull(started), fromNull(settled), fromMicros(updated)
		st.Input, st.Result = input, result
		return st, err
	}
}

// Steps returns all rows of a run, without values.
func (s *Store) Steps(ctx context.Context, runID string) ([]runs.Step, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	steps, err := collect(ctx, s.read, scanStep(runID, false), `select `+stepColumns+` from run_step s
		join run r on r.seq = s.run where r.id = $1 order by s.name, s.item`, runID)
	return steps, s.fault(ctx, "steps", err)
}

// StepValues returns a step's rows with their inputs and results.
func (s *Store) StepValues(ctx context.Context, runID, step string) ([]runs.Step, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	steps, err := collect(ctx, s.read, scanStep(runID, true), `select `+stepColumns+`, s.input, s.result from run_step s
		join run r on r.seq = s.run where r.id = $1 and s.name = $2 order by s.item`, runID, step)
	return steps, s.fault(ctx, "step", err)
}

// StepMedia returns the files of a step's jobs.
func (s *Store) StepMedia(ctx context.Context, runID, step string) (map[int][]jobs.Media, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	type itemMedia struct {
		item int
		m    jobs.Media
	}
	found, err := collect(ctx, s.read, func(rows *sql.Rows) (im itemMedia, err error) {
		var sc mediaScan
		err = rows.Scan(append([]any{&im.item}, sc.columns()...)...)
		im.m = *s.linked(sc.media())
		return im, err
	}, `select s.item, `+mediaColumns+` from run_step s join run r on r.seq = s.run join media m on m.job_id = s.job_id
		where r.id = $1 and s.name = $2 and s.job_id <> '' order by s.item, m.seq`, runID, step)
	if err != nil {
		return nil, s.fault(ctx, "media of a step", err)
	}
	byItem := map[int][]jobs.Media{}
	for _, im := range found {
		byItem[im.item] = append(byItem[im.item], im.m)
	}
	return byItem, nil
}

func scanRef(rows *sql.Rows) (ref runs.StepRef, err error) {
	err = rows.Scan(&ref.RunID, &ref.Step, &ref.Item)
	return ref, err
}

const refColumns = `r.id, s.name, s.item`

// StepOfJob returns the step that a job belongs to.
func (s *Store) StepOfJob(ctx context.Context, jobID string) (runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run_step s join run r on r.seq = s.run
		where s.job_id = $1 and s.job_id <> ''`, jobID)
	if err == nil && len(refs) == 0 {
		err = missing("step of job", jobID)
	}
	if err != nil {
		return runs.StepRef{}, s.fault(ctx, "step of a job", err)
	}
	return refs[0], nil
}

// WaitingFor returns the steps that wait for such an event.
func (s *Store) WaitingFor(ctx context.Context, source, eventType, key string) ([]runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run_step s join run r on r.seq = s.run
		where s.status = 3 and s.wait_source <> '' and s.wait_source = $1 and s.wait_type in ($2, '*')
			and s.wait_key in ('', $3) order by s.run, s.name, s.item`, source, eventType, key)
	return refs, s.fault(ctx, "waiting steps", err)
}

// WaitingApprovals returns the steps and items that wait for an approval, those that have waited
// longest first.
func (s *Store) WaitingApprovals(ctx context.Context, limit int) ([]runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run r join run_step s on s.run = r.seq
		where r.status = 0 and s.status = 3 and s.wait_source = ''
			and (s.item >= 0 or not exists (select 1 from run_step i where i.run = s.run and i.name = s.name and i.item >= 0))
		order by s.updated_at, s.run, s.name, s.item limit $1`, limit)
	return refs, s.fault(ctx, "waiting approvals", err)
}

// WaitingOf returns the steps of a version's runs that wait for an event.
func (s *Store) WaitingOf(ctx context.Context, hash string) ([]runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run r join run_step s on s.run = r.seq
		where r.version = $1 and r.status = 0 and s.status = 3 and s.wait_source <> '' order by s.run, s.name, s.item`, hash)
	return refs, s.fault(ctx, "waiting steps", err)
}
