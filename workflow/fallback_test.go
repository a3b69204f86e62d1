package workflow_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"gaff/jobs"
	"gaff/workflow"
)

func TestStepOverBudgetFailsAndTheBudgetIsNotified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "name: w\nsteps:\n  - name: a\n    submit: {provider: fal, model: dear}\n")
		w.await(w.run("w", "{}"), "failed a=failed")
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.full) != 1 {
			t.Fatalf("Refused got %v, want one error", w.full)
		}
		if full, ok := errors.AsType[*jobs.BudgetError](w.full[0]); !ok || full.Budget.Name != "film" {
			t.Errorf("Refused got %v, want the budget", w.full[0])
		}
	})
}

func TestStepSubmitsItsFallbackAndAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, `name: w
steps:
  - name: a
    submit:
      provider: fal
      model: fal-ai/flux/dev
      fallback: [{provider: other, model: m, input: '{"text": input.prompt}', result: result.output}]
  - name: b
    submit: {model: image-fast}
`)
		w.await(w.run("w", "{}"), "running a=running b=running jobs=a-1,b-1")
		w.mu.Lock()
		defer w.mu.Unlock()
		want := jobs.Candidate{Provider: "other", Model: "m", Input: `{"text": input.prompt}`, Result: "result.output"}
		if a := w.asked[0]; len(a.Fallback) != 1 || a.Fallback[0] != want {
			t.Errorf("step a submits %+v", a)
		}
		if b := w.asked[1]; b.Provider != "" || b.Model != "image-fast" {
			t.Errorf("step b submits %+v", b)
		}
	})
}

func TestFaultsOfFallbacksAreReported(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"{provider: other}":                          "steps[0].submit.fallback[0]: provider and model are wanted",
		"{provider: o, model: m, input: inputs.a}":   "steps[0].submit.fallback[0].input: undeclared reference to 'inputs'",
		"{provider: o, model: m, result: 'result.'}": "steps[0].submit.fallback[0].result: ",
	} {
		_, err := workflow.Parse("w.yaml", []byte("name: w\nsteps:\n  - name: a\n    submit: {provider: fal, model: m, fallback: ["+entry+"]}\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", entry, err, want)
		}
	}
}
