package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gaff"
)

// Changes reads the change log. An id is the commit's number and the item's in it.
func (s *Store) Changes(ctx context.Context, after string, limit int) (cs []gaff.Change, last string, gone bool, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, last, gone, err = s.changes(ctx, after, limit)
	return cs, last, gone, s.fault(ctx, "changes", err)
}

func (s *Store) changes(ctx context.Context, after string, limit int) (cs []gaff.Change, last string, gone bool, err error) {
	// Rows below the horizon can be read without missing any.
	horizon, err := s.horizon(ctx)
	if err != nil {
		return nil, "", false, err
	}
	var oldest int64
	if err := s.read.QueryRowContext(ctx, `select coalesce(min(seq), 0) from change`).Scan(&oldest); err != nil {
		return nil, "", false, err
	}
	end := changeID(horizon-1, 1<<30)
	if after == "" {
		return nil, end, false, nil
	}
	seq, item, ok := parseChangeID(after)
	if !ok {
		return nil, "", false, fmt.Errorf("%w: change id %q is not one of ours", gaff.ErrInvalid, clip(after, 40))
	}
	if seq >= horizon {
		return nil, end, true, nil
	}
	if seq < oldest-1 {
		// Where other transactions take numbers too, a gap does not tell that something was
		// removed; a full log does.
		full := []int{s.opt.MaxChanges}
		if s.opt.Shared != nil {
			if full, err = column[int](ctx, s.read, `select count(*) from (select 1 from change limit $1) kept`, s.opt.MaxChanges); err != nil {
				return nil, "", false, err
			}
		}
		if full[0] >= s.opt.MaxChanges {
			return nil, end, true, nil
		}
	}
	type row struct {
		seq   int64
		items []byte
	}
	rows, err := collect(ctx, s.read, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.seq, &r.items)
		return r, err
	}, `select seq, items from change where seq >= $1 and seq < $3 order by seq limit $2`, seq, limit+1, horizon)
	if err != nil {
		return nil, "", false, err
	}
	last = after
	for _, r := range rows {
		var items []change
		if err := json.Unmarshal(r.items, &items); err != nil {
			return nil, "", false, err
		}
		for i, it := range items {
			if r.seq == seq && int64(i) <= item {
				continue
			}
			if len(cs) == limit {
				return cs, last, false, nil
			}
			last = changeID(r.seq, int64(i))
			cs = append(cs, gaff.Change{ID: last, Kind: it.Kind, Ref: it.Ref, Status: it.Status, Source: it.Source})
		}
	}
	return cs, last, false, nil
}

// horizon is above all rows of the change log that can be read in order.
//
// Where several connections write, a row may be committed after one with a higher number.
// There a row's number is its transaction's, and all below the lowest transaction that is
// still open are there.
func (s *Store) horizon(ctx context.Context) (horizon int64, err error) {
	if s.opt.Shared == nil {
		err = s.read.QueryRowContext(ctx, `select coalesce(max(seq), 0) + 1 from change`).Scan(&horizon)
		return horizon, err
	}
	if err := s.read.QueryRowContext(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::text::bigint`).Scan(&horizon); err != nil {
		return 0, err
	}
	// Ours take no longer than this: one that is open still is another program's, and must not
	// stop the stream.
	old := micros(s.now().Add(-3 * s.opt.Shared.TxTime))
	var passed, newest sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `select (select max(seq) from change where seq >= $1 and at < $2),
		(select max(seq) from change where seq >= $1)`, horizon, old).Scan(&passed, &newest); err != nil {
		return 0, err
	}
	horizon = max(horizon, passed.Int64+1)
	if newest.Int64 >= horizon && s.looking.CompareAndSwap(false, true) {
		// It will be readable in a moment, and nothing else may tell.
		time.AfterFunc(lookAgain, func() {
			s.looking.Store(false)
			s.signalChanged()
		})
	}
	return horizon, nil
}

// lookAgain is when a change that is committed and not yet readable is looked for.
const lookAgain = 20 * time.Millisecond

func changeID(seq, item int64) string {
	return strconv.FormatInt(seq, 10) + "-" + strconv.FormatInt(item, 10)
}

func parseChangeID(text string) (seq, item int64, ok bool) {
	a, b, _ := strings.Cut(text, "-")
	seq, err := strconv.ParseInt(a, 10, 64)
	item, err2 := strconv.ParseInt(b, 10, 64)
	return seq, item, err == nil && err2 == nil && seq >= 0
}
