package sqlstore

import (
	"fmt"

	"gaff"
)

// counters are what a transaction adds to the totals of a source and a minute.
type counters struct {
	source   string
	minute   int64
	received int64
	status   [3]int64 // the growth of each status
	rejected int64
	// first and last are the lowest and highest number of the new events; 0 without any.
	first, last int64
}

var addCounters = insertRows("tally", `source text, minute bigint, shard bigint, received bigint, pending bigint, success bigint,
	error bigint, rejected bigint, first_seq bigint, last_seq bigint`, `on conflict (source, minute, shard) do update set
		received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
		success = tally.success + excluded.success, error = tally.error + excluded.error,
		rejected = tally.rejected + excluded.rejected,
		first_seq = coalesce(tally.first_seq, excluded.first_seq), last_seq = coalesce(excluded.last_seq, tally.last_seq)`)

// counters returns those of a source and the current minute.
func (t *tx) counters(source string) *counters { return t.countersOf(source, t.now.Unix()/60) }

func (t *tx) countersOf(source string, minute int64) *counters {
	for i := range t.counted {
		if t.counted[i].source == source && t.counted[i].minute == minute {
			return &t.counted[i]
		}
	}
	t.counted = append(t.counted, counters{source: source, minute: minute})
	return &t.counted[len(t.counted)-1]
}

// countReceived counts a new event.
func (t *tx) countReceived(source string, seq int64, status gaff.Status) {
	c := t.counters(source)
	c.received++
	c.status[status]++
	if c.last = max(c.last, seq); c.first == 0 {
		c.first = seq
	}
	c.first = min(c.first, seq)
}

// countMoved counts an event whose status changed.
func (t *tx) countMoved(source string, from, to gaff.Status) {
	if from != to {
		c := t.counters(source)
		c.status[from]--
		c.status[to]++
	}
}

// writeCounters writes a row at a time: two sources can be stored under the same text.
func (t *tx) writeCounters() error {
	for _, c := range t.counted {
		if err := t.db.write(t, &addCounters, [][]any{{
			c.source, c.minute, t.x.shard, c.received, c.status[0], c.status[1], c.status[2], c.rejected,
			nullZero(c.first), nullZero(c.last),
		}}); err != nil {
			return fmt.Errorf("count events: %w", err)
		}
	}
	return nil
}

func nullZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}
