package fal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/standin"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

// The webhook is passed on as it came; a job without one gets one made up, which says so.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.appOK.Store(false)
		to := func(s *jobs.Submission) { s.Callback = "http://" + appHost + "/hooks?job=7" }
		j := r.submit("", to)
		time.Sleep(5 * time.Second)
		r.appOK.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(r.app) != 2 || r.app[1].URL.RequestURI() != "/hooks?job=7" || r.app[1].Header.Get("X-Gaff-Job-Id") != j.ID {
			t.Fatalf("the application was called %d times", len(r.app))
		}
		keys := verify.NewJWKS("http://"+falHost+standin.JWKSPath, verify.JWKSOptions{Client: &http.Client{Transport: r.net}})
		scheme, _ := sender.Preset("fal")
		v, err := sender.New(scheme, verify.Options{JWKS: keys})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(context.Background(), &gaff.Request{Header: r.app[1].Header, Body: r.bodys[1], ReceivedAt: time.Now()}); err != nil {
			t.Errorf("the application cannot verify the callback: %v", err)
		}
		lost := r.submit("lost", to)
		time.Sleep(5 * time.Minute)
		lost = r.job(lost.ID)
		var body struct {
			RequestID string `json:"request_id"`
			Status    string
			Payload   json.RawMessage
		}
		if err := json.Unmarshal(r.bodys[len(r.bodys)-1], &body); err != nil {
			t.Fatal(err)
		}
		last := r.app[len(r.app)-1].Header
		if len(r.app) != 3 || body.RequestID != lost.RequestID || body.Status != "OK" || string(body.Payload) != compact(lost.Result) || last.Get("X-Gaff-Reconciled") != "true" || last.Get("X-Fal-Webhook-Signature") != "" {
			t.Errorf("%d calls, the last with %+v and %v", len(r.app), body, last)
		}
		ids := map[string]bool{}
		for i, req := range r.app {
			at, _ := strconv.ParseInt(req.Header.Get(client.HeaderTimestamp), 10, 64)
			id, err := client.Verify(r.CallbackSecrets(), req.Header, r.bodys[i], time.Unix(at, 0))
			if err != nil {
				t.Errorf("call %d cannot be verified as gaff's: %v", i, err)
			}
			ids[id] = true
		}
		if len(ids) != 2 {
			t.Errorf("two callbacks, one of them repeated, have %d ids", len(ids))
		}
	})
}

// The secret of callbacks is the operator's, else one that outlives the process.
func TestCallbackSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		made := r.CallbackSecrets()
		if len(made) != 1 {
			t.Fatalf("%d secrets", len(made))
		}
		r.stop()
		r.begin(rigOptions{})
		if again := r.CallbackSecrets(); !slices.Equal(again, made) {
			t.Error("the secret is another one after a restart")
		}
		r.stop()
		own := []string{client.NewSecret(), client.NewSecret()}
		r.begin(rigOptions{jobs: jobs.ServiceOptions{CallbackSecrets: own}})
		r.submit("lost", func(s *jobs.Submission) { s.Callback = "http://" + appHost + "/" })
		time.Sleep(5 * time.Minute)
		for _, secret := range own {
			at, _ := strconv.ParseInt(r.app[0].Header.Get(client.HeaderTimestamp), 10, 64)
			if _, err := client.Verify([]string{secret}, r.app[0].Header, r.bodys[0], time.Unix(at, 0)); err != nil {
				t.Errorf("one of two secrets does not sign: %v", err)
			}
		}
		o := jobs.ServiceOptions{Store: r.st, CallbackSecrets: []string{"short"}}
		if _, err := jobs.NewService(context.Background(), o); err == nil {
			t.Error("an invalid secret is accepted")
		}
	})
}
