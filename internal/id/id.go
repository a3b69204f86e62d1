// Package id makes the names of rows: a prefix that tells the kind, and a ULID, which
// sorts by time and reads well in a log.
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
)

// New returns prefix and a fresh ULID of the time t.
func New(prefix string, t time.Time) string {
	var u ulid.ULID
	// A time before 1970 or after the year 10889 has no ULID; such a clock is broken,
	// and a name with a wrong time is better than none.
	_ = u.SetTime(uint64(max(t.UnixMilli(), 0)) & (1<<48 - 1))
	binary.BigEndian.PutUint16(u[6:], uint16(rand.Uint32()))
	binary.BigEndian.PutUint64(u[8:], rand.Uint64())
	var text [4 + ulid.EncodedSize]byte
	copy(text[:], prefix)
	_ = u.MarshalTextTo(text[4:])
	return string(text[:])
}

// OfDelivery names the n-th delivery of an event.
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
	if err != nil || n < 1 {
		return "", 0, false
	}
	return Event + rest, n, true
}
