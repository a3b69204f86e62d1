package gaff

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"gaff/internal/id"
)

// PublishedSource is the source of the events that applications publish through gaff.
const PublishedSource = "published"

// PublishScheme is the [Verification] scheme of published events: the caller's API key.
const PublishScheme = "api-key"

// Publication is an event of an application: to be published, scheduled, or published.
type Publication struct {
	// ID is "sch_" and a ULID of an event with a time of its own, else the event's; the store sets it.
	ID   string
	Type string
	// Data is JSON; nil is null.
	Data json.RawMessage
	// ProjectID is the project that the event belongs to; empty for none.
	ProjectID string
	// IdempotencyKey makes a repetition by the same Caller harmless: it returns the first
	// publication. Empty: each publication is a new event.
	IdempotencyKey, Caller string
	// By names the caller, for people.
	By string
	// RunAt is when the event is published; a time that has passed, or zero, is now.
	RunAt time.Time

	// The store sets the rest.
	State PublicationState
	// EventID is the published event; empty before, and after retention removed it.
	EventID string
	// Error says why gaff canceled it.
	Error                string
	CreatedAt, UpdatedAt time.Time
	// Duplicate is set if the idempotency key was known, Conflict if it was known with other data.
	Duplicate, Conflict bool
}

// PublicationState is the state of a [Publication].
type PublicationState int

// States of a publication.
const (
	Scheduled PublicationState = iota
	Published
	ScheduleCanceled
)

var publicationStates = [...]string{"scheduled", "published", "canceled"}

// String returns "scheduled", "published" or "canceled".
func (s PublicationState) String() string {
	if s < 0 || int(s) >= len(publicationStates) {
		return "unknown"
	}
	return publicationStates[s]
}

// ParsePublicationState is the reverse of [PublicationState.String].
func ParsePublicationState(text string) (s PublicationState, ok bool) {
	for i, name := range publicationStates {
		if name == text {
			return PublicationState(i), true
		}
	}
	return 0, false
}

// Bounds of publications.
const (
	MaxPublished     = 1000    // in one call
	MaxPublishedData = 1 << 20 // bytes of one event's data
	maxAhead         = 10 * 366 * 24 * time.Hour
	maxKey           = 256
)

var publishedType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)

// Check returns the first mistake, as an [ErrInvalid] that names the member.
func (p *Publication) Check(now time.Time) error {
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case !publishedType.MatchString(p.Type):
		return fault("type: invalid type %.60q: want up to 200 letters, digits, and . _ / -, beginning with a letter or digit, such as order.paid", p.Type)
	case len(p.Data) > MaxPublishedData:
		return fault("data: %d bytes, more than %d", len(p.Data), MaxPublishedData)
	case p.Data != nil && !json.Valid(p.Data):
		return fault("data: invalid JSON")
	case tooDeep(p.Data):
		return fault("data: nested deeper than %d levels", maxDepth)
	case len(p.IdempotencyKey) > maxKey:
		return fault("idempotencyKey: %d bytes, more than %d", len(p.IdempotencyKey), maxKey)
	case len(p.ProjectID) > maxName:
		return fault("projectId: %d bytes, more than %d", len(p.ProjectID), maxName)
	case p.RunAt.After(now.Add(maxAhead)):
		return fault("runAt: %s is more than ten years ahead", p.RunAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// DedupeKey returns the key by which the event is one event; see [Event.DedupeKey].
func (p *Publication) DedupeKey(now time.Time) string {
	if p.IdempotencyKey == "" {
		return id.New(id.Key, now)
	}
	sum := sha256.Sum256([]byte(p.Caller + "\x00" + p.IdempotencyKey))
	return "idempotency:" + hex.EncodeToString(sum[:])
}

// Event returns the event of the publication, received at a time. It has the data as the body of a
// request, so that destinations with the format original send the data alone.
func (p *Publication) Event(dedupe string, at time.Time) *Event {
	data := p.Data
	if data == nil {
		data = json.RawMessage("null")
	}
	return &Event{
		Source: PublishedSource, Type: p.Type, DedupeKey: dedupe, WebhookID: p.IdempotencyKey, ProjectID: p.ProjectID, ReceivedAt: at,
		Data: data, Verification: Verification{Scheme: PublishScheme, Subject: p.By},
		Request: &Request{
			Method: http.MethodPost, URL: "/api/v1/events", Header: http.Header{"Content-Type": {"application/json"}}, Body: data, ReceivedAt: at,
		},
	}
}

// ScheduleFilter chooses publications with a time of their own. Zero fields choose all.
type ScheduleFilter struct {
	State     *PublicationState
	Type      string
	ProjectID string
	Cursor
}

// ScheduleQueue is the name under which [Queue.Wake] signals that an event was scheduled or changed.
const ScheduleQueue = " schedule"

// ScheduleReader reads publications with a time of their own.
type ScheduleReader interface {
	// ScheduledEvent returns ErrNotFound for a missing one.
	ScheduledEvent(ctx context.Context, id string) (*Publication, error)
	// ScheduledEvents lists publications with a time of their own, newest first.
	ScheduledEvents(ctx context.Context, f ScheduleFilter) (Page[Publication], error)
}

// Publisher stores the events of applications.
type Publisher interface {
	// Publish publishes or schedules events in one commit. The answers are in their order.
	Publish(ctx context.Context, ps []Publication, route func(*Event) []Delivery) ([]Publication, error)
	// PublishDue publishes up to limit scheduled events that are due, and returns their number.
	PublishDue(ctx context.Context, limit int, route func(*Event) []Delivery) (int, error)
	// NextScheduled returns when the next scheduled event is due; zero without one.
	NextScheduled(ctx context.Context) (time.Time, error)
	ScheduleReader
	// ChangeScheduled stores what change makes of a scheduled event. It returns ErrConflict if the
	// event is published or canceled.
	ChangeScheduled(ctx context.Context, id string, change func(*Publication) error) (*Publication, error)
}

// Publish publishes events of the application through gaff, or schedules those with a later
// RunAt, all in one commit: they lead to handlers, destinations and workflows like webhooks, with the
// source [PublishedSource].
func (g *Gateway) Publish(ctx context.Context, ps []Publication) ([]Publication, error) {
	if len(ps) == 0 || len(ps) > MaxPublished {
		return nil, fmt.Errorf("%w: %d events: want 1 to %d", ErrInvalid, len(ps), MaxPublished)
	}
	now := time.Now()
	for i := range ps {
		if err := ps[i].Check(now); err != nil {
			if len(ps) > 1 {
				err = fmt.Errorf("event %d: %w", i+1, err)
			}
			return nil, err
		}
	}
	if !g.enter() {
		return nil, ErrStopped
	}
	defer g.accepts.Done()
	return g.store.Publish(ctx, ps, g.Route)
}

// ChangeScheduled changes a scheduled event. ErrConflict if it is published or canceled.
func (g *Gateway) ChangeScheduled(ctx context.Context, id string, change func(*Publication) error) (*Publication, error) {
	return g.store.ChangeScheduled(ctx, id, func(p *Publication) error {
		if err := change(p); err != nil {
			return err
		}
		return p.Check(time.Now())
	})
}

const (
	publishBatch = 100
	// scheduleCheck is the longest time between two searches for due events: another node may have
	// scheduled one.
	scheduleCheck = 15 * time.Second
	publishRetry  = time.Second
	// publishPause is the pause before another search for an event that is due by this process's
	// clock, but not yet by the database's.
	publishPause = 200 * time.Millisecond
)

// publishDue publishes scheduled events at their times, until the gateway stops.
func (g *Gateway) publishDue() {
	ctx := g.work
	for {
		wait := g.publishWaiting(ctx)
		select {
		case <-g.quit:
			return
		case <-g.store.Wake(ScheduleQueue):
		case <-time.After(wait):
		}
	}
}

// publishWaiting publishes the events that are due, and returns how long to wait for the next.
func (g *Gateway) publishWaiting(ctx context.Context) time.Duration {
	for {
		select {
		case <-g.quit:
			return 0
		default:
		}
		n, err := g.store.PublishDue(ctx, publishBatch, g.Route)
		if err != nil {
			if more, ok := g.disabled.allow("schedule", "", time.Now()); ok && ctx.Err() == nil {
				g.log.Error("scheduled events cannot be published", "error", err, "alsoSince", more)
			}
			return publishRetry
		}
		if n < publishBatch {
			break
		}
	}
	next, err := g.store.NextScheduled(ctx)
	if err != nil || next.IsZero() {
		return scheduleCheck
	}
	return min(max(time.Until(next), publishPause), scheduleCheck)
}
