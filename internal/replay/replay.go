// Package replay sends stored events again: to a destination, also a new one, or to a URL. A replay
// is a record in the store. Each step adds the deliveries of some events and moves the record's
// position in one commit. So a killed process, or several nodes, leave out no event and add none twice.
package replay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/id"
)

// States of a replay.
const (
	Running  = "running"
	Done     = "done"
	Canceled = "canceled"
	Failed   = "failed"
)

// Bounds of replays.
const (
	// DefaultRate and MaxRate are deliveries a second.
	DefaultRate = 100
	MaxRate     = 5000
	// MaxBody is the largest edited body, in bytes.
	MaxBody = 1 << 20

	maxRunning = 10
	maxStored  = 200
	kind       = "replay"
)

// Request says which events are sent again, and where. Either Destination or URL is set.
type Request struct {
	Destination string `json:"destination,omitempty"`
	// URL is used for this replay alone. Secret signs by Standard Webhooks; empty: not signed.
	URL    string `json:"url,omitempty"`
	Secret string `json:"secret,omitempty"`
	Format string `json:"format,omitempty"`
	// EventID chooses one event, past the destination's filter, instead of the filters.
	EventID string    `json:"eventId,omitempty"`
	Source  string    `json:"source,omitempty"`
	Type    string    `json:"type,omitempty"`
	Status  string    `json:"status,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	// Missing leaves out events that the destination has received, or that are queued for it.
	Missing bool `json:"missing,omitempty"`
	// Any replays events that the destination's own events and filter do not choose, too.
	Any bool `json:"any,omitempty"`
	// Rate is how many events are queued a second at most; zero means DefaultRate.
	Rate float64 `json:"rate,omitempty"`
	// Body replaces the event's body; nil: it is sent as it is.
	Body []byte `json:"-"`
	// By names the person or key, for people.
	By string `json:"by"`
}

// Replay is a replay and its progress.
type Replay struct {
	Request
	ID    string `json:"id"`
	State string `json:"state"`
	// From, UpTo and Cursor are event numbers: the events after From, up to UpTo, of which those up
	// to Cursor are done.
	From   int64 `json:"from"`
	UpTo   int64 `json:"upTo"`
	Cursor int64 `json:"cursor"`
	// Matched events were found so far; Queued of them were given a delivery, the others had one.
	Matched int `json:"matched"`
	Queued  int `json:"queued"`
	// EditedID is the event that was made of the edited body.
	EditedID  string    `json:"editedId,omitempty"`
	Error     string    `json:"error,omitempty"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// Node runs the replay until NodeUntil; NextAt is when its next step is due.
	Node      string    `json:"node,omitempty"`
	NodeUntil time.Time `json:"nodeUntil,omitzero"`
	NextAt    time.Time `json:"nextAt,omitzero"`

	revision int64
	full     time.Duration // how long the last step waited for room in the queue
}

// Progress is the examined part of the events, from 0 to 1.
func (r *Replay) Progress() float64 {
	if r.State == Done || r.UpTo <= r.From {
		return 1
	}
	return math.Floor(1000*float64(r.Cursor-r.From)/float64(r.UpTo-r.From)) / 1000
}

func read(rec gaff.Record) (*Replay, error) {
	r := &Replay{revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, r); err != nil {
		return nil, fmt.Errorf("replay %s cannot be read: %w", rec.Name, err)
	}
	return r, nil
}

// Store has the operations of a store that replays use.
type Store interface {
	gaff.Records
	gaff.Replayer
	gaff.Acceptor
	Event(ctx context.Context, id string) (*gaff.EventDetail, error)
	EventsAfter(ctx context.Context, after string, limit int) ([]*gaff.Event, bool, error)
	QueueCounts(ctx context.Context, queue string) (gaff.QueueCounts, error)
}

// Options of a Service; all are required.
type Options struct {
	Store        Store
	Gateway      destination.Gateway
	Destinations *destination.Manager
	Log          *slog.Logger
}

// Service starts replays, and runs them on one of the nodes.
type Service struct {
	o    Options
	node string
	wake chan struct{}

	mu    sync.Mutex
	adHoc map[string]*destination.Destination // by replay
}

// New makes a service; see [Service.Attach] and [Service.Run].
func New(o Options) *Service {
	return &Service{
		o: o, node: rand.Text(), wake: make(chan struct{}, 1), adHoc: map[string]*destination.Destination{},
	}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", gaff.ErrInvalid, fmt.Sprintf(format, args...))
}

// check returns the first mistake of a request, and sets its defaults.
func (s *Service) check(q *Request) error {
	if q.Rate == 0 {
		q.Rate = DefaultRate
	}
	chosen := q.Source + q.Type + q.Status
	switch {
	case (q.Destination == "") == (q.URL == ""):
		return invalid("destination: give either destination or url")
	case q.URL == "" && q.Secret+q.Format != "":
		return invalid("secret, format: these are for a replay to a url; a destination has its own")
	case q.URL != "" && q.Missing:
		return invalid("missing: this is for a replay to a destination")
	case q.EventID != "" && (chosen != "" || !q.Since.IsZero() || !q.Until.IsZero()):
		return invalid("eventId: give either an event or filters")
	case q.EventID == "" && chosen == "" && q.Since.IsZero() && q.Until.IsZero() && !q.Missing:
		return invalid("since: choose the events by eventId, since, until, source, type, status or missing")
	case !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until):
		return invalid("until: %s is not after since", q.Until.UTC().Format(time.RFC3339))
	case q.Rate < 0.1 || q.Rate > MaxRate || math.IsNaN(q.Rate):
		return invalid("rate: %g is not between 0.1 and %d events a second", q.Rate, MaxRate)
	case q.Body != nil && q.EventID == "":
		return invalid("body: an edited body needs eventId")
	case len(q.Body) > MaxBody:
		return invalid("body: %d bytes, more than %d", len(q.Body), MaxBody)
	}
	if _, ok := gaff.ParseStatus(q.Status); q.Status != "" && !ok {
		return invalid("status: unknown status %.40q: want pending, success or error", q.Status)
	}
	_, err := s.target(&Replay{Request: *q})
	return err
}

// target returns where a replay sends to.
func (s *Service) target(r *Replay) (*destination.Destination, error) {
	if r.URL == "" {
		return s.o.Destinations.Target(r.Destination)
	}
	spec := destination.Spec{Name: "replay", URL: r.URL, Format: r.Format, MaxAttempts: urlAttempts, BreakAfter: -1}
	if r.Secret != "" {
		spec.Secrets = []string{r.Secret}
	}
	if r.ID != "" {
		spec.Headers = map[string]string{destination.HeaderReplay: r.ID}
	}
	return s.o.Destinations.AdHoc(spec)
}

// delivery returns the delivery of an event by a replay.
func (r *Replay) delivery(to *destination.Destination, ev *gaff.Event) gaff.Delivery {
	if r.URL != "" {
		return gaff.Delivery{Handler: URLHandler, Queue: URLHandler, MaxAttempts: urlAttempts, Key: r.ID}
	}
	return to.DeliveryOf(&gaff.Subject{Event: ev})
}

// Start stores a replay, which then runs on one of the nodes.
func (s *Service) Start(ctx context.Context, q Request) (*Replay, error) {
	if err := s.check(&q); err != nil {
		return nil, err
	}
	if err := s.makeRoom(ctx); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &Replay{Request: q, ID: id.New(id.Replay, now), State: Running, StartedAt: now}
	if q.Body != nil {
		return s.startEdited(ctx, r)
	}
	if err := s.limits(ctx, r); err != nil {
		return nil, err
	}
	r.Cursor = r.From
	if err := s.put(ctx, r, gaff.NewRecord); err != nil {
		return nil, err
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return r, nil
}

// limits sets the range of events that a replay examines.
func (s *Service) limits(ctx context.Context, r *Replay) (err error) {
	if r.EventID == "" {
		r.From, r.UpTo, err = s.o.Store.ReplayRange(ctx, r.Since)
		return err
	}
	if _, err := s.o.Store.Event(ctx, r.EventID); err != nil {
		return err
	}
	seq, _ := id.ParseEvent(r.EventID)
	r.From, r.UpTo = seq-1, seq
	return nil
}

func (s *Service) put(ctx context.Context, r *Replay, revision int64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	rec, err := s.o.Store.PutRecord(ctx, gaff.Record{Kind: kind, Name: r.ID, Value: value, Revision: revision})
	r.revision = rec.Revision
	return err
}

// makeRoom removes the oldest replays that have ended, and rejects another if too many run.
func (s *Service) makeRoom(ctx context.Context) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	running := 0
	for i, r := range all {
		switch {
		case r.State == Running:
			running++
		case i >= maxStored-1: // the newest come first
			if err := s.o.Store.DeleteRecord(ctx, kind, r.ID); err != nil && !errors.Is(err, gaff.ErrNotFound) {
				return err
			}
		}
	}
	if running >= maxRunning {
		return fmt.Errorf("%w: %d replays are running; wait for one, or cancel it", gaff.ErrConflict, running)
	}
	return nil
}

// List returns the replays, newest first.
func (s *Service) List(ctx context.Context) ([]*Replay, error) {
	records, err := s.o.Store.Records(ctx, kind)
	if err != nil {
		return nil, err
	}
	var all []*Replay
	for _, rec := range slices.Backward(records) {
		r, err := read(rec)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Get returns a replay.
func (s *Service) Get(ctx context.Context, replay string) (*Replay, error) {
	rec, err := s.o.Store.Record(ctx, kind, replay)
	if err != nil {
		return nil, err
	}
	return read(rec)
}

// Cancel ends a replay. Deliveries to a destination that are queued stay; those to a URL are dead.
func (s *Service) Cancel(ctx context.Context, replay string) (*Replay, error) {
	for try := 0; ; try++ {
		r, err := s.Get(ctx, replay)
		if err != nil {
			return nil, err
		}
		if r.State != Running && (r.URL == "" || r.State == Canceled) {
			return nil, fmt.Errorf("%w: replay %s is %s already", gaff.ErrConflict, replay, r.State)
		}
		r.State, r.EndedAt = Canceled, time.Now().UTC()
		err = s.put(ctx, r, r.revision)
		if errors.Is(err, gaff.ErrConflict) && try < 20 {
			continue // a step was committed meanwhile
		}
		return r, err
	}
}

// countTime bounds the time of a count.
const countTime = 8 * time.Second

// Count returns how many events a request chooses now. more is set if not all were examined in time.
func (s *Service) Count(ctx context.Context, q Request) (n int, more bool, err error) {
	if err := s.check(&q); err != nil {
		return 0, false, err
	}
	r := &Replay{Request: q}
	if err := s.limits(ctx, r); err != nil {
		return 0, false, err
	}
	if q.EventID != "" {
		return 1, false, nil
	}
	to, err := s.target(r)
	if err != nil {
		return 0, false, err
	}
	until := time.Now().Add(countTime)
	for r.Cursor = r.From; r.Cursor < r.UpTo; {
		if time.Now().After(until) {
			return n, true, nil
		}
		items, examined, err := s.page(ctx, r, to, 500)
		if err != nil {
			return 0, false, err
		}
		n += len(items)
		r.Cursor = examined
	}
	return n, false, nil
}

// page returns the next events of a replay with their deliveries.
func (s *Service) page(ctx context.Context, r *Replay, to *destination.Destination, limit int) (items []gaff.ReplayItem, examined int64, err error) {
	q := gaff.ReplayQuery{
		Source: r.Source, Type: r.Type, Since: r.Since, Until: r.Until, After: r.Cursor, UpTo: r.UpTo, Limit: limit,
		Internal: r.EventID != "" || r.URL == "" && !r.Any,
	}
	if status, ok := gaff.ParseStatus(r.Status); ok {
		q.Status = &status
	}
	if r.Missing {
		q.Missing = r.Destination
	}
	evs, examined, err := s.o.Store.ReplayPage(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	past := r.URL != "" || r.EventID != "" || r.Any
	for _, ev := range evs {
		whole := ev
		if r.URL == "" && to.ReadsBody() {
			if whole, err = s.withBody(ctx, ev); err != nil {
				return nil, 0, err
			}
		}
		if whole == nil || !past && !to.Matches(&gaff.Subject{Event: whole}) {
			continue
		}
		items = append(items, gaff.ReplayItem{Event: ev, Delivery: r.delivery(to, whole), Missing: r.Missing})
	}
	return items, examined, nil
}

// withBody reads an event with its body, one at a time, because bodies can be large; nil if it is gone
// or damaged.
func (s *Service) withBody(ctx context.Context, ev *gaff.Event) (*gaff.Event, error) {
	seq, _ := id.ParseEvent(ev.ID)
	evs, _, err := s.o.Store.EventsAfter(ctx, before(ev.ReceivedAt, seq), 1)
	if err != nil || len(evs) == 0 || evs[0].ID != ev.ID || evs[0].Damaged {
		return nil, err
	}
	return evs[0], nil
}

// before returns an event id that is followed by the event with the number.
func before(at time.Time, seq int64) string {
	if seq <= 1 {
		return ""
	}
	return id.OfEvent(at, seq-1)
}

// kept returns the headers that an edited event has of its original: not those that verify the
// original's body, or describe its bytes.
func kept(ev *gaff.Event) map[string][]string {
	header := ev.Request.Header.Clone()
	for name := range header {
		lower := strings.ToLower(name)
		switch {
		case strings.Contains(lower, "signature"), strings.Contains(lower, "hmac"), strings.Contains(lower, "digest"),
			lower == "content-encoding", lower == "content-length", lower == "authorization",
			slices.Contains(ev.Verification.Secrets, "header:"+name), slices.Contains(ev.Verification.Secrets, "header:"+lower):
			delete(header, name)
		}
	}
	return header
}

// startEdited stores an event with the edited body, which has the original as its parent, with one
// delivery: to the target of the replay.
func (s *Service) startEdited(ctx context.Context, r *Replay) (*Replay, error) {
	d, err := s.o.Store.Event(ctx, r.EventID)
	if err != nil {
		return nil, err
	}
	to, err := s.target(r)
	if err != nil {
		return nil, err
	}
	original := to.Spec().Format == destination.FormatOriginal
	switch {
	case d.Request == nil:
		return nil, invalid("body: event %s is one of gaff's own, which cannot be edited", r.EventID)
	case !json.Valid(r.Body) && !original:
		return nil, invalid("body: invalid JSON; only destinations of the format original take other text")
	}
	now := time.Now()
	ev := &gaff.Event{
		Source: d.Source, Type: d.Type, WebhookID: d.WebhookID, CorrelationID: d.CorrelationID, ProjectID: d.ProjectID, ParentID: d.ID,
		DedupeKey: id.New(id.Key, now), OccurredAt: d.OccurredAt, ReceivedAt: now, Data: r.Body,
		Request:      &gaff.Request{Method: d.Request.Method, URL: d.Request.URL, Header: kept(&d.Event), Body: r.Body, ReceivedAt: now},
		Verification: gaff.Verification{Scheme: gaff.EditedScheme, Subject: r.By},
	}
	if !json.Valid(r.Body) {
		ev.Data, _ = json.Marshal(string(r.Body))
	}
	r.State, r.Matched, r.Queued, r.EndedAt = Done, 1, 1, now.UTC()
	// The record comes first: the delivery to a URL needs it.
	if err := s.put(ctx, r, gaff.NewRecord); err != nil {
		return nil, err
	}
	rc, err := s.o.Store.Accept(ctx, gaff.AcceptParams{Event: ev, Deliveries: []gaff.Delivery{r.delivery(to, ev)}})
	if err != nil {
		_ = s.o.Store.DeleteRecord(context.WithoutCancel(ctx), kind, r.ID)
		return nil, err
	}
	r.EditedID = rc.ID
	s.o.Gateway.Wake(r.queue())
	return r, s.put(ctx, r, r.revision)
}

func (r *Replay) queue() string {
	if r.URL != "" {
		return URLHandler
	}
	return r.Destination
}
