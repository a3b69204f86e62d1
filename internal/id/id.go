// Package id generates the ids of rows: a prefix for the kind, and a ULID, which sorts by time
// and reads well in a log.
package id

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Prefixes of the kinds.
const (
	Event     = "evt_"
	Delivery  = "dlv_"
	Rejection = "rej_"
	Job       = "job_"
	Media     = "med_"
	APIKey    = "apk_"
	Session   = "ses_"
	Audit     = "aud_"
	Run       = "run_"
	Bulk      = "blk_"
	Scheduled = "sch_"
	Replay    = "rpl_"
	// Key is for deduplication keys of events that are never duplicates.
	Key = "key_"
)

// New returns prefix and a fresh ULID of the time t.
func New(prefix string, t time.Time) string {
	var u ulid.ULID
	_ = u.SetTime(ms(t))
	binary.BigEndian.PutUint16(u[6:], uint16(rand.Uint32()))
	binary.BigEndian.PutUint64(u[8:], rand.Uint64())
	return text(prefix, u)
}

// OfEvent returns an event's id, made of its time and its number in the store, so that finding
// it needs no index. Ids sort as numbers do.
func OfEvent(t time.Time, seq int64) string {
	var u ulid.ULID
	_ = u.SetTime(ms(t))
	binary.BigEndian.PutUint64(u[8:], uint64(seq))
	return text(Event, u)
}

// ParseEvent is the reverse of [OfEvent]; ok is false for any other text. A caller that
// finds an event by this number must compare its id.
func ParseEvent(eventID string) (seq int64, ok bool) {
	rest, ok := strings.CutPrefix(eventID, Event)
	if !ok {
		return 0, false
	}
	u, err := ulid.ParseStrict(rest)
	if err != nil || text(Event, u) != eventID {
		return 0, false
	}
	seq = int64(binary.BigEndian.Uint64(u[8:]))
	return seq, seq > 0
}

// Made reports whether a text has the form of an id that gaff makes: a prefix and a ULID, and for a
// delivery its number.
func Made(text string) bool {
	if eventID, _, ok := ParseDelivery(text); ok {
		text = eventID
	}
	if len(text) != 4+ulid.EncodedSize || text[3] != '_' {
		return false
	}
	_, err := ulid.ParseStrict(text[4:])
	return err == nil
}

// ms returns a time as in a ULID. A time before 1970 becomes 0, and one after the year 10889
// wraps around: such a clock is broken, and an id with a wrong time is better than an error.
func ms(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) & (1<<48 - 1) }

func text(prefix string, u ulid.ULID) string {
	var b [4 + ulid.EncodedSize]byte
	copy(b[:], prefix)
	_ = u.MarshalTextTo(b[4:])
	return string(b[:])
}

// OfDelivery returns the id of the n-th delivery of an event.
func OfDelivery(eventID string, n int) string {
	return Delivery + strings.TrimPrefix(eventID, Event) + "-" + strconv.Itoa(n)
}

// ParseDelivery is the reverse of [OfDelivery]; ok is false for any other text.
func ParseDelivery(deliveryID string) (eventID string, n int, ok bool) {
	rest, ok := strings.CutPrefix(deliveryID, Delivery)
	if !ok {
		return "", 0, false
	}
	rest, number, ok := strings.Cut(rest, "-")
	if !ok {
		return "", 0, false
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || strconv.Itoa(n) != number { // one name each
		return "", 0, false
	}
	return Event + rest, n, true
}
