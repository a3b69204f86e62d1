package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
	"gaff/internal/writer"
)

// replayWindow is how many event numbers a page of a replay examines: the time that a page takes
// must not depend on how few events match.
const replayWindow = 2000

// ReplayRange returns the number before the first event since a time, and that of the newest event.
func (s *Store) ReplayRange(ctx context.Context, since time.Time) (from, to int64, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ends, err := column[sql.NullInt64](ctx, s.read, `select min(seq) from event union all select max(seq) from event`)
	if err != nil || len(ends) != 2 || !ends[0].Valid || !ends[1].Valid {
		return 0, 0, s.fault(ctx, "range of events", err)
	}
	from, to = min(ends[0].Int64, ends[1].Int64)-1, max(ends[0].Int64, ends[1].Int64)
	if since.IsZero() {
		return from, to, nil
	}
	var list eventList
	if err := s.between(ctx, &list, since, time.Time{}); err != nil {
		return 0, 0, s.fault(ctx, "range of events", err)
	}
	return min(max(from, list.from-1), to), to, nil
}

// ReplayPage returns the next events of a replay.
func (s *Store) ReplayPage(ctx context.Context, q gaff.ReplayQuery) (evs []*gaff.Event, examined int64, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	examined = min(q.UpTo, q.After+replayWindow)
	text, args := replayPage(q, examined)
	evs, err = collect(ctx, s.read, func(rows *sql.Rows) (*gaff.Event, error) {
		var sc eventScan
		err := rows.Scan(sc.columns()...)
		return sc.event(), err
	}, text, args...)
	if err != nil {
		return nil, 0, s.fault(ctx, "events of a replay", err)
	}
	if len(evs) == q.Limit && q.Limit > 0 {
		examined, _ = id.ParseEvent(evs[len(evs)-1].ID)
	}
	return evs, examined, nil
}

// replayPage returns the query of a page up to an event number. It reads a range of event numbers in
// their order. coalesce keeps the databases from the index of sources and states: it has the events of
// the source of all times, so a page would cost more the longer the log is.
func replayPage(q gaff.ReplayQuery, upTo int64) (text string, args []any) {
	var w where
	w.add("e.seq > ?", q.After)
	w.add("e.seq <= ?", upTo)
	if q.Source != "" {
		w.add("coalesce(e.source, '') = ?", q.Source)
	} else if !q.Internal {
		w.add("e.source <> ?", gaff.InternalSource)
	}
	if q.Type != "" {
		w.add("e.type = ?", q.Type)
	}
	if q.Status != nil {
		w.add("coalesce(e.status, 0) = ?", int64(*q.Status))
	}
	if !q.Since.IsZero() {
		w.add("e.received_at >= ?", micros(q.Since))
	}
	if !q.Until.IsZero() {
		w.add("e.received_at < ?", micros(q.Until))
	}
	if q.Missing != "" {
		w.add("not exists (select 1 from delivery d where d.seq = e.seq and d.handler = ? and d.state <= 3)", q.Missing)
	}
	w.add("exists (select 1 from payload p where p.seq = e.seq)")
	return `select ` + eventColumns + ` from event e` + w.String() + ` order by e.seq limit ` + strconv.Itoa(q.Limit), w.args
}

// ReplayBatch adds deliveries to events, and replaces the record of their replay.
func (s *Store) ReplayBatch(ctx context.Context, r gaff.Record, items []gaff.ReplayItem, value func(added int) (json.RawMessage, error)) (stored gaff.Record, err error) {
	err = s.w.Do(ctx, &op{Kind: writer.Background, Rows: len(items), Run: func(t *tx) error {
		// The record is locked first: of two nodes one goes on.
		var revision int64
		err := t.row([]any{&revision}, `select revision from record where kind = $1 and name = $2`+t.db.lock(), r.Kind, r.Name)
		if errors.Is(err, sql.ErrNoRows) {
			return missing(r.Kind, r.Name)
		}
		if err != nil {
			return err
		}
		if revision != r.Revision {
			return fmt.Errorf("%w: %s %q was changed meanwhile", gaff.ErrConflict, r.Kind, excerpt.Text(r.Name, 60))
		}
		added := 0
		for _, item := range items {
			ok, err := t.replayItem(item)
			if err != nil {
				return err
			}
			if ok {
				added++
			}
		}
		next, err := value(added)
		if err != nil {
			return err
		}
		text, err := s.seal(isSecretKind(r.Kind), string(next))
		if err != nil {
			return err
		}
		if revision, err = t.nextRevision(r.Kind); err != nil {
			return err
		}
		stored = gaff.Record{Kind: r.Kind, Name: r.Name, Value: next, Revision: revision, UpdatedAt: fromMicros(micros(t.now))}
		_, err = t.exec(`update record set value = $3, revision = $4, updated_at = $5 where kind = $1 and name = $2`,
			r.Kind, r.Name, []byte(text), revision, micros(t.now))
		t.change(r.Kind, r.Name, "saved", "")
		return err
	}})
	if err != nil {
		return gaff.Record{}, err
	}
	return stored, nil
}

// replayItem adds a delivery to an event, unless the handler has an open one, or the event is gone.
func (t *tx) replayItem(item gaff.ReplayItem) (added bool, err error) {
	seq, err := t.eventSeq(item.Event.ID)
	if errors.Is(err, gaff.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	all, err := t.deliveries(seq)
	if err != nil {
		return false, err
	}
	n := 0
	for _, sc := range all {
		n = max(n, sc.n)
		// Deliveries of several replays to a URL have one handler, and the replay as their key.
		replay := item.Delivery.Order == gaff.NoOrder && item.Delivery.Key != ""
		if sc.handler != item.Delivery.Handler || replay && sc.key != item.Delivery.Key {
			continue
		}
		if !sc.state.Done() || item.Missing && sc.state == gaff.StateSucceeded {
			return false, nil
		}
	}
	_, replaced, err := t.addReplayed(seq, n+1, item.Event, all, item.Delivery)
	if err != nil {
		return false, err
	}
	return true, t.reopen(seq, item.Event, 1, -replaced)
}

// addReplayed adds the n-th delivery of an event. It takes the place of the handler's former ones in
// the event's status; replaced is how many of them count as dead.
func (t *tx) addReplayed(seq int64, n int, ev *gaff.Event, all []deliveryScan, d gaff.Delivery) (deliveryID string, replaced int64, err error) {
	d.RunAt = t.localTime(t.now)
	added := t.newDelivery(seq, n, ev, d)
	if err := t.holdBack(&added.Delivery); err != nil {
		return "", 0, err
	}
	if err := t.insertDeliveries(added); err != nil {
		return "", 0, err
	}
	t.wake(added.Queue)
	for _, sc := range all {
		if sc.handler == d.Handler && !sc.replaced && (sc.state == gaff.StateDead || sc.state == gaff.StateCanceled) {
			replaced++
		}
	}
	if _, err := t.exec(`update delivery set replaced = 1 where seq = $1 and handler = $2 and n < $3`, seq, d.Handler, n); err != nil {
		return "", 0, fmt.Errorf("replay: %w", err)
	}
	return added.ID, replaced, nil
}
