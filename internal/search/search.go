// Package search finds everything that a text names: by id at any age, by name, and jobs by their
// model and prompt.
package search

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// MaxText is the longest text that is searched, in bytes.
const MaxText = 256

// Hit is something that was found.
type Hit struct {
	// Kind is event, delivery, rejection, job, media, run, project, source, destination or
	// workflow.
	Kind string
	ID   string
	// Title and About are for people: the prompt of a job, the type of an event. About may be
	// empty.
	Title, About string
	At           time.Time // zero for sources, destinations and workflows
}

// Store is what a search reads.
type Store interface {
	Event(ctx context.Context, id string) (*gaff.EventDetail, error)
	Events(ctx context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error)
	Delivery(ctx context.Context, id string) (*gaff.Delivery, []gaff.Attempt, error)
	Rejection(ctx context.Context, id string) (*gaff.Rejection, error)
	Job(ctx context.Context, id string) (*jobs.Job, error)
	Jobs(ctx context.Context, f jobs.JobFilter) (gaff.Page[jobs.Job], error)
	JobInput(ctx context.Context, id string) (json.RawMessage, error)
	MediaByID(ctx context.Context, id string) (*jobs.Media, error)
	Project(ctx context.Context, id string) (*jobs.Project, error)
	Projects(ctx context.Context, c gaff.Cursor) (gaff.Page[jobs.Project], error)
	Run(ctx context.Context, id string) (*runs.Run, error)
	Runs(ctx context.Context, f runs.Filter) (gaff.Page[runs.Run], error)
}

// Names are the configured things that a search finds by a part of their name, by kind.
type Names map[string][]string

// Results of a search. Rest is a cursor of the jobs that were not searched yet; empty if all were.
type Results struct {
	Hits []Hit
	Rest string
}

// Find returns what a text names, exact ids first, at most limit of each kind. after is the Rest
// of a former search: then only jobs are searched.
func Find(ctx context.Context, st Store, names Names, text, after string, limit int) (Results, error) {
	text = strings.TrimSpace(text)
	f := finder{ctx: ctx, st: st, text: text, limit: limit}
	if text == "" || len(text) > MaxText {
		return f.found, nil
	}
	if after == "" {
		for _, find := range []func() error{f.event, f.delivery, f.rejection, f.job, f.media, f.run, f.project} {
			if err := find(); err != nil && !errors.Is(err, gaff.ErrNotFound) {
				return f.found, err
			}
		}
		f.named(names)
		// An id that gaff made is unique: nobody who enters one looks for prompts, and reading
		// them all takes most of the time of a search.
		if id.Made(text) && slices.ContainsFunc(f.found.Hits, func(h Hit) bool { return h.ID == text }) {
			return f.found, nil
		}
	}
	err := f.prompts(after)
	return f.found, err
}

type finder struct {
	ctx   context.Context
	st    Store
	text  string
	limit int
	found Results
}

func (f *finder) add(h Hit) {
	known := slices.ContainsFunc(f.found.Hits, func(had Hit) bool { return had.Kind == h.Kind && had.ID == h.ID })
	if !known {
		f.found.Hits = append(f.found.Hits, h)
	}
}

// event finds an event by its id, and events by their sender's.
func (f *finder) event() error {
	add := func(l gaff.Log) {
		f.add(Hit{"event", l.ID, l.Source + " " + l.Type, l.WebhookID, l.ReceivedAt})
	}
	if _, ok := id.ParseEvent(f.text); ok {
		d, err := f.st.Event(f.ctx, f.text)
		if err != nil {
			return err
		}
		add(d.Log)
		return nil
	}
	page, err := f.st.Events(f.ctx, gaff.EventFilter{WebhookID: f.text, Internal: true, Cursor: gaff.Cursor{Limit: f.limit}})
	for _, l := range page.Items {
		add(l)
	}
	return err
}

func (f *finder) delivery() error {
	if !strings.HasPrefix(f.text, id.Delivery) {
		return nil
	}
	d, _, err := f.st.Delivery(f.ctx, f.text)
	if err == nil {
		f.add(Hit{"delivery", d.ID, "to " + d.Handler, d.EventID, d.CreatedAt})
	}
	return err
}

func (f *finder) rejection() error {
	if !strings.HasPrefix(f.text, id.Rejection) {
		return nil
	}
	rj, err := f.st.Rejection(f.ctx, f.text)
	if err == nil {
		f.add(Hit{"rejection", rj.ID, rj.Source + " rejected", excerpt.Text(rj.Reason, 120), rj.ReceivedAt})
	}
	return err
}

// job finds jobs by their id, the provider's id or their project.
func (f *finder) job() error {
	j, err := f.st.Job(f.ctx, f.text)
	if err == nil {
		f.addJob(*j)
	} else if !errors.Is(err, gaff.ErrNotFound) {
		return err
	}
	for _, filter := range []jobs.JobFilter{{RequestID: f.text}, {ProjectID: f.text}} {
		filter.Limit = f.limit
		page, err := f.st.Jobs(f.ctx, filter)
		if err != nil {
			return err
		}
		for _, j := range page.Items {
			f.addJob(j)
		}
	}
	return nil
}

func (f *finder) addJob(j jobs.Job) {
	title := j.Model
	if input, err := f.st.JobInput(f.ctx, j.ID); err == nil {
		if prompt := jobs.Prompt(input); prompt != "" {
			title = excerpt.Text(prompt, 160)
		}
	}
	f.add(Hit{"job", j.ID, title, strings.TrimSpace(j.Provider + " " + j.Model + " " + j.Status.String()), j.CreatedAt})
}

func (f *finder) media() error {
	if !strings.HasPrefix(f.text, id.Media) {
		return nil
	}
	m, err := f.st.MediaByID(f.ctx, f.text)
	if err == nil {
		f.add(Hit{"media", m.ID, m.MediaType, m.JobID, m.CreatedAt})
	}
	return err
}

// run finds a run by its id, and runs of a project.
func (f *finder) run() error {
	add := func(r runs.Run) { f.add(Hit{"run", r.ID, r.Workflow, r.Status.String(), r.CreatedAt}) }
	if strings.HasPrefix(f.text, id.Run) {
		r, err := f.st.Run(f.ctx, f.text)
		if err == nil {
			add(*r)
		}
		return err
	}
	page, err := f.st.Runs(f.ctx, runs.Filter{ProjectID: f.text, Cursor: gaff.Cursor{Limit: f.limit}})
	for _, r := range page.Items {
		add(r)
	}
	return err
}

// project finds projects by their id, or a part of the name, among the newest 500.
func (f *finder) project() error {
	add := func(p jobs.Project) { f.add(Hit{"project", p.ID, p.Name, p.Owner, p.CreatedAt}) }
	p, err := f.st.Project(f.ctx, f.text)
	if err == nil {
		add(*p)
	} else if !errors.Is(err, gaff.ErrNotFound) {
		return err
	}
	page, err := f.st.Projects(f.ctx, gaff.Cursor{Limit: 500})
	n := 0
	for _, p := range page.Items {
		if n < f.limit && (f.in(p.Name) || f.in(p.ID)) {
			add(p)
			n++
		}
	}
	return err
}

func (f *finder) named(names Names) {
	for _, kind := range []string{"source", "destination", "workflow"} {
		n := 0
		for _, name := range names[kind] {
			if n < f.limit && f.in(name) {
				f.add(Hit{Kind: kind, ID: name, Title: name})
				n++
			}
		}
	}
}

// in reports whether a name contains the text.
func (f *finder) in(name string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(f.text))
}

func (f *finder) prompts(after string) error {
	page, err := f.st.Jobs(f.ctx, jobs.JobFilter{Query: f.text, Cursor: gaff.Cursor{After: after, Limit: f.limit}})
	for _, j := range page.Items {
		f.addJob(j)
	}
	f.found.Rest = page.Next
	return err
}
