package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// maxCardInput is the longest input that is read whole for its prompt; of longer ones the beginning
// is read. Both in bytes.
const maxCardInput, cutCardInput = 64 << 10, 4 << 10

// maxOutcomeError is how much of an error statistics read, in characters.
const maxOutcomeError = 300

// maxOutOfOrder is how many older jobs in a row end the reading of the newer ones.
const maxOutOfOrder = 200

// JobCards returns the prompts and first pictures of jobs, by id.
func (s *Store) JobCards(ctx context.Context, ids []string) (map[string]jobs.Card, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cards := map[string]jobs.Card{}
	if len(ids) == 0 {
		return cards, nil
	}
	if len(ids) > maxLimit {
		return nil, fmt.Errorf("job cards: %w: %d ids are more than %d", gaff.ErrInvalid, len(ids), maxLimit)
	}
	args, marks := make([]any, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		args[i], marks[i] = id, "$"+strconv.Itoa(i+1)
	}
	_, err := collect(ctx, s.lists(ctx), func(rows *sql.Rows) (none struct{}, err error) {
		var id, model string
		var input []byte
		if err := rows.Scan(&id, &model, &input); err != nil {
			return none, err
		}
		cards[id] = jobs.Card{Prompt: jobs.Prompt(input), Model: model}
		return none, nil
	}, `select j.id, j.model, case when length(i.input) <= `+strconv.Itoa(maxCardInput)+` then i.input else substr(i.input, 1, `+strconv.Itoa(cutCardInput)+`) end
		from job j left join job_input i on i.job_id = j.id where j.id in (`+strings.Join(marks, ", ")+`)`, args...)
	if err != nil {
		return nil, s.fault(ctx, "prompts", err)
	}
	files, err := collect(ctx, s.lists(ctx), scanMedia, `select `+mediaColumns+` from media m where m.seq in (select
		(select o.seq from media o where o.job_id = v.column1 order by case when o.thumbnail <> '' then 0 when o.media_type = 'generated-image' then 1 else 2 end, o.position limit 1)
		from (values (`+strings.Join(marks, "), (")+`)) v)`, args...)
	if err != nil {
		return nil, s.fault(ctx, "first files", err)
	}
	for _, sc := range files {
		card := cards[sc.m.JobID]
		card.File = s.linked(sc.media())
		cards[sc.m.JobID] = card
	}
	return cards, nil
}

// Outcomes returns the jobs that were created since a time, newest first.
func (s *Store) Outcomes(ctx context.Context, since time.Time) (all []jobs.Outcome, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	// Jobs are numbered in the order of their creation, but for a few that were registered with an
	// earlier time. So the rows are read backward until several in a row are older: no index is
	// needed, and a long history costs nothing.
	rows, err := s.lists(ctx).QueryContext(ctx, `select j.provider, j.model, j.status, j.error_type, substr(j.error, 1, `+strconv.Itoa(maxOutcomeError)+`),
		j.created_at, j.submitted_at, j.settled_at from job j order by j.seq desc limit `+strconv.Itoa(gaff.SearchWindow))
	if err != nil {
		return nil, s.fault(ctx, "outcomes", err)
	}
	defer rows.Close()
	older := 0
	for rows.Next() && older < maxOutOfOrder {
		var o jobs.Outcome
		var created int64
		var submitted, settled sql.NullInt64
		if err := rows.Scan(&o.Provider, &o.Model, &o.Status, &o.ErrorType, &o.Error, &created, &submitted, &settled); err != nil {
			return nil, s.fault(ctx, "outcomes", err)
		}
		if created < micros(since) {
			older++
			continue
		}
		older = 0
		if o.Status == jobs.JobCompleted && submitted.Valid && settled.Valid {
			o.Took = max(fromNull(settled).Sub(fromNull(submitted)), 0)
		}
		all = append(all, o)
	}
	return all, s.fault(ctx, "outcomes", rows.Err())
}
