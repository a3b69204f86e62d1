package sqlstore

import (
	"context"
	"database/sql"
	"strconv"

	"gaff"
	"gaff/jobs"
)

const mediaColumns = `m.seq, m.id, m.job_id, m.position, m.project_id, m.url, m.stored_url, m.media_type, m.content_type,
	m.size, m.sha256, m.metadata, m.created_at, m.storage, m.storage_error, m.thumbnail, m.stored_at`

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
		&sc.m.ThumbnailKey, &sc.storedAt,
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

// LinkMedia gives the rows of files that are read from now on their StoredURL.
func (s *Store) LinkMedia(link func(*jobs.Media) string) { s.links.Store(&link) }

func (s *Store) linked(m *jobs.Media) *jobs.Media {
	if link := s.links.Load(); link != nil {
		m.StoredURL = (*link)(m)
	}
	return m
}

// MediaByID returns one media row.
func (s *Store) MediaByID(ctx context.Context, mediaID string) (*jobs.Media, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ms, err := collect(ctx, s.read, scanMedia, `select `+mediaColumns+` from media m where m.id = $1`, mediaID)
	if err == nil && len(ms) == 0 {
		err = missing("media", mediaID)
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
	ms, err := collect(ctx, s.read, scanMedia, `select `+mediaColumns+` from media m`+w.String()+
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
