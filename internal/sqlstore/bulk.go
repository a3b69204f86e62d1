package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
)

// Where the database is another process, each statement is a journey. So what all accepts
// and all ends of attempts of a transaction have in common is written at its end, by one
// statement for all of them over arrays. The arrays are sorted, so that two transactions
// lock in the same order.

// dueAt is when a delivery can be claimed: when it is due, and nobody holds it any more.
// The queue's index is over it.
const dueAt = `greatest(d.run_at, d.leased_until)`

// A delivery that is named by its key is asked for its state as state + 0: else the plan of
// a time when little waited would walk along all that waits, each time, for ever.

// leaseEnd is until when what is claimed now is held; zero where claims are not stored.
func (t *tx) leaseEnd() time.Time {
	if t.s.opt.Shared == nil {
		return time.Time{}
	}
	return t.now.Add(t.s.opt.Shared.Lease)
}

// firstClaim is the claim of a delivery that is taken as it is stored.
func (t *tx) firstClaim() (claim int, leasedUntil any) {
	if t.s.opt.Shared == nil {
		return 0, nil
	}
	return 1, micros(t.leaseEnd())
}

// flush writes what was put off to the end of the transaction.
func (t *tx) flush() error {
	if err := t.acceptAll(); err != nil {
		return err
	}
	return t.finishAll()
}

// arrays gathers rows by column.
type arrays struct {
	ord, status, unhandled, open, received, hop               []int64
	occurred, processed                                       []*int64
	source, typ, webhook, dedupe, correlation, handle, parent []string
	seq, n, runAt, maxAttempts, claim                         []int64
	leased                                                    []*int64
	handler, lane                                             []string
	requests, bodies, data, sums, dataSums                    [][]byte
}

func pointer(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := micros(t)
	return &us
}

// texts are strings as the database keeps them.
func texts(column []string) []string {
	for i, text := range column {
		if !isPlain(text) {
			column[i] = plain(text)
		}
	}
	return column
}

// findAllSigned is findSigned for each row that has such a key, in one order of locks.
func (t *tx) findAllSigned(all []acceptance) error {
	var signed []*eventRow
	for i := range all {
		if all[i].row.ev.SignedKey != "" {
			signed = append(signed, &all[i].row)
		}
	}
	slices.SortStableFunc(signed, func(a, b *eventRow) int {
		return cmp.Or(strings.Compare(a.ev.Source, b.ev.Source), strings.Compare(a.ev.SignedKey, b.ev.SignedKey))
	})
	for _, row := range signed {
		if err := t.findSigned(row); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) acceptAll() error {
	if len(t.accepting) == 0 {
		return nil
	}
	all := t.accepting
	t.accepting = nil
	if err := t.findAllSigned(all); err != nil {
		return err
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := all[a].row, all[b].row
		if c := strings.Compare(x.ev.Source, y.ev.Source); c != 0 {
			return c
		}
		return strings.Compare(x.dedupe, y.dedupe)
	})
	var c arrays
	sent := make(sentEvents, len(all))
	for _, i := range order {
		row, ev := all[i].row, all[i].row.ev
		if !sent.add(ev.Source, row.dedupe, i) {
			continue // of two with one key, the first is the event
		}
		status, processed := gaff.StatusPending, (*int64)(nil)
		if len(all[i].ds) == 0 {
			status, processed = gaff.StatusSuccess, pointer(ev.ReceivedAt)
		}
		c.ord, c.status = append(c.ord, int64(i+1)), append(c.status, int64(status))
		c.unhandled, c.open = append(c.unhandled, flag(len(all[i].ds) == 0)), append(c.open, int64(len(all[i].ds)))
		c.received, c.hop = append(c.received, micros(ev.ReceivedAt)), append(c.hop, int64(ev.Hop))
		c.occurred, c.processed = append(c.occurred, pointer(ev.OccurredAt)), append(c.processed, processed)
		c.source, c.typ = append(c.source, ev.Source), append(c.typ, ev.Type)
		c.webhook, c.dedupe = append(c.webhook, ev.WebhookID), append(c.dedupe, row.dedupe)
		c.correlation, c.handle = append(c.correlation, ev.CorrelationID), append(c.handle, ev.CallbackToken)
		c.parent = append(c.parent, ev.ParentID)
	}
	// The numbers are drawn in the order of arrival, and the rows inserted in that of their
	// keys.
	kept := make([]int64, len(all)) // the new event's number, by the order of arrival
	err := t.apart(func(row Row) error {
		var seq int64
		var source, dedupe string
		if err := row.Scan(&seq, &source, &dedupe); err != nil {
			return err
		}
		i, err := sent.find(source, dedupe)
		if err != nil {
			return err
		}
		kept[i] = seq
		return nil
	}, `insert into event (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead,
			occurred_at, received_at, processed_at, updated_at, parent_id, hop)
		select (array(select nextval('event_seq') from generate_series(1, $1)))[u.ord], u.source, u.type, u.webhook_id, u.dedupe,
			u.correlation, u.handle, u.status, u.unhandled, u.open, 0, u.occurred_at, u.received_at, u.processed_at, u.received_at,
			u.parent_id, u.hop
		from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
			$11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::bigint[])
			as u(ord, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, occurred_at, received_at,
				processed_at, parent_id, hop)
		on conflict (source, dedupe) do nothing
		returning seq, source, dedupe`,
		len(all), c.ord, texts(c.source), texts(c.typ), texts(c.webhook), c.dedupe, texts(c.correlation), texts(c.handle), c.status, c.unhandled,
		c.open, c.occurred, c.received, c.processed, texts(c.parent), c.hop)
	if err != nil {
		return fmt.Errorf("insert events: %w", err)
	}
	for _, i := range order { // in the order of sources, which are few
		if err := t.keyUsed(all[i].row.ev); err != nil {
			return err
		}
	}
	if err := t.acceptParts(all, kept); err != nil {
		return err
	}
	for _, i := range order {
		if kept[i] != 0 {
			continue
		}
		rc, err := t.duplicate(all[i].row)
		if err != nil {
			return err
		}
		*all[i].rc = rc
	}
	return nil
}

// sentEvents are the places of events by the key that they are inserted under. The database
// returns what it inserted in any order.
type sentEvents map[[2]string]int

// add reports false if an event of the key is there already.
func (s sentEvents) add(source, dedupe string, place int) bool {
	key := [2]string{plain(source), dedupe}
	if _, ok := s[key]; ok {
		return false
	}
	s[key] = place
	return true
}

func (s sentEvents) find(source, dedupe string) (place int, err error) {
	place, ok := s[[2]string{source, dedupe}]
	if !ok {
		return 0, fmt.Errorf("the database returned an event of source %.64q that was not sent", source)
	}
	return place, nil
}

// acceptParts writes the payloads and deliveries of the events that were kept.
func (t *tx) acceptParts(all []acceptance, kept []int64) error {
	var c arrays
	claim, leased := t.firstClaim()
	until := pointer(t.leaseEnd())
	var seqs []int64
	for i, a := range all {
		seq := kept[i]
		if seq == 0 {
			continue
		}
		ev := a.row.ev
		ev.ID = id.OfEvent(ev.ReceivedAt, seq)
		seqs = append(seqs, seq)
		var request []byte
		if len(a.row.request) > 0 {
			request = a.row.request
		}
		c.requests, c.bodies, c.data = append(c.requests, request), append(c.bodies, a.row.body), append(c.data, a.row.data)
		c.sums, c.dataSums = append(c.sums, a.row.sum), append(c.dataSums, a.row.dataSum)
		*a.rc = gaff.Receipt{ID: ev.ID}
		for j := range a.ds {
			take := j < len(a.take) && a.take[j]
			if a.ds[j].Key != "" && a.ds[j].Order != gaff.NoOrder {
				d, taken, err := t.addDelivery(seq, j+1, ev, a.ds[j], take)
				if err != nil {
					return err
				}
				t.hand(a.rc, seq, j+1, claim, d, ev, taken)
				continue
			}
			d := t.newDelivery(j+1, ev, a.ds[j])
			take = take && !d.RunAt.After(t.now)
			c.seq, c.n = append(c.seq, seq), append(c.n, int64(j+1))
			c.handler, c.lane = append(c.handler, d.Handler), append(c.lane, d.Queue)
			c.maxAttempts, c.runAt = append(c.maxAttempts, int64(d.MaxAttempts)), append(c.runAt, micros(d.RunAt))
			if take && leased != nil {
				c.claim, c.leased = append(c.claim, int64(claim)), append(c.leased, until)
			} else {
				c.claim, c.leased = append(c.claim, 0), append(c.leased, nil)
			}
			t.hand(a.rc, seq, j+1, claim, d, ev, take)
		}
		status := gaff.StatusPending
		if len(a.ds) == 0 {
			status = gaff.StatusSuccess
		}
		t.received(ev, seq, status)
	}
	if len(seqs) == 0 {
		return nil
	}
	if err := t.send(`insert into payload (seq, request, body, data, sha256, data_sha256)
		select * from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[])`,
		seqs, c.requests, c.bodies, c.data, c.sums, c.dataSums); err != nil {
		return fmt.Errorf("insert payloads: %w", err)
	}
	if len(c.seq) == 0 {
		return nil
	}
	if err := t.send(`insert into delivery (seq, n, handler, lane, state, max_attempts, run_at, created_at, updated_at, claim, leased_until)
		select u.seq, u.n, u.handler, u.lane, 0, u.max_attempts, u.run_at, $1, $1, u.claim, u.leased_until
		from unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
			as u(seq, n, handler, lane, max_attempts, run_at, claim, leased_until)`,
		micros(t.now), c.seq, c.n, texts(c.handler), texts(c.lane), c.maxAttempts, c.runAt, c.claim, c.leased); err != nil {
		return fmt.Errorf("insert deliveries: %w", err)
	}
	return nil
}

// hand gives a new delivery to who asked for it, or tells its lane.
func (t *tx) hand(rc *gaff.Receipt, seq int64, n, claim int, d gaff.Delivery, ev *gaff.Event, taken bool) {
	if taken {
		rc.Work = append(rc.Work, t.takeDelivery(seq, n, claim, d, ev))
	} else if !d.Held {
		t.wake(d.Queue)
	}
}

// finishing is one end of an attempt that waits for the end of its transaction.
type finishing struct {
	l gaff.Lease
	o gaff.Outcome
}

func (f finishing) counted() bool {
	return f.o.Attempt.Outcome != "" && f.o.Attempt.Outcome != gaff.AttemptSnoozed
}

func (t *tx) finishAll() error {
	if len(t.finishing) == 0 {
		return nil
	}
	all := t.finishing
	t.finishing = nil
	slices.SortStableFunc(all, func(a, b finishing) int {
		if a.l.Event != b.l.Event {
			return int(min(max(a.l.Event-b.l.Event, -1), 1))
		}
		return a.l.Delivery - b.l.Delivery
	})
	var seq, n, state, attempts, before, claim []int64
	var runAt, finished []*int64
	var failure []string
	var aSeq, aN, aNumber, aStarted, aDuration []int64
	var aOutcome, aError, aDetail []string
	for i, f := range all {
		if i > 0 && f.l.Event == all[i-1].l.Event && f.l.Delivery == all[i-1].l.Delivery {
			// Two of them were not told apart by the fence yet: one by one they are.
			return gaff.ErrLeaseLost
		}
		text := plain(clip(f.o.Attempt.Error, maxErrorText))
		seq, n = append(seq, f.l.Event), append(n, int64(f.l.Delivery))
		state, before, claim = append(state, int64(f.o.State)), append(before, int64(f.l.Attempt-1)), append(claim, int64(f.l.Claim))
		tried := int64(f.l.Attempt - 1)
		if f.counted() {
			tried = int64(f.l.Attempt)
			aSeq, aN, aNumber = append(aSeq, f.l.Event), append(aN, int64(f.l.Delivery)), append(aNumber, tried)
			aStarted, aDuration = append(aStarted, micros(f.o.Attempt.StartedAt)), append(aDuration, f.o.Attempt.Duration.Microseconds())
			aOutcome, aError = append(aOutcome, f.o.Attempt.Outcome), append(aError, text)
			aDetail = append(aDetail, plain(clip(f.o.Attempt.Detail, 4*maxErrorText)))
		}
		attempts, runAt, failure = append(attempts, tried), append(runAt, pointer(t.sharedTime(f.o.RunAt))), append(failure, text)
		var end *int64
		if f.o.State.Done() {
			end = pointer(t.now)
		}
		finished = append(finished, end)
	}
	type keyed struct {
		at    int
		lane  string
		key   string
		order gaff.Order
	}
	var ordered []keyed
	ended := 0
	err := t.apart(func(row Row) error {
		var k keyed
		if err := row.Scan(&k.at, &k.lane, &k.key, &k.order); err != nil {
			return err
		}
		if ended++; k.key != "" {
			ordered = append(ordered, k)
		}
		return nil
	}, `update delivery d set state = u.state, attempts = u.attempts, run_at = coalesce(u.run_at, d.run_at), error = u.error,
			updated_at = $1, finished_at = u.finished_at, leased_until = null
		from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[])
			with ordinality as u(seq, n, state, attempts, run_at, error, finished_at, before, claim, at)
		where d.seq = u.seq and d.n = u.n and d.attempts = u.before and d.claim = u.claim and d.state + 0 < 3
		returning u.at - 1, d.lane, d.okey, d.ordering`,
		micros(t.now), seq, n, state, attempts, runAt, failure, finished, before, claim)
	if err != nil {
		return fmt.Errorf("finish deliveries: %w", err)
	}
	if ended != len(all) {
		return gaff.ErrLeaseLost
	}
	if len(aSeq) > 0 {
		if err := t.send(`insert into attempt (seq, n, number, outcome, started_at, duration, error, detail)
			select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[])`,
			aSeq, aN, aNumber, aOutcome, aStarted, aDuration, aError, aDetail); err != nil {
			return fmt.Errorf("record attempts: %w", err)
		}
	}
	if err := t.settleAll(all, failure); err != nil {
		return err
	}
	slices.SortFunc(ordered, func(a, b keyed) int { return strings.Compare(a.lane+"\n"+a.key, b.lane+"\n"+b.key) })
	for _, k := range ordered {
		if err := t.orderedEnd(all[k.at].l, all[k.at].o.State, k.lane, k.key, k.order); err != nil {
			return err
		}
	}
	return nil
}

// settleAll carries the deliveries' new states over to their events. One statement changes
// a row once, so a second delivery of an event has to wait for the next round.
func (t *tx) settleAll(all []finishing, failure []string) error {
	type settled struct {
		f       finishing
		failure string
	}
	var left []settled
	for i, f := range all {
		if f.o.Attempt.Outcome != "" {
			left = append(left, settled{f, failure[i]})
		}
	}
	for len(left) > 0 {
		var next []settled
		var seq, closed, died, retry []int64
		var processed []*int64
		var text []string
		var round []settled
		for i, s := range left {
			if i > 0 && s.f.l.Event == left[i-1].f.l.Event {
				next = append(next, s)
				continue
			}
			round = append(round, s)
			done := s.f.o.State.Done()
			seq, text = append(seq, s.f.l.Event), append(text, s.failure)
			closed = append(closed, flag(done))
			died = append(died, flag(s.f.o.State == gaff.StateDead || s.f.o.State == gaff.StateCanceled))
			retry = append(retry, flag(s.f.counted() && s.f.l.Attempt > 1))
			var at *int64
			if s.f.counted() || done {
				at = pointer(t.now)
			}
			processed = append(processed, at)
		}
		settledRows := 0
		err := t.apart(func(row Row) error {
			var at, status, dead int64
			if err := row.Scan(&at, &status, &dead); err != nil {
				return err
			}
			settledRows++
			before := gaff.StatusPending
			if dead-died[at] > 0 {
				before = gaff.StatusError
			}
			l := round[at].f.l
			t.moved(l.Source, before, gaff.Status(status))
			t.change("event", l.EventID, gaff.Status(status).String(), l.Source)
			return nil
		}, `update event e set
				open = e.open - u.closed, dead = e.dead + u.died, retry_count = e.retry_count + u.retry,
				status = case when e.dead + u.died > 0 then 2 when e.open - u.closed > 0 then 0 else 1 end,
				error = case when u.error <> '' or e.dead = 0 then u.error else e.error end,
				processed_at = coalesce(u.processed_at, e.processed_at), updated_at = $1
			from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[])
				with ordinality as u(seq, closed, died, retry, error, processed_at, at)
			where e.seq = u.seq returning u.at - 1, e.status, e.dead`,
			micros(t.now), seq, closed, died, retry, text, processed)
		if err != nil {
			return fmt.Errorf("settle events: %w", err)
		}
		if settledRows != len(round) {
			return fmt.Errorf("settle events: %d of %d are there", settledRows, len(round))
		}
		left = next
	}
	return nil
}

// lease claims what is due by writing so into the rows.
func (t *tx) lease(p gaff.ClaimParams) (work []gaff.Work, err error) {
	var found []deliveryScan
	err = t.each(func(rows *sql.Rows) error {
		var sc deliveryScan
		err := rows.Scan(sc.columns()...)
		found = append(found, sc)
		return err
	}, `with due as materialized (
			select d.seq, d.n from delivery d where d.state < 3 and d.lane = $1 and `+dueAt+` <= $2
			order by `+dueAt+` limit $3 for update skip locked)
		update delivery d set claim = d.claim + 1, leased_until = $4
		from due where d.seq = due.seq and d.n = due.n
		returning `+deliveryColumns, p.Queue, micros(t.sharedTime(p.Now)), min(p.Limit, maxClaim), micros(t.leaseEnd()))
	if len(found) > 0 {
		t.wrote = true
	}
	slices.SortFunc(found, func(a, b deliveryScan) int {
		if a.runAt != b.runAt {
			return int(min(max(a.runAt-b.runAt, -1), 1))
		}
		return int(min(max(a.seq-b.seq, -1), 1))
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	seqs := make([]int64, len(found))
	for i, f := range found {
		seqs[i] = f.seq
	}
	events := make(map[int64]*gaff.Event, len(found))
	err = t.each(func(rows *sql.Rows) error {
		var sc eventScan
		err := rows.Scan(append(sc.columns(), sc.payload()...)...)
		events[sc.seq] = t.s.eventOf(&sc)
		return err
	}, `select `+eventColumns+`, `+payloadColumns+` from unnest($1::bigint[]) as u(seq) join event e on e.seq = u.seq
		left join payload p on p.seq = e.seq`, seqs)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	for _, f := range found {
		ev := events[f.seq]
		if ev == nil {
			return nil, fmt.Errorf("claim: the event of a delivery, number %d, is not there", f.seq)
		}
		work = append(work, t.takeDelivery(f.seq, f.n, f.claim, f.delivery(ev), ev))
	}
	return work, nil
}

// maxClaim is how many deliveries one claim takes at most.
const maxClaim = 256

// endLeases gives claims back, so that others can claim.
func (t *tx) endLeases(ls []gaff.Lease) error {
	seq, n, claim, _ := leaseArrays(ls)
	return t.each(func(rows *sql.Rows) error {
		var lane string
		err := rows.Scan(&lane)
		t.wrote = true
		t.wake(lane)
		return err
	}, `update delivery d set leased_until = null from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as u(seq, n, claim)
		where d.seq = u.seq and d.n = u.n and d.claim = u.claim and d.state + 0 < 3 returning d.lane`, seq, n, claim)
}

func leaseArrays(ls []gaff.Lease) (seq, n, claim []int64, sorted []gaff.Lease) {
	sorted = slices.Clone(ls)
	slices.SortFunc(sorted, func(a, b gaff.Lease) int {
		if a.Event != b.Event {
			return int(min(max(a.Event-b.Event, -1), 1))
		}
		return a.Delivery - b.Delivery
	})
	for _, l := range sorted {
		seq, n, claim = append(seq, l.Event), append(n, int64(l.Delivery)), append(claim, int64(l.Claim))
	}
	return seq, n, claim, sorted
}

// renew extends the leases of what this process holds, until the store is closed. A
// process that cannot loses them: others take over, and its own ends come too late.
func (s *Store) renew() {
	shared := s.opt.Shared
	tick := time.NewTicker(shared.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-s.w.Stopping():
			return
		case <-tick.C:
		}
		for ls := s.held.older(s.now().Add(shared.Lease * 2 / 3)); len(ls) > 0; {
			part := ls[:min(len(ls), 1000)]
			ls = ls[len(part):]
			if err := s.extend(part); err != nil && !errors.Is(err, gaff.ErrStopped) {
				s.opt.Log.Warn("leases not renewed; other nodes may take over", "deliveries", len(part), "error", err)
				break
			}
		}
	}
}

// older are the leases that end before a time.
func (h *leases) older(before time.Time) (ls []gaff.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, l := range h.leases {
		if l.until.Before(before) {
			ls = append(ls, gaff.Lease{Event: key.seq, Delivery: key.n, Claim: l.claim})
		}
	}
	return ls
}

func (s *Store) extend(ls []gaff.Lease) error {
	var until time.Time
	renewed := map[deliveryKey]bool{}
	seq, n, claim, sorted := leaseArrays(ls)
	err := s.w.Do(context.Background(), &op{Run: func(tx *tx) error {
		clear(renewed)
		until = tx.leaseEnd()
		return tx.each(func(rows *sql.Rows) error {
			var key deliveryKey
			err := rows.Scan(&key.seq, &key.n)
			renewed[key] = true
			tx.wrote = true
			return err
		}, `update delivery d set leased_until = $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as u(seq, n, claim)
			where d.seq = u.seq and d.n = u.n and d.claim = u.claim and d.state + 0 < 3 and d.leased_until is not null
			returning d.seq, d.n`, seq, n, claim, micros(until))
	}})
	if err != nil {
		return err
	}
	lost := 0
	for _, l := range sorted {
		key := deliveryKey{l.Event, l.Delivery}
		s.held.mu.Lock()
		if had, ok := s.held.leases[key]; ok && had.claim == l.Claim {
			if renewed[key] {
				had.until = until
				s.held.leases[key] = had
			} else {
				delete(s.held.leases, key)
				lost++
			}
		}
		s.held.mu.Unlock()
	}
	if lost > 0 {
		s.opt.Log.Warn("leases lost: other nodes have taken over", "deliveries", lost)
	}
	return nil
}

// releaseAll gives back what this process still holds, when it ends.
func (s *Store) releaseAll() {
	if s.opt.Shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.Shared.TxTime)
	defer cancel()
	if ls := s.held.older(s.now().Add(24 * time.Hour)); len(ls) > 0 {
		_ = s.Release(ctx, ls)
	}
}
