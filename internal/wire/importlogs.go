package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"gaff"
)

// LogImport is rows of a webhook-logs collection of another application.
type LogImport struct {
	Docs []JSON `json:"docs" nullable:"false" doc:"Documents of the collection: webhookId, source, type, status, data, error, retryCount, processedAt, createdAt, and their id."`
}

// LogImported is the result of an import.
type LogImported struct {
	Added    int        `json:"added"`
	Known    int        `json:"known" doc:"How many were imported before."`
	Rejected []LogFault `json:"rejected" nullable:"false" doc:"Documents that cannot be stored; the others are."`
}

// LogFault is a document that cannot be stored.
type LogFault struct {
	Index int    `json:"index" doc:"Its place in docs, from 0."`
	Error string `json:"error"`
}

// importedLog is a row of the collection, as Payload's API or mongoexport writes it.
type importedLog struct {
	ID          json.RawMessage `json:"id"`
	MongoID     json.RawMessage `json:"_id"`
	WebhookID   string          `json:"webhookId"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Status      string          `json:"status"`
	Data        json.RawMessage `json:"data"`
	Error       string          `json:"error"`
	RetryCount  float64         `json:"retryCount"`
	ProcessedAt json.RawMessage `json:"processedAt"`
	CreatedAt   json.RawMessage `json:"createdAt"`
}

const maxImportedText = 1024

var importedSource = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// NewImportedLog reads a document. Its event is received now, because the order of events is that of
// their arrival; when it happened is OccurredAt.
func NewImportedLog(doc JSON, now time.Time) (l gaff.Log, err error) {
	var d importedLog
	if err := json.Unmarshal(doc, &d); err != nil {
		return l, Invalid("not a document of the collection: " + err.Error())
	}
	status, ok := gaff.ParseStatus(d.Status)
	switch {
	case !importedSource.MatchString(d.Source) || d.Source == gaff.InternalSource:
		return l, Invalid(fmt.Sprintf("source: invalid source %.60q: want up to 64 lower case letters, digits, - and _", d.Source))
	case d.Type == "" || len(d.Type) > maxImportedText:
		return l, Invalid("type: missing, or longer than 1,024 bytes")
	case len(d.WebhookID) > maxImportedText:
		return l, Invalid("webhookId: longer than 1,024 bytes")
	case !ok:
		return l, Invalid(fmt.Sprintf("status: unknown status %.40q: want pending, success or error", d.Status))
	case d.RetryCount < 0 || d.RetryCount > 1e6:
		return l, Invalid(fmt.Sprintf("retryCount: %g is not a number of retries", d.RetryCount))
	}
	if l.ProcessedAt, err = importedTime("processedAt", d.ProcessedAt); err != nil {
		return l, err
	}
	created, err := importedTime("createdAt", d.CreatedAt)
	if err != nil {
		return l, err
	}
	if created.IsZero() {
		created = l.ProcessedAt
	}
	data := bytes.TrimSpace(d.Data)
	if len(data) == 0 {
		data = []byte("null")
	}
	l.Status, l.RetryCount = status, int(d.RetryCount)
	if status == gaff.StatusError {
		l.Error = d.Error
	}
	l.Event = gaff.Event{
		Source: d.Source, Type: d.Type, WebhookID: d.WebhookID, DedupeKey: importKey(&d, doc), OccurredAt: created, ReceivedAt: now, Data: json.RawMessage(data),
		Verification: gaff.Verification{Scheme: gaff.ImportedScheme},
		Request:      &gaff.Request{Method: http.MethodPost, URL: "/", Header: http.Header{"Content-Type": {"application/json"}}, Body: data, ReceivedAt: now},
	}
	return l, nil
}

// importKey returns the key by which a document is imported once: its id, else all of it.
func importKey(d *importedLog, doc JSON) string {
	id := bytes.TrimSpace(d.ID)
	if len(id) == 0 {
		id = bytes.TrimSpace(d.MongoID)
	}
	if len(id) == 0 || string(id) == "null" {
		id = doc
	}
	sum := sha256.Sum256(id)
	return "import:" + hex.EncodeToString(sum[:])
}

// importedTime reads a time as Payload's API writes it, or as mongoexport does: {"$date": …}.
func importedTime(name string, raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return time.Time{}, nil
	}
	var wrapped struct {
		Date json.RawMessage `json:"$date"`
	}
	if json.Unmarshal(raw, &wrapped) == nil && wrapped.Date != nil {
		raw = wrapped.Date
	}
	var t time.Time
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, Invalid(fmt.Sprintf("%s: %.40s is not a time such as 2026-01-31T12:00:00Z", name, raw))
	}
	return t, nil
}
