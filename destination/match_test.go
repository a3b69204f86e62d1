package destination

import (
	"testing"

	"gaff"
)

func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		events []string
		filter string
		source string
		kind   string
		data   string
		want   bool
	}{
		{nil, "", "shop", "paid", `{}`, true},
		{nil, "", "gaff", "job.completed", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "job.completed", `{}`, true},
		{[]string{"gaff:run.finished"}, "", "gaff", "run.failed", `{}`, true},
		{[]string{"gaff:run.finished"}, "", "gaff", "run.approval_wanted", `{}`, false},
		{[]string{"gaff:run.finished"}, "", "gaff", "job.completed", `{}`, false},
		{[]string{"gaff:job.finished"}, "", "gaff", "job.cancelled", `{}`, true},
		{[]string{"fal:run.finished"}, "", "fal", "run.failed", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "media.stored", `{}`, false},
		{[]string{"*:*"}, "", "gaff", "media.stored", `{}`, false},
		{[]string{"gaff:*"}, "", "gaff", "run.completed", `{}`, true},
		{[]string{"gaff:*"}, "", "gaff", "workflow.advance", `{}`, false},
		{[]string{"gaff:job.*"}, "", "gaff", "job.submit", `{}`, false},
		{[]string{"gaff:job.submit"}, "", "gaff", "job.submit", `{}`, true},
		{[]string{"gaff:workflow.*"}, "", "gaff", "workflow.advance", `{}`, true},
		{[]string{"f*l:*.completed"}, "", "fal", "generation.completed", `{}`, true},
		{[]string{"f*l:*.completed"}, "", "fal", "generation.failed", `{}`, false},
		{[]string{"shop:a*a"}, "", "shop", "a", `{}`, false},
		{[]string{"shop:*b*c*"}, "", "shop", "abxc", `{}`, true},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{"amount":101}`, true},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{"amount":99.5}`, false},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `{}`, false},
		{[]string{"shop:paid"}, `data.amount > 100`, "shop", "paid", `[]`, false},
		{[]string{"shop:*"}, `type == "paid" || source == "x"`, "shop", "paid", `{}`, true},
	} {
		d := newDestination(t, Spec{URL: "http://127.0.0.1:1", Events: c.events, Filter: c.filter}, Options{})
		got := d.Matches(&gaff.Subject{Event: &gaff.Event{Source: c.source, Type: c.kind, Data: []byte(c.data)}})
		if got != c.want {
			t.Errorf("%v %q takes %s:%s %s: %v, want %v", c.events, c.filter, c.source, c.kind, c.data, got, c.want)
		}
	}
}
