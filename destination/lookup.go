package destination

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/jsonscan"
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
	if ev.Source != gaff.InternalSource && ev.CorrelationID != "" {
		page, err := l.r.Jobs(ctx, jobs.JobFilter{Provider: ev.Source, RequestID: ev.CorrelationID, Cursor: gaff.Cursor{Limit: 1}})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return l.r.Job(ctx, page.Items[0].ID) // with its whole result
		}
	}
	for _, id := range jobIDs(ev) {
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

// jobIDs are the ids of jobs that an event's data name, the likeliest first. What does not fit is not there.
func jobIDs(ev *gaff.Event) []string {
	if ev.Source == gaff.InternalSource {
		return texts(ev.Data, "jobId")
	}
	var metadata []byte
	err := jsonscan.Object(ev.Data, func(name, value []byte) error {
		if strings.EqualFold(jsonscan.Unquote(name), "metadata") {
			metadata = value
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return texts(metadata, "original_job_id", "job_id")
}

// texts returns the members of an object that have these names, in any case, and are strings with content, in the
// order of the names.
func texts(object []byte, names ...string) []string {
	found := make([]string, len(names))
	err := jsonscan.Object(object, func(name, value []byte) error {
		i := slices.IndexFunc(names, func(wanted string) bool { return strings.EqualFold(jsonscan.Unquote(name), wanted) })
		if i >= 0 && value[0] == '"' {
			found[i] = jsonscan.Unquote(value)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(found, func(text string) bool { return text == "" })
}
