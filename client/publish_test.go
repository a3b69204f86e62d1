package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/client"
)

func TestAPIPublishes(t *testing.T) {
	t.Parallel()
	var calls []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("Authorization"), " ", string(body)))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"detail":"published already"}`)
		case len(body) > 0 && body[0] == '[':
			fmt.Fprint(w, `{"events":[{"id":"evt_1","status":"published","eventId":"evt_1"},{"id":"sch_1","status":"scheduled","eventId":null}]}`)
		default:
			fmt.Fprint(w, `{"id":"evt_1","status":"published","eventId":null,"runAt":"2026-01-31T12:00:00.000Z","duplicate":true}`)
		}
	}))
	defer gateway.Close()
	api := &client.API{URL: gateway.URL + "/", Token: "t"}
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	p, err := api.Publish(t.Context(), client.NewEvent{Type: "a", Data: json.RawMessage(`{"n":1}`), IdempotencyKey: "k", RunAt: at})
	if want := (client.Published{ID: "evt_1", Status: "published", RunAt: at, Duplicate: true}); err != nil || !cmp.Equal(p, want) {
		t.Errorf("%+v, %v", p, err)
	}
	list, err := api.PublishAll(t.Context(), []client.NewEvent{{Type: "a"}, {Type: "b", ProjectID: "film"}})
	if err != nil || len(list) != 2 || list[1].ID != "sch_1" {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = api.CancelScheduled(t.Context(), "sch_1")
	if e, ok := errors.AsType[*client.APIError](err); !ok || e.Status != http.StatusConflict || e.Detail != "published already" {
		t.Errorf("cancel: %v", err)
	}
	want := []string{
		`POST /api/v1/events Bearer t {"data":{"n":1},"idempotencyKey":"k","runAt":"2026-01-31T12:00:00Z","type":"a"}`,
		`POST /api/v1/events Bearer t [{"data":null,"type":"a"},{"data":null,"projectId":"film","type":"b"}]`,
		`DELETE /api/v1/scheduled-events/sch_1 Bearer t `,
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
}
