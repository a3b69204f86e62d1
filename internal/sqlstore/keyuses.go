package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"gaff"
)

// maxKeyUses bounds the uses that a connection remembers; others are written each time.
const maxKeyUses = 4096

// keyUsed records that a key verified a request, at most once a minute for each key.
func (t *tx) keyUsed(ev *gaff.Event) error {
	if ev.Request == nil || ev.Verification.KeyID == "" || len(ev.Verification.KeyID) > 200 {
		return nil
	}
	key := [2]string{ev.Source, ev.Verification.KeyID}
	minute := t.now.Unix() / 60
	if t.x.keyUses[key] == minute {
		return nil
	}
	if len(t.x.keyUses) >= maxKeyUses {
		clear(t.x.keyUses)
	}
	t.x.keyUses[key] = minute // after a rollback, the next minute writes it
	_, err := t.exec(`insert into key_use (source, key_id, first_at, last_at) values ($1, $2, $3, $3)
		on conflict (source, key_id) do update set last_at = excluded.last_at`, ev.Source, ev.Verification.KeyID, micros(t.now))
	if err != nil {
		return fmt.Errorf("record the use of a key: %w", err)
	}
	return nil
}

// KeyUses returns the keys that verified a source's requests, the last used first.
func (s *Store) KeyUses(ctx context.Context, source string) ([]gaff.KeyUse, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	uses, err := collect(ctx, s.read, func(rows *sql.Rows) (u gaff.KeyUse, err error) {
		var first, last int64
		err = rows.Scan(&u.KeyID, &first, &last)
		u.FirstUsedAt, u.LastUsedAt = fromMicros(first), fromMicros(last)
		return u, err
	}, `select key_id, first_at, last_at from key_use where source = $1 order by last_at desc, key_id limit 100`, source)
	return uses, s.fault(ctx, "key uses", err)
}
