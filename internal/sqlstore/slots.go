package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gaff/workflow/runs"
)

func (e *effects) TakeSlot(_ context.Context, slot string, limit int) (bool, error) {
	var granted int
	// The row is written even if no place is free: with several writers its lock orders this
	// transaction and one that frees a place, so that one of them sees the other.
	err := e.returning([]any{&granted}, `insert into slot (name, used, granted) values ($1, 1, 1)
		on conflict (name) do update set
			granted = case when slot.used < $2 or $2 < 1 then 1 else 0 end,
			used = case when slot.used < $2 or $2 < 1 then slot.used + 1 else slot.used end
		returning granted`, slot, int64(limit))
	if err != nil {
		return false, fmt.Errorf("take a slot of %s: %w", slot, err)
	}
	return granted == 1, nil
}

func (e *effects) FreeSlot(_ context.Context, slot string) (int, error) {
	var used int
	err := e.returning([]any{&used}, `update slot set used = used - 1 where name = $1 and used > 0 returning used`, slot)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("free a slot of %s: %w", slot, err)
	}
	return used, nil
}

func (e *effects) QueuedRuns(_ context.Context, slot string, limit int) (ids []string, err error) {
	rows, err := e.query(`select r.id from (
			select run, updated_at from run_step where status = 1 and slot_a <> '' and slot_a = $1
			union all
			select run, updated_at from run_step where status = 1 and slot_b <> '' and slot_b = $1) s
		join run r on r.seq = s.run group by r.id order by min(s.updated_at), r.id limit $2`, slot, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("runs queued for %s: %w", slot, err)
	}
	defer rows.Close()
	for rows.Next() {
		var runID string
		if err := rows.Scan(&runID); err != nil {
			return nil, err
		}
		ids = append(ids, runID)
	}
	return ids, rows.Err()
}

// Slots returns the limits that have queued steps.
func (s *Store) Slots(ctx context.Context) ([]runs.SlotUse, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	slots, err := collect(ctx, s.read, func(rows *sql.Rows) (u runs.SlotUse, err error) {
		err = rows.Scan(&u.Slot, &u.Queued, &u.Used)
		return u, err
	}, `select w.name, count(*), coalesce(max(l.used), 0) from (
			select slot_a as name from run_step where status = 1 and slot_a <> ''
			union all
			select slot_b as name from run_step where status = 1 and slot_b <> '') w
		left join slot l on l.name = w.name group by w.name`)
	return slots, s.fault(ctx, "limits", err)
}
