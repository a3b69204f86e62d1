package ui_test

import (
	"fmt"
	"strings"
	"testing"

	"gaff/internal/eventually"
	"gaff/internal/issue"
)

// A person finds the group of dead deliveries, acknowledges it, retries all of them, and sees it
// resolved.
func TestIssueIsAcknowledgedAndRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	for i := range 3 {
		w.sent(t, "custom", fmt.Sprintf(`{"type":"flaky","id":"n-%d"}`, i))
	}
	var one issue.Issue
	eventually.True(t, "an issue of three deliveries", func() bool {
		page, err := w.store.Issues(t.Context(), issue.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) == 1 {
			one = page.Items[0]
		}
		return one.Count == 3
	})
	if list := fetch(t, c, "GET", w.url+"/issues", nil); !strings.Contains(list.body, "/issues/"+one.ID) {
		t.Errorf("the list has no link to the issue:\n%s", list.body)
	}
	page := fetch(t, c, "GET", w.url+"/issues/"+one.ID, nil)
	if !strings.Contains(page.body, "3 dead deliveries") || strings.Count(page.body, `href="/events/evt_`) != 3 {
		t.Errorf("the issue's page: %d\n%s", page.status, page.body)
	}
	if got := fetch(t, c, "POST", w.url+"/issues/"+one.ID+"/acknowledge", nil); !strings.Contains(got.body, "Acknowledged: its alert is not repeated.") {
		t.Errorf("acknowledge: %d\n%s", got.status, got.body)
	}
	w.healed.Store(true)
	if got := fetch(t, c, "POST", w.url+"/issues/"+one.ID+"/retry", nil); !strings.Contains(got.body, "being retried") {
		t.Errorf("retry: %d\n%s", got.status, got.body)
	}
	eventually.True(t, "nothing of the issue is dead", func() bool {
		ids, err := w.store.IssueDeliveries(t.Context(), one.ID, 10)
		return err == nil && len(ids) == 0
	})
}
