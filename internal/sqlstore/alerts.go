package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"gaff/internal/alert"
	"gaff/internal/excerpt"
)

var _ alert.Store = (*Store)(nil)

// maxAlerts bounds the alerts that are read; there is one for each cause.
const maxAlerts = 5000

// alertLock is the name of the lock under which one node at a time writes alerts.
const alertLock = "gaff alerts"

const (
	alertQuery = `select a.kind, a.cause, a.active, a.title, a.data, a.count, a.since, a.seen_at, a.ended_at, a.emitted_at, a.emitted, a.updated_at
		from alert a order by a.active desc, a.ended_at desc, a.since desc, a.kind, a.cause limit $1`
	noticeQuery = `select n.channel, n.kind, n.cause, n.active, n.count, n.sent_at from alert_notice n order by n.channel, n.kind, n.cause limit $1`
)

func scanAlert[R Row](rows R) (a alert.Alert, err error) {
	var since, seen, updated int64
	var ended, emitted sql.NullInt64
	var data []byte
	err = rows.Scan(&a.Kind, &a.Cause, &a.Active, &a.Title, &data, &a.Count, &since, &seen, &ended, &emitted, &a.Emitted, &updated)
	a.Data = json.RawMessage(data)
	a.Since, a.SeenAt, a.EndedAt, a.EmittedAt, a.UpdatedAt = fromMicros(since), fromMicros(seen), fromNull(ended), fromNull(emitted), fromMicros(updated)
	return a, err
}

func scanNotice[R Row](rows R) (n alert.Notice, err error) {
	var sent int64
	err = rows.Scan(&n.Channel, &n.Kind, &n.Cause, &n.Active, &n.Count, &sent)
	n.SentAt = fromMicros(sent)
	return n, err
}

// Alerts returns all alerts: the active ones first, then those that ended last.
func (s *Store) Alerts(ctx context.Context) ([]alert.Alert, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := collect(ctx, s.read, scanAlert[*sql.Rows], alertQuery, maxAlerts)
	return all, s.fault(ctx, "alerts", err)
}

// Notices returns the notices that were sent to channels.
func (s *Store) Notices(ctx context.Context) ([]alert.Notice, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := collect(ctx, s.read, scanNotice[*sql.Rows], noticeQuery, maxAlerts)
	return all, s.fault(ctx, "alert notices", err)
}

// WriteAlerts runs fn in a transaction, one at a time among all nodes.
func (s *Store) WriteAlerts(ctx context.Context, fn func(alert.Tx) error) error {
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		if err := tx.db.lockText(tx, alertLock); err != nil {
			return fmt.Errorf("lock alerts: %w", err)
		}
		return fn(&alertTx{&effects{tx}})
	}})
}

// alertTx is an alert.Tx.
type alertTx struct{ *effects }

func (t *alertTx) Alerts() (all []alert.Alert, err error) {
	err = t.each(func(rows Row) error {
		a, err := scanAlert(rows)
		all = append(all, a)
		return err
	}, alertQuery, maxAlerts)
	return all, err
}

func (t *alertTx) Notices() (all []alert.Notice, err error) {
	err = t.each(func(rows Row) error {
		n, err := scanNotice(rows)
		all = append(all, n)
		return err
	}, noticeQuery, maxAlerts)
	return all, err
}

func (t *alertTx) PutAlert(a alert.Alert) error {
	_, err := t.exec(`insert into alert (kind, cause, active, title, data, count, since, seen_at, ended_at, emitted_at, emitted, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (kind, cause) do update set active = excluded.active, title = excluded.title, data = excluded.data,
			count = excluded.count, since = excluded.since, seen_at = excluded.seen_at, ended_at = excluded.ended_at,
			emitted_at = excluded.emitted_at, emitted = excluded.emitted, updated_at = excluded.updated_at`,
		a.Kind, a.Cause, flag(a.Active), excerpt.Text(a.Title, 500), orEmpty(a.Data), a.Count, micros(a.Since), micros(a.SeenAt),
		nullMicros(a.EndedAt), nullMicros(a.EmittedAt), a.Emitted, micros(a.UpdatedAt))
	if err != nil {
		return fmt.Errorf("put alert: %w", err)
	}
	status := "resolved"
	if a.Active {
		status = "active"
	}
	t.change("alert", a.Kind+" "+a.Cause, status, "")
	return nil
}

func (t *alertTx) DropAlert(k alert.Key) error {
	for _, text := range []string{
		`delete from alert_notice where kind = $1 and cause = $2`, `delete from alert where kind = $1 and cause = $2`,
	} {
		if _, err := t.exec(text, k.Kind, k.Cause); err != nil {
			return fmt.Errorf("drop alert: %w", err)
		}
	}
	return nil
}

func (t *alertTx) PutNotice(n alert.Notice) error {
	_, err := t.exec(`insert into alert_notice (channel, kind, cause, active, count, sent_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (channel, kind, cause) do update set active = excluded.active, count = excluded.count, sent_at = excluded.sent_at`,
		n.Channel, n.Kind, n.Cause, flag(n.Active), n.Count, micros(n.SentAt))
	if err != nil {
		return fmt.Errorf("put alert notice: %w", err)
	}
	return nil
}

// pruneAlerts removes the alerts that ended before a time, with their notices.
func (t *tx) pruneAlerts(before int64) error {
	if _, err := t.exec(`delete from alert where active = 0 and ended_at < $1`, before); err != nil {
		return fmt.Errorf("prune alerts: %w", err)
	}
	_, err := t.exec(`delete from alert_notice where not exists (select 1 from alert a
		where a.kind = alert_notice.kind and a.cause = alert_notice.cause)`)
	if err != nil {
		return fmt.Errorf("prune alerts: %w", err)
	}
	return nil
}
