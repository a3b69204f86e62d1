package sqlstore

import (
	"bytes"
	"context"
	"database/sql"

	"gaff"
	"gaff/internal/erase"
)

// ofProject reports whether the stored request of a published event names the project that is
// erased.
func (e *erasure) ofProject(source string, request []byte) bool {
	return e.t.Kind == erase.Project && source == gaff.PublishedSource && bytes.Contains(request, []byte("\n:project "+e.t.ID+"\n"))
}

// findScheduled finds the scheduled events that name the target.
func (e *erasure) findScheduled(ctx context.Context) error {
	if e.match == nil {
		return nil
	}
	e.scheduled = nil
	return e.pages(ctx, "scheduled events", func(rows *sql.Rows) (seq int64, err error) {
		var project, key, by string
		var data sql.RawBytes
		if err := rows.Scan(&seq, &project, &key, &by, &data); err != nil {
			return 0, err
		}
		ours := e.t.Kind == erase.Project && project == e.t.ID
		if ours || e.match.InText(project) || e.match.InText(key) || e.match.InText(by) || e.match.In(data) {
			e.scheduled = append(e.scheduled, seq)
		}
		return seq, nil
	}, `select d.seq, d.project_id, d.idempotency_key, d.published_by, d.data from scheduled d where d.seq > $1 order by d.seq limit $2`)
}

func (e *erasure) eraseScheduled(ctx context.Context) error {
	return eraseInBatches(ctx, e.s, e.scheduled, func(t *tx, seq int64) error {
		return t.execAll(seq, `delete from scheduled where seq = $1`)
	})
}
