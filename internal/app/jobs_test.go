package app

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/eventually"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

// A job at a sender that is only described moves as one at fal does: status, files once,
// an inner event; a late word changes nothing, and an unknown id ends as an error.
func TestDescribedJobs(t *testing.T) {
	t.Parallel()
	const secret = "whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4="
	for _, name := range []string{"replicate", "described"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := config.Source{Preset: "replicate", Secrets: []config.Secret{secret}}
			if name == "described" {
				scheme, _ := sender.Preset("replicate")
				scheme.Jobs = nil
				src.Preset, src.Verify = "", &scheme
				src.Jobs = &sender.Jobs{
					ID: sender.Pointers{"/id"}, Status: sender.Pointers{"/status"}, Output: sender.Pointers{"/output"}, Error: sender.Pointers{"/error"},
					Words: map[string]string{"processing": "processing", "succeeded": "completed", "failed": "failed"},
				}
			}
			g := newLimiter(t, configured("it", src))
			ctx := t.Context()
			if err := g.st.Write(ctx, func(tx jobs.Tx) error {
				return tx.InsertJob(ctx, &jobs.Job{ID: "job_1", Provider: "it", RequestID: "p1", ProjectID: "proj", CreatedAt: tx.Now()})
			}); err != nil {
				t.Fatal(err)
			}
			scheme, _ := sender.Preset("replicate")
			v, err := sender.New(scheme, verify.Options{Secrets: []string{secret}})
			if err != nil {
				t.Fatal(err)
			}
			send := func(body string) string {
				t.Helper()
				r := &gaff.Request{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body)}
				if err := v.Sign(r, time.Now()); err != nil {
					t.Fatal(err)
				}
				var header [][2]string
				for name := range r.Header {
					header = append(header, [2]string{name, r.Header.Get(name)})
				}
				rec := g.do(http.MethodPost, gaff.PathPrefix+"it", r.Body, header)
				var answer struct{ ID string }
				if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != 200 {
					t.Fatalf("%d %s", rec.Code, rec.Body)
				}
				return answer.ID
			}
			ends := func(event string, want gaff.Status) *gaff.EventDetail {
				t.Helper()
				for deadline := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
					d, err := g.st.Event(context.Background(), event)
					if err != nil {
						t.Fatal(err)
					}
					if d.Status != gaff.StatusPending {
						if d.Status != want {
							t.Errorf("%s ended as %s: %s", event, d.Status, d.Error)
						}
						return d
					}
					if time.Now().After(deadline) {
						t.Fatalf("%s is pending still: %s", event, d.Error)
					}
				}
			}
			ends(send(`{"id":"p1","status":"processing","output":null}`), gaff.StatusSuccess)
			for range 2 { // each delivery of the sender's has an id of its own
				d := ends(send(`{"id":"p1","status":"succeeded","input":{"image":"https://x.test/in.png"},"output":["https://replicate.delivery/a.png","https://replicate.delivery/b.png"]}`), gaff.StatusSuccess)
				if d.CorrelationID != "p1" {
					t.Errorf("correlation %q", d.CorrelationID)
				}
			}
			ends(send(`{"id":"p1","status":"processing"}`), gaff.StatusSuccess)
			ends(send(`{"id":"p1","status":"a word that is new"}`), gaff.StatusSuccess)
			j, err := g.st.Job(ctx, "job_1")
			if err != nil || j.Status != jobs.JobCompleted || j.SettledBy != jobs.SettledByWebhook || len(j.Result) == 0 {
				t.Errorf("the job is %+v, %v", j, err)
			}
			media, err := g.st.Media(ctx, jobs.MediaFilter{JobID: "job_1"})
			if err != nil || len(media.Items) != 2 || media.Items[0].ProjectID != "proj" {
				t.Errorf("media %+v, %v", media.Items, err)
			}
			inner, err := g.st.Events(ctx, gaff.EventFilter{Source: gaff.InternalSource, Type: "job.completed"})
			if err != nil || len(inner.Items) != 1 {
				t.Errorf("%d inner events, %v", len(inner.Items), err)
			}
			d := ends(send(`{"id":"p2","status":"failed","error":"no"}`), gaff.StatusError)
			if d.Error == "" {
				t.Error("an unknown id: no reason")
			}
			if page, err := g.st.Jobs(ctx, jobs.JobFilter{RequestID: "p2"}); err != nil || len(page.Items) != 0 {
				t.Errorf("an unknown id made jobs: %+v, %v", page.Items, err)
			}
		})
	}
}
