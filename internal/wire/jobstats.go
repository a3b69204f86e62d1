package wire

import (
	"time"

	"gaff/jobs"
)

// JobStats counts the jobs that were created in a period, of the newest 50,000.
type JobStats struct {
	Since  Time         `json:"since"`
	Models []ModelStats `json:"models" nullable:"false" doc:"Those with the most jobs first, at most 50."`
	Errors []ErrorStats `json:"errors" nullable:"false" doc:"The most frequent failures first, at most 50."`
	JobTally
}

// JobTally counts jobs by status. Times are of completed jobs that gaff submitted, from submit to
// result.
type JobTally struct {
	Jobs      int64            `json:"jobs"`
	ByStatus  map[string]int64 `json:"byStatus" doc:"queued, processing, completed, failed, cancelled."`
	Success   *float64         `json:"success" doc:"The part of the finished jobs that completed, from 0 to 1; null if none has finished."`
	P50Millis *int64           `json:"p50Ms" doc:"Half of the jobs had their result after this time; null without one."`
	P95Millis *int64           `json:"p95Ms"`
}

// ModelStats counts the jobs of a model.
type ModelStats struct {
	Provider string `json:"provider"`
	Model    Text   `json:"model"`
	JobTally
}

// ErrorStats counts the failures of a type.
type ErrorStats struct {
	Type    string `json:"type" doc:"none: failed without a type. The value of errorType of GET /api/v1/jobs."`
	Jobs    int64  `json:"jobs"`
	Example Text   `json:"example" doc:"The text of the latest one."`
}

// NewJobStats makes the document of statistics.
func NewJobStats(since time.Time, s jobs.Summary) JobStats {
	doc := JobStats{Since: Time{since}, JobTally: newJobTally(s.Tally), Models: []ModelStats{}, Errors: []ErrorStats{}}
	for _, m := range s.Models {
		doc.Models = append(doc.Models, ModelStats{m.Provider, Text(m.Model), newJobTally(m.Tally)})
	}
	for _, e := range s.Errors {
		doc.Errors = append(doc.Errors, ErrorStats{e.Type, e.Jobs, Text(e.Example)})
	}
	return doc
}

func newJobTally(t jobs.Tally) JobTally {
	doc := JobTally{Jobs: t.Jobs, ByStatus: map[string]int64{}}
	for status := jobs.JobQueued; status <= jobs.JobCancelled; status++ {
		doc.ByStatus[status.String()] = t.ByStatus[status]
	}
	if part, ok := t.Success(); ok {
		doc.Success = &part
	}
	if t.Timed > 0 {
		half, most := t.P50.Milliseconds(), t.P95.Milliseconds()
		doc.P50Millis, doc.P95Millis = &half, &most
	}
	return doc
}
