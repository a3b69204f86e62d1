package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"gaff"
)

// WebhookLogs is a page of webhook logs in the form in which Payload CMS answers a find, for
// applications that read its webhook-logs collection before.
type WebhookLogs struct {
	Docs []WebhookLog `json:"docs" nullable:"false"`
	PayloadPage
}

// PayloadPage is the place of a page in a list, as Payload CMS describes it.
type PayloadPage struct {
	TotalDocs       int  `json:"totalDocs"`
	Limit           int  `json:"limit"`
	TotalPages      int  `json:"totalPages"`
	Page            int  `json:"page"`
	PagingCounter   int  `json:"pagingCounter"`
	HasPrevPage     bool `json:"hasPrevPage"`
	HasNextPage     bool `json:"hasNextPage"`
	PrevPage        *int `json:"prevPage"`
	NextPage        *int `json:"nextPage"`
	TotalDocsCapped bool `json:"totalDocsCapped,omitempty" doc:"There are more than totalDocs: they are counted up to 100,000, and pages end there. Or a condition looked at the newest 50,000 events, and there are older ones."`
}

// NewWebhookLogs makes the document of a page of logs, with Payload's arithmetic.
func NewWebhookLogs(logs []gaff.Log, total int, q gaff.LogQuery, page int) WebhookLogs {
	doc := WebhookLogs{
		Docs: make([]WebhookLog, 0, len(logs)),
		PayloadPage: PayloadPage{
			TotalDocs: min(total, gaff.MaxLogCount), Limit: q.Limit, Page: page, PagingCounter: q.Offset + 1, TotalDocsCapped: total > gaff.MaxLogCount,
		},
	}
	for _, l := range logs {
		doc.Docs = append(doc.Docs, NewWebhookLog(l))
	}
	doc.TotalPages = max((doc.TotalDocs+q.Limit-1)/q.Limit, 1) // Payload calls an empty collection one page
	if page > 1 {
		doc.HasPrevPage, doc.PrevPage = true, new(page-1)
	}
	if page < doc.TotalPages {
		doc.HasNextPage, doc.NextPage = true, new(page+1)
	}
	return doc
}

// WebhookLog is an event as a document of Payload's webhook-logs collection.
type WebhookLog struct {
	ID          string `json:"id"`
	WebhookID   string `json:"webhookId" doc:"The sender's id of the event; the event's own id if the sender gave none."`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Status      string `json:"status" enum:"pending,success,error"`
	Unhandled   bool   `json:"unhandled" doc:"No handler was registered for it."`
	Data        JSON   `json:"data" doc:"The body as JSON, numbers as sent."`
	Error       Text   `json:"error" doc:"The last failure, unless a success followed."`
	RetryCount  int    `json:"retryCount"`
	ReceivedAt  Time   `json:"receivedAt"`
	ProcessedAt Time   `json:"processedAt" doc:"Null until it was processed once."`
	CreatedAt   Time   `json:"createdAt"`
	UpdatedAt   Time   `json:"updatedAt"`
}

// NewWebhookLog makes the document of an event.
func NewWebhookLog(l gaff.Log) WebhookLog {
	return WebhookLog{
		ID: l.ID, WebhookID: webhookID(l), Source: l.Source, Type: l.Type, Status: l.Status.String(), Unhandled: l.Unhandled,
		Data: JSON(l.Data), Error: Text(l.Error), RetryCount: l.RetryCount, ReceivedAt: Time{l.ReceivedAt},
		ProcessedAt: Time{l.ProcessedAt}, CreatedAt: Time{l.ReceivedAt}, UpdatedAt: Time{l.UpdatedAt},
	}
}

// WebhookLogRetry names the log to retry.
type WebhookLogRetry struct {
	WebhookLogID string `json:"webhookLogId" doc:"The id of the log: evt_…"`
}

// WebhookLogRetried is the answer to a retry that succeeded.
type WebhookLogRetried struct {
	Success bool `json:"success"`
}

// WebhookLogFailed is the answer to a retry that failed.
type WebhookLogFailed struct {
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// WebhookLogError is any other error of these operations, also in the form of Payload CMS.
type WebhookLogError struct {
	Error  string         `json:"error"`
	Errors []PayloadError `json:"errors" nullable:"false"`
}

// PayloadError is an error as Payload CMS answers it.
type PayloadError struct {
	Message string `json:"message"`
}

// NewWebhookLogError makes the document of an error.
func NewWebhookLogError(detail string) WebhookLogError {
	return WebhookLogError{Error: detail, Errors: []PayloadError{{Message: detail}}}
}

// WebhookLogCount is the number of logs that a condition chooses.
type WebhookLogCount struct {
	TotalDocs       int  `json:"totalDocs"`
	TotalDocsCapped bool `json:"totalDocsCapped,omitempty" doc:"Only the newest 50,000 events were looked at, and there are older ones."`
}

// FoundWebhookLogs makes the document of a page of a search; limit 0 means all on one page. Members
// of the logs that shows rejects are left out.
func FoundWebhookLogs(found gaff.LogResult, limit, page int, shows func(member string) bool) (any, error) {
	perPage := limit
	if limit == 0 {
		perPage = max(len(found.Logs), 1)
	}
	doc := NewWebhookLogs(found.Logs, found.Total, gaff.LogQuery{Limit: perPage, Offset: (page - 1) * perPage}, page)
	doc.Limit, doc.TotalDocsCapped = limit, found.Older || limit == 0 && found.Total > len(found.Logs)
	if limit == 0 {
		doc.TotalPages, doc.HasNextPage, doc.NextPage = 1, false, nil
	}
	members := selectedMembers(shows)
	if len(members) == len(logMembers) {
		return doc, nil
	}
	return selectedLogs(doc, members)
}

// SelectedWebhookLog makes the document of an event without the members that shows rejects.
func SelectedWebhookLog(l gaff.Log, shows func(member string) bool) (any, error) {
	log := NewWebhookLog(l)
	members := selectedMembers(shows)
	if len(members) == len(logMembers) {
		return log, nil
	}
	page, err := selectedLogs(WebhookLogs{Docs: []WebhookLog{log}}, members)
	if err != nil {
		return nil, err
	}
	return page.Docs[0], nil
}

// logMembers are the members of a WebhookLog.
var logMembers = func() (names []string) {
	for f := range reflect.TypeFor[WebhookLog]().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}()

func selectedMembers(shows func(string) bool) (members []string) {
	for _, name := range logMembers {
		if shows(name) {
			members = append(members, name)
		}
	}
	return members
}

// SelectedWebhookLogs is a page of webhook logs with the members that the parameter select chose.
type SelectedWebhookLogs struct {
	Docs []Object `json:"docs" nullable:"false"`
	PayloadPage
}

// selectedLogs makes the page of the members of another one, in their order there.
func selectedLogs(all WebhookLogs, members []string) (SelectedWebhookLogs, error) {
	docs := make([]Object, len(all.Docs))
	for i, log := range all.Docs {
		var whole map[string]json.RawMessage
		text, err := json.Marshal(log)
		if err == nil {
			err = json.Unmarshal(text, &whole)
		}
		if err != nil {
			return SelectedWebhookLogs{}, fmt.Errorf("select members of a webhook log: %w", err)
		}
		var doc bytes.Buffer
		for n, name := range members {
			doc.WriteString(map[bool]string{true: "{", false: ","}[n == 0])
			fmt.Fprintf(&doc, "%q:%s", name, whole[name])
		}
		doc.WriteByte('}')
		docs[i] = doc.Bytes()
	}
	return SelectedWebhookLogs{docs, all.PayloadPage}, nil
}
