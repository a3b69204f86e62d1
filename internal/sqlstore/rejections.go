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
	if f.Reason != "" {
		text := contains(plain(f.Reason))
		w.add(`(lower(r.reason) like lower(?) escape '\' or r.remote_addr like ? escape '\')`, text, text)
	}
	w.between("r.received_at", f.Since, f.Until)
	rs, err := collect(ctx, s.lists(ctx), scanRejection, `select `+rejectionColumns+` from rejection r`+w.String()+
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

// fairRejections ranks rejections so that a flood cannot evict those of others: sources
// share equally (unknown ones are one), within a source its clients and statuses
// do, and of those the newest come first. Rows of older versions have no client. Rows with a lower share stay.
const fairRejections = `ranked as (select seq, id, case when status = 404 then '' else source end as part,
		row_number() over (partition by source, status, case client when '' then remote_addr else client end order by seq desc) as nth from rejection),
	fair as (select seq, id, row_number() over (partition by part order by nth, seq desc) as share from ranked)`

// evictRejections removes the rejections over the limit, and a tenth of it more, so that it
// need not run for each.
func (t *tx) evictRejections(limit int) error {
	var count int64
	if err := t.row([]any{&count}, `select count(*) from rejection`); err != nil {
		return fmt.Errorf("count rejections: %w", err)
	}
	if count <= int64(limit) {
		return nil
	}
	_, err := t.exec(`with `+fairRejections+`
		delete from rejection where seq in (select seq from fair order by share, seq desc limit $1 offset $2)`,
		count, max(limit-limit/10, 1))
	if err != nil {
		return fmt.Errorf("evict rejections: %w", err)
	}
	return nil
}
