package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/id"
)

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

// A listed delivery carries what it repeats of its event.
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
	claimed := sc.leasedUntil > micros(time.Now())
	if s.opt.Shared == nil {
		claimed = s.held.has(deliveryKey{sc.seq, sc.n})
	}
	if claimed && !d.State.Done() {
		d.State = gaff.StateRunning
	}
	return d
}

// claimed is the condition that a worker has claimed a delivery that is not done, and its
// argument.
func (s *Store) claimed() (condition string, arg any) {
	if s.opt.Shared != nil {
		return "coalesce(d.leased_until, 0) > ?", micros(time.Now())
	}
	return "(d.seq, d.n) in (select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(?))", s.held.json()
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
		claimed, arg := s.claimed()
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
			// Few wait, as a rule: they are found by their own index and sorted. The plus keeps
			// SQLite from walking over all deliveries for the sake of their order.
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
