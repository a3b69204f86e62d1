package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/writer"
)

// maxCopies is how many differing bodies of one key are stored beside the first.
const maxCopies = 5

// Accept stores an event and its deliveries, or finds the event that is stored already.
func (s *Store) Accept(ctx context.Context, p gaff.AcceptParams) (gaff.Receipt, error) {
	row := newEventRow(p.Event)
	var rc gaff.Receipt
	o := &op{
		Kind: writer.Accept, Bytes: row.size(), Wait: s.opt.AcceptWait, Dropped: p.Dropped,
		Run: func(t *tx) error {
			t.accept(row, p.Deliveries, p.Take, &rc)
			return nil
		},
		Abandoned: func() { s.giveBack(rc.Work) },
	}
	if p.Effects != nil {
		return s.acceptWithEffects(ctx, o, row, p, &rc)
	}
	if err := s.w.Do(ctx, o); err != nil {
		return gaff.Receipt{}, err
	}
	return rc, nil
}

// AcceptAll stores several events, and their deliveries, in one commit. The first is the parent
// of the others.
func (s *Store) AcceptAll(ctx context.Context, ps []gaff.AcceptParams) ([]gaff.Receipt, error) {
	rows := make([]eventRow, len(ps))
	size := 0
	for i, p := range ps {
		rows[i] = newEventRow(p.Event)
		size += rows[i].size()
	}
	rcs := make([]gaff.Receipt, len(ps))
	err := s.w.Do(ctx, &op{
		Kind: writer.Accept, Bytes: size, Wait: s.opt.AcceptWait,
		Dropped: func() {
			for _, p := range ps {
				if p.Dropped != nil {
					p.Dropped()
				}
			}
		},
		Run: func(t *tx) error {
			for i, p := range ps {
				if i > 0 {
					rows[i].ev.ParentID = rcs[0].ID
				}
				t.accept(rows[i], p.Deliveries, p.Take, &rcs[i])
				if i > 0 || len(ps) == 1 {
					continue
				}
				if err := t.acceptAll(); err != nil { // so that the first has its number
					return err
				}
			}
			return nil
		},
		Abandoned: func() {
			for _, rc := range rcs {
				s.giveBack(rc.Work)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return rcs, nil
}

// acceptance is an event that is stored at the end of its transaction.
type acceptance struct {
	row  eventRow
	ds   []gaff.Delivery
	take []bool
	rc   *gaff.Receipt
	// place is its place in the order of arrival, from 1; seq is the event's number, 0 for a
	// duplicate.
	place, seq int64

	// effects, if not nil, end the delivery at the place effectsOf. started is when they were begun, dedupe
	// the row's before findSigned.
	effects   gaff.Effects
	effectsOf int
	started   time.Time
	dedupe    string
}

// accept stores an event; rc is filled by the end of the transaction.
func (t *tx) accept(row eventRow, ds []gaff.Delivery, take []bool, rc *gaff.Receipt) {
	*rc = gaff.Receipt{}
	t.accepting, t.wrote = append(t.accepting, acceptance{row: row, ds: ds, take: take, rc: rc}), true
}

// acceptAll stores the events of all operations so far. Two events with the same source and key
// are one: the first is stored, the other is a duplicate.
func (t *tx) acceptAll() error {
	if err := t.acceptRest(); err != nil {
		return err
	}
	if len(t.accepting) == 0 {
		return nil
	}
	all := t.accepting
	t.accepting = nil
	arrived := make([]*acceptance, len(all))
	for i := range all {
		arrived[i] = &all[i]
	}
	order, err := t.insertRows(arrived)
	if err != nil {
		return err
	}
	if err := t.insertParts(all); err != nil {
		return err
	}
	for _, a := range order {
		if a.seq != 0 {
			continue
		}
		if *a.rc, err = t.duplicate(a.row); err != nil {
			return err
		}
	}
	return nil
}

// insertRows inserts the rows and payloads of events, which get their numbers and ids. It returns the events in
// the order in which it locked them.
func (t *tx) insertRows(arrived []*acceptance) (order []*acceptance, err error) {
	order = slices.Clone(arrived)
	signed := 0
	for i, a := range order {
		a.place = int64(i + 1)
		if a.row.ev.SignedKey != "" {
			signed++
		}
	}
	// Rows are locked in one order, so that no two transactions wait for each other.
	if signed > 0 {
		slices.SortFunc(order, func(a, b *acceptance) int {
			return cmp.Or(strings.Compare(a.row.ev.Source, b.row.ev.Source), strings.Compare(a.row.ev.SignedKey, b.row.ev.SignedKey),
				cmp.Compare(a.place, b.place))
		})
		for _, a := range order {
			if err := t.findSigned(&a.row); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(order, func(a, b *acceptance) int {
		return cmp.Or(strings.Compare(a.row.ev.Source, b.row.ev.Source), strings.Compare(a.row.dedupe, b.row.dedupe), cmp.Compare(a.place, b.place))
	})
	if err := t.insertEvents(order); err != nil {
		return nil, err
	}
	for _, a := range order {
		if err := t.keyUsed(a.row.ev); err != nil {
			return nil, err
		}
	}
	var payloads [][]any // in the order of their numbers, so that the table grows at its end
	for _, a := range arrived {
		if a.seq != 0 {
			payloads = append(payloads, a.row.payload(a.seq))
		}
	}
	if err := t.db.write(t, &insertPayload, payloads); err != nil {
		return nil, fmt.Errorf("insert payloads: %w", err)
	}
	return order, nil
}

// findSigned gives the row the key of the first event with the same signed content, if there
// is one: then it is a duplicate of that.
func (t *tx) findSigned(row *eventRow) error {
	if row.ev.SignedKey == "" {
		return nil
	}
	err := t.row([]any{&row.dedupe}, `insert into signed (source, hash, dedupe) values ($1, $2, $3)
		on conflict (source, hash) do update set hash = excluded.hash returning dedupe`,
		row.ev.Source, row.ev.SignedKey, row.dedupe)
	if err != nil {
		return fmt.Errorf("find the signed content: %w", err)
	}
	return nil
}

// insertEvents inserts the first event of each source and key, and sets its number and id.
func (t *tx) insertEvents(order []*acceptance) error {
	rows := make([][]any, 0, len(order))
	inserted := make([]*acceptance, 0, len(order))
	for i, a := range order {
		if i > 0 && a.row.dedupe == order[i-1].row.dedupe && plain(a.row.ev.Source) == plain(order[i-1].row.ev.Source) {
			continue
		}
		rows, inserted = append(rows, a.columns(t.now)), append(inserted, a)
	}
	seqs, err := t.db.insertEvents(t, rows, len(order))
	if err != nil {
		return fmt.Errorf("insert events: %w", err)
	}
	for i, seq := range seqs {
		if a := inserted[i]; seq != 0 {
			a.seq, a.row.ev.ID = seq, id.OfEvent(a.row.ev.ReceivedAt, seq)
		}
	}
	return nil
}

// insertParts writes the deliveries, attempts and schema violations of the new events.
func (t *tx) insertParts(all []acceptance) error {
	var violations, attempts [][]any
	var deliveries []newDelivery
	for i := range all {
		a := &all[i]
		if a.seq == 0 {
			continue
		}
		ev := a.row.ev
		*a.rc = gaff.Receipt{ID: ev.ID}
		if v := ev.Violation; v != nil {
			detail, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("encode a violation: %w", err)
			}
			violations = append(violations, []any{a.seq, int64(len(v.Problems) + v.More), detail})
		}
		for j := range a.ds {
			d := t.newDelivery(a.seq, j+1, ev, a.ds[j])
			if a.effects != nil && j == a.effectsOf {
				a.rc.EffectsStored = true
				attempts = append(attempts, t.succeedNew(&d, a.started))
				deliveries = append(deliveries, d)
				continue
			}
			ordered := d.Key != "" && d.Order != gaff.NoOrder
			if ordered {
				if err := t.holdBack(&d.Delivery); err != nil {
					return err
				}
			}
			if j < len(a.take) && a.take[j] && !d.RunAt.After(t.now) {
				a.rc.Work = append(a.rc.Work, t.claimNew(&d, ev))
			} else if !d.Held {
				t.signal(d.Queue)
			}
			if !ordered {
				deliveries = append(deliveries, d)
			} else if err := t.insertDeliveries(d); err != nil { // the next one of the key looks for it
				return err
			}
		}
		t.countReceived(ev.Source, a.seq, a.status())
		t.change("event", ev.ID, a.status().String(), ev.Source)
	}
	if len(violations) > 0 {
		if err := t.db.write(t, &insertViolation, violations); err != nil {
			return fmt.Errorf("insert violations: %w", err)
		}
	}
	if err := t.db.write(t, &insertAttempt, attempts); err != nil {
		return fmt.Errorf("record attempts: %w", err)
	}
	return t.insertDeliveries(deliveries...)
}

// duplicate counts a duplicate, and stores its body if it differs from the first one.
func (t *tx) duplicate(row eventRow) (gaff.Receipt, error) {
	var (
		rc  = gaff.Receipt{Duplicate: true}
		seq int64
		at  int64
		old []byte
		sum []byte
	)
	condition, args, err := t.db.keyed(t, row.ev.Source, row.dedupe)
	if err == nil {
		err = t.row([]any{&seq, &at, &old, &sum}, `select e.seq, e.received_at, coalesce(p.data, p.body), coalesce(p.data_sha256, p.sha256)
			from event e left join payload p on p.seq = e.seq where `+condition, args...)
	}
	if err != nil {
		return rc, fmt.Errorf("find duplicate: %w", err)
	}
	rc.ID = id.OfEvent(fromMicros(at), seq)
	// A body that retention removed cannot differ. The data is compared rather than the body:
	// an item of a batch may be sent again in another batch.
	rc.Conflict = old != nil && !bytes.Equal(old, row.ev.Data)
	if redaction := row.ev.Redaction; rc.Conflict && redaction != nil && !bytes.Equal(sum, row.contentSum()) {
		// The stored event may be redacted by now, and no copy may have the removed values.
		repeated := *row.ev
		redaction.Apply(&repeated)
		row = newEventRow(&repeated)
		rc.Conflict = !bytes.Equal(old, repeated.Data)
	}
	if rc.Conflict && bytes.Equal(sum, row.contentSum()) {
		rc.Conflict = false // the stored body is damaged
		if err := t.restore(seq, row); err != nil {
			return rc, err
		}
	}
	if _, err := t.exec(`update event set duplicates = duplicates + 1, conflict = case when $2 = 1 then 1 else conflict end
		where seq = $1`, seq, flag(rc.Conflict)); err != nil {
		return rc, fmt.Errorf("count duplicate: %w", err)
	}
	if !rc.Conflict {
		return rc, nil
	}
	// The event's row is locked by now, so no other transaction counts at the same time.
	var n int64
	err = t.row([]any{&n}, `select count(*) from copy where seq = $1`, seq)
	if err == nil && n < maxCopies {
		_, err = t.exec(`insert into copy (seq, n, received_at, headers, body, sha256) values ($1, $2, $3, $4, $5, $6)`,
			seq, n+1, micros(row.ev.ReceivedAt), orEmpty(row.request), row.body, row.sum)
	}
	if err != nil {
		return rc, fmt.Errorf("store the differing body: %w", err)
	}
	t.change("event", rc.ID, "conflict", row.ev.Source)
	return rc, nil
}

// restore writes the bytes of a damaged event, which its sender has sent again.
func (t *tx) restore(seq int64, row eventRow) error {
	_, err := t.exec(`update payload set body = $2, data = $3, sha256 = $4, data_sha256 = $5 where seq = $1`,
		seq, row.body, nilIfNil(row.data), row.sum, nilIfNil(row.dataSum))
	if err != nil {
		return fmt.Errorf("restore a damaged body: %w", err)
	}
	return nil
}
