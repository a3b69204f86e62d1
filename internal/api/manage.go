package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gaff"
)

// The envelope that Payload CMS answers a find with, so that an application that read its
// webhook-logs collection there can read it here.
type envelope struct {
	Docs          []logDoc `json:"docs"`
	TotalDocs     int      `json:"totalDocs"`
	Limit         int      `json:"limit"`
	TotalPages    int      `json:"totalPages"`
	Page          int      `json:"page"`
	PagingCounter int      `json:"pagingCounter"`
	HasPrevPage   bool     `json:"hasPrevPage"`
	HasNextPage   bool     `json:"hasNextPage"`
	PrevPage      *int     `json:"prevPage"`
	NextPage      *int     `json:"nextPage"`
	// TotalDocsCapped is set when there are more than TotalDocs.
	TotalDocsCapped bool `json:"totalDocsCapped,omitempty"`
}

type logDoc struct {
	ID          string  `json:"id"`
	WebhookID   string  `json:"webhookId"`
	Source      string  `json:"source"`
	Type        string  `json:"type"`
	Status      string  `json:"status"`
	Unhandled   bool    `json:"unhandled"`
	Data        rawJSON `json:"data"`
	Error       *string `json:"error"`
	RetryCount  int     `json:"retryCount"`
	ReceivedAt  *string `json:"receivedAt"`
	ProcessedAt *string `json:"processedAt"`
	CreatedAt   *string `json:"createdAt"`
	UpdatedAt   *string `json:"updatedAt"`
}

func newLogDoc(l gaff.Log) logDoc {
	return logDoc{
		ID: l.ID, WebhookID: webhookID(l), Source: l.Source, Type: l.Type, Status: l.Status.String(), Unhandled: l.Unhandled,
		Data: rawJSON(l.Data), Error: orNull(l.Error), RetryCount: l.RetryCount, ReceivedAt: stamp(l.ReceivedAt),
		ProcessedAt: stamp(l.ProcessedAt), CreatedAt: stamp(l.ReceivedAt), UpdatedAt: stamp(l.UpdatedAt),
	}
}

// webhookID is the sender's own id, or ours where it has none.
func webhookID(l gaff.Log) string {
	if l.WebhookID != "" {
		return l.WebhookID
	}
	return l.ID
}

const (
	defaultPageSize = 50
	maxPageSize     = 500
	maxPage         = 1_000_000
)

func (s *server) listLogs(w http.ResponseWriter, r *http.Request) {
	q, page, err := logQuery(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	logs, total, err := s.o.Store.Logs(r.Context(), q)
	if err != nil {
		s.o.Log.Error("list webhook logs", "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, gaff.ErrUnavailable) {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, map[string]any{"error": "the logs cannot be read just now; the gateway's own log tells more"})
		return
	}
	env := envelope{Docs: []logDoc{}, TotalDocs: min(total, gaff.MaxLogCount), Limit: q.Limit, Page: page, TotalDocsCapped: total > gaff.MaxLogCount}
	for _, l := range logs {
		env.Docs = append(env.Docs, newLogDoc(l))
	}
	// Payload calls an empty collection one page.
	env.TotalPages = max((env.TotalDocs+q.Limit-1)/q.Limit, 1)
	env.PagingCounter = q.Offset + 1
	if page > 1 {
		prev := page - 1
		env.HasPrevPage, env.PrevPage = true, &prev
	}
	if page < env.TotalPages || env.TotalDocsCapped && len(logs) == q.Limit {
		next := page + 1
		env.HasNextPage, env.NextPage = true, &next
	}
	answer(w, http.StatusOK, env)
}

// logQuery reads the parameters, Payload's where[field][operator]=value among them. What
// it does not know it refuses: a filter that is left out shows more than was asked for.
func logQuery(values url.Values) (q gaff.LogQuery, page int, err error) {
	q, page = gaff.LogQuery{Limit: defaultPageSize}, 1
	for name, all := range values {
		value := all[len(all)-1]
		switch field := whereField(name); field {
		case "source":
			q.Source = value
		case "type":
			q.Type = value
		case "status":
			if value == "" {
				break
			}
			status, ok := gaff.ParseStatus(value)
			if !ok {
				return q, 0, fmt.Errorf("status is %.40q: pending, success or error is wanted", value)
			}
			q.Status = &status
		case "limit":
			if q.Limit, err = number(name, value, maxPageSize); err != nil {
				return q, 0, err
			}
		case "page":
			if page, err = number(name, value, maxPage); err != nil {
				return q, 0, err
			}
		case "sort":
			field, descending := strings.CutPrefix(value, "-")
			switch field {
			case "processedAt":
			case "receivedAt", "createdAt":
				q.ByReceived = true
			default:
				return q, 0, fmt.Errorf("sort is %.40q: processedAt, receivedAt or createdAt is wanted, with - in front for newest first", value)
			}
			q.Ascending = !descending
		case "depth", "locale", "fallback-locale", "draft", "trash":
			// Payload's clients send these with every find; they change nothing here.
		default:
			return q, 0, fmt.Errorf("parameter %.60q is not known: source, type, status, limit, page, sort, or where[source|type|status][equals]", name)
		}
	}
	q.Offset = (page - 1) * q.Limit
	return q, page, nil
}

// whereField takes the field out of where[field][equals]; other names stay.
func whereField(name string) string {
	rest, ok := strings.CutPrefix(name, "where[")
	if !ok {
		return name
	}
	field, ok := strings.CutSuffix(rest, "][equals]")
	if !ok || field == "limit" || field == "page" || field == "sort" {
		return ""
	}
	return field
}

func number(name, text string, highest int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > highest {
		return 0, fmt.Errorf("%s is %.40q: a number from 1 to %d is wanted", name, text, highest)
	}
	return n, nil
}

func (s *server) retryLog(w http.ResponseWriter, r *http.Request) {
	var in struct {
		WebhookLogID string `json:"webhookLogId"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.WebhookLogID == "" {
		answer(w, http.StatusBadRequest, map[string]any{
			"error": "Retry failed", "reason": `the body is not {"webhookLogId":"evt_…"}`,
		})
		return
	}
	err := s.o.Gateway.RetryNow(r.Context(), in.WebhookLogID)
	status := http.StatusInternalServerError
	switch {
	case err == nil:
		answer(w, http.StatusOK, map[string]any{"success": true})
		return
	case errors.Is(err, gaff.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, gaff.ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, gaff.ErrUnavailable), errors.Is(err, gaff.ErrStopped):
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{"error": "Retry failed", "reason": err.Error()})
}
