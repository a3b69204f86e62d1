package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gaff/internal/writer"
)

// eventKey is what an event is known by: two events with the same source and key are one.
type eventKey struct{ source, dedupe string }

func (k eventKey) compare(other eventKey) int {
	return cmp.Or(strings.Compare(k.source, other.source), strings.Compare(k.dedupe, other.dedupe))
}

// eventKeys finds the event of a key on SQLite, where one connection writes.
//
// The keys of senders are random, so each new one changes another page of an index, which the commit
// writes to the log and the checkpoint to the file: more than all the rest of an accepted webhook.
// So keys of new events stay in memory, and are moved into the table event_key in their
// order, many on each page. The table has the keys of all events up to a number, which a setting holds.
// Keys of later events are read when the store is opened. The view event_by_key has all.
type eventKeys struct {
	// recent has keys that are not in the table, moving those that are being moved there.
	recent, moving map[eventKey]int64
	recentBytes    int
	limit          int // of recent
	// order has the keys of moving, nil until they are sorted; next is the first that was not moved.
	order  []eventKey
	next   int
	sorted chan []eventKey
	newest int64 // event of moving
	// upTo is the setting: the table has the keys of all events up to it.
	upTo int64
	// from is the first event that another program may have stored; 0 if none did.
	from int64
	// added counts keys since the store was opened, kept those in memory. idle is set while all of
	// them are to be moved.
	added, kept atomic.Int64
	idle        atomic.Bool
	lastAdded   int64 // added when moveIdle last looked
	// filter is of the table, successor the one that is filled to take its place; nil without one.
	filter, successor atomic.Pointer[keyFilter]
}

// keyChanges are those of a transaction, to be undone by a rollback.
type keyChanges struct {
	added   []eventKey
	removed []removedKey
	next    int  // eventKeys.next when it began
	moved   bool // the last key of moving
	upTo    int64
}

type removedKey struct {
	from map[eventKey]int64
	key  eventKey
	seq  int64
}

const (
	// keysKept is how many keys, and keysKeptBytes how many bytes of them, are in memory before they are
	// moved. While they are moved, half as many new ones come.
	keysKept      = 32 << 10
	keysKeptBytes = 4 << 20
	// keysAtOnce is how many an idle gateway moves in a commit, in front of a webhook that may come then;
	// keysPause is the time between two.
	keysAtOnce = 64
	keysPause  = 20 * time.Millisecond
	// keysIdleTime is how often it looks whether it is idle: whether fewer than keysIdle were added.
	keysIdleTime = 5 * time.Second
	keysIdle     = 1000
)

// eventKeysSetting names the newest event up to which all keys are in the table.
const eventKeysSetting = "event_keys"

// openEventKeys reads the keys that are not in the table.
func openEventKeys(ctx context.Context, db *sql.Conn, limit int) (*eventKeys, error) {
	k := &eventKeys{recent: map[eventKey]int64{}, limit: limit}
	// Without the setting, no key is known to be in the table.
	if _, err := db.ExecContext(ctx, `insert into setting (name, value) values ($1, '0') on conflict (name) do nothing`, eventKeysSetting); err != nil {
		return nil, err
	}
	var moved, newest int64
	err := db.QueryRowContext(ctx, `select cast(value as integer), (select coalesce(max(seq), 0) from event) from setting where name = $1`,
		eventKeysSetting).Scan(&moved, &newest)
	if err != nil {
		return nil, err
	}
	filter, err := keyFilterFor(ctx, db)
	if err != nil {
		return nil, err
	}
	k.filter.Store(filter)
	for newest-moved > int64(2*limit) { // another program stored events
		to := moved + int64(2*limit)
		if err := moveKeys(ctx, db, moved, to); err != nil {
			return nil, err
		}
		moved = to
	}
	k.upTo = moved
	_, err = collect(ctx, db, func(rows *sql.Rows) (none struct{}, err error) { return none, k.scan(rows) },
		`select source, dedupe, seq from event where seq > $1`, moved)
	k.kept.Store(int64(len(k.recent)))
	return k, err
}

// moveKeys moves the keys of a range of events into the table.
func moveKeys(ctx context.Context, db *sql.Conn, after, to int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `insert into event_key (source, dedupe, seq) select source, dedupe, seq from event
		where seq > $1 and seq <= $2 order by source, dedupe on conflict (source, dedupe) do update set seq = excluded.seq`, after, to); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `update setting set value = $2 where name = $1`, eventKeysSetting, fmt.Sprint(to)); err != nil {
		return err
	}
	return tx.Commit()
}

// scan keeps the key of a row of source, dedupe and seq.
func (k *eventKeys) scan(r Row) error {
	var key eventKey
	var seq int64
	if err := r.Scan(&key.source, &key.dedupe, &seq); err != nil {
		return err
	}
	k.keep(key, seq)
	return nil
}

func (k *eventKeys) keep(key eventKey, seq int64) {
	k.recent[key] = seq
	k.recentBytes += len(key.dedupe)
}

// begin is called when a transaction has begun; next is the number of the next event.
func (k *eventKeys) begin(t *tx, next int64) error {
	if k.from != 0 {
		err := t.each(k.scan, `select source, dedupe, seq from event where seq >= $1`, k.from)
		if err != nil {
			return fmt.Errorf("read the keys of events: %w", err)
		}
		k.from = 0
	}
	// Numbers are given again if the newest events were deleted.
	k.newest = min(k.newest, next-1)
	t.keys.upTo = min(k.upTo, next-1)
	if t.keys.upTo < k.upTo {
		if err := t.keysMovedTo(t.keys.upTo); err != nil {
			return err
		}
	}
	if full := len(k.recent) >= k.limit || k.recentBytes >= keysKeptBytes; k.moving == nil && len(k.recent) > 0 && (full || k.idle.Load()) {
		k.beginMove(next - 1)
	}
	t.keys.next = k.next
	return nil
}

// beginMove begins to move the recent keys, which are of events up to newest.
func (k *eventKeys) beginMove(newest int64) {
	k.moving, k.newest, k.recent, k.recentBytes = k.recent, newest, map[eventKey]int64{}, 0
	keys := make([]eventKey, 0, len(k.moving))
	for key := range k.moving {
		keys = append(keys, key)
	}
	sorted := make(chan []eventKey, 1) // webhooks do not wait for it
	go func() {
		slices.SortFunc(keys, eventKey.compare)
		sorted <- keys
	}()
	k.sorted, k.order, k.next = sorted, nil, 0
}

// find returns the event of a key; 0 if it is missing.
func (k *eventKeys) find(t *tx, key eventKey) (seq int64, err error) {
	if seq = cmp.Or(k.recent[key], k.moving[key]); seq == 0 {
		if k.filter.Load().lacks(key) {
			return 0, nil
		}
		err = t.row([]any{&seq}, `select seq from event_key where source = ? and dedupe = ?`, key.source, key.dedupe)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
	// Another program may have deleted the event without its key.
	err = t.row([]any{&seq}, `select seq from event where seq = ? and source = ? and dedupe = ?`, seq, key.source, key.dedupe)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return seq, err
}

// add adds the key of a new event.
func (k *eventKeys) add(t *tx, key eventKey, seq int64) {
	key.dedupe = strings.Clone(key.dedupe) // it may be a part of the body
	k.keep(key, seq)
	t.keys.added = append(t.keys.added, key)
}

// remove removes the key of an event that is about to be deleted.
func (k *eventKeys) remove(t *tx, seq int64) error {
	var key eventKey
	err := t.row([]any{&key.source, &key.dedupe}, `select source, dedupe from event where seq = ?`, seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, from := range []map[eventKey]int64{k.recent, k.moving} {
		if from[key] == seq {
			delete(from, key)
			t.keys.removed = append(t.keys.removed, removedKey{from, key, seq})
		}
	}
	_, err = t.exec(`delete from event_key where source = ? and dedupe = ? and seq = ?`, key.source, key.dedupe, seq)
	return err
}

// move moves up to n keys into the table.
func (k *eventKeys) move(t *tx, n int) error {
	if k.moving == nil || n <= 0 {
		return nil
	}
	if k.order == nil {
		select {
		case k.order = <-k.sorted:
		default:
			return nil
		}
	}
	for ; n > 0 && k.next < len(k.order); k.next++ {
		key := k.order[k.next]
		seq := k.moving[key]
		if seq == 0 { // removed since
			continue
		}
		k.addToFilters(key)
		// A transaction may have moved it before the process was killed.
		if _, err := t.exec(`insert into event_key (source, dedupe, seq) values (?, ?, ?)
			on conflict (source, dedupe) do update set seq = excluded.seq`, key.source, key.dedupe, seq); err != nil {
			return fmt.Errorf("move the keys of events: %w", err)
		}
		n--
	}
	if k.next < len(k.order) {
		return nil
	}
	t.keys.moved, t.keys.upTo = true, k.newest
	return t.keysMovedTo(k.newest)
}

// keysMovedTo writes the number up to which all keys are in the table.
func (t *tx) keysMovedTo(seq int64) error {
	if _, err := t.exec(`update setting set value = ? where name = ?`, fmt.Sprint(seq), eventKeysSetting); err != nil {
		return fmt.Errorf("move the keys of events: %w", err)
	}
	return nil
}

// committed is called after a commit.
func (k *eventKeys) committed(t *tx) {
	k.added.Add(int64(len(t.keys.added)))
	k.upTo = t.keys.upTo
	if t.keys.moved {
		k.moving, k.order, k.next = nil, nil, 0
	}
	k.kept.Store(int64(len(k.recent) + len(k.moving)))
}

// rollback undoes the changes of a transaction.
func (k *eventKeys) rollback(t *tx) {
	for _, key := range t.keys.added {
		if _, ok := k.recent[key]; ok {
			delete(k.recent, key)
			k.recentBytes -= len(key.dedupe)
		}
	}
	for _, removed := range t.keys.removed {
		removed.from[removed.key] = removed.seq
	}
	k.next = t.keys.next
}

// background fills the filters, and moves keys when there is little to do, until ctx ends.
func (k *eventKeys) background(ctx context.Context, s *Store) {
	k.fill(ctx, s, k.filter.Load())
	for sleep(ctx, keysIdleTime) {
		if k.filter.Load().outgrown() {
			k.renew(ctx, s)
		}
		k.moveIdle(ctx, s)
	}
}

// fill fills a filter, and tries again until it succeeds or ctx ends.
func (k *eventKeys) fill(ctx context.Context, s *Store, f *keyFilter) {
	for err := f.fill(ctx, s.read); err != nil && ctx.Err() == nil; err = f.fill(ctx, s.read) {
		s.opt.Log.Warn("the keys of events cannot be read; until they can, each new webhook is searched for among them", "error", err)
		sleep(ctx, keysIdleTime)
	}
}

// renew replaces the filter by one of the keys that the table has now.
func (k *eventKeys) renew(ctx context.Context, s *Store) {
	successor, err := keyFilterFor(ctx, s.read)
	if err != nil {
		return // tried again
	}
	// From this transaction on the writer adds keys to both. Those of the transactions before are in the table, where fill reads them.
	err = s.w.Do(ctx, &op{Kind: writer.Background, Run: func(*tx) error {
		k.successor.Store(successor)
		return nil
	}})
	if err != nil {
		return
	}
	// An operation that was given up may still run, and put its own there.
	if k.fill(ctx, s, successor); successor.complete.Load() && k.successor.Load() == successor {
		k.filter.Store(successor)
	}
	k.successor.Store(nil)
}

// addToFilters loads them in the reverse order of that in which renew stores them: a key is missing in neither.
func (k *eventKeys) addToFilters(key eventKey) {
	if successor := k.successor.Load(); successor != nil {
		successor.add(key)
	}
	k.filter.Load().add(key)
}

// moveIdle moves all keys while the gateway has little to do: a start after that has few to read,
// and so has a search for a key. It ends when webhooks come again, or each of their keys would be moved
// soon after it came, with few others.
func (k *eventKeys) moveIdle(ctx context.Context, s *Store) {
	now := k.added.Load()
	idle := now-k.lastAdded < keysIdle
	k.lastAdded = now
	k.idle.Store(idle)
	defer k.idle.Store(false)
	for idle && k.kept.Load() > 0 && k.added.Load()-now < keysIdle {
		err := s.w.Do(context.Background(), &op{Kind: writer.Background, Rows: keysAtOnce, Run: func(t *tx) error {
			return k.move(t, keysAtOnce)
		}})
		if err != nil || !sleep(ctx, keysPause) {
			return
		}
	}
}
