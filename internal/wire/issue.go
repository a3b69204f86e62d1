package wire

import (
	"gaff"
	"gaff/internal/alert"
	"gaff/internal/issue"
)

// Issue is a group of failures: the dead deliveries, or the rejected requests, of one source,
// destination, status and error.
type Issue struct {
	ID          string `json:"id" example:"iss_7Q8R5T7W9XYZABCD01KAVJ0Z6M"`
	Kind        string `json:"kind" enum:"delivery,rejection"`
	Title       string `json:"title"`
	Source      string `json:"source" doc:"Empty for requests to unknown sources."`
	Destination string `json:"destination" doc:"The handler or destination of dead deliveries; empty for rejections."`
	Status      int    `json:"status" doc:"The HTTP status that the receiver answered, or that the sender was answered; 0 without one."`
	Error       string `json:"error" doc:"The newest error, without parts that may quote a payload."`
	State       string `json:"state" enum:"open,acknowledged,resolved,ignored" doc:"A resolved issue opens again at the next failure."`
	Muted       bool   `json:"muted" doc:"It raises no alert: operational events were not delivered."`
	Count       int64  `json:"count"`
	FirstAt     Time   `json:"firstAt"`
	LastAt      Time   `json:"lastAt"`
	OpenedAt    Time   `json:"openedAt" doc:"firstAt, or the first failure after it was resolved."`
	ChangedAt   Time   `json:"changedAt" doc:"When its state was last changed; null if it was not."`
	ChangedBy   Text   `json:"changedBy" doc:"Who changed it; null if gaff resolved it, as nothing was left to do."`
	LastRef     string `json:"lastRef" doc:"The newest delivery or rejection."`
}

// NewIssue makes the document of an issue.
func NewIssue(i issue.Issue) Issue {
	return Issue{
		i.ID, i.Kind.String(), i.Title(), i.Source, i.Handler, i.Status, i.Error, i.State.String(), i.Muted, i.Count,
		Time{i.FirstAt}, Time{i.LastAt}, Time{i.OpenedAt}, Time{i.ChangedAt}, Text(i.ChangedBy), i.LastRef,
	}
}

// IssueQuery chooses issues.
type IssueQuery struct {
	State       string `query:"state" flag:"state" enum:"open,acknowledged,resolved,ignored" doc:"Only in this state."`
	Kind        string `query:"kind" flag:"kind" enum:"delivery,rejection" doc:"Only of this kind."`
	Source      string `query:"source" flag:"source" doc:"Only of this source."`
	Destination string `query:"destination" flag:"destination" doc:"Only of this destination or handler."`
}

// Filter returns the query as stores take it.
func (q IssueQuery) Filter(c gaff.Cursor) issue.Filter {
	f := issue.Filter{Source: q.Source, Handler: q.Destination, Cursor: c}
	if state, ok := issue.ParseState(q.State); ok {
		f.State = &state
	}
	if kind, ok := issue.ParseKind(q.Kind); ok {
		f.Kind = &kind
	}
	return f
}

// Alert is something that needs an operator's attention, or did.
type Alert struct {
	Kind       string `json:"kind" doc:"The type of its event, such as disk.low." example:"disk.low"`
	Cause      string `json:"cause" doc:"What it is about: a destination, a source, an issue, a node."`
	Active     bool   `json:"active"`
	Title      string `json:"title"`
	Data       JSON   `json:"data" doc:"What else is known, as in the event."`
	Count      int64  `json:"count"`
	Since      Time   `json:"since"`
	SeenAt     Time   `json:"seenAt" doc:"When it was last observed."`
	EndedAt    Time   `json:"endedAt" doc:"Null while it is active."`
	NotifiedAt Time   `json:"notifiedAt" doc:"When its last event was emitted."`
}

// NewAlert makes the document of an alert.
func NewAlert(a alert.Alert) Alert {
	return Alert{
		a.Kind, a.Cause, a.Active, a.Title, JSON(a.Data), a.Count, Time{a.Since}, Time{a.SeenAt}, Time{a.EndedAt}, Time{a.EmittedAt},
	}
}

// AlertChannel is a way to tell people.
type AlertChannel struct {
	Name  string `json:"name"`
	About string `json:"about" doc:"What it is, without secrets."`
}

// AlertTest asks for a test message.
type AlertTest struct {
	Channel string `json:"channel,omitempty" minLength:"1" doc:"Only by this channel; all by default."`
}

// AlertTested is the result of a test message.
type AlertTested struct {
	Channel string `json:"channel"`
	OK      bool   `json:"ok"`
	Error   Text   `json:"error"`
}

// AlertTests are the results of a test of several channels.
type AlertTests struct {
	OK      bool          `json:"ok" doc:"All channels took the message."`
	Results []AlertTested `json:"results" nullable:"false"`
}

// NewAlertTests makes the document of test results.
func NewAlertTests(all []alert.Tested) AlertTests {
	doc := AlertTests{OK: true, Results: []AlertTested{}}
	for _, t := range all {
		one := AlertTested{Channel: t.Channel, OK: t.Err == nil}
		if t.Err != nil {
			one.Error, doc.OK = Text(t.Err.Error()), false
		}
		doc.Results = append(doc.Results, one)
	}
	return doc
}

// AlertQuery chooses alerts.
type AlertQuery struct {
	Active string `query:"active" flag:"active" enum:"true,false" doc:"Only active ones (true), or only those that ended (false)."`
}
