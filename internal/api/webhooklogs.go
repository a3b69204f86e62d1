package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/stale"
	"gaff/internal/wire"
)

// logsPath is the path of the webhook-logs collection, as applications of Payload CMS know it.
const logsPath = "/api/v1/webhooks/manage"

const (
	defaultPageSize = 50
	maxPageSize     = 500
	maxPage         = 1_000_000
)

func describeListWebhookLogs(api huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: "string"}
	op.Description += " Also the conditions of Payload's clients: where[source][equals]=custom, where[or][0][error][like]=timeout and so on, with the operators " +
		"equals, not_equals, in, not_in, like, contains, exists, greater_than, greater_than_equal, less_than and less_than_equal on the fields of a log, " +
		"select[…], pagination=false, limit=0 (at most 500 logs) and sort by several fields. Conditions other than equality of source, status and type look at the newest 50,000 events."
	op.Parameters = []*huma.Param{
		queryParam("source", "", text),
		queryParam("status", "", &huma.Schema{Type: "string", Enum: []any{"pending", "success", "error"}}),
		queryParam("type", "", text),
		queryParam("limit", "How many on a page.", &huma.Schema{
			Type: "integer", Minimum: new(0.0), Maximum: new(float64(maxPageSize)), Default: defaultPageSize,
		}),
		queryParam("page", "", &huma.Schema{Type: "integer", Minimum: new(1.0), Maximum: new(float64(maxPage)), Default: 1}),
		queryParam("sort", "Fields between commas, with - in front for the highest first. Events that were never processed sort by receivedAt.",
			&huma.Schema{Type: "string", Default: "-processedAt", Examples: []any{"-processedAt", "receivedAt", "-status,source"}}),
	}
	op.Responses = map[string]*huma.Response{"200": response("A page of logs", "application/json",
		&huma.Schema{AnyOf: []*huma.Schema{schemaOf[wire.WebhookLogs](api), schemaOf[wire.SelectedWebhookLogs](api)}})}
	describeLogErrors(api, op, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable)
}

func describeCountWebhookLogs(api huma.API, op *huma.Operation) {
	op.Description += " With the conditions of list-webhook-logs."
	op.Responses = map[string]*huma.Response{"200": response("The number of logs", "application/json", schemaOf[wire.WebhookLogCount](api))}
	describeLogErrors(api, op, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable)
}

func describeGetWebhookLog(api huma.API, op *huma.Operation) {
	op.Description += " select[…] chooses members, as in list-webhook-logs."
	op.Parameters = idParam()
	op.Responses = map[string]*huma.Response{"200": response("The log", "application/json",
		&huma.Schema{AnyOf: []*huma.Schema{schemaOf[wire.WebhookLog](api), {Type: "object", AdditionalProperties: true}}})}
	describeLogErrors(api, op, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable)
}

func describeLogErrors(api huma.API, op *huma.Operation, statuses ...int) {
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = response(http.StatusText(status), "application/json", schemaOf[wire.WebhookLogError](api))
	}
}

func describeRetryWebhookLog(api huma.API, op *huma.Operation) {
	const contentType = "application/json"
	op.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{contentType: {Schema: schemaOf[wire.WebhookLogRetry](api)}},
	}
	op.Responses = map[string]*huma.Response{"200": response("The attempt succeeded", contentType, schemaOf[wire.WebhookLogRetried](api))}
	for status, description := range map[string]string{
		"400": "The body is not readable", "404": "Unknown log", "409": "The log is not in error", "413": "The body is too large",
		"500": "The attempt failed again", "503": "No attempt is possible just now",
	} {
		op.Responses[status] = response(description, contentType, schemaOf[wire.WebhookLogFailed](api))
	}
	describeLogErrors(api, op, http.StatusUnauthorized, http.StatusForbidden)
}

func (s *server) listWebhookLogs(w http.ResponseWriter, r *http.Request) {
	if needsSearch(r.URL.Query()) {
		s.searchWebhookLogs(w, r)
		return
	}
	q, page, err := logQuery(r.URL.Query())
	if errors.Is(err, errNothing) {
		answer(w, http.StatusOK, wire.NewWebhookLogs(nil, 0, q, page))
		return
	}
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	// The store reads all logs before a page, so only the count is read for a very distant one.
	far, asked := q.Offset > gaff.MaxLogCount, q
	if far {
		asked.Offset, asked.Limit = 0, 1
	}
	logs, total, err := s.store(r.Context()).Logs(r.Context(), asked)
	switch {
	case err != nil:
		s.logsFailed(w, r, err)
		return
	case far && total > gaff.MaxLogCount:
		rejectWith(w, r, http.StatusBadRequest, fmt.Sprintf(
			"page %d lies beyond the first %d logs: narrow them down by source, status or type, or walk through GET /api/v1/events, which has no end",
			page, gaff.MaxLogCount))
		return
	case far:
		logs = nil
	}
	for i := range logs {
		logs[i] = *logs[i].Masked(s.secrets(logs[i].Source))
	}
	answer(w, http.StatusOK, wire.NewWebhookLogs(logs, total, q, page))
}

func (s *server) logsFailed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, gaff.ErrInvalid) {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	s.o.Log.Error("list webhook logs", "error", err)
	status := http.StatusInternalServerError
	if errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, gaff.ErrStopped) {
		status = http.StatusServiceUnavailable
	}
	rejectWith(w, r, status, "the logs cannot be read now; see the gateway's own log")
}

func (s *server) searchWebhookLogs(w http.ResponseWriter, r *http.Request) {
	q, err := logSearchOf(r.URL.Query())
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	found, err := s.store(r.Context()).SearchLogs(stale.Allow(r.Context()), q.LogSearch)
	if err != nil {
		s.logsFailed(w, r, err)
		return
	}
	for i := range found.Logs {
		found.Logs[i] = *found.Logs[i].Masked(s.secrets(found.Logs[i].Source))
	}
	if q.single {
		// As in Payload: rows beyond the limit are not counted.
		found.Total, q.page = len(found.Logs), 1
	}
	doc, err := wire.FoundWebhookLogs(found, q.limit, q.page, q.shows)
	if err != nil {
		s.logsFailed(w, r, err)
		return
	}
	answer(w, http.StatusOK, doc)
}

// countWebhookLogs answers Payload's count.
func (s *server) countWebhookLogs(w http.ResponseWriter, r *http.Request) {
	q, err := logSearchOf(r.URL.Query())
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	q.Limit, q.Offset = 1, 0
	found, err := s.store(r.Context()).SearchLogs(stale.Allow(r.Context()), q.LogSearch)
	if err != nil {
		s.logsFailed(w, r, err)
		return
	}
	answer(w, http.StatusOK, wire.WebhookLogCount{TotalDocs: found.Total, TotalDocsCapped: found.Older})
}

// getWebhookLog answers Payload's findByID.
func (s *server) getWebhookLog(w http.ResponseWriter, r *http.Request) {
	q, err := logSelection(r.URL.Query())
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	d, err := s.store(r.Context()).Event(r.Context(), r.PathValue("id"))
	if errors.Is(err, gaff.ErrNotFound) {
		rejectWith(w, r, http.StatusNotFound, "Not Found")
		return
	}
	var doc any
	if err == nil {
		doc, err = wire.SelectedWebhookLog(d.Masked(s.secrets(d.Source)).Log, q.shows)
	}
	if err != nil {
		s.logsFailed(w, r, err)
		return
	}
	answer(w, http.StatusOK, doc)
}

// whereParam is Payload's way to write a filter: where[source][equals], also as a member
// of an "and".
var whereParam = regexp.MustCompile(`^where(?:\[and\]\[\d{1,3}\])?\[(source|status|type)\]\[(?:equals|in)\]$`)

// errNothing is returned for a query that no log matches: as in Payload, where[source][equals]=
// chooses the logs whose source is empty.
var errNothing = errors.New("no log has an empty source, status or type")

// manageIgnored are the parameters that Payload's clients send with every find. They change nothing here.
var manageIgnored = []string{"depth", "locale", "fallback-locale", "draft", "trash"}

// managePlain are the parameters of the user's own route, which ignores them if they are empty.
var managePlain = []string{"source", "status", "type", "limit", "page", "sort"}

// logQuery reads the parameters. It rejects unknown ones: without a filter, the list shows more than
// the caller wants. With errNothing, the other results are valid.
func logQuery(values url.Values) (q gaff.LogQuery, page int, err error) {
	q, page = gaff.LogQuery{Limit: defaultPageSize}, 1
	var nothing error
	given := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value, field := values.Get(name), name
		if m := whereParam.FindStringSubmatch(name); m != nil {
			field = m[1]
			if strings.HasSuffix(name, "[in]") && strings.Contains(value, ",") {
				return q, 0, fmt.Errorf("%s: one value is possible, not several", name)
			}
		}
		if value == "" && slices.Contains(managePlain, name) {
			continue
		}
		if value == "" && field != name {
			nothing = errNothing
			continue
		}
		if former, twice := given[field]; twice && former != value {
			return q, 0, fmt.Errorf("%s cannot be both %.40q and %.40q", field, former, value)
		}
		given[field] = value
		switch field {
		case "source":
			q.Source = value
		case "type":
			q.Type = value
		case "status":
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
		default:
			if slices.Contains(manageIgnored, field) {
				continue
			}
			return q, 0, fmt.Errorf("parameter %.60q is not known: source, type, status, limit, page, sort, or where[source|type|status][equals] is wanted", name)
		}
	}
	q.Offset = (page - 1) * q.Limit
	return q, page, nothing
}

func number(name, text string, highest int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > highest {
		return 0, fmt.Errorf("%s is %.40q: a number from 1 to %d is wanted", name, text, highest)
	}
	return n, nil
}

// answerTime is the time to write the answer after the handler, which may have taken longer than the
// server's own write timeout.
const answerTime = 10 * time.Second

func (s *server) retryWebhookLog(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, reason string) {
		answer(w, status, wire.WebhookLogFailed{Error: "Retry failed", Reason: reason})
	}
	var in wire.WebhookLogRetry
	text, err := io.ReadAll(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		fail(http.StatusRequestEntityTooLarge, tooLarge(maxBody))
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil || in.WebhookLogID == "" {
		fail(http.StatusBadRequest, `the body is not {"webhookLogId":"evt_…"}`)
		return
	}
	remark(r.Context(), in.WebhookLogID, nil)
	if err = reachable(r.Context(), in.WebhookLogID, s.store(r.Context()).Event); err == nil {
		err = s.o.Gateway.RetryNow(r.Context(), in.WebhookLogID)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	_, attempted := errors.AsType[*gaff.AttemptError](err)
	switch {
	case err == nil:
		answer(w, http.StatusOK, wire.WebhookLogRetried{Success: true})
	case attempted:
		fail(http.StatusInternalServerError, err.Error())
	case errors.Is(err, gaff.ErrNotFound):
		fail(http.StatusNotFound, err.Error())
	case errors.Is(err, gaff.ErrConflict):
		fail(http.StatusConflict, err.Error())
	case errors.Is(err, gaff.ErrUnavailable), errors.Is(err, gaff.ErrStopped):
		fail(http.StatusServiceUnavailable, err.Error())
	default:
		fail(http.StatusInternalServerError, err.Error())
	}
}
