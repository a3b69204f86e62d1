package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"

	"gaff"
	"gaff/internal/httpx"
	"gaff/internal/writer"
)

// Reject stores a rejected request. The oldest ones over the limit are removed. If the context
// ends first, the request is still queued, and is stored later if possible.
func (s *Store) Reject(ctx context.Context, rj *gaff.Rejection) error {
	headers := encodeHeader(nil, rj.Header)
	size := len(headers) + len(rj.Body)
	if rj.Whole != nil {
		size += len(rj.Whole.Body)
	}
	return s.w.Do(ctx, &op{Kind: writer.Note, Bytes: size, Wait: s.opt.AcceptWait, Committed: func() { s.noteRejection(rj) }, Run: func(t *tx) error {
		_, err := t.exec(`insert into rejection
				(id, source, status, reason, method, url, remote_addr, headers, body, body_size, received_at, client)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			rj.ID, rj.Source, int64(rj.Status), rj.Reason, rj.Method, rj.URL, rj.RemoteAddr,
			orEmpty(headers), orEmpty(rj.Body), rj.BodySize, micros(rj.ReceivedAt), httpx.ClientAt(rj.RemoteAddr))
		if err != nil {
			return fmt.Errorf("insert rejection: %w", err)
		}
		source := rj.Source
		if rj.Status == http.StatusNotFound {
			source = "" // source names that untrusted clients invent get no counters
		}
		t.counters(source).rejected++
		if err := t.expireQuarantined(); err != nil {
			return err
		}
		if rj.Whole != nil {
			if err := t.quarantine(rj.ID, rj.Whole); err != nil {
				return err
			}
		}
		if t.x.rejections++; t.x.rejections >= int64(max(t.s.opt.MaxRejections/50, 1)) {
			t.x.rejections = 0
			err = t.evictRejections(t.s.opt.MaxRejections)
		}
		return err
	}})
}

// Rejection returns one rejected request.
func (s *Store) Rejection(ctx context.Context, rejectionID string) (*gaff.Rejection, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	rs, err := collect(ctx, s.read, scanRejection, `select `+rejectionColumns+` from rejection r where r.id = $1`, rejectionID)
	if err == nil && len(rs) == 0 {
		err = missing("rejection", rejectionID)
	}
	if err != nil {
		return nil, s.fault(ctx, "rejection", err)
	}
	return &rs[0].rj, nil
}

// Rejections returns a page of rejected requests, newest first.
func (s *Store) Rejections(ctx context.Context, f gaff.RejectionFilter) (page gaff.Page[gaff.Rejection], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("r.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "rejections", err)
	}
	if f.Source != "" {
		w.add("r.source = ?", f.Source)
	}
	rs, err := collect(ctx, s.read, scanRejection, `select `+rejectionColumns+` from rejection r`+w.String()+
		` order by r.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "rejections", err)
	}
	rs, page.Next = next(rs, limit, func(r storedRejection) int64 { return r.seq })
	for _, r := range rs {
		page.Items = append(page.Items, r.rj)
	}
	return page, nil
}

const rejectionColumns = `r.seq, r.id, r.source, r.status, r.reason, r.method, r.url, r.remote_addr, r.headers, r.body,
	r.body_size, r.received_at, r.rescued_as, exists (select 1 from quarantine q where q.rejection_id = r.id)`

type storedRejection struct {
	seq int64
	rj  gaff.Rejection
}

func scanRejection(rows *sql.Rows) (r storedRejection, err error) {
	var headers []byte
	var received int64
	err = rows.Scan(&r.seq, &r.rj.ID, &r.rj.Source, &r.rj.Status, &r.rj.Reason, &r.rj.Method, &r.rj.URL, &r.rj.RemoteAddr,
		&headers, &r.rj.Body, &r.rj.BodySize, &received, &r.rj.RescuedAs, &r.rj.Rescuable)
	r.rj.Header, r.rj.ReceivedAt = decodeHeader(string(headers)), fromMicros(received)
	return r, err
}
