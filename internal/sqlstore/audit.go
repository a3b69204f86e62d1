package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/access"
)

// AddAudit appends to the audit log.
func (s *Store) AddAudit(ctx context.Context, e access.Entry) error {
	return s.write(ctx, "audit log", func(tx *tx) error {
		_, err := tx.exec(`insert into audit (id, at, actor, key_id, as_name, role, via, via_id, address, action, target, status, times, detail)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			e.ID, micros(e.At), e.Actor, e.KeyID, e.As, int64(e.Role), e.Via, e.ViaID, e.Address, e.Action, e.Target, int64(e.Status),
			max(e.Times, 1), nilIfEmpty(e.Detail))
		return err
	})
}

// Audit returns a page of the audit log, newest first.
func (s *Store) Audit(ctx context.Context, f access.AuditFilter) (page gaff.Page[access.Entry], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("a.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "audit log", err)
	}
	if f.Actor != "" {
		w.add("a.actor = ?", f.Actor)
	}
	if f.Action != "" {
		w.add("a.action = ?", f.Action)
	}
	if f.Target != "" {
		w.add("a.target = ?", f.Target)
		w.add("a.target <> ''") // names the partial index
	}
	w.between("a.at", f.Since, f.Until)
	type stored struct {
		seq int64
		e   access.Entry
	}
	rows, err := collect(ctx, s.lists(ctx), func(rows *sql.Rows) (r stored, err error) {
		var at int64
		var detail []byte
		err = rows.Scan(&r.seq, &r.e.ID, &at, &r.e.Actor, &r.e.KeyID, &r.e.As, &r.e.Role, &r.e.Via, &r.e.ViaID, &r.e.Address, &r.e.Action,
			&r.e.Target, &r.e.Status, &r.e.Times, &detail)
		r.e.At, r.e.Detail = fromMicros(at), detail
		return r, err
	}, `select a.seq, a.id, a.at, a.actor, a.key_id, a.as_name, a.role, a.via, a.via_id, a.address, a.action, a.target, a.status, a.times, a.detail
		from audit a`+w.String()+` order by a.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "audit log", err)
	}
	rows, page.Next = next(rows, limit, func(r stored) int64 { return r.seq })
	for _, r := range rows {
		page.Items = append(page.Items, r.e)
	}
	return page, nil
}

// auditRefused is the share of rejected requests in the audit log: one entry in so many.
const auditRefused = 10

// PruneAudit removes the entries of the audit log that are older than before (zero: none), and
// the oldest ones beyond most (0: none). Entries of rejected and failed requests have a tenth of
// most, so that they do not displace those of changes.
func (s *Store) PruneAudit(ctx context.Context, before time.Time, most int64) (removed int64, err error) {
	var steps []func(*tx) (int64, error)
	if !before.IsZero() {
		steps = append(steps, func(tx *tx) (int64, error) {
			return tx.exec(`delete from audit where seq in (select o.seq from
				(select seq, at from audit order by seq limit $2) o where o.at < $1)`, micros(before), pruneBatch)
		})
	}
	if most > 0 {
		for _, bound := range []struct {
			which string
			most  int64
		}{{"status >= 400", max(most/auditRefused, 1)}, {"status < 400", most}} {
			steps = append(steps, func(tx *tx) (int64, error) {
				return tx.exec(`delete from audit where seq in (select seq from audit where `+bound.which+` and seq <=
					(select seq from audit where `+bound.which+` order by seq desc limit 1 offset $1) order by seq limit $2)`, bound.most, pruneBatch)
			})
		}
	}
	for _, step := range steps {
		for {
			var n int64
			err := s.write(ctx, "retention of the audit log", func(tx *tx) error {
				n = 0
				mine, err := tx.db.tryLock(tx, pruneLock)
				if err != nil || !mine {
					return err
				}
				n, err = step(tx)
				return err
			})
			if err != nil {
				return removed, err
			}
			if removed += n; n < pruneBatch {
				break
			}
			select {
			case <-ctx.Done():
				return removed, context.Cause(ctx)
			case <-time.After(prunePause):
			}
		}
	}
	return removed, nil
}
