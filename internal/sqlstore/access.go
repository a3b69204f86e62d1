package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/access"
)

var _ access.Store = (*Store)(nil)

// write runs fn in the writer's next transaction.
func (s *Store) write(ctx context.Context, what string, fn func(*tx) error) error {
	if err := s.w.do(ctx, &op{kind: opEffect, run: fn}); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// maxListed bounds the lists of people's own making.
const maxListed = 1000

const keyColumns = `k.id, k.name, k.role, k.hint, k.created_by, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.last_used_from`

func scanKey(rows *sql.Rows) (k access.Key, err error) {
	var created int64
	var expires, revoked, used sql.NullInt64
	err = rows.Scan(&k.ID, &k.Name, &k.Role, &k.Hint, &k.CreatedBy, &created, &expires, &revoked, &used, &k.LastUsedFrom)
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt = fromMicros(created), fromNull(expires), fromNull(revoked), fromNull(used)
	return k, err
}

// AddKey keeps a new API key.
func (s *Store) AddKey(ctx context.Context, k access.Key, hash string) error {
	return s.write(ctx, "add key", func(tx *tx) error {
		_, err := tx.exec(`insert into api_key (id, hash, name, role, hint, created_by, created_at, expires_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, hash, k.Name, int64(k.Role), k.Hint, k.CreatedBy, micros(k.CreatedAt), nullMicros(k.ExpiresAt))
		return err
	})
}

// Keys returns all keys, newest first.
func (s *Store) Keys(ctx context.Context) ([]access.Key, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ks, err := collect(ctx, s.read, scanKey, `select `+keyColumns+` from api_key k order by k.seq desc limit `+strconv.Itoa(maxListed))
	return ks, s.fault(ctx, "keys", err)
}

// Key finds a key by its id.
func (s *Store) Key(ctx context.Context, keyID string) (*access.Key, error) {
	return s.key(ctx, `k.id = $1`, keyID)
}

// KeyByHash finds the key of a secret.
func (s *Store) KeyByHash(ctx context.Context, hash string) (*access.Key, error) {
	return s.key(ctx, `k.hash = $1`, hash)
}

func (s *Store) key(ctx context.Context, predicate, value string) (*access.Key, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ks, err := collect(ctx, s.read, scanKey, `select `+keyColumns+` from api_key k where `+predicate, value)
	if err == nil && len(ks) == 0 {
		err = gaff.ErrNotFound
	}
	if err != nil {
		return nil, s.fault(ctx, "key", err)
	}
	return &ks[0], nil
}

// RevokeKey ends a key and the sessions that were opened with it.
func (s *Store) RevokeKey(ctx context.Context, keyID string, now time.Time) error {
	return s.write(ctx, "revoke key", func(tx *tx) error {
		var revoked sql.NullInt64
		err := tx.row([]any{&revoked}, `select revoked_at from api_key where id = $1`, keyID)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return missing("key", keyID)
		case err != nil:
			return err
		case revoked.Valid:
			return fmt.Errorf("%w: key %s is revoked already", gaff.ErrConflict, keyID)
		}
		if _, err := tx.exec(`update api_key set revoked_at = $2 where id = $1`, keyID, micros(now)); err != nil {
			return err
		}
		_, err = tx.exec(`update session set ended_at = $2 where origin = $1 and ended_at is null`, keyID, micros(now))
		return err
	})
}

const sessionColumns = `c.id, c.name, c.role, c.origin, c.address, c.agent, c.created_at, c.expires_at, c.last_used_at, c.ended_at`

func scanSession(rows *sql.Rows) (c access.Session, err error) {
	var created, expires, used int64
	var ended sql.NullInt64
	err = rows.Scan(&c.ID, &c.Name, &c.Role, &c.Origin, &c.Address, &c.Agent, &created, &expires, &used, &ended)
	c.CreatedAt, c.ExpiresAt, c.LastUsedAt, c.EndedAt = fromMicros(created), fromMicros(expires), fromMicros(used), fromNull(ended)
	return c, err
}

// AddSession keeps a login, and forgets those that ended long ago.
func (s *Store) AddSession(ctx context.Context, c access.Session, hash string) error {
	return s.write(ctx, "add session", func(tx *tx) error {
		if _, err := tx.exec(`delete from session where expires_at < $1`, micros(c.CreatedAt)); err != nil {
			return err
		}
		_, err := tx.exec(`insert into session (id, hash, name, role, origin, address, agent, created_at, expires_at, last_used_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			c.ID, hash, c.Name, int64(c.Role), c.Origin, c.Address, c.Agent, micros(c.CreatedAt), micros(c.ExpiresAt), micros(c.LastUsedAt))
		return err
	})
}

// Sessions returns the sessions that are open, newest first.
func (s *Store) Sessions(ctx context.Context, now time.Time) ([]access.Session, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, err := collect(ctx, s.read, scanSession, `select `+sessionColumns+` from session c
		where c.ended_at is null and c.expires_at > $1 order by c.seq desc limit `+strconv.Itoa(maxListed), micros(now))
	return cs, s.fault(ctx, "sessions", err)
}

// SessionByHash finds the session of a cookie.
func (s *Store) SessionByHash(ctx context.Context, hash string) (*access.Session, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, err := collect(ctx, s.read, scanSession, `select `+sessionColumns+` from session c where c.hash = $1`, hash)
	if err == nil && len(cs) == 0 {
		err = gaff.ErrNotFound
	}
	if err != nil {
		return nil, s.fault(ctx, "session", err)
	}
	return &cs[0], nil
}

// EndSession ends a session.
func (s *Store) EndSession(ctx context.Context, sessionID string, now time.Time) error {
	return s.write(ctx, "end session", func(tx *tx) error {
		n, err := tx.exec(`update session set ended_at = $2 where id = $1 and ended_at is null`, sessionID, micros(now))
		if err == nil && n == 0 {
			err = missing("session", sessionID)
		}
		return err
	})
}

// AddLink keeps a one-time login, and forgets those that are too old.
func (s *Store) AddLink(ctx context.Context, l access.Link, hash string) error {
	return s.write(ctx, "add login link", func(tx *tx) error {
		if _, err := tx.exec(`delete from login_link where expires_at < $1`, micros(tx.now)); err != nil {
			return err
		}
		_, err := tx.exec(`insert into login_link (hash, name, role, origin, expires_at) values ($1, $2, $3, $4, $5)`,
			hash, l.Name, int64(l.Role), l.Origin, micros(l.ExpiresAt))
		return err
	})
}

// TakeLink uses a one-time login up.
func (s *Store) TakeLink(ctx context.Context, hash string, now time.Time) (*access.Link, error) {
	var l access.Link
	err := s.write(ctx, "login link", func(tx *tx) error {
		var expires int64
		err := tx.returning([]any{&l.Name, &l.Role, &l.Origin, &expires}, `delete from login_link where hash = $1
			returning name, role, origin, expires_at`, hash)
		if l.ExpiresAt = fromMicros(expires); errors.Is(err, sql.ErrNoRows) {
			return gaff.ErrNotFound
		}
		return err
	})
	if err == nil && !now.Before(l.ExpiresAt) {
		err = fmt.Errorf("login link: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &l, nil
}

// Touch notes when and from where a key or session was used last.
func (s *Store) Touch(ctx context.Context, ref, address string, now time.Time) error {
	return s.write(ctx, "note use", func(tx *tx) error {
		n, err := tx.exec(`update session set last_used_at = $2 where id = $1`, ref, micros(now))
		if err == nil && n == 0 {
			_, err = tx.exec(`update api_key set last_used_at = $2, last_used_from = $3 where id = $1`, ref, micros(now), address)
		}
		return err
	})
}

// AddAudit appends to the audit log.
func (s *Store) AddAudit(ctx context.Context, e access.Entry) error {
	return s.write(ctx, "audit log", func(tx *tx) error {
		_, err := tx.exec(`insert into audit (id, at, actor, role, via, via_id, address, action, target, status, detail)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			e.ID, micros(e.At), e.Actor, int64(e.Role), e.Via, e.ViaID, e.Address, e.Action, e.Target, int64(e.Status), nilIfEmpty(e.Detail))
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
	type stored struct {
		seq int64
		e   access.Entry
	}
	rows, err := collect(ctx, s.read, func(rows *sql.Rows) (r stored, err error) {
		var at int64
		var detail []byte
		err = rows.Scan(&r.seq, &r.e.ID, &at, &r.e.Actor, &r.e.Role, &r.e.Via, &r.e.ViaID, &r.e.Address, &r.e.Action, &r.e.Target,
			&r.e.Status, &detail)
		r.e.At, r.e.Detail = fromMicros(at), detail
		return r, err
	}, `select a.seq, a.id, a.at, a.actor, a.role, a.via, a.via_id, a.address, a.action, a.target, a.status, a.detail
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
