package wire

import (
	"gaff/internal/redact"
	"gaff/internal/replay"
)

// ReplayRequest sends stored events again, or counts what it would be about.
type ReplayRequest struct {
	Destination  string  `json:"destination,omitempty" minLength:"1" doc:"Where to send to: a destination."`
	URL          string  `json:"url,omitempty" minLength:"1" doc:"Where to send to, for this replay alone, in place of a destination. It needs the role admin."`
	Secret       string  `json:"secret,omitempty" doc:"Signs the requests to the url (whsec_…)."`
	Format       string  `json:"format,omitempty" enum:"envelope,original,cloudevents,cloudevents-binary,spec" doc:"Of the requests to the url."`
	EventID      string  `json:"eventId,omitempty" minLength:"1" doc:"One event, past the destination's filter, in place of the filters."`
	Source       string  `json:"source,omitempty" minLength:"1"`
	Type         string  `json:"type,omitempty" minLength:"1"`
	Status       string  `json:"status,omitempty" enum:"pending,success,error"`
	Since        string  `json:"since,omitempty" minLength:"1" doc:"As of GET /api/v1/events."`
	Until        string  `json:"until,omitempty" minLength:"1"`
	Missing      bool    `json:"missing,omitempty" doc:"Only events that the destination has not received, and that are not queued for it."`
	IgnoreFilter bool    `json:"ignoreFilter,omitempty" doc:"Also events that the destination's events and filter do not choose."`
	Rate         float64 `json:"rate,omitempty" doc:"How many events are queued a second at most; 100 by default."`
	Body         *string `json:"body,omitempty" doc:"The edited body of the event: it is stored as a new event whose parent is the original."`
	DryRun       bool    `json:"dryRun,omitempty" doc:"Only count."`
}

// Request returns the request as the service takes it.
func (r ReplayRequest) Request(by string) (q replay.Request, err error) {
	q = replay.Request{
		Destination: r.Destination, URL: r.URL, Secret: r.Secret, Format: r.Format, EventID: r.EventID, Source: r.Source, Type: r.Type, Status: r.Status,
		Missing: r.Missing, Any: r.IgnoreFilter, Rate: r.Rate, By: by,
	}
	if r.Body != nil {
		q.Body = []byte(*r.Body)
	}
	if q.Since, err = Since("since", r.Since); err != nil {
		return q, err
	}
	q.Until, err = Since("until", r.Until)
	return q, err
}

// Replay is a replay and its progress.
type Replay struct {
	ID            string  `json:"id,omitempty" doc:"Dry runs have no id."`
	State         string  `json:"state" enum:"counted,running,done,canceled,failed" doc:"done: all events are queued; the deliveries show their outcome."`
	Destination   Text    `json:"destination"`
	URL           Text    `json:"url" doc:"Viewers see its host alone."`
	EventID       Text    `json:"eventId"`
	EditedEventID Text    `json:"editedEventId" doc:"The event that was made of the edited body."`
	Source        Text    `json:"source"`
	Type          Text    `json:"type"`
	Status        Text    `json:"status"`
	Since         Time    `json:"since"`
	Until         Time    `json:"until"`
	Missing       bool    `json:"missing"`
	IgnoreFilter  bool    `json:"ignoreFilter"`
	Rate          float64 `json:"rate"`
	Matches       int     `json:"matches" doc:"How many events match; while it runs, so far."`
	More          bool    `json:"more" doc:"A dry run that ended before it had counted all."`
	Queued        int     `json:"queued" doc:"How many of them were queued."`
	Skipped       int     `json:"skipped" doc:"How many of them were queued already, or removed meanwhile."`
	Progress      float64 `json:"progress" doc:"The part of the stored events that was examined, from 0 to 1."`
	Error         Text    `json:"error"`
	By            Text    `json:"by"`
	StartedAt     Time    `json:"startedAt"`
	EndedAt       Time    `json:"endedAt"`
}

// NewReplay makes the document of a replay. Viewers see no path of a URL, because it can be a secret.
func NewReplay(r *replay.Replay, viewer bool) Replay {
	url := redact.Address(r.URL)
	if viewer {
		url = redact.Host(r.URL)
	}
	if r.URL == "" {
		url = ""
	}
	return Replay{
		ID: r.ID, State: r.State, Destination: Text(r.Destination), URL: Text(url), EventID: Text(r.EventID), EditedEventID: Text(r.EditedID),
		Source: Text(r.Source), Type: Text(r.Type), Status: Text(r.Status), Since: Time{r.Since}, Until: Time{r.Until},
		Missing: r.Missing, IgnoreFilter: r.Any, Rate: r.Rate, Matches: r.Matched, Queued: r.Queued, Skipped: r.Matched - r.Queued, Progress: r.Progress(),
		Error: Text(r.Error), By: Text(r.By), StartedAt: Time{r.StartedAt}, EndedAt: Time{r.EndedAt},
	}
}

// NewReplayCount makes the document of a dry run.
func NewReplayCount(q replay.Request, n int, more bool) Replay {
	doc := NewReplay(&replay.Replay{Request: q, State: "counted", Matched: n, Queued: n}, true)
	doc.More, doc.Queued, doc.Progress = more, 0, 0
	return doc
}
