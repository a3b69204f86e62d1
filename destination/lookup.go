package destination

import (
	"context"
	"encoding/json"
	"errors"

	"gaff"
	"gaff/jobs"
)

// Lookup finds the job and the files of an event, for its envelope. An unknown job is nil, not an
// error.
type Lookup interface {
	JobOf(ctx context.Context, ev *gaff.Event) (*jobs.Job, []jobs.Media, error)
}

// Reader is where [NewLookup] looks.
type Reader interface {
	Job(ctx context.Context, id string) (*jobs.Job, error)
	Jobs(ctx context.Context, f jobs.JobFilter) (gaff.Page[jobs.Job], error)
	Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error)
}

// NewLookup finds jobs by what events say: an inner event's jobId, a sender's request id,
// or the job's id in the body's metadata.
func NewLookup(r Reader) Lookup { return lookup{r} }

type lookup struct{ r Reader }

// maxMedia bounds the files in an envelope.
const maxMedia = 500

func (l lookup) JobOf(ctx context.Context, ev *gaff.Event) (*jobs.Job, []jobs.Media, error) {
	j, err := l.job(ctx, ev)
	if j != nil && ev.Source == gaff.PublishedSource && ev.ProjectID != "" && j.ProjectID != ev.ProjectID {
		j = nil // a publisher of one project must not attach the job of another
	}
	if err != nil || j == nil {
		return nil, nil, err
	}
	page, err := l.r.Media(ctx, jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: maxMedia}})
	if err != nil {
		return nil, nil, err
	}
	files := make([]jobs.Media, 0, len(page.Items))
	for i := len(page.Items) - 1; i >= 0; i-- {
		files = append(files, page.Items[i])
	}
	return j, files, nil
}

func (l lookup) job(ctx context.Context, ev *gaff.Event) (*jobs.Job, error) {
	var data struct {
		JobID    any `json:"jobId"`
		Metadata struct {
			JobID    any `json:"job_id"`
			Original any `json:"original_job_id"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(ev.Data, &data) // what does not fit is not there
	if ev.Source != gaff.InternalSource && ev.CorrelationID != "" {
		page, err := l.r.Jobs(ctx, jobs.JobFilter{Provider: ev.Source, RequestID: ev.CorrelationID, Cursor: gaff.Cursor{Limit: 1}})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return l.r.Job(ctx, page.Items[0].ID) // with its whole result
		}
	}
	ids := []any{data.JobID}
	if ev.Source != gaff.InternalSource {
		ids = []any{data.Metadata.Original, data.Metadata.JobID}
	}
	for _, v := range ids {
		id, _ := v.(string)
		if id == "" {
			continue
		}
		j, err := l.r.Job(ctx, id)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, gaff.ErrNotFound) {
			return nil, err
		}
	}
	return nil, nil
}
