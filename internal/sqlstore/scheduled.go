package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// errDamagedSchedule is the error of a scheduled event whose stored data has changed.
const errDamagedSchedule = "its stored data is damaged; publish it again"

const scheduledColumns = `d.seq, d.id, d.type, d.data, d.sha256, d.project_id, d.caller, d.published_by, d.idempotency_key, d.dedupe,
	d.state, d.error, d.run_at, d.created_at, d.updated_at`

// scheduledScan is a row of the table scheduled.
type scheduledScan struct {
	seq                   int64
	p                     gaff.Publication
	data, sum             []byte
	dedupe                string
	state                 int64
	run, created, updated int64
	// The event that it became, if that is stored.
	event, received sql.NullInt64
}

func (sc *scheduledScan) columns() []any {
	return []any{
		&sc.seq, &sc.p.ID, &sc.p.Type, &sc.data, &sc.sum, &sc.p.ProjectID, &sc.p.Caller, &sc.p.By, &sc.p.IdempotencyKey, &sc.dedupe,
		&sc.state, &sc.p.Error, &sc.run, &sc.created, &sc.updated,
	}
}

func (sc *scheduledScan) publication() gaff.Publication {
	p := sc.p
	p.State = gaff.PublicationState(sc.state)
	p.RunAt, p.CreatedAt, p.UpdatedAt = fromMicros(sc.run), fromMicros(sc.created), fromMicros(sc.updated)
	if p.State == gaff.Scheduled && !differs(sc.data, sc.sum) {
		p.Data = json.RawMessage(sc.data)
	}
	if sc.event.Valid && p.State == gaff.Published {
		p.EventID = id.OfEvent(fromMicros(sc.received.Int64), sc.event.Int64)
	}
	return p
}

// Publish publishes events, or schedules those with a later time, in one commit.
func (s *Store) Publish(ctx context.Context, ps []gaff.Publication, route func(*gaff.Event) []gaff.Delivery) ([]gaff.Publication, error) {
	out := make([]gaff.Publication, len(ps))
	rcs := make([]gaff.Receipt, len(ps))
	size := 0
	for i := range ps {
		size += len(ps[i].Data)
	}
	err := s.w.Do(ctx, &op{Bytes: size, Run: func(t *tx) error {
		for i := range ps {
			rcs[i] = gaff.Receipt{}
			var err error
			if out[i], err = t.publish(ps[i], route, &rcs[i]); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	for i, rc := range rcs {
		if rc.ID != "" {
			out[i].ID, out[i].EventID, out[i].Duplicate, out[i].Conflict = rc.ID, rc.ID, rc.Duplicate, rc.Conflict
		}
		if rc.Duplicate {
			if err := s.firstPublished(ctx, &out[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// firstPublished sets type and time of a repeated publication to those of the event that was published
// first with its key. Another type is a conflict, as other data is.
func (s *Store) firstPublished(ctx context.Context, p *gaff.Publication) error {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	seq, _ := id.ParseEvent(p.ID)
	var kind string
	var at int64
	err := s.read.QueryRowContext(ctx, `select type, received_at from event where seq = $1`, seq).Scan(&kind, &at)
	if errors.Is(err, sql.ErrNoRows) { // it was erased meanwhile
		return nil
	}
	if err != nil {
		return s.fault(ctx, "published event", err)
	}
	p.Conflict = p.Conflict || kind != p.Type
	p.Type, p.RunAt = kind, fromMicros(at)
	return nil
}

// publish stores one event. rc is filled, by the end of the transaction, if it is published now.
func (t *tx) publish(p gaff.Publication, route func(*gaff.Event) []gaff.Delivery, rc *gaff.Receipt) (gaff.Publication, error) {
	p.CreatedAt, p.UpdatedAt = t.now, t.now
	dedupe := p.DedupeKey(t.now)
	if p.IdempotencyKey != "" {
		if err := t.acceptAll(); err != nil { // one of them may have the same key
			return p, err
		}
		known, err := t.scheduledByKey(dedupe)
		if err != nil || known != nil {
			return t.repeated(known, p), err
		}
	}
	if !p.RunAt.After(t.now) {
		p.State, p.RunAt = gaff.Published, t.now
		ev := p.Event(dedupe, t.now)
		t.accept(newEventRow(ev), route(ev), nil, rc)
		return p, nil
	}
	if p.IdempotencyKey != "" {
		known, err := t.publishedByKey(dedupe)
		if err != nil || known {
			if err == nil { // it counts the duplicate
				ev := p.Event(dedupe, t.now)
				p.State = gaff.Published
				t.accept(newEventRow(ev), nil, nil, rc)
			}
			return p, err
		}
	}
	p.ID, p.State = id.New(id.Scheduled, t.now), gaff.Scheduled
	data := []byte(p.Event(dedupe, t.now).Data)
	n, err := t.exec(`insert into scheduled (id, type, data, sha256, project_id, caller, published_by, idempotency_key, dedupe, state, error,
		run_at, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', $10, $11, $12) on conflict (dedupe) do nothing`,
		p.ID, p.Type, data, hashOf(data), p.ProjectID, p.Caller, p.By, p.IdempotencyKey, dedupe, micros(p.RunAt), micros(t.now), micros(t.now))
	if err != nil {
		return p, fmt.Errorf("schedule an event: %w", err)
	}
	if n == 0 { // another connection stored the same key
		known, err := t.scheduledByKey(dedupe)
		return t.repeated(known, p), err
	}
	t.wake(gaff.ScheduleQueue)
	t.change("schedule", p.ID, gaff.Scheduled.String(), "")
	return p, nil
}

// repeated returns the publication of an earlier call with the same key.
func (t *tx) repeated(known *scheduledScan, p gaff.Publication) gaff.Publication {
	if known == nil {
		return p
	}
	data := p.Event("", t.now).Data
	first := known.publication()
	first.Duplicate = true
	first.Conflict = first.Type != p.Type || differs(data, known.sum)
	return first
}

// scheduledOf reads one row; nil if it is missing.
func (t *tx) scheduledOf(condition string, arg any) (*scheduledScan, error) {
	var sc scheduledScan
	err := t.row(sc.columns(), `select `+scheduledColumns+` from scheduled d where `+condition+t.db.lock(), arg)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find a scheduled event: %w", err)
	}
	return &sc, nil
}

func (t *tx) scheduledByKey(dedupe string) (*scheduledScan, error) {
	sc, err := t.scheduledOf("d.dedupe = $1", dedupe)
	if sc == nil || gaff.PublicationState(sc.state) != gaff.Published {
		return sc, err
	}
	seq, received, err := t.eventByKey(gaff.PublishedSource, dedupe)
	sc.event, sc.received = sql.NullInt64{Int64: seq, Valid: seq != 0}, sql.NullInt64{Int64: received, Valid: seq != 0}
	return sc, err
}

func (t *tx) publishedByKey(dedupe string) (bool, error) {
	seq, _, err := t.eventByKey(gaff.PublishedSource, dedupe)
	return seq != 0, err
}

// PublishDue publishes scheduled events that are due. Each becomes an event in the transaction that
// marks it as published, so that it does so once, even if a process fails or several run.
func (s *Store) PublishDue(ctx context.Context, limit int, route func(*gaff.Event) []gaff.Delivery) (n int, err error) {
	due, err := s.nextScheduled(ctx)
	if err != nil || due.IsZero() || due.After(time.Now().Add(maxSkew)) {
		return 0, err
	}
	err = s.w.Do(ctx, &op{Run: func(t *tx) error {
		var found []scheduledScan
		err := t.each(func(r Row) error {
			var sc scheduledScan
			err := r.Scan(sc.columns()...)
			found = append(found, sc)
			return err
		}, `select `+scheduledColumns+` from scheduled d where d.state = 0 and d.run_at <= $1 order by d.run_at, d.seq limit $2`+t.db.lockFree(),
			micros(t.now), limit)
		if err != nil {
			return fmt.Errorf("find due events: %w", err)
		}
		n = len(found)
		for i := range found {
			if err := t.publishScheduled(&found[i], route); err != nil {
				return err
			}
		}
		return nil
	}})
	return n, err
}

// maxSkew is how far the clocks of the process and of the database may be apart when a search for
// due events is left out.
const maxSkew = time.Minute

func (t *tx) publishScheduled(sc *scheduledScan, route func(*gaff.Event) []gaff.Delivery) error {
	state, fault := gaff.Published, ""
	if differs(sc.data, sc.sum) {
		state, fault = gaff.ScheduleCanceled, errDamagedSchedule
	} else {
		p := sc.publication()
		ev := p.Event(sc.dedupe, t.now)
		t.accept(newEventRow(ev), route(ev), nil, new(gaff.Receipt))
	}
	return t.endScheduled(sc.p.ID, state, fault)
}

// endScheduled ends a scheduled event, and removes its data.
func (t *tx) endScheduled(scheduled string, state gaff.PublicationState, fault string) error {
	_, err := t.exec(`update scheduled set state = $2, error = $3, data = $4, updated_at = $5 where id = $1`,
		scheduled, int64(state), fault, []byte{}, micros(t.now))
	if err != nil {
		return fmt.Errorf("end a scheduled event: %w", err)
	}
	t.change("schedule", scheduled, state.String(), "")
	return nil
}

// NextScheduled returns when the next scheduled event is due.
func (s *Store) NextScheduled(ctx context.Context) (time.Time, error) { return s.nextScheduled(ctx) }

func (s *Store) nextScheduled(ctx context.Context) (time.Time, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	at, err := column[sql.NullInt64](ctx, s.read, `select min(run_at) from scheduled where state = 0`)
	if err != nil || len(at) == 0 {
		return time.Time{}, s.fault(ctx, "next scheduled event", err)
	}
	return fromNull(at[0]), nil
}

// scheduledDetails reads publications with their events.
func (s *Store) scheduledDetails(ctx context.Context, condition string, args ...any) ([]scheduledScan, error) {
	found, err := collect(ctx, s.read, func(rows *sql.Rows) (sc scheduledScan, err error) {
		err = rows.Scan(sc.columns()...)
		return sc, err
	}, `select `+scheduledColumns+` from scheduled d `+condition, args...)
	if err != nil {
		return nil, err
	}
	byKey, keys := map[string]*scheduledScan{}, []string(nil)
	for i := range found {
		if sc := &found[i]; gaff.PublicationState(sc.state) == gaff.Published {
			byKey[sc.dedupe], keys = sc, append(keys, sc.dedupe)
		}
	}
	if len(keys) == 0 {
		return found, nil
	}
	of := []any{gaff.PublishedSource}
	_, err = collect(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var dedupe string
		var seq, received sql.NullInt64
		err = rows.Scan(&dedupe, &seq, &received)
		if sc := byKey[dedupe]; sc != nil {
			sc.event, sc.received = seq, received
		}
		return none, err
	}, `select e.dedupe, e.seq, e.received_at from event e where e.seq in
		(select seq from event_by_key where source = $1 and dedupe in `+marks(&of, keys)+`)`, of...)
	return found, err
}

// ScheduledEvent returns one publication with a time of its own.
func (s *Store) ScheduledEvent(ctx context.Context, scheduled string) (*gaff.Publication, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	found, err := s.scheduledDetails(ctx, `where d.id = $1`, scheduled)
	if err == nil && len(found) == 0 {
		err = missing("scheduled event", scheduled)
	}
	if err != nil {
		return nil, s.fault(ctx, "scheduled event", err)
	}
	p := found[0].publication()
	return &p, nil
}

// ScheduledEvents lists publications with a time of their own, newest first.
func (s *Store) ScheduledEvents(ctx context.Context, f gaff.ScheduleFilter) (page gaff.Page[gaff.Publication], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("d.seq", f.Cursor)
	if err != nil {
		return page, err
	}
	if f.State != nil {
		w.add("d.state = ?", int64(*f.State))
	}
	if f.Type != "" {
		w.add("d.type = ?", f.Type)
	}
	if f.ProjectID != "" {
		w.add("d.project_id = ?", f.ProjectID)
	}
	w.args = append(w.args, limit+1)
	found, err := s.scheduledDetails(ctx, w.String()+fmt.Sprintf(" order by d.seq desc limit $%d", len(w.args)), w.args...)
	if err != nil {
		return page, s.fault(ctx, "scheduled events", err)
	}
	found, page.Next = next(found, limit, func(sc scheduledScan) int64 { return sc.seq })
	for _, sc := range found {
		page.Items = append(page.Items, sc.publication())
	}
	return page, nil
}

// ChangeScheduled stores what change makes of a scheduled event.
func (s *Store) ChangeScheduled(ctx context.Context, scheduled string, change func(*gaff.Publication) error) (*gaff.Publication, error) {
	err := s.w.Do(ctx, &op{Run: func(t *tx) error {
		sc, err := t.scheduledOf("d.id = $1", scheduled)
		if err != nil {
			return err
		}
		if sc == nil {
			return missing("scheduled event", scheduled)
		}
		p := sc.publication()
		if p.State != gaff.Scheduled {
			return fmt.Errorf("%w: scheduled event %s is %s already", gaff.ErrConflict, excerpt.Text(scheduled, 60), p.State)
		}
		if err := change(&p); err != nil {
			return err
		}
		if p.State == gaff.ScheduleCanceled {
			return t.endScheduled(scheduled, p.State, "")
		}
		data := []byte(p.Event("", t.now).Data)
		sum := sha256.Sum256(data)
		_, err = t.exec(`update scheduled set type = $2, data = $3, sha256 = $4, run_at = $5, updated_at = $6 where id = $1`,
			scheduled, p.Type, data, sum[:], micros(p.RunAt), micros(t.now))
		if err != nil {
			return fmt.Errorf("change a scheduled event: %w", err)
		}
		t.wake(gaff.ScheduleQueue)
		t.change("schedule", scheduled, p.State.String(), "")
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return s.ScheduledEvent(ctx, scheduled)
}

// pruneScheduled removes publications that ended before a time.
func (t *tx) pruneScheduled(before, _ int64) (removed, last int64, err error) {
	removed, err = t.exec(`delete from scheduled where seq in (select seq from scheduled where state <> 0 and updated_at < $1
		order by seq limit $2`+t.db.lockFree()+`)`, before, pruneBatch)
	if removed < pruneBatch {
		return removed, -1, err
	}
	return removed, 0, err
}
