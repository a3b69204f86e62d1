package gaff

import (
	"context"
	"encoding/json"
	"time"
)

// Store is what a gateway needs from a database. It is not meant to be implemented
// outside this module; it may change in any release.
type Store interface {
	Acceptor
	Queue
	Reader
	Maintenance
	Publisher
	// Ready returns nil if a webhook could be stored now, else the reason.
	Ready(ctx context.Context) error
	Close() error
}

// Acceptor records an event and its deliveries, or finds the event already there.
type Acceptor interface {
	// Accept returns after the commit. Calls that wait at the same moment share one.
	// An error that is ErrUnavailable means that nothing was kept.
	Accept(ctx context.Context, p AcceptParams) (Receipt, error)
	// AcceptAll is Accept for several events at once: all are kept in one commit, or none
	// is. The receipts are in their order.
	AcceptAll(ctx context.Context, ps []AcceptParams) ([]Receipt, error)
	// Reject keeps a refused request, in bounded number; one that comes whole, apart, in
	// bounded size and for a bounded time. It returns when the context ends at the latest;
	// the request is kept later then, if that is possible.
	Reject(ctx context.Context, rj *Rejection) error
	// Quarantined returns a refused request as it came. ErrNotFound if it is not kept.
	Quarantined(ctx context.Context, rejectionID string) (*Request, error)
	// Rescued notes that a refused request became an event, and drops its whole copy.
	Rescued(ctx context.Context, rejectionID, eventID string) error
}

// AcceptParams is what an accept stores.
type AcceptParams struct {
	Event      *Event
	Deliveries []Delivery // Handler, Lane, MaxAttempts, RunAt, Key and Order are read
	// Take asks for those of the deliveries as Work that are due: the caller has a place
	// for them. The others wait to be claimed. Nil asks for none, else it is as long as
	// Deliveries.
	Take []bool
	// Effects, if not nil, are stored with the event, if that is possible, and end the delivery
	// at the place EffectsOf of Deliveries. It is one without a key that is due.
	Effects   Effects
	EffectsOf int
	// Dropped, if not nil, is called once when the store no longer holds the event: before
	// Accept returns, or later if Accept gave up on a commit that was under way.
	Dropped func()
}

// Receipt is the answer to an accept.
type Receipt struct {
	// ID is the event's id; of the first one for a duplicate.
	ID string
	// Duplicate is set if the key was known; nothing was added then.
	Duplicate bool
	// Conflict is set if it was known with another body.
	Conflict bool
	// EffectsStored is set if the effects were stored, and so their delivery has ended.
	EffectsStored bool
	// EffectsFailure, if not nil, is why effects of a commit failed after they had written something, so
	// that no effects were stored with any of its events.
	EffectsFailure error
	// Work holds the deliveries that the caller may start on at once, in their order.
	Work []Work
}

// Queue hands out deliveries.
type Queue interface {
	// Claim takes up to Limit deliveries of the queue that are due at Now, oldest first.
	Claim(ctx context.Context, p ClaimParams) ([]Work, error)
	// Finish ends an attempt. It returns ErrLeaseLost when the lease is not the
	// delivery's last one, or the delivery was finished already.
	Finish(ctx context.Context, l Lease, o Outcome) error
	// Release gives back claimed deliveries that were not started. No attempt is counted.
	Release(ctx context.Context, ls []Lease) error
	// NextDue is when the earliest waiting delivery of the queue is due; zero if none waits.
	NextDue(ctx context.Context, queue string) (time.Time, error)
	// Queues names the queues, other than the unnamed one, in which deliveries wait.
	Queues(ctx context.Context) ([]string, error)
	// Wake signals that a delivery became due in the queue that this process does not hold yet.
	Wake(queue string) <-chan struct{}
}

// ClaimParams chooses what to claim.
type ClaimParams struct {
	Queue string
	Now   time.Time
	Limit int
}

// Lease is the right of one worker to one attempt of a delivery. It fences: the
// holder of an older lease of the same delivery can no longer finish it.
type Lease struct {
	// Event and Delivery are the store's own numbers of the two.
	Event    int64
	Delivery int
	// Attempt is the number of the attempt that the lease is for, from 1.
	Attempt int
	// Claim counts how often the delivery was claimed, where claims are stored.
	Claim int
	// EventID and Source repeat the event's, for the store's change log.
	EventID, Source string
	// Until is when another worker may take over; zero where only one process works.
	Until time.Time
	// StartedAt is when the worker began, for the attempt's record.
	StartedAt time.Time
}

// Work is a delivery that was handed to this process, with its event.
type Work struct {
	Lease    Lease
	Delivery Delivery
	Event    *Event
}

// Reader answers the UI, the API and the CLI.
type Reader interface {
	Event(ctx context.Context, id string) (*EventDetail, error)
	Events(ctx context.Context, f EventFilter) (Page[Log], error)
	// Logs returns a page and the number of all that match, at most MaxLogCount+1.
	Logs(ctx context.Context, q LogQuery) (logs []Log, total int, err error)
	// SearchLogs returns a page of the webhook logs that a condition chooses, with their bodies.
	SearchLogs(ctx context.Context, q LogSearch) (LogResult, error)
	Delivery(ctx context.Context, id string) (*Delivery, []Attempt, error)
	Deliveries(ctx context.Context, f DeliveryFilter) (Page[Delivery], error)
	Rejection(ctx context.Context, id string) (*Rejection, error)
	Rejections(ctx context.Context, f RejectionFilter) (Page[Rejection], error)
	Counts(ctx context.Context, since time.Time) (Counts, error)
	// KeyUses returns the keys that verified a source's requests, the last used first.
	KeyUses(ctx context.Context, source string) ([]KeyUse, error)
	// Changes returns what changed after the id, in order, at most limit. An empty id
	// means: nothing yet, but return the newest id. gone is true if the id is older
	// than the stored changes: the reader must load everything again.
	Changes(ctx context.Context, after string, limit int) (cs []Change, last string, gone bool, err error)
	// Changed is closed, and replaced, after the next commit that changed something.
	Changed() <-chan struct{}
}

// Cursor pages through a list, newest first. Zero values ask for the first page of 50.
type Cursor struct {
	After string // from the former page's Next
	Limit int    // 1 to 500; 0 means 50
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T
	Next  string // empty on the last page
}

// EventFilter chooses events. Zero fields choose all.
type EventFilter struct {
	Source, Type string
	Status       *Status
	// Internal includes the events that gaff emitted itself. Source "gaff" does so too.
	Internal bool
	// Query is text to find in the ids, the error and the body. If it is the id of an event, of
	// a sender's webhook or of a job, the first page has just the events of that id, however old
	// they are, and the following pages have those with the text.
	//
	// Of what Query, Type, ProjectID, Conflict and Violation choose from, a page looks at the newest SearchWindow
	// events. It may hold fewer than its limit, even none, and still have a next one.
	Query        string
	Since, Until time.Time // by ReceivedAt; Since included, Until not
	WebhookID    string
	// JobID chooses the webhooks that the provider sent about a job, however old they are.
	// ProjectID chooses those about jobs of a project; it looks at as many events as Type.
	JobID, ProjectID string
	// Conflict chooses the events whose id arrived again with another body.
	Conflict bool
	// Violation chooses the events that violate the schema of their source and type.
	Violation bool
	Cursor
}

// SearchWindow is how many events a page looks at for what no index knows of.
const SearchWindow = 50_000

// LogQuery asks for a page of webhook logs by number, as the manage address does.
type LogQuery struct {
	Source, Type string
	Status       *Status
	// Ascending turns the order round. Default is newest first.
	Ascending bool
	// ByReceived sorts by ReceivedAt rather than by ProcessedAt (else ReceivedAt).
	ByReceived bool
	Offset     int
	Limit      int
}

// MaxLogCount is the highest number of logs that is counted exactly.
const MaxLogCount = 100_000

// DeliveryFilter chooses deliveries. Zero fields choose all.
type DeliveryFilter struct {
	EventID, Source, Handler string
	State                    *State
	Cursor
}

// RejectionFilter chooses rejections. Zero fields choose all.
type RejectionFilter struct {
	Source string
	// Reason is a text in the reason or the client's address.
	Reason       string
	Since, Until time.Time // by ReceivedAt; Since included, Until not
	Cursor
}

// SourceCount is how many events a source has, by outcome.
type SourceCount struct {
	Source                  string
	Pending, Success, Error int64
	Rejected                int64
	LastReceivedAt          time.Time
}

// Counts is an overview of the inbox.
type Counts struct {
	Sources []SourceCount
	// Waiting is the number of deliveries that are not done; Due of those that
	// should be running by now; Dead of those that are dead.
	Waiting, Due, Dead int64
	OldestDue          time.Time // zero if none
}

// KeyUse says when a key of a source last verified a request.
type KeyUse struct {
	// KeyID is the [Verification]'s.
	KeyID string
	// LastUsedAt is exact to the minute.
	FirstUsedAt, LastUsedAt time.Time
}

// Change is one line of the change log that the stream shows.
type Change struct {
	// ID orders changes and is what a reader resumes after.
	ID   string
	Kind string // event, job, media, run
	// Ref is the id of what changed; Source and Status say what about it.
	Ref    string
	Status string
	Source string
}

// Maintenance has the operations that an operator can trigger on stored data.
type Maintenance interface {
	// Retry makes dead or canceled deliveries due again. ErrNotFound if there is no
	// such event or delivery, ErrConflict if none of them is dead or canceled.
	Retry(ctx context.Context, p RetryParams) (ids []string, work []Work, err error)
	// Replay adds new deliveries to an event, with any outcome of the old ones. Open
	// ones for the same handlers are left alone and not doubled.
	Replay(ctx context.Context, eventID string, ds []Delivery) ([]string, error)
	// Cancel ends a delivery that is not done, or a dead one that holds others of its key
	// ([OrderHoldDead]). ErrConflict if it is neither.
	Cancel(ctx context.Context, deliveryID string) error
	// CancelQueue ends up to limit deliveries of a queue that are not done, and returns how
	// many it ended; why is their error.
	CancelQueue(ctx context.Context, lane, why string, limit int) (n int, err error)
	// Keep stores a text under a name, once: false if there is one already.
	Keep(ctx context.Context, name, value string) (kept bool, err error)
	// Kept returns the text under a name; empty if missing. Unkeep drops it.
	Kept(ctx context.Context, name string) (string, error)
	Unkeep(ctx context.Context, name string) error
}

// RetryParams says which deliveries a person wants tried again.
type RetryParams struct {
	// EventID or DeliveryID chooses. With an event, its dead and canceled ones.
	EventID, DeliveryID string
	// Tries is how many attempts they are given now, at least 1.
	Tries int
	Now   time.Time
	// Take asks for them as Work.
	Take bool
}

// QueueCounts are the numbers of deliveries in a queue. No number is larger than MaxLogCount+1.
type QueueCounts struct {
	// Waiting are not done; Held of them wait for an earlier one of their key.
	Waiting, Held int64
	Dead          int64
	NextDue       time.Time // zero if nothing but held ones waits
}

// Follower reads the log of events in order, from any place in it.
type Follower interface {
	// EventsAfter returns at most limit events that were committed after the one with the
	// id, which need not be kept any more, oldest first; empty means from the first one.
	// gone is set when some between were removed since.
	EventsAfter(ctx context.Context, after string, limit int) (evs []*Event, gone bool, err error)
	// NewestEvent is the id to follow from now on; empty if there is no event.
	NewestEvent(ctx context.Context) (string, error)
}

// Record is something that people set up while the gateway runs, such as a destination.
type Record struct {
	// Kind and Name together are unique.
	Kind, Name string
	Value      json.RawMessage
	// Revision counts the changes to all records of the kind.
	Revision  int64
	UpdatedAt time.Time
	// History is how many values of the record, the current one included, PutRecord leaves in its
	// history; 0 writes no history.
	History int
}

// What PutRecord may be given as Revision, besides that of the record that is replaced.
const (
	NewRecord   = 0  // the record must not exist yet
	AnyRevision = -1 // any, or none
)

// Records keeps them, for all nodes.
type Records interface {
	Records(ctx context.Context, kind string) ([]Record, error)
	// Record returns ErrNotFound for a missing one.
	Record(ctx context.Context, kind, name string) (Record, error)
	// RecordsRevision grows with each change to a kind, deletions included; 0 at first.
	RecordsRevision(ctx context.Context, kind string) (int64, error)
	// PutRecord writes Value where Revision is the stored one, NewRecord or AnyRevision,
	// and returns the record with its new revision; ErrConflict if it is not.
	PutRecord(ctx context.Context, r Record) (Record, error)
	// DeleteRecord removes a record and its history.
	DeleteRecord(ctx context.Context, kind, name string) error
	// RecordHistory returns the values that the record had, newest first, each as a record of its
	// time; none if it was written without a history.
	RecordHistory(ctx context.Context, kind, name string) ([]Record, error)
}
