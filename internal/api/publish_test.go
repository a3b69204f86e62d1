package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/eventually"
	"gaff/internal/wire"
)

func decodeInto[T any](t *testing.T, text string) (doc T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return doc
}

func TestPublishedEventIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	res := w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"order.paid","data":{"n":12345678901234567890},"projectId":"film","idempotencyKey":"k"}`)
	p := decodeInto[wire.Published](t, res.body)
	if res.status != http.StatusCreated || p.Status != "published" || !strings.HasPrefix(p.ID, "evt_") {
		t.Fatalf("%d %s", res.status, res.body)
	}
	doc := decodeInto[wire.EventDetail](t, w.call(http.MethodGet, "/api/v1/events/"+p.ID, "viewer", "").body)
	got := []string{doc.Source, doc.Type, string(doc.Data), string(doc.ProjectID), string(doc.Proof.Subject)}
	if diff := cmp.Diff([]string{"published", "order.paid", `{"n":12345678901234567890}`, "film", "someone"}, got); diff != "" {
		t.Error(diff)
	}
	res = w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"order.paid","data":{"n":12345678901234567890},"idempotencyKey":"k"}`)
	if again := decodeInto[wire.Published](t, res.body); res.status != http.StatusOK || again.ID != p.ID || res.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same key: %d %s", res.status, res.body)
	}
	res = w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"order.paid","data":{"n":1},"idempotencyKey":"k"}`)
	if res.status != http.StatusConflict || !strings.Contains(res.body, "other data") {
		t.Errorf("the same key with other data: %d %s", res.status, res.body)
	}
	res = w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"order.open","data":{"n":12345678901234567890},"idempotencyKey":"k"}`)
	if res.status != http.StatusConflict || !strings.Contains(res.body, "another type") {
		t.Errorf("the same key with another type: %d %s", res.status, res.body)
	}
}

func TestPublishedListIsOneCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	res := w.call(http.MethodPost, "/api/v1/events", "operator", `[{"type":"a","data":1},{"type":"b","delay":"1h"},{"type":"bad type"}]`)
	if res.status != http.StatusBadRequest || !strings.Contains(res.body, "event 3: ") {
		t.Errorf("with a mistake: %d %s", res.status, res.body)
	}
	if list := w.call(http.MethodGet, "/api/v1/scheduled-events", "viewer", ""); !strings.Contains(list.body, `"docs":[]`) {
		t.Errorf("after a mistake: %s", list.body)
	}
	res = w.call(http.MethodPost, "/api/v1/events", "operator", `[{"type":"a","data":1},{"type":"b","delay":"1h"}]`)
	list := decodeInto[wire.PublishedList](t, res.body)
	if res.status != http.StatusCreated || len(list.Events) != 2 || list.Events[0].Status != "published" || list.Events[1].Status != "scheduled" {
		t.Errorf("%d %s", res.status, res.body)
	}
}

func TestPublishRejectsBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]string{
		`{}`:                              "type: invalid type",
		`{"type":"a","typo":1}`:           `unknown field`,
		`{"type":"a","delay":"x"}`:        "delay:",
		`{"type":"a","delay":"-1s"}`:      "delay:",
		`{"type":"a","runAt":"tomorrow"}`: "runAt:",
		`{"type":"a","delay":"1s","runAt":"2030-01-01T00:00:00Z"}`: "give one of them",
		`{"type":"a","runAt":"2999-01-01T00:00:00Z"}`:              "ten years",
		`[]`: "1 to 1000",
		`{"type":"a","data":` + strings.Repeat("[", 1200) + strings.Repeat("]", 1200) + `}`: "nested deeper",
		`{"type":"a","data":"` + strings.Repeat("x", gaff.MaxPublishedData) + `"}`:          "data: ",
		`{"type":"a"} {}`:               "",
		`{"type":"a","delay":5}`:        "delay: expected a text in quotation marks, not number",
		`[{"type":"a","projectId":[]}]`: "projectId: expected a text in quotation marks, not array",
	} {
		res := w.call(http.MethodPost, "/api/v1/events", "operator", body)
		if res.status != http.StatusBadRequest || !strings.Contains(res.body, want) {
			t.Errorf("%.60s: %d %.200s, want 400 and %q", body, res.status, res.body, want)
		}
	}
	if res := w.call(http.MethodPost, "/api/v1/events", "viewer", `{"type":"a"}`); res.status != http.StatusForbidden {
		t.Errorf("a viewer: %d", res.status)
	}
}

func TestScheduledEventIsChangedAndPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := decodeInto[wire.Published](t, w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"reminder","data":{"n":1},"delay":"7d"}`).body)
	path := "/api/v1/scheduled-events/" + p.ID
	if res := w.call(http.MethodPatch, path, "operator", `{"data":{"n":2},"delay":"1ms"}`); res.status != http.StatusOK {
		t.Fatalf("%d %s", res.status, res.body)
	}
	eventually.True(t, "the event is published", func() bool {
		doc := decodeInto[wire.ScheduledEvent](t, w.call(http.MethodGet, path, "viewer", "").body)
		return doc.Status == "published" && strings.Contains(w.call(http.MethodGet, "/api/v1/events/"+string(doc.EventID), "viewer", "").body, `"data":{"n":2}`)
	})
	if res := w.call(http.MethodDelete, path, "operator", ""); res.status != http.StatusConflict {
		t.Errorf("cancel of a published event: %d %s", res.status, res.body)
	}
	q := decodeInto[wire.Published](t, w.call(http.MethodPost, "/api/v1/events", "operator", `{"type":"reminder","delay":"7d"}`).body)
	if res := w.call(http.MethodDelete, "/api/v1/scheduled-events/"+q.ID, "operator", ""); res.status != http.StatusOK || !strings.Contains(res.body, `"canceled"`) {
		t.Errorf("cancel: %d %s", res.status, res.body)
	}
	if res := w.call(http.MethodGet, "/api/v1/scheduled-events?status=scheduled", "viewer", ""); !strings.Contains(res.body, `"docs":[]`) {
		t.Errorf("still scheduled: %s", res.body)
	}
}

func TestLimitedCredentialsPublishForTheirOwn(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	project, source := s.scoped(t, "operator", `{"projectId":"film"}`), s.scoped(t, "operator", `{"source":"published"}`)
	others := decodeInto[wire.Published](t, s.guarded.call(http.MethodPost, "/api/v1/events", adminToken, `{"type":"a","projectId":"other","delay":"1h"}`).body)
	own := decodeInto[wire.Published](t, s.guarded.call(http.MethodPost, "/api/v1/events", project, `{"type":"a","delay":"1h"}`).body)
	if own.ProjectID != "film" {
		t.Errorf("project %q", own.ProjectID)
	}
	for _, c := range []struct {
		token, method, path, body string
		want                      int
	}{
		{project, "POST", "/api/v1/events", `{"type":"a","projectId":"other"}`, 403},
		{project, "GET", "/api/v1/scheduled-events/" + others.ID, "", 404},
		{project, "PATCH", "/api/v1/scheduled-events/" + others.ID, `{"delay":"1s"}`, 404},
		{project, "DELETE", "/api/v1/scheduled-events/" + others.ID, "", 404},
		{project, "GET", "/api/v1/scheduled-events/" + own.ID, "", 200},
		{source, "POST", "/api/v1/events", `{"type":"a","projectId":"other"}`, 201},
		{source, "GET", "/api/v1/scheduled-events/" + others.ID, "", 200},
		{s.scoped(t, "operator", `{"source":"custom"}`), "POST", "/api/v1/events", `{"type":"a"}`, 403},
	} {
		if res := s.guarded.call(c.method, c.path, c.token, c.body); res.status != c.want {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, res.status, res.body, c.want)
		}
	}
	list := decodeInto[wire.List[wire.ScheduledEvent]](t, s.guarded.call(http.MethodGet, "/api/v1/scheduled-events", project, "").body)
	if len(list.Docs) != 2 || list.Docs[0].ID != own.ID || list.Docs[1].ProjectID != "film" {
		t.Errorf("the project sees %s", fmt.Sprint(list.Docs))
	}
}
