package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/writer"
)

// maxCopies is how many differing bodies of one id are kept beside the first.
const maxCopies = 5

// Accept keeps an event and its deliveries, or finds the event that is there already.
func (s *Store) Accept(ctx context.Context, p gaff.AcceptParams) (gaff.Receipt, error) {
	row := newEventRow(p.Event)
	var rc gaff.Receipt
	err := s.w.Do(ctx, &op{
		Kind: writer.Accept, Bytes: row.size(), Wait: s.opt.AcceptWait, Dropped: p.Dropped,
		Run: func(tx *tx) error {
			rc = gaff.Receipt{}
			return tx.accept(row, p.Deliveries, p.Take, &rc)
		},
		Abandoned: func() { s.giveBack(rc.Work) },
	})
	if err != nil {
		return gaff.Receipt{}, err
	}
	return rc, nil
}

// AcceptAll keeps several events, and their deliveries, in one commit.
func (s *Store) AcceptAll(ctx context.Context, ps []gaff.AcceptParams) ([]gaff.Receipt, error) {
	rows := make([]eventRow, len(ps))
	size := 0
	for i, p := range ps {
		rows[i] = newEventRow(p.Event)
		size += rows[i].size()
	}
	var rcs []gaff.Receipt
	err := s.w.Do(ctx, &op{
		Kind: writer.Accept, Bytes: size, Wait: s.opt.AcceptWait,
		Dropped: func() {
			for _, p := range ps {
				if p.Dropped != nil {
					p.Dropped()
				}
			}
		},
		Run: func(tx *tx) error {
			rcs = make([]gaff.Receipt, len(ps))
			for i, p := range ps {
				if i == 1 {
					if err := tx.acceptAll(); err != nil { // so that the first has its number
						return err
					}
				}
				if i > 0 {
					rows[i].ev.ParentID = rcs[0].ID // where the whole request stands
				}
				if err := tx.accept(rows[i], p.Deliveries, p.Take, &rcs[i]); err != nil {
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

// eventRow is an event as it is stored, made before the writer's turn.
type eventRow struct {
	ev            *gaff.Event
	dedupe        string
	request, body []byte
	data          []byte
	sum, dataSum  []byte // SHA-256 of body and data
}

// size is how many bytes it holds, as far as they are the sender's.
func (r *eventRow) size() int { return len(r.request) + len(r.body) + len(r.data) }

func newEventRow(ev *gaff.Event) eventRow {
	row := eventRow{ev: ev, dedupe: ev.DedupeKey, body: ev.Data}
	if ev.Request != nil {
		row.request = encodeRequest(ev.Request, ev.Verification)
		row.body = ev.Request.Body
		if !bytes.Equal(ev.Data, row.body) {
			row.data = orEmpty(ev.Data)
		}
	}
	if row.body == nil {
		row.body = []byte{}
	}
	row.sum, row.dataSum = hashOf(row.body), hashOf(row.data)
	if !isPlain(ev.DedupeKey) {
		// Cleaned as any other text, two keys could become one.
		sum := sha256.Sum256([]byte(ev.DedupeKey))
		row.dedupe = "idsha256:" + hex.EncodeToString(sum[:])
	}
	return row
}

// said is the hash of what the sender said, however it was wrapped.
func (r eventRow) said() []byte {
	if r.dataSum != nil {
		return r.dataSum
	}
	return r.sum
}

// acceptance is one accept that waits for the end of its transaction.
type acceptance struct {
	row  eventRow
	ds   []gaff.Delivery
	take []bool
	rc   *gaff.Receipt
}

// accept keeps an event; rc is filled by the end of the transaction.
func (t *tx) accept(row eventRow, ds []gaff.Delivery, take []bool, rc *gaff.Receipt) (err error) {
	if t.s.opt.Shared != nil {
		t.accepting, t.wrote = append(t.accepting, acceptance{row, ds, take, rc}), true
		return nil
	}
	*rc, err = t.acceptNow(row, ds, take)
	return err
}

// findSigned takes over the key of the first event with the same signed content, if there
// is one: the row is a duplicate of that then.
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

func (t *tx) acceptNow(row eventRow, ds []gaff.Delivery, take []bool) (gaff.Receipt, error) {
	ev := row.ev
	if err := t.findSigned(&row); err != nil {
		return gaff.Receipt{}, err
	}
	status, processed := gaff.StatusPending, any(nil)
	if len(ds) == 0 {
		status, processed = gaff.StatusSuccess, micros(ev.ReceivedAt)
	}
	seq := t.x.nextEvent
	n, err := t.exec(`insert into event (seq, source, type, webhook_id, dedupe, correlation, handle,
			status, unhandled, open, dead, occurred_at, received_at, processed_at, updated_at, parent_id, hop)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12, $13, $12, $14, $15)
		on conflict (source, dedupe) do nothing`,
		seq, ev.Source, ev.Type, ev.WebhookID, row.dedupe, ev.CorrelationID, ev.CallbackToken,
		int64(status), flag(len(ds) == 0), int64(len(ds)), nullMicros(ev.OccurredAt), micros(ev.ReceivedAt), processed,
		ev.ParentID, int64(ev.Hop))
	if err != nil {
		return gaff.Receipt{}, fmt.Errorf("insert event: %w", err)
	}
	if err := t.keyUsed(ev); err != nil {
		return gaff.Receipt{}, err
	}
	if n == 0 {
		return t.duplicate(row)
	}
	t.x.nextEvent++
	ev.ID = id.OfEvent(ev.ReceivedAt, seq)
	if _, err := t.exec(`insert into payload (seq, request, body, data, sha256, data_sha256) values ($1, $2, $3, $4, $5, $6)`,
		seq, nilIfEmpty(row.request), row.body, nilIfNil(row.data), row.sum, nilIfNil(row.dataSum)); err != nil {
		return gaff.Receipt{}, fmt.Errorf("insert payload: %w", err)
	}
	rc := gaff.Receipt{ID: ev.ID}
	for i := range ds {
		d, taken, err := t.addDelivery(seq, i+1, ev, ds[i], i < len(take) && take[i])
		if err != nil {
			return gaff.Receipt{}, err
		}
		if taken {
			claim, _ := t.firstClaim()
			rc.Work = append(rc.Work, t.takeDelivery(seq, i+1, claim, d, ev))
		} else if !d.Held {
			t.wake(d.Queue)
		}
	}
	t.received(ev, seq, status)
	return rc, nil
}

// received books an event that was kept.
func (t *tx) received(ev *gaff.Event, seq int64, status gaff.Status) {
	tl := t.counters(ev.Source)
	tl.received++
	tl.status[status]++
	if tl.last = max(tl.last, seq); tl.first == 0 {
		tl.first = seq
	}
	tl.first = min(tl.first, seq)
	t.change("event", ev.ID, status.String(), ev.Source)
}

// newDelivery completes the n-th delivery of an event.
func (t *tx) newDelivery(n int, ev *gaff.Event, d gaff.Delivery) gaff.Delivery {
	d.ID, d.EventID, d.State = id.OfDelivery(ev.ID, n), ev.ID, gaff.StatePending
	d.Source, d.Type, d.WebhookID = ev.Source, ev.Type, ev.WebhookID
	d.CreatedAt, d.UpdatedAt = t.now, t.now
	d.MaxAttempts = max(d.MaxAttempts, 1)
	if d.RunAt.IsZero() {
		d.RunAt = ev.ReceivedAt
	}
	d.RunAt = t.sharedTime(d.RunAt)
	return d
}

// addDelivery inserts the n-th delivery of an event, claimed once already if take asks for
// it and it is due.
func (t *tx) addDelivery(seq int64, n int, ev *gaff.Event, d gaff.Delivery, take bool) (gaff.Delivery, bool, error) {
	d = t.newDelivery(n, ev, d)
	held, err := t.holdBack(d)
	if err != nil {
		return d, false, fmt.Errorf("order delivery: %w", err)
	}
	if held {
		d.Held, d.RunAt = true, fromMicros(never)
	}
	take = take && !d.RunAt.After(t.now)
	var claim int
	var leased any
	if take {
		claim, leased = t.firstClaim()
	}
	_, err = t.exec(`insert into delivery (seq, n, handler, lane, state, max_attempts, run_at, created_at, updated_at,
			okey, ordering, held, claim, leased_until)
		values ($1, $2, $3, $4, 0, $5, $6, $7, $7, $8, $9, $10, $11, $12)`,
		seq, int64(n), d.Handler, d.Queue, int64(d.MaxAttempts), micros(d.RunAt), micros(t.now),
		d.Key, int64(d.Order), flag(held), int64(claim), leased)
	if err != nil {
		return d, false, fmt.Errorf("insert delivery: %w", err)
	}
	return d, take, nil
}

func (t *tx) takeDelivery(seq int64, n, claim int, d gaff.Delivery, ev *gaff.Event) gaff.Work {
	until := t.leaseEnd()
	t.take(deliveryKey{seq, n}, heldLease{claim, until})
	return gaff.Work{
		Lease: gaff.Lease{
			Event: seq, Delivery: n, EventID: ev.ID, Source: ev.Source, Attempt: d.Attempts + 1, Claim: claim, Until: until,
		},
		Delivery: d, Event: ev,
	}
}

// duplicate answers a known id, and keeps its body if it is another than the first one.
func (t *tx) duplicate(row eventRow) (gaff.Receipt, error) {
	var (
		rc  = gaff.Receipt{Duplicate: true}
		seq int64
		at  int64
		old []byte
		sum []byte
	)
	err := t.row([]any{&seq, &at, &old, &sum}, `select e.seq, e.received_at, coalesce(p.data, p.body), coalesce(p.data_sha256, p.sha256) from event e
		left join payload p on p.seq = e.seq where e.source = $1 and e.dedupe = $2`,
		row.ev.Source, row.dedupe)
	if err != nil {
		return rc, fmt.Errorf("find duplicate: %w", err)
	}
	rc.ID = id.OfEvent(fromMicros(at), seq)
	// A body that retention removed can no longer differ.
	// What was said is compared, not how it was wrapped: an item of a batch may come
	// in another batch.
	rc.Conflict = old != nil && !bytes.Equal(old, row.ev.Data)
	if rc.Conflict && bytes.Equal(sum, row.said()) {
		rc.Conflict = false // the stored one is damaged
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
	// The event's row is locked by now, so nobody else counts at the same time.
	var n int64
	err = t.row([]any{&n}, `select count(*) from copy where seq = $1`, seq)
	if err == nil && n < maxCopies {
		_, err = t.exec(`insert into copy (seq, n, received_at, headers, body, sha256) values ($1, $2, $3, $4, $5, $6)`,
			seq, n+1, micros(row.ev.ReceivedAt), orEmpty(row.request), row.body, row.sum)
	}
	if err != nil {
		return rc, fmt.Errorf("keep the differing body: %w", err)
	}
	t.change("event", rc.ID, "conflict", row.ev.Source)
	return rc, nil
}

// restore writes the bytes of a damaged event again, which its sender has sent once more.
func (t *tx) restore(seq int64, row eventRow) error {
	_, err := t.exec(`update payload set body = $2, data = $3, sha256 = $4, data_sha256 = $5 where seq = $1`,
		seq, row.body, nilIfNil(row.data), row.sum, nilIfNil(row.dataSum))
	if err != nil {
		return fmt.Errorf("restore a damaged body: %w", err)
	}
	return nil
}

// Reject keeps a refused request. The oldest are dropped when there are more than the limit. If
// the context ends first, the request is queued, and is kept later if that is possible.
func (s *Store) Reject(ctx context.Context, rj *gaff.Rejection) error {
	headers := encodeHeader(nil, rj.Header)
	size := len(headers) + len(rj.Body)
	if rj.Whole != nil {
		size += len(rj.Whole.Body)
	}
	return s.w.Do(ctx, &op{Kind: writer.Note, Bytes: size, Wait: s.opt.AcceptWait, Committed: func() { s.noteRejection(rj) }, Run: func(tx *tx) error {
		_, err := tx.exec(`insert into rejection
				(id, source, status, reason, method, url, remote_addr, headers, body, body_size, received_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			rj.ID, rj.Source, int64(rj.Status), rj.Reason, rj.Method, rj.URL, rj.RemoteAddr,
			orEmpty(headers), orEmpty(rj.Body), rj.BodySize, micros(rj.ReceivedAt))
		if err != nil {
			return fmt.Errorf("insert rejection: %w", err)
		}
		source := rj.Source
		if rj.Status == http.StatusNotFound {
			source = "" // strangers' inventions must not become rows of their own
		}
		tx.counters(source).rejected++
		if err := tx.remove(); err != nil {
			return err
		}
		if rj.Whole != nil {
			if err := tx.quarantine(rj.ID, rj.Whole); err != nil {
				return err
			}
		}
		if tx.x.rejections++; tx.x.rejections >= int64(max(tx.s.opt.MaxRejections/50, 1)) {
			tx.x.rejections = 0
			err = tx.evictRejections(tx.s.opt.MaxRejections)
		}
		return err
	}})
}

func nilIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// nilIfNil keeps a nil slice from becoming an empty value.
func nilIfNil(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// encodeRequest stores a request the way HTTP writes it, so that header bytes that are
// not UTF-8 survive. Lines that begin with a colon are ours.
func encodeRequest(r *gaff.Request, v gaff.Verification) []byte {
	b := make([]byte, 0, 512)
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URL...)
	b = append(b, '\n')
	for _, line := range [...]struct{ name, value string }{
		{":remote ", r.RemoteAddr}, {":scheme ", v.Scheme}, {":key ", v.KeyID},
		{":subject ", v.Subject}, {":dialect ", v.Dialect},
	} {
		if line.value != "" {
			b = append(b, line.name...)
			b = append(b, oneLine(line.value)...)
			b = append(b, '\n')
		}
	}
	for _, place := range v.Secrets {
		b = append(b, ":secret "...)
		b = append(b, oneLine(place)...)
		b = append(b, '\n')
	}
	return encodeHeader(b, r.Header)
}

func encodeHeader(b []byte, header http.Header) []byte {
	for name, values := range header {
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ':', ' ')
			b = append(b, oneLine(value)...)
			b = append(b, '\n')
		}
	}
	return b
}

// oneLine guards the stored form; HTTP lets no line break into a header, but a caller
// of the library may.
func oneLine(value string) string {
	if strings.ContainsAny(value, "\r\n") {
		return strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	return value
}

func decodeRequest(b []byte) (*gaff.Request, gaff.Verification) {
	r, v := &gaff.Request{}, gaff.Verification{}
	line, rest, _ := strings.Cut(string(b), "\n")
	r.Method, r.URL, _ = strings.Cut(line, " ")
	for strings.HasPrefix(rest, ":") {
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case ":remote":
			r.RemoteAddr = value
		case ":scheme":
			v.Scheme = value
		case ":key":
			v.KeyID = value
		case ":subject":
			v.Subject = value
		case ":dialect":
			v.Dialect = value
		case ":secret":
			v.Secrets = append(v.Secrets, value)
		}
	}
	r.Header = decodeHeader(rest)
	return r, v
}

func decodeHeader(text string) http.Header {
	header := http.Header{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if ok {
			header[name] = append(header[name], value)
		}
	}
	return header
}

// eventColumns are scanned by scanEvent.
const eventColumns = `e.seq, e.source, e.type, e.webhook_id, e.dedupe, e.correlation, e.handle,
	e.occurred_at, e.received_at, e.parent_id, e.hop`

type eventScan struct {
	seq                 int64
	ev                  gaff.Event
	occurred            sql.NullInt64
	received            int64
	request, body, data []byte
	sum, dataSum        []byte
}

func (sc *eventScan) columns() []any {
	return []any{
		&sc.seq, &sc.ev.Source, &sc.ev.Type, &sc.ev.WebhookID, &sc.ev.DedupeKey, &sc.ev.CorrelationID,
		&sc.ev.CallbackToken, &sc.occurred, &sc.received, &sc.ev.ParentID, &sc.ev.Hop,
	}
}

// payloadColumns are scanned by payload, after eventColumns.
const payloadColumns = `p.request, p.body, p.data, p.sha256, p.data_sha256`

func (sc *eventScan) payload() []any {
	return []any{&sc.request, &sc.body, &sc.data, &sc.sum, &sc.dataSum}
}

func (sc *eventScan) event() *gaff.Event {
	ev := sc.ev
	ev.OccurredAt, ev.ReceivedAt = fromNull(sc.occurred), fromMicros(sc.received)
	ev.ID = id.OfEvent(ev.ReceivedAt, sc.seq)
	body, data := sc.body, sc.data
	if ev.Damaged = differs(body, sc.sum) || differs(data, sc.dataSum); ev.Damaged {
		body, data = nil, nil
	}
	if sc.request != nil {
		ev.Request, ev.Verification = decodeRequest(sc.request)
		ev.Request.Body, ev.Request.ReceivedAt = orEmpty(body), ev.ReceivedAt
	}
	if ev.Data = data; ev.Data == nil {
		ev.Data = slices.Clip(body)
	}
	return &ev
}

// eventSeq finds an event by its id.
func (t *tx) eventSeq(eventID string) (int64, error) {
	seq, ok := id.ParseEvent(eventID)
	at := int64(0)
	err := sql.ErrNoRows
	if ok {
		err = t.row([]any{&at}, `select received_at from event where seq = $1`+t.lock(), seq)
	}
	if errors.Is(err, sql.ErrNoRows) || err == nil && id.OfEvent(fromMicros(at), seq) != eventID {
		return 0, missing("event", eventID)
	}
	return seq, err
}

func missing(kind, name string) error {
	return fmt.Errorf("%s %s: %w", kind, clip(name, 60), gaff.ErrNotFound)
}

// loadEvent reads an event with its payload; kept is false where retention has removed that.
func (t *tx) loadEvent(seq int64) (ev *gaff.Event, kept bool, err error) {
	var sc eventScan
	var payload sql.NullInt64
	err = t.row(append(append(sc.columns(), sc.payload()...), &payload), `select `+eventColumns+`, `+payloadColumns+`, p.seq
		from event e left join payload p on p.seq = e.seq where e.seq = $1`, seq)
	if err != nil {
		return nil, false, fmt.Errorf("load event: %w", err)
	}
	return t.s.eventOf(&sc), payload.Valid, nil
}
