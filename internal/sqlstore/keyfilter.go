package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
)

// keyFilter is a Bloom filter of the keys in the table event_key: it knows of nearly every new key that
// it is not there, without a search on a page that is another one each time.
//
// Keys are added before their transaction commits, by the one goroutine that writes; fill adds those that
// the table had before, beside it. Until that is done, every key may be in the table. Keys stay when
// their events are deleted.
type keyFilter struct {
	seed   maphash.Seed
	blocks []filterBlock // a power of 2
	// complete is set when the filter has all keys of the table, of which filled were there by fill.
	complete atomic.Bool
	filled   int64
	added    atomic.Int64 // keys, filled ones too
}

// filterBlock has all bits of the keys that belong to it, in one line of the processor's cache.
type filterBlock [filterBlockBits / 64]atomic.Uint64

const (
	filterBlockBits = 512
	// filterKeyBits is how many bits of the filter there are for a key, of which filterProbes are set: of new keys,
	// one in 500 is searched for. With twice as many keys as expected it is one in 40.
	filterKeyBits = 16
	filterProbes  = 6
	// filterLeast and filterMost bound for how many keys a filter is made: of 512 KiB to 16 MiB.
	filterLeast = 256 << 10
	filterMost  = 8 << 20
	// filterRead is how many keys fill reads at a time.
	filterRead = 2000
)

// newKeyFilter returns a filter for as many keys.
func newKeyFilter(keys int64) *keyFilter {
	blocks := min(max(keys, filterLeast), filterMost) * filterKeyBits / filterBlockBits
	return &keyFilter{seed: maphash.MakeSeed(), blocks: make([]filterBlock, 1<<bits.Len64(uint64(blocks-1)))}
}

// keyFilterFor returns a filter for twice as many keys as there are numbers of events in use.
func keyFilterFor(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (*keyFilter, error) {
	var events int64
	// Each of the two is a look at one end of the table; one query of both would read all of it.
	err := db.QueryRowContext(ctx, `select coalesce((select max(seq) from event) - (select min(seq) from event), 0)`).Scan(&events)
	if err != nil {
		return nil, fmt.Errorf("read the numbers of events: %w", err)
	}
	return newKeyFilter(2 * events), nil
}

// outgrown reports that a new filter would be better: it has more keys than it was made for, and twice as many
// as the table had. Those of deleted events are among them.
func (f *keyFilter) outgrown() bool {
	made := int64(len(f.blocks)) * filterBlockBits / filterKeyBits
	return f.added.Load() > max(made, 2*f.filled)
}

// place returns the block of a key, and a number of which each nine bits are one of its bits.
func (f *keyFilter) place(key eventKey) (block *filterBlock, at uint64) {
	h := maphash.String(f.seed, key.dedupe) ^ bits.RotateLeft64(maphash.String(f.seed, key.source), 32)
	// The low bits of h choose the block; the others, spread by the golden ratio, the bits in it.
	return &f.blocks[h&uint64(len(f.blocks)-1)], (h >> 20) * 0x9e3779b97f4a7c15
}

// add adds a key that comes into the table.
func (f *keyFilter) add(key eventKey) {
	f.added.Add(1)
	f.set(key)
}

func (f *keyFilter) set(key eventKey) {
	block, at := f.place(key)
	for range filterProbes {
		block[at>>6&7].Or(1 << (at & 63))
		at >>= 9
	}
}

// lacks reports that the table does not have a key.
func (f *keyFilter) lacks(key eventKey) bool {
	if !f.complete.Load() {
		return false
	}
	block, at := f.place(key)
	for range filterProbes {
		if block[at>>6&7].Load()&(1<<(at&63)) == 0 {
			return true
		}
		at >>= 9
	}
	return false
}

// fill adds the keys of the table, a part at a time so that the gateway has most of a processor.
func (f *keyFilter) fill(ctx context.Context, db *sql.DB) error {
	var last eventKey
	f.filled = 0
	for {
		from := time.Now()
		n, err := f.fillAfter(ctx, db, &last)
		if err != nil {
			return fmt.Errorf("read the keys of events: %w", err)
		}
		if f.filled += int64(n); n < filterRead {
			f.added.Add(f.filled)
			f.complete.Store(true)
			return nil
		}
		if !sleep(ctx, 3*time.Since(from)) {
			return ctx.Err()
		}
	}
}

// fillAfter adds up to filterRead keys behind last, and moves it to the last of them.
func (f *keyFilter) fillAfter(ctx context.Context, db *sql.DB, last *eventKey) (n int, err error) {
	rows, err := db.QueryContext(ctx, `select source, dedupe from event_key where (source, dedupe) > ($1, $2) order by source, dedupe limit $3`,
		last.source, last.dedupe, filterRead)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		if err := rows.Scan(&last.source, &last.dedupe); err != nil {
			return n, err
		}
		f.set(*last)
	}
	return n, rows.Err()
}

// sleep waits, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
