package wire

import (
	"gaff"
	"gaff/internal/redact"
)

// Rejection is a request that was rejected.
type Rejection struct {
	ID         string              `json:"id" example:"rej_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	Source     string              `json:"source"`
	Status     int                 `json:"status" doc:"The status of the answer."`
	Reason     string              `json:"reason"`
	Method     string              `json:"method"`
	URL        string              `json:"url"`
	RemoteAddr string              `json:"remoteAddr"`
	Headers    map[string][]string `json:"headers" doc:"Secrets are masked."`
	BodySize   int64               `json:"bodySize"`
	ReceivedAt Time                `json:"receivedAt"`
	Rescuable  bool                `json:"rescuable" doc:"The whole request is stored, so it can be verified again: POST …/rescue."`
	RescuedAs  Text                `json:"rescuedAs" doc:"The event that it became, if it was rescued."`
	Body
}

// NewRejection makes the document of a rejection.
func NewRejection(r gaff.Rejection) Rejection {
	return Rejection{
		r.ID, r.Source, r.Status, r.Reason, r.Method, redact.URL(r.URL, nil), r.RemoteAddr, redact.Header(r.Header, nil), r.BodySize,
		Time{r.ReceivedAt}, r.Rescuable, Text(r.RescuedAs), NewBody(r.Body),
	}
}

// RejectionQuery chooses rejections.
type RejectionQuery struct {
	Source string `query:"source" flag:"source" doc:"Only of this source."`
	Reason string `query:"q" flag:"q" doc:"Text in the reason or the client's address."`
	Since  string `query:"since" flag:"since" doc:"Received at or after: a time, or a duration such as 24h for that long ago."`
	Until  string `query:"until" flag:"until" doc:"Received before."`
}

// Filter returns the query as stores take it.
func (q RejectionQuery) Filter(c gaff.Cursor) (f gaff.RejectionFilter, err error) {
	f = gaff.RejectionFilter{Source: q.Source, Reason: q.Reason, Cursor: c}
	f.Since, f.Until, err = period(q.Since, q.Until)
	return f, err
}

// Rescued is the result of verifying a rejected request again.
type Rescued struct {
	EventID   string `json:"eventId" doc:"The event that the request became; the first one if it brought several, empty if it brought none."`
	Events    int    `json:"events" doc:"How many events it brought."`
	Duplicate bool   `json:"duplicate" doc:"All of them were known: the request was rescued before, or its sender sent it again."`
}
