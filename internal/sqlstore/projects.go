package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"gaff"
	"gaff/jobs"
)

func (e *effects) SeeProject(_ context.Context, projectID string) error {
	return e.seeProject(projectID)
}

// deferProject is seeProject, without writing deferred rows first.
func (t *tx) deferProject(projectID string) error {
	if projectID == "" || t.x.projects[projectID] || slices.Contains(t.projects, projectID) {
		return nil
	}
	t.independent = true // no deferred row is a project
	defer func() { t.independent = false }()
	return t.seeProject(projectID)
}

func (t *tx) seeProject(projectID string) error {
	if projectID == "" || t.x.projects[projectID] {
		return nil
	}
	n, err := t.exec(`insert into project (id, name, owner, metadata, created_at, updated_at)
		values ($1, '', '', null, $2, $2) on conflict (id) do nothing`, projectID, micros(t.now))
	if err != nil {
		return fmt.Errorf("insert project: %w", err)
	}
	t.projects = append(t.projects, projectID)
	if n > 0 {
		t.change("project", projectID, "", "")
	}
	return nil
}

func (e *effects) SaveProject(_ context.Context, p *jobs.Project) error {
	if p.CreatedAt.IsZero() {
		p.CreatedAt = e.now
	}
	p.UpdatedAt = e.now
	_, err := e.exec(`insert into project (id, name, owner, metadata, created_at, updated_at, public_media)
		values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (id) do update set name = excluded.name, owner = excluded.owner, metadata = excluded.metadata,
			updated_at = excluded.updated_at, public_media = excluded.public_media`,
		p.ID, p.Name, p.Owner, nilIfEmpty(p.Metadata), micros(p.CreatedAt), micros(p.UpdatedAt), flag(p.PublicMedia))
	if err != nil {
		return fmt.Errorf("save project: %w", err)
	}
	e.change("project", p.ID, "", "")
	return nil
}

// Project returns one project within the transaction.
func (e *effects) Project(_ context.Context, projectID string) (*jobs.Project, error) {
	var found *jobs.Project
	err := e.each(func(r Row) error {
		sp, err := scanProject(r)
		found = &sp.p
		return err
	}, `select `+projectColumns+` from project p where p.id = $1`, projectID)
	if err == nil && found == nil {
		err = missing("project", projectID)
	}
	if err != nil {
		return nil, fmt.Errorf("load project: %w", err)
	}
	return found, nil
}

const projectColumns = `p.seq, p.id, p.name, p.owner, p.metadata, p.created_at, p.updated_at, p.public_media`

type storedProject struct {
	seq int64
	p   jobs.Project
}

func scanProjectRow(rows *sql.Rows) (storedProject, error) { return scanProject(rows) }

func scanProject(rows Row) (sp storedProject, err error) {
	var metadata []byte
	var created, updated, public int64
	err = rows.Scan(&sp.seq, &sp.p.ID, &sp.p.Name, &sp.p.Owner, &metadata, &created, &updated, &public)
	sp.p.PublicMedia = public != 0
	sp.p.Metadata, sp.p.CreatedAt, sp.p.UpdatedAt = metadata, fromMicros(created), fromMicros(updated)
	return sp, err
}

// Project returns one project.
func (s *Store) Project(ctx context.Context, projectID string) (*jobs.Project, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ps, err := collect(ctx, s.read, scanProjectRow, `select `+projectColumns+` from project p where p.id = $1`, projectID)
	if err == nil && len(ps) == 0 {
		err = missing("project", projectID)
	}
	if err != nil {
		return nil, s.fault(ctx, "project", err)
	}
	return &ps[0].p, nil
}

// Projects returns a page of projects, newest first.
func (s *Store) Projects(ctx context.Context, c gaff.Cursor) (page gaff.Page[jobs.Project], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("p.seq", c)
	if err != nil {
		return page, s.fault(ctx, "projects", err)
	}
	ps, err := collect(ctx, s.read, scanProjectRow, `select `+projectColumns+` from project p`+w.String()+
		` order by p.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "projects", err)
	}
	ps, page.Next = next(ps, limit, func(sp storedProject) int64 { return sp.seq })
	for _, sp := range ps {
		page.Items = append(page.Items, sp.p)
	}
	return page, nil
}
