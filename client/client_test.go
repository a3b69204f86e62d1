package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gaff/client"
)

// The vector that standard-webhooks publishes.
const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	msgID  = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	body   = `{"test": 2432232314}`
)

var at = time.Unix(1614265330, 0)

func headers() http.Header {
	return http.Header{"Webhook-Id": {msgID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {signed}}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	other := "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	for name, c := range map[string]struct {
		secrets []string
		change  func(http.Header)
		body    string
		now     time.Time
		ok      bool
	}{
		"as published":            {[]string{secret}, nil, body, at, true},
		"without whsec_":          {[]string{strings.TrimPrefix(secret, "whsec_")}, nil, body, at, true},
		"the second secret":       {[]string{other, secret}, nil, body, at, true},
		"the second signature":    {[]string{secret}, func(h http.Header) { h.Set("Webhook-Signature", "v1,AAAA v2,x "+signed) }, body, at, true},
		"five minutes later":      {[]string{secret}, nil, body, at.Add(5 * time.Minute), true},
		"a second more":           {[]string{secret}, nil, body, at.Add(5*time.Minute + time.Second), false},
		"from the future":         {[]string{secret}, nil, body, at.Add(-5*time.Minute - time.Second), false},
		"another body":            {[]string{secret}, nil, body + " ", at, false},
		"another secret":          {[]string{other}, nil, body, at, false},
		"no secret":               {nil, nil, body, at, false},
		"another id":              {[]string{secret}, func(h http.Header) { h.Set("Webhook-Id", "x") }, body, at, false},
		"no id":                   {[]string{secret}, func(h http.Header) { h.Del("Webhook-Id") }, body, at, false},
		"no signature":            {[]string{secret}, func(h http.Header) { h.Del("Webhook-Signature") }, body, at, false},
		"an invalid time":         {[]string{secret}, func(h http.Header) { h.Set("Webhook-Timestamp", "now") }, body, at, false},
		"the signature without v": {[]string{secret}, func(h http.Header) { h.Set("Webhook-Signature", signed[3:]) }, body, at, false},
	} {
		h := headers()
		if c.change != nil {
			c.change(h)
		}
		id, err := client.Verify(c.secrets, h, []byte(c.body), c.now)
		if c.ok && (err != nil || id != msgID) || !c.ok && !errors.Is(err, client.ErrInvalid) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
	if _, err := client.Verify([]string{"hunter2"}, headers(), []byte(body), at); err == nil || errors.Is(err, client.ErrInvalid) {
		t.Errorf("an invalid secret: %v", err)
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	var got *client.Envelope
	var deliveryID string
	fails := false
	h := client.Handler(client.Options{Secrets: []string{secret}, MaxBodyBytes: 1000}, func(ctx context.Context, e *client.Envelope) error {
		got, deliveryID = e, client.DeliveryID(ctx)
		if fails {
			return errors.New("the database is gone")
		}
		return nil
	})
	post := func(body, secret string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		now := time.Now().Unix()
		s, err := client.Sign(secret, "dlv_1", now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Webhook-Id", "dlv_1")
		r.Header.Set("Webhook-Timestamp", fmt.Sprint(now))
		r.Header.Set("Webhook-Signature", s)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	good := `{"id":"evt_1","source":"gaff","type":"job.completed","job":{"id":"j","model":null},"media":[]}`
	if w := post(good, secret); w.Code != http.StatusNoContent || got.Kind() != "gaff:job.completed" || got.Job.ID != "j" {
		t.Errorf("%d, %+v", w.Code, got)
	}
	if deliveryID != "dlv_1" {
		t.Errorf("the handler's context has the delivery id %q, want dlv_1", deliveryID)
	}
	if w := post(good, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"); w.Code != http.StatusUnauthorized {
		t.Errorf("another secret: %d", w.Code)
	}
	if w := post("[]", secret); w.Code != http.StatusBadRequest {
		t.Errorf("no envelope: %d", w.Code)
	}
	if w := post(good+strings.Repeat(" ", 1000), secret); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", w.Code)
	}
	fails = true
	if w := post(good, secret); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "database is gone") {
		t.Errorf("a handler that fails: %d %s", w.Code, w.Body)
	}
}

// The encoding of an envelope is what receivers in all languages read.
func TestEnvelopeWritesUnsetMembersAsNull(t *testing.T) {
	t.Parallel()
	e := client.Envelope{
		ID: "evt_1", Source: "gaff", Type: "job.completed", Timestamp: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		Job: &client.Job{ID: "j", Provider: "fal", Status: "completed", Result: json.RawMessage(`{"n":1.0}`)},
	}
	const want = `{"id":"evt_1","source":"gaff","type":"job.completed","timestamp":"2026-01-31T12:00:00Z","data":null,` +
		`"event":{"webhookId":null,"correlationId":null,"occurredAt":null,"projectId":null,"parentId":null},` +
		`"job":{"id":"j","provider":"fal","model":null,"kind":null,"projectId":null,"userId":null,"requestId":null,"status":"completed",` +
		`"result":{"n":1.0},"error":null,"errorType":null,"settledBy":null,"metadata":null,"createdAt":null,"submittedAt":null,"settledAt":null},` +
		`"media":[]}`
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var back client.Envelope
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(back); string(again) != want {
		t.Errorf("read and written again:\n%s\nwant\n%s", again, want)
	}
}

// Texts are escaped as encoding/json does it; JSON that a member holds stays as its sender wrote it.
func TestEnvelopeEscapesTexts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"plain", `a "b" \c`, "line\nbreak", "<a&b>", "größer", "\u2028", "bad \xff byte", "\x7f"} {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (client.Envelope{Type: text, Data: json.RawMessage("{ \"a\":\t\"<\" }")}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), `"type":`+string(want)+`,`) {
			t.Errorf("%q is written as %s, want %s in it", text, got, want)
		}
		if !strings.Contains(string(got), "\"data\":{ \"a\":\t\"<\" },") {
			t.Errorf("the data were changed: %s", got)
		}
	}
}

// An envelope is one line even if its sender wrote several: batches and files have one event a line.
func TestEnvelopeIsOneLine(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"{\n  \"a\": 1\n}", "{\"a\":\r1}", "\r\n{\"a\": 1}"} {
		e := client.Envelope{Data: json.RawMessage(data), Job: &client.Job{Result: json.RawMessage(data)}}
		got, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(got), "\r\n") {
			t.Errorf("%q is written as %q, want one line", data, got)
		}
		if n := strings.Count(string(got), `{"a":1}`); n != 2 {
			t.Errorf("%q is written as %q, want it twice", data, got)
		}
	}
}

func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("POST /gaff", client.Handler(client.Options{Secrets: []string{secret}},
		func(ctx context.Context, e *client.Envelope) error {
			if e.Kind() == "gaff:job.completed" {
				fmt.Println(e.Job.ProjectID, len(e.Media))
			}
			return nil
		}))
	// Output:
}
