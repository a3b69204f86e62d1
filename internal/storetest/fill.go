package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// FillSource is the name of one of the sources that Fill makes, "source-0" to "source-4".
const FillSource = "source-2"

// Fill puts n old events into an empty, migrated database ("sqlite" or "postgres"), spread
// evenly over a time until now: with bodies of some 600 bytes, a delivery and an attempt
// each, one in fifty failed and all others done. It does not sync: it is for benchmarks.
func Fill(ctx context.Context, dialect string, c *sql.Conn, n int, over time.Duration, progress func(done int)) error {
	const part = 50_000
	start := time.Now().Add(-over)
	step := over / time.Duration(n)
	series := `generate_series($1::bigint, $2::bigint) s(i)`
	body := `convert_to('{"id":"wh-' || i || '","type":"order.paid","order":"order-' || i || '","pad":"' || repeat(md5(i::text), 16) || '"}', 'UTF8')`
	if dialect == "sqlite" {
		series = `s`
		body = `cast('{"id":"wh-' || i || '","type":"order.paid","order":"order-' || i || '","pad":"' || hex(zeroblob(128)) || hex(randomblob(128)) || '"}' as blob)`
		if _, err := c.ExecContext(ctx, `pragma synchronous = off`); err != nil {
			return err
		}
	} else if _, err := c.ExecContext(ctx, `set synchronous_commit = off`); err != nil {
		return err
	}
	for first := 1; first <= n; first += part {
		last := min(first+part-1, n)
		with := ``
		if dialect == "sqlite" {
			with = `with recursive s(i) as (select $1 union all select i + 1 from s where i < $2) `
		}
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		at := fmt.Sprintf(`(%d + i * %d)`, start.UnixMicro(), step.Microseconds())
		failed := `case when i % 50 = 0 then `
		for _, text := range []string{
			`insert into event (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead, error, received_at,
				processed_at, updated_at, parent_id, hop) ` + with + `select i, 'source-' || (i % 5), 'type-' || (i % 3), 'wh-' || i, 'wh-' || i, '', '',
				` + failed + `2 else 1 end, 0, 0, ` + failed + `1 else 0 end, ` + failed + `'the destination is gone' else '' end, ` + at + `, ` + at + ` + 4000, ` + at + ` + 4000, '', 0
				from ` + series,
			`insert into payload (seq, request, body) ` + with + `select i, null, ` + body + ` from ` + series,
			`insert into delivery (seq, n, handler, state, attempts, max_attempts, run_at, created_at, updated_at, finished_at) ` + with +
				`select i, 1, 'effects/' || (i % 5), ` + failed + `4 else 3 end, 1, 8, ` + at + `, ` + at + `, ` + at + ` + 4000, ` + at + ` + 4000 from ` + series,
			`insert into attempt (seq, n, number, outcome, started_at, duration, error, detail) ` + with +
				`select i, 1, 1, ` + failed + `'failed' else 'succeeded' end, ` + at + `, 3000, '', '' from ` + series,
		} {
			if _, err := tx.ExecContext(ctx, text, int64(first), int64(last)); err != nil {
				_ = tx.Rollback()
				return fmt.Errorf("%.40s: %w", text, err)
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		progress(last)
	}
	if _, err := c.ExecContext(ctx, `insert into tally (source, minute, shard, received, success, error, first_seq, last_seq)
		select source, received_at / 60000000, 0, count(*), sum(case when status = 1 then 1 else 0 end), sum(case when status = 2 then 1 else 0 end),
			min(seq), max(seq) from event group by source, received_at / 60000000`); err != nil {
		return err
	}
	if dialect == "sqlite" {
		// As a gateway that stored them would have it: otherwise the next start moves all keys.
		for _, text := range []string{
			`insert into event_key (source, dedupe, seq) select source, dedupe, seq from event where true order by source, dedupe
				on conflict (source, dedupe) do update set seq = excluded.seq`,
			`update setting set value = cast((select max(seq) from event) as text) where name = 'event_keys'`,
			`pragma wal_checkpoint(truncate)`,
		} {
			if _, err := c.ExecContext(ctx, text); err != nil {
				return fmt.Errorf("%.40s: %w", text, err)
			}
		}
		return nil
	}
	if _, err := c.ExecContext(ctx, `select setval('event_seq', $1)`, int64(n)); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, `vacuum (analyze)`)
	return err
}
