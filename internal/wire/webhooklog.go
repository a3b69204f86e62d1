package wire

import "gaff"

// WebhookLogs is a page of webhook logs in the form in which Payload CMS answers a find, for
// applications that read its webhook-logs collection before.
type WebhookLogs struct {
	Docs            []WebhookLog `json:"docs" nullable:"false"`
	TotalDocs       int          `json:"totalDocs"`
	Limit           int          `json:"limit"`
	TotalPages      int          `json:"totalPages"`
	Page            int          `json:"page"`
	PagingCounter   int          `json:"pagingCounter"`
	HasPrevPage     bool         `json:"hasPrevPage"`
	HasNextPage     bool         `json:"hasNextPage"`
	PrevPage        *int         `json:"prevPage"`
	NextPage        *int         `json:"nextPage"`
	TotalDocsCapped bool         `json:"totalDocsCapped,omitempty" doc:"There are more than totalDocs: they are counted up to 100,000, and pages end there."`
}

// NewWebhookLogs makes the document of a page of logs, with Payload's arithmetic.
func NewWebhookLogs(logs []gaff.Log, total int, q gaff.LogQuery, page int) WebhookLogs {
	doc := WebhookLogs{
		Docs: make([]WebhookLog, 0, len(logs)), TotalDocs: min(total, gaff.MaxLogCount), Limit: q.Limit, Page: page,
		PagingCounter: q.Offset + 1, TotalDocsCapped: total > gaff.MaxLogCount,
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

// WebhookLogError is any other error of these operations.
type WebhookLogError struct {
	Error string `json:"error"`
}
