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
	if err := s.w.Do(ctx, &op{Run: fn}); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// maxListed bounds the lists of keys and sessions.
const maxListed = 1000

const keyColumns = `k.id, k.name, k.role, k.hint, k.created_by, k.made_by, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.last_used_from, k.scope, k.rate`

func scanKey(rows *sql.Rows) (k access.Key, err error) {
	var created int64
	var expires, revoked, used sql.NullInt64
	var scope string
	err = rows.Scan(&k.ID, &k.Name, &k.Role, &k.Hint, &k.CreatedBy, &k.MadeBy, &created, &expires, &revoked, &used, &k.LastUsedFrom, &scope, &k.Rate)
	if err == nil {
		k.Scope, err = access.DecodeScope(scope)
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt = fromMicros(created), fromNull(expires), fromNull(revoked), fromNull(used)
	return k, err
}

// AddKey stores a new API key.
func (s *Store) AddKey(ctx context.Context, k access.Key, hash string) error {
	scope, err := access.EncodeScope(k.Scope)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	return s.write(ctx, "add key", func(tx *tx) error {
		_, err := tx.exec(`insert into api_key (id, hash, name, role, hint, created_by, made_by, created_at, expires_at, scope, rate)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			k.ID, hash, k.Name, int64(k.Role), k.Hint, k.CreatedBy, k.MadeBy, micros(k.CreatedAt), nullMicros(k.ExpiresAt), scope, int64(k.Rate))
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
		return tx.revokeKey(keyID, now)
	})
}

func (t *tx) revokeKey(keyID string, now time.Time) error {
	if _, err := t.exec(`update api_key set revoked_at = $2 where id = $1`, keyID, micros(now)); err != nil {
		return err
	}
	_, err := t.exec(`update session set ended_at = $2 where origin = $1 and ended_at is null`, keyID, micros(now))
	return err
}

// RevokeMade ends the keys that a key made, and those that these made.
func (s *Store) RevokeMade(ctx context.Context, keyID string, now time.Time) (ended []string, err error) {
	err = s.write(ctx, "revoke keys", func(tx *tx) error {
		ended = nil
		for makers := []string{keyID}; len(makers) > 0; {
			maker := makers[0]
			makers = makers[1:]
			err := tx.each(func(rows Row) error {
				var made string
				var revoked sql.NullInt64
				err := rows.Scan(&made, &revoked)
				makers = append(makers, made)
				if !revoked.Valid {
					ended = append(ended, made)
				}
				return err
			}, `select id, revoked_at from api_key where made_by = $1 order by seq`, maker)
			if err != nil {
				return err
			}
		}
		for _, made := range ended {
			if err := tx.revokeKey(made, now); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

// A session ends with its key, even if its own row has no end: the key may have been revoked
// while the session was being opened.
const (
	sessionColumns = `c.id, c.name, c.as_name, c.role, c.origin, c.address, c.agent, c.created_at,
		case when k.expires_at < c.expires_at then k.expires_at else c.expires_at end, c.last_used_at, coalesce(c.ended_at, k.revoked_at), c.scope, c.subject, c.id_token, coalesce(k.rate, 0)`
	sessionTables = `session c left join api_key k on k.id = c.origin`
)

func scanSession(rows *sql.Rows) (c access.Session, err error) {
	var created, expires, used int64
	var ended sql.NullInt64
	var scope string
	err = rows.Scan(&c.ID, &c.Name, &c.As, &c.Role, &c.Origin, &c.Address, &c.Agent, &created, &expires, &used, &ended, &scope, &c.Subject, &c.IDToken, &c.Rate)
	if err == nil {
		c.Scope, err = access.DecodeScope(scope)
	}
	c.CreatedAt, c.ExpiresAt, c.LastUsedAt, c.EndedAt = fromMicros(created), fromMicros(expires), fromMicros(used), fromNull(ended)
	return c, err
}

// AddSession stores a login, and removes those that ended long ago.
func (s *Store) AddSession(ctx context.Context, c access.Session, hash string) error {
	scope, err := access.EncodeScope(c.Scope)
	if err != nil {
		return fmt.Errorf("add session: %w", err)
	}
	return s.write(ctx, "add session", func(tx *tx) error {
		if _, err := tx.exec(`delete from session where expires_at < $1`, micros(c.CreatedAt)); err != nil {
			return err
		}
		_, err := tx.exec(`insert into session (id, hash, name, as_name, role, origin, address, agent, created_at, expires_at, last_used_at, scope, subject, id_token)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			c.ID, hash, c.Name, c.As, int64(c.Role), c.Origin, c.Address, c.Agent, micros(c.CreatedAt), micros(c.ExpiresAt), micros(c.LastUsedAt),
			scope, c.Subject, c.IDToken)
		return err
	})
}

// PruneSessions removes the sessions that expired, and the identity provider's tokens of sessions that
// can no longer be used.
func (s *Store) PruneSessions(ctx context.Context, e access.EndedSessions) error {
	return s.write(ctx, "prune sessions", func(tx *tx) error {
		if _, err := tx.exec(`delete from session where expires_at < $1`, micros(e.Now)); err != nil {
			return err
		}
		_, err := tx.exec(`update session set id_token = '' where id_token <> ''
			and (ended_at is not null or last_used_at < $1 or created_at < $2 or origin <> $3)`, micros(e.UnusedSince), micros(e.OpenedBefore), e.Origin)
		return err
	})
}

// Sessions returns the sessions that are open, newest first.
func (s *Store) Sessions(ctx context.Context, now time.Time) ([]access.Session, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, err := collect(ctx, s.read, scanSession, `select `+sessionColumns+` from `+sessionTables+`
		where c.ended_at is null and k.revoked_at is null and c.expires_at > $1 and (k.expires_at is null or k.expires_at > $1) order by c.seq desc limit `+strconv.Itoa(maxListed), micros(now))
	return cs, s.fault(ctx, "sessions", err)
}

// SessionByHash finds the session of a cookie.
func (s *Store) SessionByHash(ctx context.Context, hash string) (*access.Session, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, err := collect(ctx, s.read, scanSession, `select `+sessionColumns+` from `+sessionTables+` where c.hash = $1`, hash)
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
		n, err := tx.exec(`update session set ended_at = $2, id_token = '' where id = $1 and ended_at is null`, sessionID, micros(now))
		if err == nil && n == 0 {
			err = missing("session", sessionID)
		}
		return err
	})
}

// AddLink stores a one-time login, and removes expired ones.
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

// Link returns a one-time login without using it.
func (s *Store) Link(ctx context.Context, hash string, now time.Time) (*access.Link, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ls, err := collect(ctx, s.read, func(rows *sql.Rows) (l access.Link, err error) {
		var expires int64
		err = rows.Scan(&l.Name, &l.Role, &l.Origin, &expires)
		l.ExpiresAt = fromMicros(expires)
		return l, err
	}, `select name, role, origin, expires_at from login_link where hash = $1 and expires_at > $2`, hash, micros(now))
	if err == nil && len(ls) == 0 {
		err = gaff.ErrNotFound
	}
	if err != nil {
		return nil, s.fault(ctx, "login link", err)
	}
	return &ls[0], nil
}

// TakeLink uses a one-time login; it cannot be used again.
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

// Touch records when and from where a key or session was used last.
func (s *Store) Touch(ctx context.Context, ref, address string, now time.Time) error {
	return s.write(ctx, "note use", func(tx *tx) error {
		n, err := tx.exec(`update session set last_used_at = $2 where id = $1`, ref, micros(now))
		if err == nil && n == 0 {
			_, err = tx.exec(`update api_key set last_used_at = $2, last_used_from = $3 where id = $1`, ref, micros(now), address)
		}
		return err
	})
}
