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
)

// The envelope that Payload CMS answers a find with, so that an application that read its
// webhook-logs collection there can read it here.
type envelope struct {
	Docs            []logDoc `json:"docs"`
	TotalDocs       int      `json:"totalDocs"`
	Limit           int      `json:"limit"`
	TotalPages      int      `json:"totalPages"`
	Page            int      `json:"page"`
	PagingCounter   int      `json:"pagingCounter"`
	HasPrevPage     bool     `json:"hasPrevPage"`
	HasNextPage     bool     `json:"hasNextPage"`
	PrevPage        *int     `json:"prevPage"`
	NextPage        *int     `json:"nextPage"`
	TotalDocsCapped bool     `json:"totalDocsCapped,omitempty" doc:"There are more than totalDocs: they are counted up to 100,000, and pages end there."`
}

type logDoc struct {
	ID          string  `json:"id"`
	WebhookID   string  `json:"webhookId" doc:"The sender's own id; the event's where it has none."`
	Source      string  `json:"source"`
	Type        string  `json:"type"`
	Status      string  `json:"status" enum:"pending,success,error"`
	Unhandled   bool    `json:"unhandled" doc:"No handler was registered for it."`
	Data        rawJSON `json:"data" doc:"The body as JSON, numbers as sent."`
	Error       *string `json:"error" doc:"The last failure, if no success followed."`
	RetryCount  int     `json:"retryCount"`
	ReceivedAt  *string `json:"receivedAt" format:"date-time"`
	ProcessedAt *string `json:"processedAt" format:"date-time" doc:"Null until it was processed once."`
	CreatedAt   *string `json:"createdAt" format:"date-time"`
	UpdatedAt   *string `json:"updatedAt" format:"date-time"`
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

// retryRequest and the answers below are the shapes of the user's own management API.
type retryRequest struct {
	WebhookLogID string `json:"webhookLogId" doc:"The id of the log: evt_…"`
}

type retryDone struct {
	Success bool `json:"success"`
}

type retryFailed struct {
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

type manageError struct {
	Error string `json:"error"`
}

func (s *server) describeManage(mux *http.ServeMux, api huma.API) {
	const contentType = "application/json"
	text := &huma.Schema{Type: "string"}
	list := operation(http.MethodGet, managePath, "list-webhook-logs", "List webhook logs, in the envelope of Payload CMS", Viewer)
	list.Description += " Instead of source, status and type, also where[source][equals] and so on, as Payload's clients write it."
	list.Parameters = []*huma.Param{
		queryParam("source", "", text),
		queryParam("status", "", &huma.Schema{Type: "string", Enum: []any{"pending", "success", "error"}}),
		queryParam("type", "", text),
		queryParam("limit", "How many on a page.", &huma.Schema{
			Type: "integer", Minimum: new(1.0), Maximum: new(float64(maxPageSize)), Default: defaultPageSize,
		}),
		queryParam("page", "", &huma.Schema{Type: "integer", Minimum: new(1.0), Maximum: new(float64(maxPage)), Default: 1}),
		queryParam("sort", "What was never processed sorts by receivedAt.", &huma.Schema{
			Type: "string", Default: "-processedAt",
			Enum: []any{"-processedAt", "processedAt", "-receivedAt", "receivedAt", "-createdAt", "createdAt"},
		}),
	}
	list.Responses = map[string]*huma.Response{"200": response("A page of logs", contentType, schemaOf[envelope](api))}
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable} {
		list.Responses[strconv.Itoa(status)] = response(http.StatusText(status), contentType, schemaOf[manageError](api))
	}
	s.mount(mux, api, list, s.listLogs, managePath+"/{$}")

	retry := operation(http.MethodPost, managePath, "retry-webhook-log", "Try a failed webhook again, now, and wait for the outcome", Operator)
	retry.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{contentType: {Schema: schemaOf[retryRequest](api)}},
	}
	retry.Responses = map[string]*huma.Response{
		"200": response("It was tried and succeeded", contentType, schemaOf[retryDone](api)),
		"400": response("The body is not readable", contentType, schemaOf[retryFailed](api)),
		"404": response("There is no such log", contentType, schemaOf[retryFailed](api)),
		"409": response("It has not failed for good", contentType, schemaOf[retryFailed](api)),
		"413": response("The body is too large", contentType, schemaOf[retryFailed](api)),
		"500": response("It was tried and failed again", contentType, schemaOf[retryFailed](api)),
		"503": response("It cannot be tried just now", contentType, schemaOf[retryFailed](api)),
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		retry.Responses[strconv.Itoa(status)] = response(http.StatusText(status), contentType, schemaOf[manageError](api))
	}
	s.mount(mux, api, retry, s.retryLog, managePath+"/{$}")
}

func (s *server) listLogs(w http.ResponseWriter, r *http.Request) {
	q, page, err := logQuery(r.URL.Query())
	if errors.Is(err, errNothing) {
		answer(w, http.StatusOK, newEnvelope(nil, 0, q, page))
		return
	}
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	// The store walks over all that lies before a page, so far out only the count is asked for.
	far, asked := q.Offset > gaff.MaxLogCount, q
	if far {
		asked.Offset, asked.Limit = 0, 1
	}
	logs, total, err := s.o.Store.Logs(r.Context(), asked)
	switch {
	case err != nil:
		s.o.Log.Error("list webhook logs", "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, gaff.ErrStopped) {
			status = http.StatusServiceUnavailable
		}
		rejectWith(w, r, status, "the logs cannot be read just now; the gateway's own log tells more")
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
	answer(w, http.StatusOK, newEnvelope(logs, total, q, page))
}

// newEnvelope does Payload's arithmetic.
func newEnvelope(logs []gaff.Log, total int, q gaff.LogQuery, page int) envelope {
	env := envelope{
		Docs: make([]logDoc, 0, len(logs)), TotalDocs: min(total, gaff.MaxLogCount), Limit: q.Limit, Page: page,
		PagingCounter: q.Offset + 1, TotalDocsCapped: total > gaff.MaxLogCount,
	}
	for _, l := range logs {
		env.Docs = append(env.Docs, newLogDoc(l))
	}
	// Payload calls an empty collection one page.
	env.TotalPages = max((env.TotalDocs+q.Limit-1)/q.Limit, 1)
	if page > 1 {
		env.HasPrevPage, env.PrevPage = true, new(page-1)
	}
	if page < env.TotalPages {
		env.HasNextPage, env.NextPage = true, new(page+1)
	}
	return env
}

// whereParam is Payload's way to write a filter: where[source][equals], also as a member
// of an "and".
var whereParam = regexp.MustCompile(`^where(?:\[and\]\[\d{1,3}\])?\[(source|status|type)\]\[(?:equals|in)\]$`)

// errNothing is returned for a query that no log matches: as in Payload, where[source][equals]=
// chooses the logs whose source is empty.
var errNothing = errors.New("no log has an empty source, status or type")

// managePlain are the parameters of the user's own route, which ignores them if they are empty.
var managePlain = []string{"source", "status", "type", "limit", "page", "sort"}

// logQuery reads the parameters. What it does not know it refuses: a filter that is left
// out shows more than was asked for. With errNothing, the other results can be used.
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
		case "depth", "locale", "fallback-locale", "draft", "trash":
			// Payload's clients send these with every find; they change nothing here.
		default:
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

// answerTime is how long the answer may take to go out after a handler was waited for,
// which may have taken longer than the server lets answers take.
const answerTime = 10 * time.Second

func (s *server) retryLog(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, reason string) { answer(w, status, retryFailed{"Retry failed", reason}) }
	var in retryRequest
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
	err = s.o.Gateway.RetryNow(r.Context(), in.WebhookLogID)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	_, attempted := errors.AsType[*gaff.AttemptError](err)
	switch {
	case err == nil:
		answer(w, http.StatusOK, retryDone{true})
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
