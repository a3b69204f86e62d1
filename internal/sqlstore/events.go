package sqlstore

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// eventRow is an event as it is stored. It is made before the operation is queued.
type eventRow struct {
	ev            *gaff.Event
	dedupe        string
	request, body []byte
	data          []byte
	sum, dataSum  []byte // SHA-256 of body and data
}

// size is the number of bytes of the sender's that it holds.
func (r *eventRow) size() int { return len(r.request) + len(r.body) + len(r.data) }

func newEventRow(ev *gaff.Event) eventRow {
	row := eventRow{ev: ev, dedupe: ev.DedupeKey, body: ev.Data}
	if ev.Request != nil {
		row.request = encodeRequest(ev.Request, ev.Verification, ev.ProjectID)
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
		// Cleaned like other texts, two keys could become one.
		sum := sha256.Sum256([]byte(ev.DedupeKey))
		row.dedupe = "idsha256:" + hex.EncodeToString(sum[:])
	}
	return row
}

// contentSum is the hash of the event's data, or of the body if that is the data.
func (r eventRow) contentSum() []byte {
	if r.dataSum != nil {
		return r.dataSum
	}
	return r.sum
}

// eventInserted are the columns of a new event. The first is its number, or its place in the
// order of numbers until it has one.
const eventInserted = `seq bigint, source text, type text, webhook_id text, dedupe text, correlation text, handle text,
	status bigint, unhandled bigint, open bigint, dead bigint, occurred_at bigint, received_at bigint, processed_at bigint,
	updated_at bigint, parent_id text, hop bigint`

// Places of columns in eventInserted.
const (
	eventSource = 1
	eventDedupe = 4
)

var (
	insertEvent = insertRows("event", eventInserted, ``)
	// Only events that violate a schema have a row.
	insertViolation = insertRows("violation", `seq bigint, problems bigint, detail bytea`, ``)
	insertPayload   = insertRows("payload", `seq bigint, request bytea, body bytea, data bytea, sha256 bytea, data_sha256 bytea`, ``)
)

// status of a new event: without open deliveries it is processed.
func (a *acceptance) status() gaff.Status {
	if a.open() == 0 {
		return gaff.StatusSuccess
	}
	return gaff.StatusPending
}

// open is how many deliveries of a new event are not done.
func (a *acceptance) open() int {
	if a.effects != nil {
		return len(a.ds) - 1
	}
	return len(a.ds)
}

// columns returns eventInserted of an event that is stored now.
func (a *acceptance) columns(now time.Time) []any {
	ev, status, updated := a.row.ev, a.status(), micros(a.row.ev.ReceivedAt)
	var processed any
	if a.effects != nil {
		updated = micros(now)
		processed = updated
	} else if status == gaff.StatusSuccess {
		processed = updated
	}
	return []any{
		a.place, ev.Source, ev.Type, ev.WebhookID, a.row.dedupe, ev.CorrelationID, ev.CallbackToken, int64(status),
		flag(len(a.ds) == 0), int64(a.open()), int64(0), nullMicros(ev.OccurredAt), micros(ev.ReceivedAt), processed,
		updated, ev.ParentID, int64(ev.Hop),
	}
}

// payload returns the columns of insertPayload.
func (r *eventRow) payload(seq int64) []any {
	return []any{seq, nilIfEmpty(r.request), r.body, nilIfNil(r.data), r.sum, nilIfNil(r.dataSum)}
}

// eventColumns are scanned by eventScan.columns.
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
		ev.Request, ev.Verification, ev.ProjectID = decodeRequest(sc.request)
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
		err = t.row([]any{&at}, `select received_at from event where seq = $1`+t.db.lock(), seq)
	}
	if errors.Is(err, sql.ErrNoRows) || err == nil && id.OfEvent(fromMicros(at), seq) != eventID {
		return 0, missing("event", eventID)
	}
	return seq, err
}

func missing(kind, name string) error {
	return fmt.Errorf("%s %s: %w", kind, excerpt.Text(name, 60), gaff.ErrNotFound)
}

// loadEvent reads an event with its payload; stored is false if retention has removed that.
func (t *tx) loadEvent(seq int64) (ev *gaff.Event, stored bool, err error) {
	var sc eventScan
	var payload sql.NullInt64
	err = t.row(append(append(sc.columns(), sc.payload()...), &payload), `select `+eventColumns+`, `+payloadColumns+`, p.seq
		from event e left join payload p on p.seq = e.seq where e.seq = $1`, seq)
	if err != nil {
		return nil, false, fmt.Errorf("load event: %w", err)
	}
	return t.s.eventOf(&sc), payload.Valid, nil
}

// eventByKey finds the event of a source and key; seq is 0 if it is missing. received is its time, in microseconds.
func (t *tx) eventByKey(source, dedupe string) (seq, received int64, err error) {
	condition, args, err := t.db.keyed(t, source, dedupe)
	if err != nil {
		return 0, 0, err
	}
	err = t.row([]any{&seq, &received}, `select e.seq, e.received_at from event e where `+condition, args...)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return seq, received, err
}
