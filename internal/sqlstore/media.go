package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"gaff"
	"gaff/internal/id"
	"gaff/jobs"
)

const mediaColumns = `m.seq, m.id, m.job_id, m.position, m.project_id, m.url, m.stored_url, m.media_type, m.content_type,
	m.size, m.sha256, m.metadata, m.created_at, m.storage, m.storage_error, m.thumbnail, m.stored_at, m.link_token`

type mediaScan struct {
	seq      int64
	m        jobs.Media
	metadata []byte
	created  int64
	storedAt sql.NullInt64
}

func (sc *mediaScan) columns() []any {
	return []any{
		&sc.seq, &sc.m.ID, &sc.m.JobID, &sc.m.Position, &sc.m.ProjectID, &sc.m.URL, &sc.m.StoredKey, &sc.m.MediaType,
		&sc.m.ContentType, &sc.m.Size, &sc.m.SHA256, &sc.metadata, &sc.created, &sc.m.Storage, &sc.m.StorageError,
		&sc.m.ThumbnailKey, &sc.storedAt, &sc.m.LinkToken,
	}
}

func (sc *mediaScan) media() *jobs.Media {
	m := sc.m
	m.Metadata, m.CreatedAt, m.StoredAt = sc.metadata, fromMicros(sc.created), fromNull(sc.storedAt)
	return &m
}

func scanMedia(rows *sql.Rows) (*mediaScan, error) {
	sc := &mediaScan{}
	return sc, rows.Scan(sc.columns()...)
}

// LinkMedia sets the function that makes the Links of every file that is read from now on.
func (s *Store) LinkMedia(link func(*jobs.Media) jobs.MediaLinks) { s.links.Store(&link) }

func (s *Store) linked(m *jobs.Media) *jobs.Media {
	if link := s.links.Load(); link != nil {
		m.Links = (*link)(m)
	}
	return m
}

// MediaByID returns one media row.
func (s *Store) MediaByID(ctx context.Context, mediaID string) (*jobs.Media, error) {
	return s.mediaRow(ctx, mediaID, `m.id = $1`, mediaID)
}

// MediaByLink returns the media row with a link token.
func (s *Store) MediaByLink(ctx context.Context, token string) (*jobs.Media, error) {
	return s.mediaRow(ctx, "of a link", `m.link_token = $1 and m.link_token <> ''`, plain(token))
}

func (s *Store) mediaRow(ctx context.Context, name, condition string, args ...any) (*jobs.Media, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ms, err := collect(ctx, s.read, scanMedia, `select `+mediaColumns+` from media m where `+condition, args...)
	if err == nil && len(ms) == 0 {
		err = missing("media", name)
	}
	if err != nil {
		return nil, s.fault(ctx, "media", err)
	}
	return s.linked(ms[0].media()), nil
}

// Media returns a page of media rows, newest first.
func (s *Store) Media(ctx context.Context, f jobs.MediaFilter) (page gaff.Page[jobs.Media], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("m.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "media", err)
	}
	if f.ProjectID != "" {
		w.add("m.project_id = ?", f.ProjectID)
		w.add("m.project_id <> ''") // names the partial index
	}
	if f.JobID != "" {
		w.add("m.job_id = ?", f.JobID)
	}
	if f.MediaType != "" {
		w.add("m.media_type = ?", f.MediaType)
	}
	if f.Storage != nil {
		w.add("m.storage = ?", int64(*f.Storage))
	}
	if f.Model != "" {
		w.add("exists (select 1 from job j where j.id = m.job_id and j.model = ?)", f.Model)
	}
	w.between("m.created_at", f.Since, f.Until)
	ms, err := collect(ctx, s.lists(ctx), scanMedia, `select `+mediaColumns+` from media m`+w.String()+
		` order by m.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "media", err)
	}
	ms, page.Next = next(ms, limit, func(sc *mediaScan) int64 { return sc.seq })
	for _, sc := range ms {
		page.Items = append(page.Items, *s.linked(sc.media()))
	}
	return page, nil
}

var insertMedia = insertNewRows("media", `id text, job_id text, position text, project_id text, url text, stored_url text, media_type text,
	content_type text, size bigint, sha256 text, metadata bytea, created_at bigint, storage bigint, storage_error text, thumbnail text,
	stored_at bigint`, `on conflict (job_id, position) do nothing`)

func (e *effects) AddMedia(_ context.Context, m *jobs.Media) (bool, error) {
	if m.ID == "" {
		m.ID = id.New(id.Media, e.now)
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = e.now
	}
	args := []any{
		m.ID, m.JobID, m.Position, m.ProjectID, m.URL, m.StoredKey, m.MediaType, m.ContentType,
		m.Size, m.SHA256, nilIfEmpty(m.Metadata), micros(m.CreatedAt), int64(m.Storage), m.StorageError,
		m.ThumbnailKey, nullMicros(m.StoredAt),
	}
	if e.known.likelyEmpty(m) && e.db.deferWrite(e.tx, &insertMedia, args) {
		e.known.place(m)
		e.change("media", m.ID, m.MediaType, "")
		return true, nil
	}
	written, err := e.db.writeOne(e.tx, &insertMedia, args)
	if err != nil {
		return false, fmt.Errorf("insert media: %w", err)
	}
	if written {
		e.change("media", m.ID, m.MediaType, "")
	}
	return written, nil
}

func (e *effects) Media(_ context.Context, mediaID string) (*jobs.Media, error) {
	var sc mediaScan
	err := e.row(sc.columns(), `select `+mediaColumns+` from media m where m.id = $1`, mediaID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("media: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("load media: %w", err)
	}
	return sc.media(), nil
}

func (e *effects) CopiesPending(_ context.Context, jobID string) (pending bool, err error) {
	err = e.row([]any{&pending}, `select exists (select 1 from media where job_id = $1 and storage = $2)`, jobID, int64(jobs.StoragePending))
	if err != nil {
		return false, fmt.Errorf("load copies: %w", err)
	}
	return pending, nil
}

func (e *effects) JobMedia(_ context.Context, jobID string) (files []jobs.Media, err error) {
	err = e.each(func(r Row) error {
		var sc mediaScan
		if err := r.Scan(sc.columns()...); err != nil {
			return err
		}
		files = append(files, *sc.media())
		return nil
	}, `select `+mediaColumns+` from media m where m.job_id = $1 order by m.seq`, jobID)
	if err != nil {
		return nil, fmt.Errorf("load the files of job %s: %w", jobID, err)
	}
	return files, nil
}

func (e *effects) SaveMedia(_ context.Context, m *jobs.Media) error {
	n, err := e.exec(`update media set media_type = $2, content_type = $3, size = $4, sha256 = $5, metadata = $6, stored_url = $7,
			storage = $8, storage_error = $9, thumbnail = $10, stored_at = $11, link_token = $12
		where id = $1`,
		m.ID, m.MediaType, m.ContentType, m.Size, m.SHA256, nilIfEmpty(m.Metadata), m.StoredKey, int64(m.Storage), m.StorageError,
		m.ThumbnailKey, nullMicros(m.StoredAt), m.LinkToken)
	if err != nil {
		return fmt.Errorf("save media %s: %w", m.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("media %s: %w", m.ID, gaff.ErrNotFound)
	}
	e.change("media", m.ID, m.MediaType, "")
	return nil
}

// MediaCount counts the files of a project, up to gaff.MaxLogCount+1.
func (s *Store) MediaCount(ctx context.Context, project string) (n int64, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	err = s.read.QueryRowContext(ctx, `select count(*) from (select 1 from media where project_id = $1 and project_id <> '' limit $2) q`,
		plain(project), gaff.MaxLogCount+1).Scan(&n)
	return n, s.fault(ctx, "media count", err)
}
