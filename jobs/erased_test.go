package jobs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"gaff"
	"gaff/internal/erase"
)

func TestLateWebhookDoesNotRecreateErasedJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		ctx := context.Background()
		update := said{Job: "job-7", Request: "request-7", Status: "completed", User: "user-7", Create: true}
		s.say(t, update)
		if _, err := s.st.Erase(ctx, erase.Target{Kind: erase.Job, ID: "job-7"}); err != nil {
			t.Fatal(err)
		}
		for name, late := range map[string]said{
			"by the job's id":    update,
			"by its request":     {Request: "request-7", Status: "completed", User: "user-7"},
			"by its own job":     {Job: "unknown", Own: "job-7", Request: "request-8", Status: "failed", Create: true},
			"by an unknown user": {Job: "job-7", Request: "request-9", Status: "processing", Create: true},
		} {
			id := s.say(t, late)
			if _, err := s.st.Job(ctx, "job-7"); !errors.Is(err, gaff.ErrNotFound) {
				t.Errorf("%s: the job is there again: %v", name, err)
			}
			d, err := s.st.Event(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Data) != 0 || d.Request != nil {
				t.Errorf("%s: the body is stored", name)
			}
		}
		s.say(t, said{Job: "job-8", Request: "request-80", Status: "completed", User: "user-7", Create: true})
		s.job(t, "job-8") // another job of the user is a new one
	})
}
