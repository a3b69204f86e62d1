package wire

import (
	"time"

	"gaff"
	"gaff/internal/diff"
)

// Delivery is one event for one handler or destination.
type Delivery struct {
	ID          string    `json:"id" example:"dlv_01KAVJ0Z6M3Q8R5T7W9XYZABCD-1"`
	EventID     string    `json:"eventId"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	WebhookID   string    `json:"webhookId"`
	Handler     string    `json:"handler"`
	State       string    `json:"state" enum:"pending,running,retrying,succeeded,dead,canceled"`
	Attempts    int       `json:"attempts" doc:"How many attempts have ended."`
	MaxAttempts int       `json:"maxAttempts"`
	RunAt       Time      `json:"runAt" doc:"When the next attempt is due; null while it is held."`
	Key         Text      `json:"key" doc:"Deliveries of one key are processed in order."`
	Held        bool      `json:"held" doc:"An earlier delivery of its key is not done."`
	Error       Text      `json:"error"`
	CreatedAt   Time      `json:"createdAt"`
	UpdatedAt   Time      `json:"updatedAt"`
	FinishedAt  Time      `json:"finishedAt"`
	Tries       []Attempt `json:"tries,omitzero" nullable:"false" doc:"The attempts that have ended; lists leave them out."`
}

// NewDelivery makes the document of a delivery without its attempts.
func NewDelivery(d gaff.Delivery) Delivery {
	if d.Held {
		d.RunAt = time.Time{} // stores have a time in the far future
	}
	return Delivery{
		ID: d.ID, EventID: d.EventID, Source: d.Source, Type: d.Type, WebhookID: d.WebhookID, Handler: d.Handler,
		State: d.State.String(), Attempts: d.Attempts, MaxAttempts: d.MaxAttempts, RunAt: Time{d.RunAt}, Key: Text(d.Key), Held: d.Held,
		Error: Text(d.Error), CreatedAt: Time{d.CreatedAt}, UpdatedAt: Time{d.UpdatedAt}, FinishedAt: Time{d.FinishedAt},
	}
}

// NewDeliveryDetail adds the delivery's own attempts out of those of its event.
func NewDeliveryDetail(d gaff.Delivery, attempts []gaff.Attempt) Delivery {
	doc := NewDelivery(d)
	doc.Tries = []Attempt{}
	var before *gaff.Attempt
	for i := range attempts {
		if attempts[i].DeliveryID == d.ID {
			doc.Tries = append(doc.Tries, NewAttempt(attempts[i], before))
			before = &attempts[i]
		}
	}
	return doc
}

// Attempt is one attempt of a delivery.
type Attempt struct {
	Number     int      `json:"number" doc:"From 1."`
	Outcome    string   `json:"outcome" enum:"succeeded,failed,discarded,panicked,timed_out,snoozed,lost,superseded"`
	StartedAt  Time     `json:"startedAt"`
	DurationMs float64  `json:"durationMs"`
	Error      Text     `json:"error"`
	Detail     Text     `json:"detail" doc:"More about it, such as the stack of a panic, or the response of a destination."`
	Changes    []Change `json:"changes" doc:"How it differs from the attempt before, empty if it does not; null for the first one. Times, signatures and other values that always differ are left out."`
}

// Change is a difference between two attempts.
type Change struct {
	Field string `json:"field" doc:"outcome, error, duration (if it doubled or halved), detail, or a member of the detail such as response.status."`
	From  Text   `json:"from"`
	To    Text   `json:"to"`
}

// NewAttempt makes the document of an attempt; before is the attempt before it, nil for the first.
func NewAttempt(a gaff.Attempt, before *gaff.Attempt) Attempt {
	doc := Attempt{
		Number: a.Number, Outcome: a.Outcome, StartedAt: Time{a.StartedAt},
		DurationMs: float64(a.Duration.Microseconds()) / 1000, Error: Text(a.Error), Detail: Text(a.Detail),
	}
	if before != nil {
		doc.Changes = []Change{}
		for _, c := range diff.Attempts(*before, a) {
			doc.Changes = append(doc.Changes, Change{c.Field, Text(c.From), Text(c.To)})
		}
	}
	return doc
}

// DeliveryQuery chooses deliveries.
type DeliveryQuery struct {
	EventID string `query:"eventId" flag:"event" doc:"Only of this event."`
	Source  string `query:"source" flag:"source" doc:"Only of this source."`
	Handler string `query:"handler" flag:"handler" doc:"Only to this handler or destination."`
	State   string `query:"state" flag:"state" enum:"pending,running,retrying,succeeded,dead,canceled" doc:"Only in this state: pending, running, retrying, succeeded, dead or canceled."`
}

// Filter returns the query as stores take it.
func (q DeliveryQuery) Filter(c gaff.Cursor) gaff.DeliveryFilter {
	f := gaff.DeliveryFilter{EventID: q.EventID, Source: q.Source, Handler: q.Handler, Cursor: c}
	if state, ok := gaff.ParseState(q.State); ok {
		f.State = &state
	}
	return f
}
