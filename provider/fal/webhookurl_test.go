package fal_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

// fal signs for all its customers. The first verified delivery shows which of them is the operator.
func TestOtherUsersAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		proven := r.submit("")
		time.Sleep(10 * time.Second)
		other := r.submit("other-user")
		time.Sleep(10 * time.Second)
		if j := r.job(proven.ID); j.SettledBy != "webhook" {
			t.Fatalf("settled by %q", j.SettledBy)
		}
		status := gaff.StatusError
		page, err := r.st.Events(context.Background(), gaff.EventFilter{Source: "fal", Status: &status})
		if err != nil || len(page.Items) != 1 || !strings.Contains(page.Items[0].Error, "in the name of user user_somebody_else") {
			t.Errorf("events in error: %v, %v", page.Items, err)
		}
		time.Sleep(5 * time.Minute)
		if j := r.job(other.ID); j.SettledBy != "reconciliation" {
			t.Errorf("the other's job was settled by %q", j.SettledBy)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// Nothing is learned from a request that only the webhook told of.
		r := newRig(t, rigOptions{})
		first := r.submit("other-user,unknown-outcome")
		time.Sleep(10 * time.Second)
		second := r.submit("")
		time.Sleep(10 * time.Second)
		if a, b := r.job(first.ID), r.job(second.ID); a.Status != jobs.JobCompleted || b.SettledBy != "webhook" {
			t.Errorf("%s, and %s by %q", a.Status, b.Status, b.SettledBy)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{jobs: jobs.ServiceOptions{Users: map[string]jobs.Users{"fal": {IDs: []string{"user_standin", "user_somebody_else"}}}}})
		for _, fault := range []string{"", "other-user"} {
			j := r.submit(fault)
			time.Sleep(10 * time.Second)
			if j := r.job(j.ID); j.SettledBy != "webhook" {
				t.Errorf("%s by %q", j.Status, j.SettledBy)
			}
		}
	})
}

// An address that was not given out is refused; one that was names its job, and no other.
func TestHandles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		a, b := r.submit("lost"), r.submit("lost")
		time.Sleep(5 * time.Second)
		a, b = r.job(a.ID), r.job(b.ID)
		handle := a.WebhookURL[strings.LastIndex(a.WebhookURL, "/")+1:]
		key := standinKey(r.fal)
		post := func(handle, requestID string) int {
			t.Helper()
			body := fmt.Sprintf(`{"request_id":%q,"status":"OK","payload":{"images":[{"url":"https://v3.fal.media/x.png"}]}}`, requestID)
			req := &gaff.Request{Body: []byte(body)}
			key(req, requestID)
			hr := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"fal/"+handle, strings.NewReader(body))
			hr.Header = req.Header
			w := httptest.NewRecorder()
			r.IngestHandler().ServeHTTP(w, hr)
			synctest.Wait()
			return w.Code
		}
		for _, forged := range []string{"x", a.ID, a.ID + ".", a.ID + ".AAAAAAAAAAAAAAAAAAAAAA", b.ID + handle[strings.Index(handle, "."):], "~" + handle} {
			if code := post(forged, a.RequestID); code != http.StatusUnauthorized {
				t.Errorf("%s is answered %d", forged, code)
			}
		}
		if code := post(handle, b.RequestID); code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
		if a, b := r.job(a.ID), r.job(b.ID); a.Status.Settled() || b.Status.Settled() {
			t.Errorf("the request of one job at the address of another: %s, %s", a.Status, b.Status)
		}
		if code := post(handle, a.RequestID); code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
		if a := r.job(a.ID); a.Status != jobs.JobCompleted || a.SettledBy != "webhook" {
			t.Errorf("%s by %q", a.Status, a.SettledBy)
		}
	})
}

// Where a source has no addresses of single jobs, the last part means nothing.
func TestHandlesThatAreNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{unread: true})
		j := r.submit("lost")
		time.Sleep(5 * time.Second)
		j = r.job(j.ID)
		body := fmt.Sprintf(`{"request_id":%q,"status":"OK","payload":{}}`, j.RequestID)
		signed := &gaff.Request{Body: []byte(body)}
		standinKey(r.fal)(signed, j.RequestID)
		req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+"fal/any", strings.NewReader(body))
		req.Header = signed.Header
		w := httptest.NewRecorder()
		r.IngestHandler().ServeHTTP(w, req)
		if j := r.job(j.ID); w.Code != http.StatusOK || j.SettledBy != "webhook" {
			t.Errorf("answered %d, %s by %q", w.Code, j.Status, j.SettledBy)
		}
	})
}

// Without an address that fal can reach, gaff asks from the beginning.
func TestWithoutAPublicAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{private: true})
		j := r.submit("")
		time.Sleep(15 * time.Second)
		if j = r.job(j.ID); j.Status != jobs.JobCompleted || j.SettledBy != "reconciliation" || r.fal.Jobs()[0].Webhook != "" {
			t.Errorf("%s by %q\n%s", j.Status, j.SettledBy, r.notes(j.ID))
		}
		if !strings.Contains(r.notes(j.ID), "without a webhook") {
			t.Errorf("its log does not say why:\n%s", r.notes(j.ID))
		}
	})
}
