package issue_test

import (
	"testing"

	"gaff"
	"gaff/internal/issue"
)

func TestShapeLeavesOutWhatDiffers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"answered 500 Internal Server Error", "answered N Internal Server Error"},
		{"timestamp 1764406800 is too old", "timestamp N is too old"},
		{`no field "order_4711" in 'x'`, `no field "…" in "…"`},
		{"Post https://app.example.com/hook?token=x: EOF", "Post URL EOF"},
		{"job job_01KAVJ0Z6M3Q8R5T7W9XYZABCD is unknown", "job ID is unknown"},
		{"dial tcp 10.0.0.7:443: connect:  connection\nrefused", "dial tcp N.N.N.N:N: connect: connection refused"},
		{"", ""},
	} {
		if got := issue.Shape(c.text); got != c.want {
			t.Errorf("shape of %q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestGroupsOfDeliveries(t *testing.T) {
	t.Parallel()
	base := gaff.Failure{Handler: "app", Status: 500, Cause: "answered 500"}
	id := issue.OfDelivery("fal", &base).ID()
	for what, c := range map[string]struct {
		source  string
		failure gaff.Failure
		same    bool
	}{
		"the same":                 {"fal", base, true},
		"another number":           {"fal", gaff.Failure{Handler: "app", Status: 500, Cause: "answered 501"}, true},
		"another source":           {"shop", base, false},
		"another handler":          {"fal", gaff.Failure{Handler: "other", Status: 500, Cause: "answered 500"}, false},
		"another status":           {"fal", gaff.Failure{Handler: "app", Status: 404, Cause: "answered 500"}, false},
		"another error":            {"fal", gaff.Failure{Handler: "app", Status: 500, Cause: "EOF"}, false},
		"of operational events":    {"fal", gaff.Failure{Handler: "app", Status: 500, Cause: "answered 500", Operational: true}, false},
		"names that join to equal": {"fal\napp", gaff.Failure{Status: 500, Cause: "answered 500"}, false},
	} {
		if got := issue.OfDelivery(c.source, &c.failure).ID() == id; got != c.same {
			t.Errorf("%s: the same issue is %v, want %v", what, got, c.same)
		}
	}
}

func TestGroupsOfRejectionsQuoteNothing(t *testing.T) {
	t.Parallel()
	if a, b := issue.OfRejection("made-up", 404, "no source made-up"), issue.OfRejection("other", 404, "no source other"); a != b {
		t.Errorf("unknown sources: %+v and %+v, want one group", a, b)
	}
	if g := issue.OfRejection("shop", 400, `invalid character 's' in "secret"`); g.Error != "unreadable payload" {
		t.Errorf("an unreadable payload: %q", g.Error)
	}
}
