package jobs

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// NoErrorType is, in a [JobFilter], the type of failures that have none.
const NoErrorType = "none"

// Outcome is what statistics read of a job.
type Outcome struct {
	Provider, Model  string
	Status           JobStatus
	ErrorType, Error string
	// Took is the time from submit to result, of a completed job that gaff submitted; else zero.
	Took time.Duration
}

// Summary is the statistics of jobs.
type Summary struct {
	Tally
	// Models are those with the most jobs, Errors the most frequent failures first.
	Models []ModelSummary
	Errors []ErrorSummary
}

// Tally counts jobs by status, and has the times that completed jobs took.
type Tally struct {
	Jobs     int64
	ByStatus map[JobStatus]int64
	// Timed is the number of jobs that P50 and P95 are of.
	Timed    int64
	P50, P95 time.Duration
	took     []time.Duration
}

// ModelSummary is the statistics of a model.
type ModelSummary struct {
	Provider, Model string
	Tally
}

// ErrorSummary counts the failures of a type. Example is the text of the latest one.
type ErrorSummary struct {
	Type, Example string // Type may be [NoErrorType]
	Jobs          int64
}

// Success returns the part of the finished jobs that completed, from 0 to 1; ok is false if no job
// has finished. Cancelled jobs do not count.
func (t *Tally) Success() (part float64, ok bool) {
	done := t.ByStatus[JobCompleted] + t.ByStatus[JobFailed]
	if done == 0 {
		return 0, false
	}
	return float64(t.ByStatus[JobCompleted]) / float64(done), true
}

// Unfinished counts queued and processing jobs.
func (t *Tally) Unfinished() int64 { return t.ByStatus[JobQueued] + t.ByStatus[JobProcessing] }

func (t *Tally) add(o Outcome) {
	if t.ByStatus == nil {
		t.ByStatus = map[JobStatus]int64{}
	}
	t.Jobs++
	t.ByStatus[o.Status]++
	if o.Took > 0 {
		t.took = append(t.took, o.Took)
	}
}

func (t *Tally) finish() {
	slices.Sort(t.took)
	if t.Timed = int64(len(t.took)); t.Timed > 0 {
		t.P50, t.P95 = t.took[(len(t.took)-1)/2], t.took[(len(t.took)-1)*95/100]
	}
	t.took = nil
}

// Summarize makes statistics of outcomes, newest first, with at most so many models and errors.
func Summarize(all []Outcome, most int) Summary {
	var s Summary
	models := map[durationKey]*ModelSummary{}
	failures := map[string]*ErrorSummary{}
	for _, o := range all {
		s.add(o)
		k := durationKey{o.Provider, o.Model}
		if models[k] == nil {
			models[k] = &ModelSummary{Provider: o.Provider, Model: o.Model}
		}
		models[k].add(o)
		if o.Status != JobFailed {
			continue
		}
		kind := cmp.Or(o.ErrorType, NoErrorType)
		if failures[kind] == nil {
			failures[kind] = &ErrorSummary{Type: kind, Example: o.Error}
		}
		failures[kind].Jobs++
	}
	s.finish()
	for _, m := range models {
		m.finish()
	}
	for _, m := range slices.SortedFunc(maps.Values(models), func(a, b *ModelSummary) int {
		return cmp.Or(cmp.Compare(b.Jobs, a.Jobs), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model))
	}) {
		s.Models = append(s.Models, *m)
	}
	for _, e := range slices.SortedFunc(maps.Values(failures), func(a, b *ErrorSummary) int {
		return cmp.Or(cmp.Compare(b.Jobs, a.Jobs), cmp.Compare(a.Type, b.Type))
	}) {
		s.Errors = append(s.Errors, *e)
	}
	s.Models, s.Errors = s.Models[:min(len(s.Models), most)], s.Errors[:min(len(s.Errors), most)]
	return s
}

// Card is what lists show of a job besides its row.
type Card struct {
	Prompt, Model string // empty if unknown
	// File is the job's first picture, else its first file of another kind; nil without files.
	File *Media
}
