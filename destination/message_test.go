package destination

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/client"
	"gaff/jobs"
)

func TestEnvelope(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	look := fixed{
		j:     &jobs.Job{ID: "job_1", Provider: "fal", Status: jobs.JobCompleted, ProjectID: "p1", Result: json.RawMessage(`{"a":1}`)},
		files: []jobs.Media{{ID: "med_1", JobID: "job_1", URL: "https://cdn/x.png", Links: jobs.MediaLinks{StoredURL: "https://gaff/m/x.png"}, MediaType: jobs.MediaImage, Size: 7}},
	}
	d := newDestination(t, Spec{URL: r.URL + "/in", Secrets: []string{secret, NewSecret()}, Headers: map[string]string{"authorization": "Bearer x"}}, Options{Lookup: look})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("Authorization") != "Bearer x" || r.header.Get("Content-Type") != "application/json" || r.header.Get("User-Agent") != "gaff" {
		t.Errorf("headers %v", r.header)
	}
	id, err := client.Verify([]string{secret}, r.header, r.body, time.Now())
	if err != nil || id != "evt_1" {
		t.Errorf("verify: %q, %v", id, err)
	}
	var e client.Envelope
	if err := json.Unmarshal(r.body, &e); err != nil {
		t.Fatal(err)
	}
	if e.Kind() != "shop:paid" || e.Event.WebhookID != "w1" || e.Job.Status != "completed" || e.Job.Model != "" || e.Media[0].StoredURL != "https://gaff/m/x.png" || e.Media[0].Size != 7 {
		t.Errorf("envelope %+v", e)
	}
	if !bytes.Contains(r.body, []byte(`"seed":17454220438242315174`)) || !bytes.Contains(r.body, []byte(`"model":null`)) {
		t.Errorf("sent %s", r.body)
	}
}

func TestTheDatabasesTroubleIsNoAttempt(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	d := newDestination(t, Spec{URL: r.URL}, Options{Lookup: fixed{err: errors.New("gone")}})
	if err := d.Handle(t.Context(), event()); err == nil || !strings.Contains(err.Error(), "snoozed") {
		t.Errorf("%v, want a snooze", err)
	}
}

func TestOriginal(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	d := newDestination(t, Spec{URL: r.URL, Format: FormatOriginal}, Options{})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.body, event().Request.Body) || r.header.Get("X-Shop-Signature") != "sha256=abc" {
		t.Errorf("sent %v %s", r.header, r.body)
	}
	for _, name := range []string{"X-Hop", "X-Forwarded-For", "Webhook-Signature"} {
		if r.header.Get(name) != "" {
			t.Errorf("%s was passed on", name)
		}
	}
	inner := &gaff.Event{ID: "evt_2", Source: "gaff", Type: "job.completed", Data: []byte(`{"jobId":"j"}`)}
	if err := d.Handle(t.Context(), inner); err != nil || !bytes.Contains(r.body, []byte(`"source":"gaff"`)) {
		t.Errorf("an inner event: %v, %s", err, r.body)
	}
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	d := newDestination(t, Spec{URL: r.URL, Format: FormatCloudEvents}, Options{BaseURL: "https://hooks.example.com"})
	if err := d.Handle(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	var ce struct {
		SpecVersion, ID, Source, Type, Subject, Time string
		DataContentType                              string
		Data                                         client.Envelope
	}
	if err := json.Unmarshal(r.body, &ce); err != nil {
		t.Fatal(err)
	}
	if ce.SpecVersion != "1.0" || ce.ID != "evt_1" || ce.Source != "https://hooks.example.com/api/v1/webhooks/shop" || ce.Type != "shop.paid" ||
		ce.Subject != "req-1" || ce.Time != "2026-05-04T03:02:01Z" || ce.DataContentType != "application/json" || ce.Data.ID != "evt_1" ||
		r.header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("structured: %v %s", r.header, r.body)
	}
	d = newDestination(t, Spec{URL: r.URL, Format: FormatCloudEventsBinary}, Options{})
	ev := event()
	ev.CorrelationID = `Euro € "50%"`
	if err := d.Handle(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("Ce-Specversion") != "1.0" || r.header.Get("Ce-Id") != "evt_1" || r.header.Get("Ce-Subject") != "Euro%20%E2%82%AC%20%2250%25%22" ||
		r.header.Get("Content-Type") != "application/json" || !bytes.Contains(r.body, []byte(`"id":"evt_1"`)) {
		t.Errorf("binary: %v %s", r.header, r.body)
	}
}
