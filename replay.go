package gaff

import (
	"context"
	"encoding/json"
	"time"
)

// EditedScheme is the [Verification] scheme of an event that a person made of another one by editing
// its body; its ParentID is the original.
const EditedScheme = "edited"

// ReplayQuery chooses events in the order in which they were stored. Zero fields choose all.
type ReplayQuery struct {
	Source, Type string
	Status       *Status
	Since, Until time.Time // by ReceivedAt; Since included, Until not
	// Internal includes the events that gaff emitted itself. Source "gaff" does so too.
	Internal bool
	// Missing is a handler: only events without an open or succeeded delivery for it.
	Missing string
	// After and UpTo are event numbers: the events after the one, up to the other.
	After, UpTo int64
	Limit       int
}

// ReplayItem is an event with a delivery to add to it.
type ReplayItem struct {
	Event    *Event // without its body
	Delivery Delivery
	// Missing leaves out an event that has a succeeded delivery for the handler.
	Missing bool
}

// Replayer adds deliveries to many stored events.
type Replayer interface {
	// ReplayRange returns the number before the first event that was received since a time, and the
	// number of the newest event.
	ReplayRange(ctx context.Context, since time.Time) (from, to int64, err error)
	// ReplayPage returns the next events that a query chooses, without bodies, and the number up to
	// which events were examined. It examines a bounded number, so that a page may be empty before
	// the end. Events whose body was removed are left out.
	ReplayPage(ctx context.Context, q ReplayQuery) (evs []*Event, examined int64, err error)
	// ReplayBatch adds deliveries and replaces the record of their replay, in one commit. value
	// returns the new value; added is how many deliveries were added: events that are gone, or have
	// an open delivery for the handler, are left out. It returns ErrConflict, and adds nothing, if the
	// stored record has another revision than r.
	ReplayBatch(ctx context.Context, r Record, items []ReplayItem, value func(added int) (json.RawMessage, error)) (Record, error)
}
