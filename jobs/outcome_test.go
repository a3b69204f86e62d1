package jobs_test

import (
	"testing"
	"time"

	"gaff/jobs"
)

func TestSummaryCountsByModelAndError(t *testing.T) {
	t.Parallel()
	var all []jobs.Outcome
	for i := range 20 {
		all = append(all, jobs.Outcome{Provider: "fal", Model: "flux", Status: jobs.JobCompleted, Took: time.Duration(i+1) * time.Second})
	}
	all = append(all,
		jobs.Outcome{Provider: "fal", Model: "kling", Status: jobs.JobFailed, ErrorType: "content_policy_violation", Error: "newest"},
		jobs.Outcome{Provider: "fal", Model: "kling", Status: jobs.JobFailed, ErrorType: "content_policy_violation", Error: "older"},
		jobs.Outcome{Provider: "fal", Model: "kling", Status: jobs.JobFailed, Error: "no type"},
		jobs.Outcome{Provider: "fal", Model: "kling", Status: jobs.JobProcessing},
		jobs.Outcome{Provider: "fal", Model: "kling", Status: jobs.JobCancelled},
	)
	s := jobs.Summarize(all, 5)
	if s.Jobs != 25 || s.Unfinished() != 1 || s.Timed != 20 || s.P50 != 10*time.Second || s.P95 != 19*time.Second {
		t.Errorf("of all: %+v", s.Tally)
	}
	if len(s.Models) != 2 || s.Models[0].Model != "flux" || s.Models[1].Jobs != 5 {
		t.Errorf("by model: %+v", s.Models)
	}
	if part, ok := s.Models[0].Success(); !ok || part != 1 {
		t.Errorf("success of flux: %v %v", part, ok)
	}
	if part, ok := s.Success(); !ok || part != 20./23 {
		t.Errorf("success of all: %v %v", part, ok)
	}
	want := []jobs.ErrorSummary{{Type: "content_policy_violation", Example: "newest", Jobs: 2}, {Type: jobs.NoErrorType, Example: "no type", Jobs: 1}}
	if len(s.Errors) != 2 || s.Errors[0] != want[0] || s.Errors[1] != want[1] {
		t.Errorf("errors: %+v", s.Errors)
	}
	if cut := jobs.Summarize(all, 1); len(cut.Models) != 1 || len(cut.Errors) != 1 || cut.Jobs != 25 {
		t.Errorf("of one model: %+v", cut)
	}
	if _, ok := new(jobs.Tally).Success(); ok {
		t.Error("a success rate without jobs")
	}
}

func TestPromptOfCutInput(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		`{"seed":1,"prompt":"a fox","image":"data:image/png;base64,AAAA`:              "a fox",
		`{"input":{"text":"read it","voice":[1,{"prompt":"not this"}]},"image":"data`: "read it",
		`{"sizes":[1,2],"deep":{"prompt":"not this"},"image":"data:`:                  "",
		`{"prompt":"cut in the mid`:                                                   "",
		`[1,2`:                                                                        "",
		`{"prompt":"whole"}`:                                                          "whole",
	} {
		if got := jobs.Prompt([]byte(input)); got != want {
			t.Errorf("%s: %q, want %q", input, got, want)
		}
	}
}
