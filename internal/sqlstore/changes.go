package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"gaff"
	"gaff/internal/excerpt"
)

// change is one item of the change log, in its stored form.
type change struct {
	Kind   string `json:"k"`
	Ref    string `json:"r"`
	Status string `json:"s"`
	Source string `json:"o,omitempty"`
}

func (t *tx) change(kind, ref, status, source string) {
	t.changes = append(t.changes, change{kind, ref, status, source})
}

// writeChanges appends the changes of the transaction to the log, and now and then removes
// the oldest ones.
func (t *tx) writeChanges() error {
	if len(t.changes) == 0 {
		return nil
	}
	items, err := json.Marshal(t.changes)
	if err != nil {
		return err
	}
	if err := t.db.writeChange(t, items); err != nil {
		return err
	}
	if t.x.changes++; t.x.changes < int64(t.s.opt.MaxChanges)/20 {
		return nil
	}
	t.x.changes = 0
	_, err = t.exec(`delete from change where seq in (select seq from change
			where seq < (select min(seq) from (select seq from change order by seq desc limit $1) newest)`+t.db.lockFree()+`)`,
		t.s.opt.MaxChanges)
	return err
}

// Changes reads the change log. An id is the commit's number and the item's in it.
func (s *Store) Changes(ctx context.Context, after string, limit int) (cs []gaff.Change, last string, gone bool, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	cs, last, gone, err = s.changes(ctx, after, limit)
	return cs, last, gone, s.fault(ctx, "changes", err)
}

func (s *Store) changes(ctx context.Context, after string, limit int) (cs []gaff.Change, last string, gone bool, err error) {
	// Rows below the horizon can be read without missing any.
	horizon, err := s.db.horizon(ctx, s)
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
		return nil, "", false, fmt.Errorf("%w: unknown change id %q; take it from the stream", gaff.ErrInvalid, excerpt.Text(after, 40))
	}
	if seq >= horizon {
		return nil, end, true, nil
	}
	if seq < oldest-1 {
		pruned, err := s.changesPruned(ctx)
		if err != nil || pruned {
			return nil, end, pruned, err
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

// changesPruned reports whether a gap before the oldest change means that some were removed. If
// other transactions take numbers too, only a full log means that.
func (s *Store) changesPruned(ctx context.Context) (bool, error) {
	if !s.db.concurrent() {
		return true, nil
	}
	var n int
	err := s.read.QueryRowContext(ctx, `select count(*) from (select 1 from change limit $1) stored`, s.opt.MaxChanges).Scan(&n)
	return n >= s.opt.MaxChanges, err
}

func changeID(seq, item int64) string {
	return strconv.FormatInt(seq, 10) + "-" + strconv.FormatInt(item, 10)
}

func parseChangeID(text string) (seq, item int64, ok bool) {
	a, b, _ := strings.Cut(text, "-")
	seq, err := strconv.ParseInt(a, 10, 64)
	item, err2 := strconv.ParseInt(b, 10, 64)
	return seq, item, err == nil && err2 == nil && seq >= 0
}
