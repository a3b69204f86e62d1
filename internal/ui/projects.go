package ui

import (
	"errors"
	"slices"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// projectRow is a project with counts of its jobs and files.
type projectRow struct {
	ID, Name                  string
	Open, Failed, Done, Files int64
	LastAt                    time.Time
	Preview                   jobs.Media
	HasPreview                bool
}

type projectsView struct {
	Rows  []projectRow
	Pager pagerView
	Now   time.Time
}

// projectsPerPage is small because each project costs several counting queries.
const projectsPerPage = 24

// previewAmong bounds the newest files among which a project's preview image is searched.
const previewAmong = 10

func (c *console) projects(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Projects", "projects", "job,media"
	cursor := q.cursor()
	cursor.Limit = projectsPerPage
	page, err := q.store.Projects(q.Context(), cursor)
	if err != nil {
		return nil, err
	}
	v := projectsView{Now: q.now, Pager: pagerOf(q, page.Next)}
	for _, p := range page.Items {
		row, err := c.projectRow(q, p)
		if err != nil {
			return nil, err
		}
		v.Rows = append(v.Rows, row)
	}
	return projectsPage(v), nil
}

func (c *console) projectRow(q *request, p jobs.Project) (projectRow, error) {
	row := projectRow{ID: p.ID, Name: p.Name, LastAt: p.UpdatedAt}
	counts, err := q.store.JobCounts(q.Context(), p.ID)
	if err != nil {
		return row, err
	}
	for status, n := range counts {
		switch {
		case status == jobs.JobCompleted:
			row.Done += n
		case status.Settled():
			row.Failed += n
		default:
			row.Open += n
		}
	}
	if row.Files, err = q.store.MediaCount(q.Context(), p.ID); err != nil {
		return row, err
	}
	page, err := q.store.Jobs(q.Context(), jobs.JobFilter{ProjectID: p.ID, Cursor: gaff.Cursor{Limit: 1}})
	if err != nil {
		return row, err
	}
	for _, j := range page.Items {
		row.LastAt = j.UpdatedAt
	}
	media, err := q.store.Media(q.Context(), jobs.MediaFilter{ProjectID: p.ID, Cursor: gaff.Cursor{Limit: previewAmong}})
	if err != nil {
		return row, err
	}
	if i := slices.IndexFunc(media.Items, func(m jobs.Media) bool { return previewKind(m) == "image" }); i >= 0 {
		row.Preview, row.HasPreview = media.Items[i], true
	}
	return row, nil
}

type projectView struct {
	ID    string
	About jobs.Project // zero if only jobs, files or runs name the project
	Runs  []runs.Run
	Jobs  []jobRow
	Media []jobs.Media
	More  bool
	Now   time.Time

	MayErase bool
}

// projectRows is how many jobs, and files, the page of a project shows.
const projectRows = 48

func (c *console) project(q *request) (templ.Component, error) {
	id := q.PathValue("id")
	q.title, q.nav, q.live = "Project "+id, "projects", "job,media,run"
	page, err := q.store.Jobs(q.Context(), jobs.JobFilter{ProjectID: id, Cursor: gaff.Cursor{Limit: projectRows}})
	if err != nil {
		return nil, err
	}
	media, err := q.store.Media(q.Context(), jobs.MediaFilter{ProjectID: id, Cursor: gaff.Cursor{Limit: projectRows}})
	if err != nil {
		return nil, err
	}
	runs, err := q.store.Runs(q.Context(), runs.Filter{ProjectID: id, Cursor: gaff.Cursor{Limit: 20}})
	if err != nil {
		return nil, err
	}
	v := projectView{ID: id, Runs: runs.Items, Media: media.Items, More: page.Next != "" || media.Next != "", Now: q.now, MayErase: q.may(access.Admin)}
	if v.Jobs, err = c.jobRows(q, page.Items...); err != nil {
		return nil, err
	}
	about, err := q.store.Project(q.Context(), id)
	switch {
	case err == nil:
		v.About = *about
	case !errors.Is(err, gaff.ErrNotFound):
		return nil, err
	case len(v.Jobs)+len(v.Media)+len(v.Runs) == 0:
		return nil, notThere("project", id)
	}
	return projectPage(v), nil
}
