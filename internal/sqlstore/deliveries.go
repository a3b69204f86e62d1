package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/id"
)

const deliveryColumns = `d.seq, d.n, d.handler, d.lane, d.state, d.attempts, d.max_attempts, d.run_at, d.claim, d.error,
	d.created_at, d.updated_at, d.finished_at, d.replaced, d.okey, d.ordering, d.held, coalesce(d.leased_until, 0)`

// deliveryScan holds deliveryColumns.
type deliveryScan struct {
	seq                   int64
	n                     int
	handler, queue        string
	state                 gaff.State
	attempts, maxAttempts int
	runAt                 int64
	claim                 int
	error                 string
	createdAt, updatedAt  int64
	finishedAt            sql.NullInt64
	replaced              bool
	key                   string
	order                 gaff.Order
	held                  int
	leasedUntil           int64 // 0 if claims are not stored
}

func (sc *deliveryScan) columns() []any {
	return []any{
		&sc.seq, &sc.n, &sc.handler, &sc.queue, &sc.state, &sc.attempts, &sc.maxAttempts, &sc.runAt, &sc.claim, &sc.error,
		&sc.createdAt, &sc.updatedAt, &sc.finishedAt, &sc.replaced,
		&sc.key, &sc.order, &sc.held, &sc.leasedUntil,
	}
}

// delivery returns the row's delivery, which repeats some fields of its event.
func (sc *deliveryScan) delivery(ev *gaff.Event) gaff.Delivery {
	return gaff.Delivery{
		ID: id.OfDelivery(ev.ID, sc.n), EventID: ev.ID, Handler: sc.handler, Queue: sc.queue, State: sc.state,
		Attempts: sc.attempts, MaxAttempts: sc.maxAttempts, RunAt: fromMicros(sc.runAt), Error: sc.error,
		CreatedAt: fromMicros(sc.createdAt), UpdatedAt: fromMicros(sc.updatedAt), FinishedAt: fromNull(sc.finishedAt),
		Source: ev.Source, Type: ev.Type, WebhookID: ev.WebhookID,
		Key: sc.key, Order: sc.order, Held: sc.held == heldBack,
	}
}

// deliveries reads all deliveries of an event, in order.
func (t *tx) deliveries(seq int64) (all []deliveryScan, err error) {
	err = t.each(func(r Row) error {
		var sc deliveryScan
		err := r.Scan(sc.columns()...)
		all = append(all, sc)
		return err
	}, `select `+deliveryColumns+` from delivery d where d.seq = $1 order by d.n`, seq)
	return all, err
}

func scanDeliveries(rows *sql.Rows) ([]deliveryScan, error) {
	defer rows.Close()
	var all []deliveryScan
	for rows.Next() {
		var sc deliveryScan
		if err := rows.Scan(sc.columns()...); err != nil {
			return nil, err
		}
		all = append(all, sc)
	}
	return all, rows.Err()
}

var insertDelivery = insertRows("delivery", `seq bigint, n bigint, handler text, lane text, state bigint, max_attempts bigint,
	run_at bigint, created_at bigint, updated_at bigint, okey text, ordering bigint, held bigint, claim bigint,
	leased_until bigint, attempts bigint, finished_at bigint`, ``)

// newDelivery is a delivery that is about to be inserted.
type newDelivery struct {
	gaff.Delivery
	seq   int64
	n     int
	claim int       // 1 if it is claimed
	until time.Time // when the claim ends; zero if it is not claimed, or claims are not stored
}

// newDelivery completes the n-th delivery of an event.
func (t *tx) newDelivery(seq int64, n int, ev *gaff.Event, d gaff.Delivery) newDelivery {
	d.ID, d.EventID, d.State = id.OfDelivery(ev.ID, n), ev.ID, gaff.StatePending
	d.Source, d.Type, d.WebhookID = ev.Source, ev.Type, ev.WebhookID
	d.CreatedAt, d.UpdatedAt = t.now, t.now
	d.MaxAttempts = max(d.MaxAttempts, 1)
	if d.RunAt.IsZero() {
		d.RunAt = ev.ReceivedAt
	}
	d.RunAt = t.sharedTime(d.RunAt)
	return newDelivery{Delivery: d, seq: seq, n: n}
}

// claimNew claims a delivery before it is inserted.
func (t *tx) claimNew(d *newDelivery, ev *gaff.Event) gaff.Work {
	d.claim, d.until = t.firstClaim()
	return t.claimDelivery(d.seq, d.n, d.claim, d.Delivery, ev)
}

func (t *tx) insertDeliveries(ds ...newDelivery) error {
	rows := make([][]any, len(ds))
	for i, d := range ds {
		rows[i] = []any{
			d.seq, int64(d.n), d.Handler, d.Queue, int64(d.State), int64(d.MaxAttempts), micros(d.RunAt),
			micros(t.now), micros(t.now), d.Key, int64(d.Order), flag(d.Held), int64(d.claim), nullMicros(d.until),
			int64(d.Attempts), nullMicros(d.FinishedAt),
		}
	}
	if err := t.db.write(t, &insertDelivery, rows); err != nil {
		return fmt.Errorf("insert deliveries: %w", err)
	}
	for _, d := range ds {
		if d.State.Done() {
			continue
		}
		t.s.leases.due(d.Queue, micros(d.RunAt))
	}
	return nil
}

// Delivery returns one delivery with its attempts.
func (s *Store) Delivery(ctx context.Context, deliveryID string) (*gaff.Delivery, []gaff.Attempt, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	d, as, err := s.delivery(ctx, deliveryID)
	return d, as, s.fault(ctx, "delivery", err)
}

func (s *Store) delivery(ctx context.Context, deliveryID string) (*gaff.Delivery, []gaff.Attempt, error) {
	eventID, n, ok := id.ParseDelivery(deliveryID)
	seq, known := id.ParseEvent(eventID)
	if !ok || !known {
		return nil, nil, missing("delivery", deliveryID)
	}
	ds, err := collect(ctx, s.read, s.scanListed, `select `+listedColumns+` from delivery d join event e on e.seq = d.seq
		where d.seq = $1 and d.n = $2`, seq, n)
	if err != nil {
		return nil, nil, err
	}
	if len(ds) == 0 || ds[0].d.ID != deliveryID {
		return nil, nil, missing("delivery", deliveryID)
	}
	as, err := attempts(ctx, s.read, `a.seq = $1 and a.n = $2`, ds[0].seq, n)
	return &ds[0].d, as, err
}

// A listed delivery has the columns of its event that it repeats.
const listedColumns = deliveryColumns + `, e.received_at, e.source, e.type, e.webhook_id`

type listedDelivery struct {
	seq int64
	n   int
	d   gaff.Delivery
}

func (s *Store) scanListed(rows *sql.Rows) (listedDelivery, error) {
	var sc deliveryScan
	var ev gaff.Event
	var at int64
	err := rows.Scan(append(sc.columns(), &at, &ev.Source, &ev.Type, &ev.WebhookID)...)
	ev.ID = id.OfEvent(fromMicros(at), sc.seq)
	return listedDelivery{sc.seq, sc.n, s.shown(&sc, &ev)}, err
}

// shown is a delivery as readers see it: running while a worker has claimed it.
func (s *Store) shown(sc *deliveryScan, ev *gaff.Event) gaff.Delivery {
	d := sc.delivery(ev)
	if !d.State.Done() && s.db.isClaimed(s, sc) {
		d.State = gaff.StateRunning
	}
	return d
}

// Deliveries returns a page of deliveries, newest event first.
func (s *Store) Deliveries(ctx context.Context, f gaff.DeliveryFilter) (gaff.Page[gaff.Delivery], error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	page, err := s.deliveryPage(ctx, f)
	return page, s.fault(ctx, "deliveries", err)
}

// deliveryBits is how many bits of a delivery cursor hold the number within the event.
const deliveryBits = 16

func (s *Store) deliveryPage(ctx context.Context, f gaff.DeliveryFilter) (page gaff.Page[gaff.Delivery], err error) {
	order := "d.seq"
	var w where
	cursor := f.Cursor
	cursor.After = ""
	limit, err := w.page("d.seq", cursor)
	if err != nil {
		return page, err
	}
	if f.After != "" {
		at, err := readCursor(f.After)
		if err != nil {
			return page, err
		}
		w.add("(d.seq, d.n) < (?, ?)", at>>deliveryBits, at&(1<<deliveryBits-1))
	}
	if f.EventID != "" {
		seq, _ := id.ParseEvent(f.EventID)
		w.add("d.seq = ?", seq)
	}
	if f.Source != "" {
		w.add("e.source = ?", f.Source)
	}
	if f.Handler != "" {
		w.add("d.handler = ?", f.Handler)
	}
	if f.State != nil {
		claimed, arg := s.db.claimed(s)
		switch {
		case *f.State == gaff.StateRunning:
			w.add(claimed, arg)
		case !f.State.Done():
			w.add("d.state = ? and not "+claimed, int64(*f.State), arg)
		default:
			w.add("d.state = ?", int64(*f.State))
		}
		switch {
		case *f.State > gaff.StateSucceeded:
			w.add("d.state > 3") // names the partial index
		case *f.State < gaff.StateSucceeded:
			w.add("d.state < 3")
			// Few deliveries are open, as a rule: their own index finds them, and they are
			// sorted. The plus keeps SQLite from scanning all deliveries in their order.
			order = "+d.seq"
		}
	}
	ds, err := collect(ctx, s.read, s.scanListed, `select `+listedColumns+` from delivery d join event e on e.seq = d.seq`+
		w.String()+` order by `+order+` desc, d.n desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, err
	}
	ds, page.Next = next(ds, limit, func(ld listedDelivery) int64 { return ld.seq<<deliveryBits | int64(ld.n) })
	for _, ld := range ds {
		page.Items = append(page.Items, ld.d)
	}
	return page, nil
}

// QueueCounts counts the open and the dead deliveries of a queue. Each number is at most
// gaff.MaxLogCount+1.
func (s *Store) QueueCounts(ctx context.Context, queue string) (c gaff.QueueCounts, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	count := func(text string, args ...any) (n int64) {
		if err == nil {
			err = s.read.QueryRowContext(ctx, text, args...).Scan(&n)
		}
		return n
	}
	c.Waiting = count(`select count(*) from (select 1 from delivery where state < 3 and lane = $1 limit $2) q`, queue, gaff.MaxLogCount+1)
	c.Held = count(`select count(*) from (select 1 from delivery where state < 3 and lane = $1 and run_at = $2 limit $3) q`,
		queue, int64(never), gaff.MaxLogCount+1)
	c.Dead = count(`select count(*) from (select 1 from delivery where state = 4 and lane = $1 and lane <> '' limit $2) q`,
		queue, gaff.MaxLogCount+1)
	if err == nil {
		var at int64
		err = s.read.QueryRowContext(ctx, `select run_at from delivery where state < 3 and lane = $1 order by run_at limit 1`, queue).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		} else if at < never {
			c.NextDue = fromMicros(at)
		}
	}
	return c, s.fault(ctx, "queue counts", err)
}
