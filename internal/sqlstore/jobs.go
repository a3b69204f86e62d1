package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"

	"gaff"
	"gaff/jobs"
)

// Job returns one job.
func (s *Store) Job(ctx context.Context, jobID string) (*jobs.Job, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	js, err := collect(ctx, s.read, scanJob, `select `+jobColumns+` from job j where j.id = $1`, jobID)
	if err == nil && len(js) == 0 {
		err = missing("job", jobID)
	}
	if err != nil {
		return nil, s.fault(ctx, "job", err)
	}
	return js[0].job(), nil
}

// JobLog returns a job's log, oldest first.
func (s *Store) JobLog(ctx context.Context, jobID string) ([]jobs.LogEntry, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	notes, err := collect(ctx, s.read, func(rows *sql.Rows) (n jobs.LogEntry, err error) {
		var at int64
		err = rows.Scan(&at, &n.What, &n.Text)
		n.At = fromMicros(at)
		return n, err
	}, `select at, what, text from job_note where job_id = $1 order by n`, jobID)
	return notes, s.fault(ctx, "job's log", err)
}

// JobInput returns what a job was submitted with; nil if that is not kept.
func (s *Store) JobInput(ctx context.Context, jobID string) (json.RawMessage, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	inputs, err := collect(ctx, s.read, func(rows *sql.Rows) (input []byte, err error) {
		return input, rows.Scan(&input)
	}, `select input from job_input where job_id = $1`, jobID)
	if err != nil || len(inputs) == 0 {
		return nil, s.fault(ctx, "job's input", err)
	}
	return inputs[0], nil
}

func scanJob(rows *sql.Rows) (*jobScan, error) {
	sc := &jobScan{}
	return sc, rows.Scan(sc.columns()...)
}

// listedJobColumns are a job's as lists show it: a page of results of megabytes would not fit
// into memory.
var listedJobColumns = strings.Replace(jobColumns, "j.result,",
	"case when length(j.result) <= "+strconv.Itoa(jobs.MaxListed)+" then j.result end,", 1) + `, coalesce(length(j.result), 0)`

func scanListedJob(rows *sql.Rows) (*jobScan, error) {
	sc := &jobScan{}
	return sc, rows.Scan(append(sc.columns(), &sc.j.ResultSize)...)
}

// Jobs returns a page of jobs, newest first. Long results are left out.
func (s *Store) Jobs(ctx context.Context, f jobs.JobFilter) (page gaff.Page[jobs.Job], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("j.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "jobs", err)
	}
	for _, eq := range []struct{ column, value string }{
		{"j.provider", f.Provider}, {"j.project_id", f.ProjectID}, {"j.user_id", f.UserID}, {"j.request_id", f.RequestID},
	} {
		if eq.value != "" {
			w.add(eq.column+" = ?", eq.value)
			if eq.column == "j.project_id" || eq.column == "j.request_id" {
				w.add(eq.column + " <> ''") // names the partial index
			}
		}
	}
	if f.Status != nil {
		w.add("j.status = ?", int64(*f.Status))
	}
	js, err := collect(ctx, s.read, scanListedJob, `select `+listedJobColumns+` from job j`+w.String()+
		` order by j.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "jobs", err)
	}
	js, page.Next = next(js, limit, func(sc *jobScan) int64 { return sc.seq })
	for _, sc := range js {
		page.Items = append(page.Items, *sc.job())
	}
	return page, nil
}

// Durations returns how long jobs take, by model: of the thousand that were heard of last.
func (s *Store) Durations(ctx context.Context) ([]jobs.Durations, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ws, err := collect(ctx, s.read, func(rows *sql.Rows) (w jobs.Durations, err error) {
		err = rows.Scan(&w.Provider, &w.Model, &w.N, &w.Mean, &w.Deviation)
		return w, err
	}, `select provider, model, n, mean, deviation from job_wait order by updated_at desc limit 1000`)
	return ws, s.fault(ctx, "how long jobs take", err)
}
