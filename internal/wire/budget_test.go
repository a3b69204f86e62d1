package wire

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/jobs"
)

// gaff export and gaff apply pass a budget on by its body, so no member may be left out.
func TestBudgetKeepsEveryMemberOfItsBody(t *testing.T) {
	t.Parallel()
	body := BudgetBody{
		ProjectID: "film", UserID: "ann", Caller: "key", Provider: "fal", Model: "m", Period: "day", Currency: "EUR", Limit: "5.00", Action: jobs.BudgetHolds, Warn: "3.00",
	}
	for v, i := reflect.ValueOf(body), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not tested", v.Type().Field(i).Name)
		}
	}
	budget, err := body.Budget("all")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(body, NewBudgetBody(budget)); diff != "" {
		t.Error(diff)
	}
	budget.Action = jobs.BudgetRefuses
	if got := NewBudgetBody(budget); got.Action != "" {
		t.Errorf("the default is written as %q", got.Action)
	}
}
