package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// studio is a provider that nobody can reach.
type studio struct{}

func (studio) Name() string    { return "studio" }
func (studio) Account() string { return "" }
func (studio) Check(s *jobs.Submission) error {
	if s.Model == "" {
		return &jobs.InvalidError{Field: "model", Text: "is missing"}
	}
	return nil
}

func (studio) Submit(context.Context, *jobs.Job, json.RawMessage, string) (jobs.Accepted, error) {
	return jobs.Accepted{}, errors.New("no answer")
}
func (studio) CanPoll(*jobs.Job) bool { return true }
func (studio) Poll(context.Context, *jobs.Job) (jobs.Update, error) {
	return jobs.Update{}, errors.New("the studio is closed")
}
func (studio) Cancel(context.Context, *jobs.Job) error { return errors.New("the studio is closed") }

// knowing is a ledger that knows how long one job will take.
type knowing struct{ *jobs.Service }

var expectedAt = time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)

func (knowing) Expected(j *jobs.Job) (time.Duration, time.Time) {
	if j.ID != "app-1" {
		return 0, time.Time{}
	}
	return 12346 * time.Millisecond, expectedAt
}

func TestJobsAreSubmittedAndRegistered(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log}) // never started: jobs wait
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := jobs.NewService(t.Context(), jobs.ServiceOptions{
		Store: st, Router: gw, Log: log, Providers: []jobs.Provider{studio{}},
		Address: func(provider string) string { return "https://hooks.example.com/api/v1/webhooks/" + provider },
	})
	if err != nil {
		t.Fatal(err)
	}
	ledger.Attach(gw)
	c := caller{api.New(api.Options{Store: st, Gateway: gw, Jobs: ledger, Authorizer: tokens{}, Log: log}), t}

	const whole = `{"provider":"studio","model":"paint","input":{"seed":17454220438242315174},"projectId":"p","userId":"u","kind":"image","metadata":{"a":1},"idempotencyKey":"k"}`
	for _, step := range []struct {
		name, method, path, role, body string
		status                         int
		has                            []string
	}{
		{
			"submit", "POST", "/api/v1/jobs", "operator", whole, 202,
			[]string{
				`"id":"job_`, `"status":"queued"`, `"submit":"waiting"`, `"seed":17454220438242315174`, `"metadata":{"a":1}`, `"requestId":null`, `"settledBy":null`,
				`"webhookUrl":"https://hooks.example.com/api/v1/webhooks/studio/job_`, `"log":[]`, `"idempotencyKey":"k"`, `"createdAt":"`, `"submittedAt":null`,
			},
		},
		{"again, with other words", "POST", "/api/v1/jobs", "operator", strings.Replace(whole, "paint", "draw", 1), 202, []string{`"model":"paint"`}},
		{"the key of another caller", "POST", "/api/v1/jobs", "admin", strings.Replace(whole, "paint", "draw", 1), 202, []string{`"model":"draw"`, `"idempotencyKey":"k"`}},
		{"a viewer", "POST", "/api/v1/jobs", "viewer", whole, 403, nil},
		{"no JSON", "POST", "/api/v1/jobs", "operator", `{`, 400, nil},
		{"no model", "POST", "/api/v1/jobs", "operator", `{"provider":"studio"}`, 400, []string{"model: is missing"}},
		{"no provider", "POST", "/api/v1/jobs", "operator", `{"model":"x"}`, 400, []string{"provider"}},
		{"an unknown provider", "POST", "/api/v1/jobs", "operator", `{"provider":"x","model":"x"}`, 400, []string{`provider: \"x\" is not one that work can be submitted to; there are studio`}},
		{"an unknown field", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","prompt":"y"}`, 400, []string{"prompt"}},
		{"an input that is not an object", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","input":7}`, 400, []string{"input"}},
		{"metadata that is null", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","metadata":{},"id":"mine/1"}`, 202, []string{`"id":"mine/1"`}},
		{"a priority of operators", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","priority":10}`, 202, []string{`"priority":10`}},
		{"a priority of admins", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","priority":11}`, 403, []string{"the role operator may use at most 10"}},
		{"a priority of admins by an admin", "POST", "/api/v1/jobs", "admin", `{"provider":"studio","model":"x","priority":100}`, 202, []string{`"priority":100`}},
		{"a priority beyond all", "POST", "/api/v1/jobs", "admin", `{"provider":"studio","model":"x","priority":101}`, 400, []string{"priority"}},
		{"a taken id", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","id":"mine/1"}`, 409, []string{"there is one of this id"}},
		{"too large", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","input":{"a":"` + strings.Repeat("x", 11<<20) + `"}}`, 413, nil},
		{"large", "POST", "/api/v1/jobs", "operator", `{"provider":"studio","model":"x","input":{"a":"` + strings.Repeat("x", 5<<20) + `"}}`, 202, nil},
		{"register", "PUT", "/api/v1/jobs/app-1", "operator", `{"provider":"studio","projectId":"film"}`, 200, []string{`"webhookUrl":"https://`, `"submit":null`, `"requestId":null`}},
		{"register the request", "PUT", "/api/v1/jobs/app-1", "operator", `{"requestId":"r-1"}`, 200, []string{`"requestId":"r-1"`, `"projectId":"film"`, `"nextAskAt":"`}},
		{"register another request", "PUT", "/api/v1/jobs/app-1", "operator", `{"requestId":"r-2"}`, 409, []string{"its request is r-1"}},
		{"register nobody's", "PUT", "/api/v1/jobs/app-2", "operator", `{"requestId":"r-2"}`, 400, []string{"provider: is missing"}},
		{"register as a viewer", "PUT", "/api/v1/jobs/app-2", "viewer", `{"provider":"studio"}`, 403, nil},
		{"a list in place of an object", "POST", "/api/v1/jobs", "operator", `[]`, 400, []string{`"the body: expected object"`}},
		{"read nothing", "GET", "/api/v1/jobs/none", "viewer", ``, 404, []string{`"detail":"job none: not found"`}},
		{"ask", "POST", "/api/v1/jobs/app-1/ask", "operator", ``, 502, []string{"the studio is closed"}},
		{"poll a waiting job", "POST", "/api/v1/jobs/mine%2F1/ask", "operator", ``, 409, []string{"not submitted yet"}},
		{"ask after nothing", "POST", "/api/v1/jobs/none/ask", "operator", ``, 404, nil},
		{"cancel at a closed studio", "POST", "/api/v1/jobs/app-1/cancel", "operator", ``, 502, []string{"the studio is closed"}},
		{"cancel", "POST", "/api/v1/jobs/mine%2F1/cancel", "operator", ``, 200, []string{`"status":"cancelled"`, `"cancelled before it was submitted"`}},
		{"cancel nothing", "POST", "/api/v1/jobs/none/cancel", "operator", ``, 404, nil},
		{"secrets of callbacks", "GET", "/api/v1/callback-secrets", "admin", ``, 200, []string{`{"secrets":["whsec_`}},
		{"secrets of callbacks as an operator", "GET", "/api/v1/callback-secrets", "operator", ``, 403, nil},
		{"read", "GET", "/api/v1/jobs/app-1", "viewer", ``, 200, []string{`"log":[{"at":"`, `"what":"register"`}},
	} {
		res := c.call(step.method, step.path, step.role, step.body)
		if res.status != step.status {
			t.Errorf("%s: %d, want %d: %.400s", step.name, res.status, step.status, res.body)
		}
		for _, part := range step.has {
			if !strings.Contains(res.body, part) {
				t.Errorf("%s: no %s in %.1500s", step.name, part, res.body)
			}
		}
		if step.name == "again, with other words" && res.header.Get("Idempotency-Replayed") != "true" || step.name == "submit" && res.header.Get("Location") == "" ||
			step.name == "metadata that is null" && res.header.Get("Location") != "/api/v1/jobs/mine%2F1" {
			t.Errorf("%s: header %v", step.name, res.header)
		}
	}
	var list struct {
		Docs []struct {
			ID              string
			ExpectedSeconds *float64
			ExpectedAt      *time.Time
		}
	}
	c.get(t, "/api/v1/jobs", &list)
	if len(list.Docs) != 7 {
		t.Errorf("%d jobs, want 7", len(list.Docs))
	}
	c = caller{api.New(api.Options{Store: st, Gateway: gw, Jobs: knowing{ledger}, Authorizer: tokens{}, Log: log}), t}
	c.get(t, "/api/v1/jobs", &list)
	for _, j := range list.Docs {
		if known := j.ID == "app-1"; known != (j.ExpectedSeconds != nil && *j.ExpectedSeconds == 12.35 && j.ExpectedAt != nil && j.ExpectedAt.Equal(expectedAt)) {
			t.Errorf("job %s is expected in %v, at %v", j.ID, j.ExpectedSeconds, j.ExpectedAt)
		}
	}
	none := caller{api.New(api.Options{Store: st, Gateway: gw, Authorizer: tokens{}, Log: log}), t}
	if res := none.call(http.MethodPost, "/api/v1/jobs", "operator", whole); res.status != http.StatusConflict {
		t.Errorf("a gateway without a ledger answers %d", res.status)
	}
}
