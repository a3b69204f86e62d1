package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
	"gaff/workflow/runs"
)

type jobsView struct {
	Status, Provider, Project, User string
	Jobs                            []jobRow
	Pager                           pagerView
	Now                             time.Time
}

// jobRow is a job, and when it should be done; zero where that is not known, or over.
type jobRow struct {
	jobs.Job
	Due time.Time
}

func (c *console) jobRows(list ...jobs.Job) []jobRow {
	rows := make([]jobRow, len(list))
	for i, j := range list {
		rows[i].Job = j
		if c.o.Expected != nil {
			_, rows[i].Due = c.o.Expected(&j)
		}
	}
	return rows
}

func (v jobsView) filtered() bool { return v.Status+v.Provider+v.Project+v.User != "" }

func (c *console) jobs(q *request) (templ.Component, error) {
	q.title, q.nav = "Jobs", "jobs"
	v := jobsView{Status: q.query("status"), Provider: q.query("provider"), Project: q.query("projectId"), User: q.query("userId"), Now: q.now}
	f := jobs.JobFilter{Provider: v.Provider, ProjectID: v.Project, UserID: v.User, Cursor: q.cursor()}
	if v.Status != "" {
		status, ok := jobs.ParseJobStatus(v.Status)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "This cannot be shown", "The status " + visible(clip(v.Status, 40)) + " is none."}
		}
		f.Status = &status
	}
	page, err := c.o.Store.Jobs(q.Context(), f)
	if err != nil {
		return nil, err
	}
	if v.Jobs, v.Pager = c.jobRows(page.Items...), pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "job"
	}
	return jobsPage(v), nil
}

type jobView struct {
	jobRow
	Now              time.Time
	Result, Metadata shown
	Media            []jobs.Media
	Events           []gaff.Log
	MayAct           bool
}

// pathOf writes an id as a part of an address.
func pathOf(id string) string { return url.PathEscape(id) }

func (c *console) job(q *request) (templ.Component, error) {
	j, err := c.o.Store.Job(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = "Job "+j.ID, "jobs", "job,media"
	v := jobView{jobRow: c.jobRows(*j)[0], Now: q.now, MayAct: q.may(access.Operator), Result: show(j.Result, false), Metadata: show(j.Metadata, false)}
	media, err := c.o.Store.Media(q.Context(), jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: 100}})
	if err != nil {
		return nil, err
	}
	v.Media = media.Items
	if j.RequestID != "" {
		page, err := c.o.Store.Events(q.Context(), gaff.EventFilter{Source: j.Provider, WebhookID: j.RequestID, Cursor: gaff.Cursor{Limit: 20}})
		if err != nil {
			return nil, err
		}
		v.Events = page.Items
	}
	return jobPage(v), nil
}

// age is how long a job took, or takes so far.
func age(j jobs.Job, now time.Time) string {
	if j.SubmittedAt.IsZero() && !j.SettledAt.IsZero() && j.SettledAt.Sub(j.CreatedAt) < time.Second {
		return "–" // the webhook was the first that was heard of it
	}
	from := j.CreatedAt
	if !j.SubmittedAt.IsZero() {
		from = j.SubmittedAt
	}
	if !j.SettledAt.IsZero() {
		return span(max(j.SettledAt.Sub(from), 0))
	}
	return span(max(now.Sub(from), 0)) + " so far"
}

type mediaView struct {
	Project, Kind string
	Media         []jobs.Media
	Pager         pagerView
}

var mediaKinds = []string{jobs.MediaImage, jobs.MediaVideo, jobs.MediaAudio, jobs.MediaModel, jobs.MediaFile}

func (c *console) media(q *request) (templ.Component, error) {
	q.title, q.nav = "Media", "media"
	v := mediaView{Project: q.query("projectId"), Kind: q.query("mediaType")}
	cursor := q.cursor()
	cursor.Limit = 48
	page, err := c.o.Store.Media(q.Context(), jobs.MediaFilter{ProjectID: v.Project, MediaType: v.Kind, Cursor: cursor})
	if err != nil {
		return nil, err
	}
	if v.Media, v.Pager = page.Items, pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "media"
	}
	return mediaPage(v), nil
}

type mediaRowView struct {
	jobs.Media
	Meta shown
	Now  time.Time
}

func (c *console) mediaRow(q *request) (templ.Component, error) {
	m, err := c.o.Store.MediaByID(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "File "+m.ID, "media"
	return mediaRowPage(mediaRowView{*m, show(m.Metadata, false), q.now}), nil
}

// preview is the address from which the console may show a file: only what gaff keeps
// itself, on this host. Nothing is fetched from anywhere else.
func preview(m jobs.Media) string {
	if strings.HasPrefix(m.StoredURL, "/") && !strings.HasPrefix(m.StoredURL, "//") {
		return m.StoredURL
	}
	// The link names the gateway's public base; the console may be open under another.
	u, err := url.Parse(m.StoredURL)
	if err != nil || !strings.HasPrefix(u.Path, "/media/"+m.ID+"/") {
		return ""
	}
	return u.RequestURI()
}

// thumbnail is the address of a small picture of an image, or of the image where there is
// none.
func thumbnail(m jobs.Media) string {
	if m.ThumbnailKey != "" {
		return "/api/v1/media/" + url.PathEscape(m.ID) + "/thumbnail"
	}
	return preview(m)
}

// previewKind is how a file can be shown: image, video, audio, or not at all.
func previewKind(m jobs.Media) string {
	if preview(m) == "" {
		return ""
	}
	switch m.MediaType {
	case jobs.MediaImage:
		return "image"
	case jobs.MediaVideo:
		return "video"
	case jobs.MediaAudio:
		return "audio"
	}
	return ""
}

// outside is a file's address at the provider, if it can be opened in a browser.
func outside(m jobs.Media) string {
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return u.String()
}

func mediaName(kind string) string { return strings.TrimPrefix(kind, "generated-") }

func mediaIcon(kind string) string {
	return cmp.Or(map[string]string{
		jobs.MediaImage: "image", jobs.MediaVideo: "video", jobs.MediaAudio: "audio", jobs.MediaModel: "cube",
	}[kind], "file")
}

// shape says how large a picture is, or how long a film, in the words of its metadata.
func shape(m jobs.Media) string {
	var meta struct {
		Width, Height, Duration json.Number
	}
	if json.Unmarshal(m.Metadata, &meta) != nil {
		return ""
	}
	var parts []string
	if meta.Width != "" && meta.Height != "" {
		parts = append(parts, clip(meta.Width.String(), 12)+"×"+clip(meta.Height.String(), 12))
	}
	if meta.Duration != "" {
		parts = append(parts, clip(meta.Duration.String(), 12)+" s")
	}
	if m.Size > 0 {
		parts = append(parts, size(m.Size))
	}
	return strings.Join(parts, " · ")
}

// projectRow is a project with the numbers of its jobs and files.
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

// projectsPerPage is small, since each project is counted.
const projectsPerPage = 24

// previewAmong is among how many of a project's newest files its picture is looked for.
const previewAmong = 10

func (c *console) projects(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Projects", "projects", "job,media"
	cursor := q.cursor()
	cursor.Limit = projectsPerPage
	page, err := c.o.Store.Projects(q.Context(), cursor)
	if err != nil {
		return nil, err
	}
	v := projectsView{Now: q.now, Pager: pagerOf(q, page.Next)}
	for _, p := range page.Items {
		row, err := c.projectRow(q.Context(), p)
		if err != nil {
			return nil, err
		}
		v.Rows = append(v.Rows, row)
	}
	return projectsPage(v), nil
}

func (c *console) projectRow(ctx context.Context, p jobs.Project) (projectRow, error) {
	row := projectRow{ID: p.ID, Name: p.Name, LastAt: p.UpdatedAt}
	counts, err := c.o.Store.JobCounts(ctx, p.ID)
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
	if row.Files, err = c.o.Store.MediaCount(ctx, p.ID); err != nil {
		return row, err
	}
	page, err := c.o.Store.Jobs(ctx, jobs.JobFilter{ProjectID: p.ID, Cursor: gaff.Cursor{Limit: 1}})
	if err != nil {
		return row, err
	}
	for _, j := range page.Items {
		row.LastAt = j.UpdatedAt
	}
	media, err := c.o.Store.Media(ctx, jobs.MediaFilter{ProjectID: p.ID, Cursor: gaff.Cursor{Limit: previewAmong}})
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
	About jobs.Project // zero for one that is only named by its work
	Runs  []runs.Run
	Jobs  []jobRow
	Media []jobs.Media
	More  bool
	Now   time.Time
}

func (c *console) project(q *request) (templ.Component, error) {
	id := q.PathValue("id")
	q.title, q.nav, q.live = "Project "+id, "projects", "job,media,run"
	page, err := c.o.Store.Jobs(q.Context(), jobs.JobFilter{ProjectID: id, Cursor: gaff.Cursor{Limit: 100}})
	if err != nil {
		return nil, err
	}
	media, err := c.o.Store.Media(q.Context(), jobs.MediaFilter{ProjectID: id, Cursor: gaff.Cursor{Limit: 100}})
	if err != nil {
		return nil, err
	}
	runs, err := c.o.Store.Runs(q.Context(), runs.Filter{ProjectID: id, Cursor: gaff.Cursor{Limit: 20}})
	if err != nil {
		return nil, err
	}
	v := projectView{ID: id, Runs: runs.Items, Jobs: c.jobRows(page.Items...), Media: media.Items, More: page.Next != "" || media.Next != "", Now: q.now}
	about, err := c.o.Store.Project(q.Context(), id)
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
