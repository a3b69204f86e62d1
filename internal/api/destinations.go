package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/destination"
	"gaff/internal/redact"
)

type destinationDoc struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind" enum:"http,pull,queue"`
	URL         *string           `json:"url" doc:"A password in it is masked."`
	Topic       *string           `json:"topic"`
	Events      []string          `json:"events" nullable:"false"`
	Filter      *string           `json:"filter"`
	Format      string            `json:"format" enum:"envelope,original,cloudevents,cloudevents-binary"`
	Headers     map[string]string `json:"headers" doc:"Secrets are masked."`
	Secrets     []string          `json:"secrets" nullable:"false" doc:"The ends of the signing secrets, by which they are told apart."`
	Timeout     string            `json:"timeout"`
	MaxAttempts int               `json:"maxAttempts"`
	FirstWait   string            `json:"firstWait"`
	LongestWait string            `json:"longestWait"`
	Final       []int             `json:"final" nullable:"false" doc:"Statuses with which a delivery is dead at once."`
	Concurrency int               `json:"concurrency"`
	Rate        float64           `json:"rate" doc:"A second; 0 has no bound."`
	Burst       int               `json:"burst"`
	Order       *string           `json:"order" enum:"skip-dead,hold-dead,latest,null"`
	OrderBy     *string           `json:"orderBy"`
	BreakAfter  int               `json:"breakAfter"`
	BreakFor    string            `json:"breakFor"`
	Lease       string            `json:"lease"`
	Origin      string            `json:"origin" enum:"config,api" doc:"Those of the configuration are changed there."`
	UpdatedAt   *string           `json:"updatedAt" format:"date-time"`
	Health      healthDoc         `json:"health"`
	Backlog     backlogDoc        `json:"backlog"`
}

type healthDoc struct {
	State       string  `json:"state" enum:"active,paused,disabled"`
	Reason      *string `json:"reason" doc:"Why it is paused or disabled."`
	Circuit     string  `json:"circuit" enum:"closed,open,half-open" doc:"As this node sees it."`
	RetryAt     *string `json:"retryAt" format:"date-time" doc:"When it is tried again."`
	Failures    int     `json:"failures" doc:"Since the last success."`
	LastSuccess *string `json:"lastSuccess" format:"date-time"`
	LastFailure *string `json:"lastFailure" format:"date-time"`
	LastError   *string `json:"lastError"`
	Sent        int64   `json:"sent" doc:"By this node, since it started."`
	Failed      int64   `json:"failed" doc:"By this node, since it started."`
}

type backlogDoc struct {
	Waiting int64   `json:"waiting"`
	Held    int64   `json:"held" doc:"Of those, behind an earlier one of their key."`
	Dead    int64   `json:"dead"`
	NextDue *string `json:"nextDue" format:"date-time"`
}

func durationText(d destination.Duration) string { return time.Duration(d).String() }

// newDestinationDoc shows viewers no path and no header's value: both may be the receiver's
// secret.
func newDestinationDoc(ctx context.Context, d destination.Managed) destinationDoc {
	url, viewer := redact.Address(d.URL), isViewer(ctx)
	if viewer {
		url = redact.Host(d.URL)
	}
	doc := destinationDoc{
		Name: d.Name, Kind: d.Kind, URL: orNull(url), Topic: orNull(d.Topic), Events: d.Events, Filter: orNull(d.Filter),
		Format: d.Format, Headers: map[string]string{}, Secrets: []string{}, Timeout: durationText(d.Timeout),
		MaxAttempts: d.MaxAttempts, FirstWait: durationText(d.FirstWait), LongestWait: durationText(d.LongestWait),
		Final: d.Final, Concurrency: d.Concurrency, Rate: d.Rate, Burst: d.Burst, Order: orNull(d.Order), OrderBy: orNull(d.OrderBy),
		BreakAfter: d.BreakAfter, BreakFor: durationText(d.BreakFor), Lease: durationText(d.Lease), Origin: d.Origin,
		UpdatedAt: stamp(d.UpdatedAt),
		Health: healthDoc{
			State: string(d.Health.State), Reason: orNull(d.Health.Reason), Circuit: string(d.Health.Circuit), RetryAt: stamp(d.Health.RetryAt),
			Failures: d.Health.Failures, LastSuccess: stamp(d.Health.LastSuccess), LastFailure: stamp(d.Health.LastFailure),
			LastError: orNull(d.Health.LastError), Sent: d.Health.Sent, Failed: d.Health.Failed,
		},
		Backlog: backlogDoc{d.Counts.Waiting, d.Counts.Held, d.Counts.Dead, stamp(d.Counts.NextDue)},
	}
	for name, value := range d.Headers {
		if viewer || redact.SecretName(name) {
			value = redact.Masked
		}
		doc.Headers[name] = value
	}
	for _, secret := range d.Secrets {
		doc.Secrets = append(doc.Secrets, "…"+secret[max(len(secret)-4, 0):])
	}
	return doc
}

type destinationInput struct{ Body destination.Spec }

type createdDestination struct {
	destinationDoc
	Secret *string `json:"secret" doc:"The signing secret that was made; it is told nowhere else. Null if secrets were given, or nothing is signed."`
}

type patchInput struct {
	Name    string `path:"name" maxLength:"64"`
	RawBody []byte `contentType:"application/json"`
}

type pauseInput struct {
	Name string `path:"name" maxLength:"64"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

type rotateInput struct {
	Name string `path:"name" maxLength:"64"`
	Body *struct {
		Drop bool `json:"drop,omitempty" doc:"Sign with the new secret alone; else the former one signs as well."`
	}
}

type exchangeDoc struct {
	OK         bool                            `json:"ok"`
	Error      *string                         `json:"error"`
	DurationMs float64                         `json:"durationMs"`
	Request    destination.Sent                `json:"request"`
	Response   optional[*destination.Received] `json:"response"`
}

// forwarding tells where the manager is, or that there is none.
func (s *server) forwarding() (*destination.Manager, error) {
	if s.o.Forwarding == nil {
		return nil, huma.Error404NotFound("this gateway forwards nothing")
	}
	return s.o.Forwarding, nil
}

// told turns a manager's answer into one of the API.
func (s *server) told(ctx context.Context) func(destination.Managed, error) (*output[destinationDoc], error) {
	return func(d destination.Managed, err error) (*output[destinationDoc], error) {
		if err != nil {
			return nil, s.failure(err)
		}
		return &output[destinationDoc]{newDestinationDoc(ctx, d)}, nil
	}
}

func (s *server) describeDestinations(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/destinations", "list-destinations", "List where events are forwarded to, by name", Viewer),
		func(ctx context.Context, in *Paging) (*output[list[destinationDoc]], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			all, err := m.List(ctx)
			return cutList(s, *in, all, err, func(d destination.Managed) string { return d.Name }, func(d destination.Managed) destinationDoc { return newDestinationDoc(ctx, d) })
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/destinations/{name}", "get-destination", "One destination, with its health and backlog", Viewer),
		func(ctx context.Context, in *nameInput) (*output[destinationDoc], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			return s.told(ctx)(m.Get(ctx, in.Name))
		})
	create := operation(http.MethodPost, "/api/v1/destinations", "create-destination", "Forward events to an address, a broker, or whoever fetches them", Admin)
	create.DefaultStatus = http.StatusCreated
	create.Errors = append(create.Errors, http.StatusBadRequest)
	huma.Register(api, create, func(ctx context.Context, in *destinationInput) (*output[createdDestination], error) {
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		spec, secret := in.Body, ""
		if (spec.Kind == "" || spec.Kind == destination.KindHTTP) && spec.Format != destination.FormatOriginal && spec.Secrets == nil {
			secret = destination.NewSecret()
			spec.Secrets = []string{secret}
		}
		d, err := m.Create(ctx, spec)
		if err != nil {
			return nil, s.failure(err)
		}
		remark(ctx, d.Name, map[string]any{"kind": d.Kind, "url": redact.Address(d.URL), "events": d.Events})
		return &output[createdDestination]{createdDestination{newDestinationDoc(ctx, d), orNull(secret)}}, nil
	})
	update := operation(http.MethodPatch, "/api/v1/destinations/{name}", "update-destination", "Change some fields of a destination (JSON merge patch)", Admin)
	update.Errors = append(update.Errors, http.StatusBadRequest, http.StatusConflict)
	update.SkipValidateBody = true // it is read strictly once it is merged
	update.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: "object", Description: "The fields of create-destination that change; null takes one back to its default."}},
	}}
	huma.Register(api, update, func(ctx context.Context, in *patchInput) (*output[destinationDoc], error) {
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		return s.told(ctx)(m.Update(ctx, in.Name, func(spec *destination.Spec) error { return destination.Merge(spec, in.RawBody) }))
	})
	remove := operation(http.MethodDelete, "/api/v1/destinations/{name}", "delete-destination", "Delete a destination and cancel what waits for it", Admin)
	remove.Errors = append(remove.Errors, http.StatusConflict)
	huma.Register(api, remove, func(ctx context.Context, in *nameInput) (*struct{}, error) {
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		if err := m.Delete(ctx, in.Name); err != nil {
			return nil, s.failure(err)
		}
		return nil, nil
	})
	huma.Register(api, operation(http.MethodPost, "/api/v1/destinations/{name}/pause", "pause-destination", "Hold back what is for a destination; nothing is lost", Operator),
		func(ctx context.Context, in *pauseInput) (*output[destinationDoc], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			reason := ""
			if in.Body != nil {
				reason = in.Body.Reason
			}
			return s.told(ctx)(m.SetState(ctx, in.Name, destination.StatePaused, reason))
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/destinations/{name}/resume", "resume-destination", "Send again what is for a destination; an open circuit is closed", Operator),
		func(ctx context.Context, in *nameInput) (*output[destinationDoc], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			return s.told(ctx)(m.SetState(ctx, in.Name, destination.StateActive, ""))
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/destinations/{name}/rotate", "rotate-destination-secret", "Sign with a new secret, and for now with the former one as well", Admin),
		func(ctx context.Context, in *rotateInput) (*output[createdDestination], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			d, secret, err := m.Rotate(ctx, in.Name, in.Body == nil || !in.Body.Drop)
			if err != nil {
				return nil, s.failure(err)
			}
			return &output[createdDestination]{createdDestination{newDestinationDoc(ctx, d), &secret}}, nil
		})
	huma.Register(api, operation(http.MethodPost, "/api/v1/destinations/{name}/test", "test-destination", `Send a "gaff:test" event to a destination, now, and tell what it answers`, Operator),
		func(ctx context.Context, in *nameInput) (*output[exchangeDoc], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			ex, err := m.Test(ctx, in.Name)
			if ex == nil {
				return nil, s.failure(err)
			}
			doc := exchangeDoc{DurationMs: ex.DurationMs, Request: ex.Request, OK: ex.Response != nil && ex.Response.Status/100 == 2}
			if err != nil {
				doc.Error = orNull(err.Error())
			}
			if ex.Response != nil {
				doc.Response.value = &ex.Response
			}
			return &output[exchangeDoc]{doc}, nil
		})
}

type pullInput struct {
	Body struct {
		Destination string `json:"destination" maxLength:"64" doc:"One of kind pull."`
		Max         int    `json:"max,omitempty" minimum:"1" maximum:"100" default:"10"`
		Wait        string `json:"wait,omitempty" doc:"How long to wait for the first, up to 60s, such as 20s."`
		Lease       string `json:"lease,omitempty" doc:"How long they belong to who asks; the destination's own if empty."`
	}
}

type pulledDoc struct {
	Lease      string                  `json:"lease" doc:"What it is acknowledged by."`
	Until      *string                 `json:"until" format:"date-time" doc:"When it is given to another if it was not acknowledged."`
	DeliveryID string                  `json:"deliveryId" doc:"The same each time; remember it, not to act twice."`
	Attempt    int                     `json:"attempt"`
	EventID    string                  `json:"eventId"`
	Source     string                  `json:"source"`
	Type       string                  `json:"type"`
	Key        *string                 `json:"key" doc:"What the order is kept by."`
	Envelope   rawJSON                 `json:"envelope" doc:"As it is posted to others; null where the destination wants the original request."`
	Request    optional[rawRequestDoc] `json:"request" doc:"As it was received; null but where the destination wants it."`
}

type rawRequestDoc struct {
	Method     string              `json:"method"`
	URL        string              `json:"url"`
	Headers    map[string][]string `json:"headers" doc:"From end to end, the signature included."`
	BodyBase64 string              `json:"bodyBase64"`
}

func newRawRequestDoc(ev *gaff.Event) *rawRequestDoc {
	header, body, ok := destination.Original(ev)
	if !ok {
		return nil
	}
	return &rawRequestDoc{ev.Request.Method, ev.Request.URL, header, base64.StdEncoding.EncodeToString(body)}
}

func newPulledDoc(p destination.Pulled) pulledDoc {
	doc := pulledDoc{
		Lease: p.Lease, Until: stamp(p.Until), DeliveryID: p.Delivery.ID, Attempt: p.Attempt, EventID: p.Event.ID, Source: p.Event.Source,
		Type: p.Event.Type, Key: orNull(p.Delivery.Key), Envelope: rawJSON(p.Envelope),
	}
	if p.Original {
		doc.Request.value = newRawRequestDoc(p.Event)
	}
	return doc
}

type pulledList struct {
	Deliveries []pulledDoc `json:"deliveries" nullable:"false"`
}

// LeaseList is a part of inputs; exported, since huma passes over fields that are not.
type LeaseList struct {
	Leases []string `json:"leases" minItems:"1" maxItems:"100" nullable:"false"`
}

type leasesInput struct{ Body LeaseList }

type extendInput struct {
	Body struct {
		LeaseList
		Lease string `json:"lease" doc:"How much longer, from now, such as 5m."`
	}
}

type failInput struct {
	Body struct {
		LeaseList
		Error string `json:"error,omitempty" maxLength:"2000" doc:"Why; it is kept with the attempt."`
		Delay string `json:"delay,omitempty" doc:"When to try again; the destination's own waits if empty."`
		Dead  bool   `json:"dead,omitempty" doc:"Not to try again."`
	}
}

type endedDoc struct {
	Lease string  `json:"lease"`
	OK    bool    `json:"ok"`
	Error *string `json:"error" doc:"Such as a lease that ran out: another has the delivery then."`
}

type endedList struct {
	Leases []endedDoc `json:"leases" nullable:"false"`
	Until  *string    `json:"until,omitempty" format:"date-time"`
}

func newEndedList(ended []destination.Ended) *output[endedList] {
	out := &output[endedList]{endedList{Leases: []endedDoc{}}}
	for _, e := range ended {
		doc := endedDoc{Lease: e.Lease, OK: e.Err == nil}
		if e.Err != nil {
			doc.Error = orNull(e.Err.Error())
		}
		out.Body.Leases = append(out.Body.Leases, doc)
	}
	return out
}

// span reads a duration; an empty one is def.
func span(name, text string, def time.Duration) (time.Duration, error) {
	if text == "" {
		return def, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, huma.Error400BadRequest(fmt.Sprintf("%s: %.40q is no duration; write one like 20s or 5m", name, text))
	}
	return d, nil
}

func (s *server) describePull(mux *http.ServeMux, api huma.API) {
	pull := operation(http.MethodPost, "/api/v1/pull", "pull", "Fetch deliveries of a destination of kind pull, to be acknowledged", Operator)
	pull.Errors = append(pull.Errors, http.StatusNotFound, http.StatusBadRequest)
	huma.Register(api, pull, func(ctx context.Context, in *pullInput) (*output[pulledList], error) {
		unaudited(ctx)
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		wait, err := span("wait", in.Body.Wait, 0)
		if err != nil {
			return nil, err
		}
		lease, err := span("lease", in.Body.Lease, 0)
		if err != nil {
			return nil, err
		}
		lengthen(ctx, wait)
		limit := in.Body.Max
		if limit == 0 {
			limit = 10
		}
		pulled, err := m.Pull(ctx, in.Body.Destination, limit, wait, lease)
		if err != nil {
			return nil, s.failure(err)
		}
		out := &output[pulledList]{pulledList{[]pulledDoc{}}}
		for _, p := range pulled {
			out.Body.Deliveries = append(out.Body.Deliveries, newPulledDoc(p))
		}
		return out, nil
	})
	end := func(path, id, summary string) huma.Operation {
		op := operation(http.MethodPost, "/api/v1/pull/"+path, id, summary, Operator)
		op.Errors = append(op.Errors, http.StatusBadRequest)
		return op
	}
	huma.Register(api, end("ack", "ack-pulled", "Acknowledge deliveries: they are done"),
		func(ctx context.Context, in *leasesInput) (*output[endedList], error) {
			unaudited(ctx)
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			return newEndedList(m.Ack(ctx, in.Body.Leases)), nil
		})
	huma.Register(api, end("release", "release-pulled", "Give deliveries back: due again at once, and no attempt counts"),
		func(ctx context.Context, in *leasesInput) (*output[endedList], error) {
			unaudited(ctx)
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			return newEndedList(m.Release(ctx, in.Body.Leases)), nil
		})
	huma.Register(api, end("fail", "fail-pulled", "Tell that deliveries could not be worked: they are tried again, or dead"),
		func(ctx context.Context, in *failInput) (*output[endedList], error) {
			unaudited(ctx)
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			delay, err := span("delay", in.Body.Delay, -1)
			if err != nil {
				return nil, err
			}
			ended, err := m.Fail(ctx, in.Body.Leases, in.Body.Error, delay, in.Body.Dead)
			if err != nil {
				return nil, s.failure(err)
			}
			return newEndedList(ended), nil
		})
	huma.Register(api, end("extend", "extend-pulled", "Keep deliveries for longer"),
		func(ctx context.Context, in *extendInput) (*output[endedList], error) {
			unaudited(ctx)
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			lease, err := span("lease", in.Body.Lease, 0)
			if err != nil {
				return nil, err
			}
			ended, until, err := m.Extend(in.Body.Leases, lease)
			if err != nil {
				return nil, s.failure(err)
			}
			out := newEndedList(ended)
			out.Body.Until = stamp(until)
			return out, nil
		})
	s.describePullStream(mux, api)
	s.describeSubscriptions(api)
}

// streamMost is how many unacknowledged deliveries a stream hands out.
const streamMost = 10

func (s *server) describePullStream(mux *http.ServeMux, api huma.API) {
	text := &huma.Schema{Type: "string"}
	op := operation(http.MethodGet, "/api/v1/pull/stream", "stream-pulled", "Server-sent events: deliveries of a destination of kind pull, as they come", Operator)
	op.Description += " Each is to be acknowledged as those of pull are; one that is not comes again when its lease has run out."
	op.Parameters = []*huma.Param{
		{Name: "destination", In: "query", Required: true, Description: "One of kind pull.", Schema: text},
		queryParam("lease", "How long each belongs to who reads; the destination's own if empty.", text),
		queryParam("max", "How many are handed out at once, 1 to 100; 10 if empty.", &huma.Schema{Type: "integer"}),
	}
	op.Responses = map[string]*huma.Response{"200": response("Deliveries, until either side ends it", "text/event-stream", text)}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusNotFound)
	s.mount(mux, api, op, s.pullStream)
}

func (s *server) pullStream(w http.ResponseWriter, r *http.Request) {
	if !tokenOnly(w, r) {
		return
	}
	fail := func(err error) {
		failure := s.failure(err)
		rejectWith(w, r, failure.GetStatus(), failure.Error())
	}
	m, err := s.forwarding()
	if err != nil {
		rejectWith(w, r, http.StatusNotFound, err.Error())
		return
	}
	q, most := r.URL.Query(), streamMost
	for name := range q {
		if name != "destination" && name != "lease" && name != "max" {
			rejectWith(w, r, http.StatusBadRequest, fmt.Sprintf("parameter %.60q is not known: destination, lease and max are", name))
			return
		}
	}
	if text := q.Get("max"); text != "" {
		if most, err = strconv.Atoi(text); err != nil || most < 1 || most > destination.MaxPull {
			rejectWith(w, r, http.StatusBadRequest, fmt.Sprintf("max must be 1 to %d", destination.MaxPull))
			return
		}
	}
	lease, err := span("lease", q.Get("lease"), 0)
	if err != nil {
		rejectWith(w, r, http.StatusBadRequest, err.Error())
		return
	}
	release, ok := s.openStream(w, r)
	if !ok {
		return
	}
	defer release()
	// What is wrong with the request is told before the stream begins.
	pulled, err := m.Pull(r.Context(), q.Get("destination"), most, 0, lease)
	if err != nil {
		fail(err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sse{w: w, rc: http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // a recorder in a test has none
	held := map[string]time.Time{}
	if r.Method == http.MethodHead || out.write(": alive\n\n") != nil {
		m.GiveBack(pulled)
		return
	}
	for {
		for i, p := range pulled {
			held[p.Lease] = p.Until
			line, err := json.Marshal(newPulledDoc(p))
			if err == nil {
				err = out.event(p.Delivery.ID, "delivery", line)
			}
			if err != nil {
				m.GiveBack(pulled[i:])
				return
			}
		}
		for token := range held {
			if !m.Holds(token) {
				delete(held, token)
			}
		}
		if status, _ := s.denial(r, Operator); status != 0 {
			return
		}
		if len(held) >= most {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(streamPace):
			}
			pulled = nil
			continue
		}
		if pulled, err = m.Pull(r.Context(), q.Get("destination"), most-len(held), heartbeat, lease); err != nil {
			return
		}
		if len(pulled) == 0 && out.write(": alive\n\n") != nil {
			return
		}
	}
}

type subscriptionDoc struct {
	Name      string   `json:"name"`
	Events    []string `json:"events" nullable:"false"`
	Filter    *string  `json:"filter"`
	Cursor    *string  `json:"cursor" doc:"The last event that was acknowledged."`
	CreatedAt *string  `json:"createdAt" format:"date-time"`
	SeenAt    *string  `json:"seenAt" format:"date-time" doc:"One that nobody used for 30 days is removed."`
}

func newSubscriptionDoc(sub destination.Subscription) subscriptionDoc {
	events := sub.Events
	if events == nil {
		events = []string{}
	}
	return subscriptionDoc{sub.Name, events, orNull(sub.Filter), orNull(sub.Cursor), stamp(sub.CreatedAt), stamp(sub.SeenAt)}
}

type subscribeInput struct {
	Body struct {
		Name   string   `json:"name" maxLength:"100"`
		Events []string `json:"events,omitempty" maxItems:"64" doc:"source:type with *, as destinations have."`
		Filter string   `json:"filter,omitempty" doc:"A CEL condition, as destinations have."`
		From   string   `json:"from,omitempty" doc:"Where a new one begins: now, beginning, or after an event's id. A known one goes on where it was."`
	}
}

type subscribedDoc struct {
	subscriptionDoc
	Created bool `json:"created"`
}

type heardInput struct {
	Name   string `path:"name" maxLength:"100"`
	After  string `query:"after" doc:"Where to read on from, the cursor of the former answer; the acknowledged one if empty."`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Wait   string `query:"wait" doc:"How long to wait for the first, up to 60s."`
	Format string `query:"format" enum:"original,envelope" default:"original" doc:"original: the request as received, where there was one."`
}

type heardDoc struct {
	ID         string                  `json:"id"`
	Source     string                  `json:"source"`
	Type       string                  `json:"type"`
	WebhookID  *string                 `json:"webhookId"`
	ReceivedAt *string                 `json:"receivedAt" format:"date-time"`
	Envelope   rawJSON                 `json:"envelope"`
	Request    optional[rawRequestDoc] `json:"request"`
}

type heardList struct {
	Events []heardDoc `json:"events" nullable:"false"`
	Cursor *string    `json:"cursor" doc:"To be acknowledged once these were worked."`
	Gone   bool       `json:"gone" doc:"Events before these were removed from the log meanwhile."`
}

type ackInput struct {
	Name string `path:"name" maxLength:"100"`
	Body struct {
		Cursor string `json:"cursor"`
	}
}

type subscriptionInput struct {
	Name string `path:"name" maxLength:"100"`
}

func (s *server) describeSubscriptions(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/api/v1/subscriptions", "list-subscriptions", "List who listens to the log of events", Viewer),
		func(ctx context.Context, in *Paging) (*output[list[subscriptionDoc]], error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			all, err := m.Subscriptions(ctx)
			return cutList(s, *in, all, err, func(d destination.Subscription) string { return d.Name }, newSubscriptionDoc)
		})
	subscribe := operation(http.MethodPost, "/api/v1/subscriptions", "subscribe", "Listen to the log of events from a place of one's own", Operator)
	subscribe.Errors = append(subscribe.Errors, http.StatusBadRequest)
	huma.Register(api, subscribe, func(ctx context.Context, in *subscribeInput) (*output[subscribedDoc], error) {
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		sub, made, err := m.Subscribe(ctx, in.Body.Name, in.Body.Events, in.Body.Filter, in.Body.From)
		if err != nil {
			return nil, s.failure(err)
		}
		return &output[subscribedDoc]{subscribedDoc{newSubscriptionDoc(sub), made}}, nil
	})
	huma.Register(api, operation(http.MethodDelete, "/api/v1/subscriptions/{name}", "unsubscribe", "Delete a subscription", Operator),
		func(ctx context.Context, in *subscriptionInput) (*struct{}, error) {
			m, err := s.forwarding()
			if err != nil {
				return nil, err
			}
			if err := m.Unsubscribe(ctx, in.Name); err != nil {
				return nil, s.failure(err)
			}
			return nil, nil
		})
	listen := operation(http.MethodGet, "/api/v1/subscriptions/{name}/events", "listen", "The next events of a subscription, headers and signatures as received", Operator)
	listen.Errors = append(listen.Errors, http.StatusBadRequest)
	huma.Register(api, listen, func(ctx context.Context, in *heardInput) (*output[heardList], error) {
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		wait, err := span("wait", in.Wait, 0)
		if err != nil {
			return nil, err
		}
		lengthen(ctx, wait)
		h, err := m.Listen(ctx, in.Name, in.After, in.Limit, wait)
		if err != nil {
			return nil, s.failure(err)
		}
		out := &output[heardList]{heardList{Events: []heardDoc{}, Cursor: orNull(h.Cursor), Gone: h.Gone}}
		for _, ev := range h.Events {
			doc := heardDoc{ID: ev.ID, Source: ev.Source, Type: ev.Type, WebhookID: orNull(ev.WebhookID), ReceivedAt: stamp(ev.ReceivedAt)}
			if in.Format == "original" {
				doc.Request.value = newRawRequestDoc(ev)
			}
			if doc.Request.value == nil {
				envelope, err := m.Envelope(ctx, ev)
				if err != nil {
					return nil, s.failure(err)
				}
				doc.Envelope = rawJSON(envelope)
			}
			out.Body.Events = append(out.Body.Events, doc)
		}
		return out, nil
	})
	ack := operation(http.MethodPost, "/api/v1/subscriptions/{name}/ack", "ack-subscription", "Acknowledge the events of a subscription up to a cursor", Operator)
	ack.Errors = append(ack.Errors, http.StatusBadRequest)
	huma.Register(api, ack, func(ctx context.Context, in *ackInput) (*output[subscriptionDoc], error) {
		unaudited(ctx)
		m, err := s.forwarding()
		if err != nil {
			return nil, err
		}
		sub, err := m.Acknowledge(ctx, in.Name, in.Body.Cursor)
		if err != nil {
			return nil, s.failure(err)
		}
		return &output[subscriptionDoc]{newSubscriptionDoc(sub)}, nil
	})
}
