package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/diff"
	"gaff/internal/redact"
)

type eventDoc struct {
	ID            string  `json:"id"`
	WebhookID     string  `json:"webhookId" doc:"The sender's own id; the event's where it has none."`
	Source        string  `json:"source"`
	Type          string  `json:"type"`
	Status        string  `json:"status" enum:"pending,success,error"`
	Unhandled     bool    `json:"unhandled" doc:"No handler was registered for it."`
	Error         *string `json:"error"`
	RetryCount    int     `json:"retryCount"`
	Duplicates    int     `json:"duplicates" doc:"How often the same id came again."`
	Conflict      bool    `json:"conflict" doc:"It came again with another body."`
	CorrelationID *string `json:"correlationId"`
	ParentID      *string `json:"parentId"`
	ReceivedAt    *string `json:"receivedAt" format:"date-time"`
	OccurredAt    *string `json:"occurredAt" format:"date-time"`
	ProcessedAt   *string `json:"processedAt" format:"date-time"`
	UpdatedAt     *string `json:"updatedAt" format:"date-time"`
}

func newEventDoc(l gaff.Log) eventDoc {
	return eventDoc{
		ID: l.ID, WebhookID: webhookID(l), Source: l.Source, Type: l.Type, Status: l.Status.String(), Unhandled: l.Unhandled,
		Error: orNull(l.Error), RetryCount: l.RetryCount, Duplicates: l.Duplicates, Conflict: l.Conflict,
		CorrelationID: orNull(l.CorrelationID), ParentID: orNull(l.ParentID), ReceivedAt: stamp(l.ReceivedAt),
		OccurredAt: stamp(l.OccurredAt), ProcessedAt: stamp(l.ProcessedAt), UpdatedAt: stamp(l.UpdatedAt),
	}
}

type eventDetail struct {
	eventDoc
	Data       rawJSON                   `json:"data" doc:"The body as JSON, numbers as sent."`
	Damaged    bool                      `json:"bodyDamaged" doc:"The stored body is not what was received, and is left out."`
	Request    optional[requestDoc]      `json:"request" doc:"Null for inner events."`
	Proof      optional[verificationDoc] `json:"proof"`
	Deliveries []deliveryDoc             `json:"deliveries" nullable:"false"`
	Copies     []copyDoc                 `json:"copies" nullable:"false" doc:"Later arrivals of the same id with another body."`
	Children   []string                  `json:"children" nullable:"false" doc:"Events that this one's handlers emitted."`
}

type requestDoc struct {
	Method     string              `json:"method"`
	URL        string              `json:"url" doc:"Secrets are masked."`
	RemoteAddr string              `json:"remoteAddr"`
	Headers    map[string][]string `json:"headers" doc:"Secrets are masked."`
	bodyDoc
}

type bodyDoc struct {
	Body       *string `json:"body" doc:"Null if it is not UTF-8; then bodyBase64 holds it."`
	BodyBase64 *string `json:"bodyBase64"`
}

func newBodyDoc(body []byte) bodyDoc {
	text := string(body)
	if utf8.ValidString(text) {
		return bodyDoc{Body: &text}
	}
	text = base64.StdEncoding.EncodeToString(body)
	return bodyDoc{BodyBase64: &text}
}

type verificationDoc struct {
	Scheme  string  `json:"scheme"`
	KeyID   *string `json:"keyId" doc:"Fingerprint of the key that matched."`
	Subject *string `json:"subject"`
	Dialect *string `json:"dialect"`
}

type copyDoc struct {
	ReceivedAt *string             `json:"receivedAt" format:"date-time"`
	Headers    map[string][]string `json:"headers"`
	bodyDoc
}

type deliveryDoc struct {
	ID          string       `json:"id"`
	EventID     string       `json:"eventId"`
	Source      string       `json:"source"`
	Type        string       `json:"type"`
	WebhookID   string       `json:"webhookId"`
	Handler     string       `json:"handler"`
	State       string       `json:"state" enum:"pending,running,retrying,succeeded,dead,canceled"`
	Attempts    int          `json:"attempts"`
	MaxAttempts int          `json:"maxAttempts"`
	RunAt       *string      `json:"runAt" format:"date-time" doc:"Null while it is held."`
	Key         *string      `json:"key" doc:"What the order is kept by."`
	Held        bool         `json:"held" doc:"An earlier one of its key is not done."`
	Error       *string      `json:"error"`
	CreatedAt   *string      `json:"createdAt" format:"date-time"`
	UpdatedAt   *string      `json:"updatedAt" format:"date-time"`
	FinishedAt  *string      `json:"finishedAt" format:"date-time"`
	Tries       []attemptDoc `json:"tries,omitzero" doc:"The ended attempts; not in lists."`
}

type attemptDoc struct {
	Number     int     `json:"number"`
	Outcome    string  `json:"outcome"`
	StartedAt  *string `json:"startedAt" format:"date-time"`
	DurationMs float64 `json:"durationMs"`
	Error      *string `json:"error"`
	Detail     *string `json:"detail" doc:"More about it, such as a panic's stack."`

	Changes []changeDoc `json:"changes" doc:"What differs from the try before, empty if nothing does; null for the first one. Times, signatures and the like that always differ are left out."`
}

type changeDoc struct {
	Field string  `json:"field" doc:"outcome, error, duration (where it was twice as long or half as long), detail, or a member of the detail such as response.status."`
	From  *string `json:"from"`
	To    *string `json:"to"`
}

func newDeliveryDoc(d gaff.Delivery) deliveryDoc {
	if d.Held {
		d.RunAt = time.Time{} // never, as it is stored
	}
	return deliveryDoc{
		ID: d.ID, EventID: d.EventID, Source: d.Source, Type: d.Type, WebhookID: d.WebhookID, Handler: d.Handler,
		State: d.State.String(), Attempts: d.Attempts, MaxAttempts: d.MaxAttempts, RunAt: stamp(d.RunAt), Key: orNull(d.Key), Held: d.Held,
		Error: orNull(d.Error), CreatedAt: stamp(d.CreatedAt), UpdatedAt: stamp(d.UpdatedAt), FinishedAt: stamp(d.FinishedAt),
	}
}

// newAttemptDoc takes the attempt before it too, nil for the first one.
func newAttemptDoc(a gaff.Attempt, before *gaff.Attempt) attemptDoc {
	doc := attemptDoc{
		Number: a.Number, Outcome: a.Outcome, StartedAt: stamp(a.StartedAt),
		DurationMs: float64(a.Duration.Microseconds()) / 1000, Error: orNull(a.Error), Detail: orNull(a.Detail),
	}
	if before != nil {
		doc.Changes = []changeDoc{}
		for _, c := range diff.Attempts(*before, a) {
			doc.Changes = append(doc.Changes, changeDoc{c.Field, orNull(c.From), orNull(c.To)})
		}
	}
	return doc
}

// newDeliveryDetail takes the delivery's own among the attempts.
func newDeliveryDetail(d gaff.Delivery, as []gaff.Attempt) deliveryDoc {
	doc := newDeliveryDoc(d)
	doc.Tries = []attemptDoc{}
	var before *gaff.Attempt
	for i := range as {
		if as[i].DeliveryID == d.ID {
			doc.Tries = append(doc.Tries, newAttemptDoc(as[i], before))
			before = &as[i]
		}
	}
	return doc
}

// secrets names the places of a source's secret, for events that were stored before those
// were stored with them.
func (s *server) secrets(source string) []string {
	for _, info := range s.o.Gateway.Sources() {
		if info.Name == source {
			return info.Secrets
		}
	}
	return nil
}

// newEventDetail is of an event that is masked already.
func newEventDetail(d *gaff.EventDetail) eventDetail {
	doc := eventDetail{
		eventDoc: newEventDoc(d.Log), Data: rawJSON(d.Data), Damaged: d.Damaged,
		Deliveries: []deliveryDoc{}, Copies: []copyDoc{}, Children: append([]string{}, d.Children...),
	}
	if r := d.Request; r != nil {
		doc.Request.value = &requestDoc{r.Method, r.URL, r.RemoteAddr, r.Header, newBodyDoc(r.Body)}
		doc.Proof.value = &verificationDoc{d.Verification.Scheme, orNull(d.Verification.KeyID), orNull(d.Verification.Subject), orNull(d.Verification.Dialect)}
	}
	for _, delivery := range d.Deliveries {
		doc.Deliveries = append(doc.Deliveries, newDeliveryDetail(delivery, d.Attempts))
	}
	for _, c := range d.Copies {
		doc.Copies = append(doc.Copies, copyDoc{stamp(c.ReceivedAt), c.Header, newBodyDoc(c.Body)})
	}
	return doc
}

type eventsInput struct {
	Paging
	Source    string `query:"source"`
	Type      string `query:"type"`
	Status    string `query:"status" enum:"pending,success,error"`
	Query     string `query:"q" doc:"Text in the ids, the error or the body. A page looks at 50,000 events; nextCursor goes on after them."`
	Since     string `query:"since" doc:"Received at or after: a time, or a duration such as 24h for that long ago."`
	Until     string `query:"until" doc:"Received before."`
	WebhookID string `query:"webhookId"`
	Conflict  bool   `query:"conflict" doc:"Only those that came again with another body."`
	Inner     bool   `query:"inner" doc:"Also the events that gaff emitted itself."`
}

type idInput struct {
	ID string `path:"id" maxLength:"128"`
}

type nameInput struct {
	Name string `path:"name" maxLength:"64"`
}

type deliveriesOutput struct {
	Deliveries []string `json:"deliveries" nullable:"false"`
}

func (s *server) describeEvents(mux *http.ServeMux, api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/events", "list-events", "List events, newest first", Viewer),
		func(ctx context.Context, in *eventsInput) (*output[list[eventDoc]], error) {
			f := gaff.EventFilter{
				Source: in.Source, Type: in.Type, Query: in.Query, WebhookID: in.WebhookID, Conflict: in.Conflict, Internal: in.Inner,
				Cursor: in.page(),
			}
			if status, ok := gaff.ParseStatus(in.Status); ok {
				f.Status = &status
			}
			var err error
			if f.Since, err = moment("since", in.Since); err != nil {
				return nil, err
			}
			if f.Until, err = moment("until", in.Until); err != nil {
				return nil, err
			}
			page, err := s.o.Store.Events(ctx, f)
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newEventDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/events/{id}", "get-event", "One event with all that became of it", Viewer),
		func(ctx context.Context, in *idInput) (*output[eventDetail], error) {
			d, err := s.o.Store.Event(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[eventDetail]{newEventDetail(d.Masked(s.secrets(d.Source)))}, nil
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/events/{id}/retry", "retry-event", "Try the dead deliveries of an event again", Operator),
		func(ctx context.Context, in *idInput) (*output[deliveriesOutput], error) {
			// The gateway takes deliveries' ids too.
			if !strings.HasPrefix(in.ID, "evt_") {
				return nil, huma.Error404NotFound("event " + in.ID + ": not found")
			}
			return s.started(s.o.Gateway.Retry(ctx, in.ID))
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/events/{id}/replay", "replay-event", "Work an event anew by all its handlers", Operator),
		func(ctx context.Context, in *idInput) (*output[deliveriesOutput], error) {
			return s.started(s.o.Gateway.Replay(ctx, in.ID))
		})
	body := operation(http.MethodGet, "/api/v1/events/{id}/body", "get-event-body", "The exact bytes of a webhook's body, as a download", Viewer)
	body.Parameters = []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}}
	body.Responses = map[string]*huma.Response{"200": response("The bytes", "application/octet-stream", &huma.Schema{Type: "string", Format: "binary"})}
	s.mount(mux, api, body, s.eventBody)
}

func (s *server) started(ids []string, err error) (*output[deliveriesOutput], error) {
	if err != nil {
		return nil, s.failure(err)
	}
	return &output[deliveriesOutput]{deliveriesOutput{append([]string{}, ids...)}}, nil
}

// eventBody answers with a webhook's exact bytes, as a download: what strangers sent is
// never shown as a page. For viewers the sender's secret in them is masked.
func (s *server) eventBody(w http.ResponseWriter, r *http.Request) {
	d, err := s.o.Store.Event(r.Context(), r.PathValue("id"))
	if err != nil {
		failure := s.failure(err)
		rejectWith(w, r, failure.GetStatus(), failure.Error())
		return
	}
	if d.Damaged {
		rejectWith(w, r, http.StatusInternalServerError, "event "+d.ID+": "+gaff.ErrDamaged.Error())
		return
	}
	if isViewer(r.Context()) {
		d = d.Masked(s.secrets(d.Source))
	}
	body := []byte(d.Data)
	if d.Request != nil {
		body = d.Request.Body
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+d.ID+`.bin"`)
	_, _ = w.Write(body)
}

type deliveriesInput struct {
	Paging
	EventID string `query:"eventId"`
	Source  string `query:"source"`
	Handler string `query:"handler"`
	State   string `query:"state" enum:"pending,running,retrying,succeeded,dead,canceled"`
}

func (s *server) describeDeliveries(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/deliveries", "list-deliveries", "List deliveries, newest event first", Viewer),
		func(ctx context.Context, in *deliveriesInput) (*output[list[deliveryDoc]], error) {
			f := gaff.DeliveryFilter{EventID: in.EventID, Source: in.Source, Handler: in.Handler, Cursor: in.page()}
			if state, ok := gaff.ParseState(in.State); ok {
				f.State = &state
			}
			page, err := s.o.Store.Deliveries(ctx, f)
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newDeliveryDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/deliveries/{id}", "get-delivery", "One delivery with its attempts", Viewer),
		func(ctx context.Context, in *idInput) (*output[deliveryDoc], error) {
			d, as, err := s.o.Store.Delivery(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[deliveryDoc]{newDeliveryDetail(*d, as)}, nil
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/deliveries/{id}/retry", "retry-delivery", "Try a dead or canceled delivery again", Operator),
		func(ctx context.Context, in *idInput) (*output[deliveriesOutput], error) {
			if !strings.HasPrefix(in.ID, "dlv_") {
				return nil, huma.Error404NotFound("delivery " + in.ID + ": not found")
			}
			return s.started(s.o.Gateway.Retry(ctx, in.ID))
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/deliveries/{id}/cancel", "cancel-delivery", "End a delivery that is not done", Operator),
		func(ctx context.Context, in *idInput) (*output[deliveryDoc], error) {
			if err := s.o.Gateway.Cancel(ctx, in.ID); err != nil {
				return nil, s.failure(err)
			}
			d, _, err := s.o.Store.Delivery(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[deliveryDoc]{newDeliveryDoc(*d)}, nil
		})
}

type rejectionDoc struct {
	ID         string              `json:"id"`
	Source     string              `json:"source"`
	Status     int                 `json:"status" doc:"What was answered."`
	Reason     string              `json:"reason"`
	Method     string              `json:"method"`
	URL        string              `json:"url"`
	RemoteAddr string              `json:"remoteAddr"`
	Headers    map[string][]string `json:"headers" doc:"Secrets are masked."`
	BodySize   int64               `json:"bodySize"`
	ReceivedAt *string             `json:"receivedAt" format:"date-time"`
	Rescuable  bool                `json:"rescuable" doc:"It is kept whole, so it can be verified again: POST …/rescue."`
	RescuedAs  *string             `json:"rescuedAs" doc:"The event that it became, if it was rescued."`
	bodyDoc
}

func newRejectionDoc(r gaff.Rejection) rejectionDoc {
	return rejectionDoc{
		r.ID, r.Source, r.Status, r.Reason, r.Method, redact.URL(r.URL, nil), r.RemoteAddr, redact.Header(r.Header, nil), r.BodySize, stamp(r.ReceivedAt),
		r.Rescuable, orNull(r.RescuedAs), newBodyDoc(r.Body),
	}
}

type rejectionsInput struct {
	Paging
	Source string `query:"source"`
}

type statsInput struct {
	Since string `query:"since" doc:"A time, or a duration such as 24h for that long ago; without it, all of it."`
}

type statsDoc struct {
	Since   *string         `json:"since" format:"date-time"`
	Sources []sourceStats   `json:"sources" nullable:"false"`
	Queue   deliveriesStats `json:"deliveries"`
}

type sourceStats struct {
	Source         string  `json:"source" doc:"Empty for requests to sources that do not exist."`
	Pending        int64   `json:"pending"`
	Success        int64   `json:"success"`
	Error          int64   `json:"error"`
	Rejected       int64   `json:"rejected"`
	LastReceivedAt *string `json:"lastReceivedAt" format:"date-time"`
}

type deliveriesStats struct {
	Waiting   int64   `json:"waiting"`
	Due       int64   `json:"due"`
	Dead      int64   `json:"dead"`
	OldestDue *string `json:"oldestDue" format:"date-time"`
}

type sourceDoc struct {
	Name         string                `json:"name"`
	Address      string                `json:"address" doc:"Where the sender sends to."`
	Path         string                `json:"path"`
	Quiet        *string               `json:"quiet" doc:"Why it refuses everything; null if it does not."`
	About        map[string]string     `json:"about"`
	MaxBodyBytes int64                 `json:"maxBodyBytes"`
	Handlers     []handlerDoc          `json:"handlers" nullable:"false"`
	Counts       optional[sourceStats] `json:"counts" doc:"Null until something came."`
	Keys         []keyUseDoc           `json:"keys" nullable:"false" doc:"The keys by which its requests were proven, the last used first."`
}

type handlerDoc struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Type   string `json:"type"`
}

func (s *server) describeOverview(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/rejections", "list-rejections", "List refused requests, newest first", Viewer),
		func(ctx context.Context, in *rejectionsInput) (*output[list[rejectionDoc]], error) {
			page, err := s.o.Store.Rejections(ctx, gaff.RejectionFilter{Source: in.Source, Cursor: in.page()})
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newRejectionDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/rejections/{id}", "get-rejection", "One refused request", Viewer),
		func(ctx context.Context, in *idInput) (*output[rejectionDoc], error) {
			r, err := s.o.Store.Rejection(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[rejectionDoc]{newRejectionDoc(*r)}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/stats", "get-stats", "What came, and what waits", Viewer),
		func(ctx context.Context, in *statsInput) (*output[statsDoc], error) {
			since, err := moment("since", in.Since)
			if err != nil {
				return nil, err
			}
			counts, err := s.o.Store.Counts(ctx, since)
			if err != nil {
				return nil, s.failure(err)
			}
			doc := statsDoc{Since: stamp(since), Sources: []sourceStats{}, Queue: deliveriesStats{
				counts.Waiting, counts.Due, counts.Dead, stamp(counts.OldestDue),
			}}
			for _, c := range counts.Sources {
				doc.Sources = append(doc.Sources, newSourceStats(c))
			}
			return &output[statsDoc]{doc}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/sources", "list-sources", "List the configured sources", Viewer),
		func(ctx context.Context, in *Paging) (*output[list[sourceDoc]], error) {
			docs, err := s.sources(ctx)
			if err != nil {
				return nil, err
			}
			page, err := cut(*in, docs, func(d sourceDoc) string { return d.Name })
			if err != nil {
				return nil, err
			}
			return listOf(page, func(d sourceDoc) sourceDoc { return d }), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/sources/{name}", "get-source", "One source", Viewer),
		func(ctx context.Context, in *nameInput) (*output[sourceDoc], error) {
			docs, err := s.sources(ctx)
			if err != nil {
				return nil, err
			}
			for _, doc := range docs {
				if doc.Name == in.Name {
					return &output[sourceDoc]{doc}, nil
				}
			}
			return nil, huma.Error404NotFound("source " + in.Name + ": not found; GET /api/v1/sources lists them")
		})
}

func newSourceStats(c gaff.SourceCount) sourceStats {
	return sourceStats{c.Source, c.Pending, c.Success, c.Error, c.Rejected, stamp(c.LastReceivedAt)}
}

func (s *server) sources(ctx context.Context) ([]sourceDoc, error) {
	counts, err := s.o.Store.Counts(ctx, time.Time{})
	if err != nil {
		return nil, s.failure(err)
	}
	docs := []sourceDoc{}
	for _, info := range s.o.Gateway.Sources() {
		doc := sourceDoc{
			Name: info.Name, Address: s.o.Address(info.Name), Path: info.Path, Quiet: orNull(info.DisabledReason), About: info.About,
			MaxBodyBytes: info.MaxBodyBytes, Handlers: []handlerDoc{},
		}
		uses, err := s.o.Store.KeyUses(ctx, info.Name)
		if err != nil {
			return nil, s.failure(err)
		}
		doc.Keys = []keyUseDoc{}
		for _, u := range uses {
			doc.Keys = append(doc.Keys, keyUseDoc{u.KeyID, stamp(u.FirstUsedAt), stamp(u.LastUsedAt)})
		}
		for _, h := range info.Handlers {
			doc.Handlers = append(doc.Handlers, handlerDoc(h))
		}
		for _, c := range counts.Sources {
			if c.Source == info.Name {
				doc.Counts.value = new(newSourceStats(c))
			}
		}
		docs = append(docs, doc)
	}
	return docs, nil
}
