package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
)

// rowCost is added to the bytes of a quarantined request.
const rowCost = 256

// quarantine stores a rejected request as it was received, and removes the oldest ones over the
// limit of bytes.
func (t *tx) quarantine(rejectionID string, r *gaff.Request) error {
	head := encodeRequest(r, gaff.Verification{}, "")
	size := int64(len(head)+len(r.Body)) + rowCost
	if size > t.s.opt.MaxQuarantine/4 {
		return nil
	}
	if _, err := t.exec(`insert into quarantine (rejection_id, received_at, size, request, body) values ($1, $2, $3, $4, $5)`,
		rejectionID, micros(r.ReceivedAt), size, head, orEmpty(r.Body)); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	if t.x.added += size; t.db.concurrent() && t.x.added > t.s.opt.MaxQuarantine/16 {
		t.x.quarantined = -1 - size // other connections add too: the sum is unknown
	}
	if t.x.quarantined += size; t.x.quarantined >= size && t.x.quarantined <= t.s.opt.MaxQuarantine {
		return nil
	}
	// The sum is unknown (less than zero), or over the limit. A quarter is freed at a time, so
	// that this need not run for each.
	if _, err := t.exec(`with `+fairRejections+`
		delete from quarantine where (select coalesce(sum(size), 0) from quarantine) > $1 and seq in (
			select seq from (select q.seq, sum(q.size) over (order by coalesce(f.share, 1000000000), q.seq desc) as total
				from quarantine q left join fair f on f.id = q.rejection_id) as kept where total > $2)`,
		t.s.opt.MaxQuarantine, t.s.opt.MaxQuarantine/4*3); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	t.x.added = 0
	return t.row([]any{&t.x.quarantined}, `select coalesce(sum(size), 0) from quarantine`)
}

// pruneEvery is for one process. Of several that write, each checks more often, since the
// others add rows too.
const pruneEvery = 10 * time.Minute

// expireQuarantined removes expired quarantined requests, now and then.
func (t *tx) expireQuarantined() error {
	every := pruneEvery
	if t.db.concurrent() {
		every /= 10
	}
	if t.now.Sub(t.x.expiredAt) < every {
		return nil
	}
	t.x.expiredAt = t.now
	t.x.quarantined = -1 // the next one sums up again
	_, err := t.exec(`delete from quarantine where received_at < $1`, micros(t.now.Add(-t.s.opt.QuarantineFor)))
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

// Quarantined returns a rejected request as it was received.
func (s *Store) Quarantined(ctx context.Context, rejectionID string) (*gaff.Request, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var received int64
	var head, body []byte
	err := s.read.QueryRowContext(ctx, `select received_at, request, body from quarantine where rejection_id = $1 and received_at >= $2`,
		rejectionID, micros(time.Now().Add(-s.opt.QuarantineFor))).Scan(&received, &head, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, missing("request of rejection", rejectionID)
	}
	if err != nil {
		return nil, s.fault(ctx, "quarantine", err)
	}
	r, _, _ := decodeRequest(head)
	r.Body, r.ReceivedAt = orEmpty(body), fromMicros(received)
	return r, nil
}

// Rescued records that a rejected request became an event, and removes its whole copy.
func (s *Store) Rescued(ctx context.Context, rejectionID, eventID string) error {
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		if _, err := tx.exec(`update rejection set rescued_as = $1 where id = $2`, eventID, rejectionID); err != nil {
			return err
		}
		var size int64
		err := tx.returning([]any{&size}, `delete from quarantine where rejection_id = $1 returning size`, rejectionID)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if tx.x.quarantined >= size {
			tx.x.quarantined -= size
		}
		return err
	}})
}
