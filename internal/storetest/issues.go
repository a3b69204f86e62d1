package storetest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"gaff"
	"gaff/internal/issue"
	"gaff/internal/sqlstore"
)

// die ends a delivery as dead for a reason.
func (s *suite) die(w gaff.Work, status int, cause string) {
	s.Helper()
	s.must(s.st.Finish(s.ctx, w.Lease, gaff.Outcome{
		State: gaff.StateDead, Failure: &gaff.Failure{Handler: "h", Status: status, Cause: cause},
		Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, StartedAt: s.now, Error: cause + " for a reason that quotes the body"},
	}))
}

func (s *suite) issues(f issue.Filter) []issue.Issue {
	s.Helper()
	page, err := s.st.Issues(s.ctx, f)
	s.must(err)
	return page.Items
}

func testIssuesOfDeliveries(s *suite) {
	first, second, other := s.take(), s.take(), s.take()
	s.die(first, 500, "answered 500 to request 4711")
	s.die(second, 500, "answered 500 to request 4712")
	s.die(other, 404, "answered 404")
	s.must(s.finish(s.take(), gaff.StateDead, "without a group"))

	all := s.issues(issue.Filter{})
	if len(all) != 2 {
		s.Fatalf("%d issues, want 2: %+v", len(all), all)
	}
	s.equal("the newest first", []int{all[0].Status, all[1].Status}, []int{404, 500})
	got := all[1]
	if got.FirstAt.IsZero() || !got.FirstAt.Equal(got.OpenedAt) || !got.LastAt.After(got.FirstAt) {
		s.Errorf("times: first %s, opened %s, last %s", got.FirstAt, got.OpenedAt, got.LastAt)
	}
	s.equal("issue", got, issue.Issue{
		ID:   issue.OfDelivery("shop", &gaff.Failure{Handler: "h", Status: 500, Cause: "answered 500 to request 1"}).ID(),
		Kind: issue.Delivery, Source: "shop", Handler: "h", Status: 500, Error: "answered 500 to request 4712", Count: 2,
		FirstAt: got.FirstAt, LastAt: got.LastAt, OpenedAt: got.OpenedAt, LastRef: second.Delivery.ID,
	})
	ids, err := s.st.IssueDeliveries(s.ctx, got.ID, 10)
	s.must(err)
	s.equal("its deliveries", ids, []string{first.Delivery.ID, second.Delivery.ID})
	ids, err = s.st.IssueDeliveries(s.ctx, got.ID, 1)
	s.must(err)
	s.equal("a bounded number of them", ids, []string{first.Delivery.ID})

	open, deliveries, rejections := issue.Open, issue.Delivery, issue.Rejection
	s.equal("open ones", len(s.issues(issue.Filter{State: &open, Kind: &deliveries, Source: "shop", Handler: "h"})), 2)
	s.equal("of another source", len(s.issues(issue.Filter{Source: "none"})), 0)
	s.equal("of another handler", len(s.issues(issue.Filter{Handler: "none"})), 0)
	s.equal("of another kind", len(s.issues(issue.Filter{Kind: &rejections})), 0)
	page, err := s.st.Issues(s.ctx, issue.Filter{Cursor: gaff.Cursor{Limit: 1}})
	s.must(err)
	page, err = s.st.Issues(s.ctx, issue.Filter{Cursor: gaff.Cursor{Limit: 1, After: page.Next}})
	s.must(err)
	if len(page.Items) != 1 || page.Items[0].ID != got.ID || page.Next != "" {
		s.Errorf("second page: %+v", page)
	}
	_, err = s.st.Issue(s.ctx, "iss_none")
	s.wants("an unknown issue", err, gaff.ErrNotFound)
}

func testIssueStates(s *suite) {
	s.die(s.take(), 500, "broken")
	id := s.issues(issue.Filter{})[0].ID
	set := func(to issue.State) issue.Issue {
		s.Helper()
		got, err := s.st.SetIssueState(s.ctx, id, to, "anna")
		s.must(err)
		if got.State != to || got.ChangedBy != "anna" || got.ChangedAt.IsZero() {
			s.Errorf("set %s: %+v", to, got)
		}
		return *got
	}
	fails := func() issue.Issue {
		s.Helper()
		s.die(s.take(), 500, "broken")
		got, err := s.st.Issue(s.ctx, id)
		s.must(err)
		return *got
	}
	opened := set(issue.Acknowledged).OpenedAt
	if got := fails(); got.State != issue.Acknowledged || !got.OpenedAt.Equal(opened) {
		s.Errorf("a failure of an acknowledged issue: %+v", got)
	}
	set(issue.Resolved)
	if got := fails(); got.State != issue.Open || !got.OpenedAt.After(opened) || got.Count != 3 {
		s.Errorf("a failure of a resolved issue: %+v", got)
	}
	set(issue.Ignored)
	if got := fails(); got.State != issue.Ignored || got.Count != 4 {
		s.Errorf("a failure of an ignored issue: %+v", got)
	}
	counts, err := s.st.IssueCounts(s.ctx)
	s.must(err)
	s.equal("counts", counts, map[issue.State]int{issue.Ignored: 1})
	_, err = s.st.SetIssueState(s.ctx, "iss_none", issue.Open, "anna")
	s.wants("an unknown issue", err, gaff.ErrNotFound)
}

func testIssuesResolveThemselves(s *suite) {
	w := s.take()
	s.die(w, 500, "broken")
	id := s.issues(issue.Filter{})[0].ID
	resolves := func(what string, want int) {
		s.Helper()
		n, err := s.st.ResolveIssues(s.ctx, s.now.Add(-time.Hour))
		s.must(err)
		s.equal(what, n, want)
	}
	resolves("while the delivery is dead", 0)
	_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.Event.ID, Tries: 1, Now: s.now})
	s.must(err)
	ids, err := s.st.IssueDeliveries(s.ctx, id, 10)
	s.must(err)
	s.equal("dead deliveries after a retry", len(ids), 0)
	resolves("while it is retried", 0)
	for _, w := range s.claim(10) {
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	resolves("after its success", 1)
	got, err := s.st.Issue(s.ctx, id)
	s.must(err)
	if got.State != issue.Resolved || got.ChangedBy != "" {
		s.Errorf("after its success: %+v", got)
	}
	resolves("again", 0)
}

func testIssuesOfRejections(s *suite) {
	reject := func(id, source string, status int, reason string) {
		s.Helper()
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: id, Source: source, Status: status, Reason: reason, ReceivedAt: s.now}))
	}
	reject("rej_1", "shop", http.StatusUnauthorized, "timestamp 1764406800 is too old")
	reject("rej_2", "shop", http.StatusUnauthorized, "timestamp 1764406900 is too old")
	reject("rej_3", "made-up-1", http.StatusNotFound, "no source made-up-1")
	reject("rej_4", "made-up-2", http.StatusNotFound, "no source made-up-2")
	reject("rej_5", "shop", http.StatusBadRequest, "quotes the payload")
	s.reopen() // rejections are counted a second later, or at the close
	all := map[int]issue.Issue{}
	for _, i := range s.issues(issue.Filter{}) {
		all[i.Status] = i
	}
	if len(all) != 3 {
		s.Fatalf("issues by status: %+v", all)
	}
	if i := all[http.StatusUnauthorized]; i.Count != 2 || i.Source != "shop" || i.Kind != issue.Rejection || i.LastRef != "rej_2" {
		s.Errorf("wrong signatures: %+v", i)
	}
	if i := all[http.StatusNotFound]; i.Count != 2 || i.Source != "" {
		s.Errorf("unknown sources: %+v", i)
	}
	if i := all[http.StatusBadRequest]; i.Error != "unreadable payload" {
		s.Errorf("unreadable payloads: %+v", i)
	}
	n, err := s.st.ResolveIssues(s.ctx, time.Now().Add(time.Hour))
	s.must(err)
	s.equal("resolved as nothing was rejected since", n, 3)
}

func testIssuesAreBounded(s *suite) {
	s.die(s.take(), 0, "keep")
	for i := range 700 {
		s.die(s.take(), i+1, "broken")
	}
	kept, after := 0, ""
	for {
		page, err := s.st.Issues(s.ctx, issue.Filter{Cursor: gaff.Cursor{Limit: 500, After: after}})
		s.must(err)
		if kept += len(page.Items); page.Next == "" {
			break
		}
		after = page.Next
	}
	if kept < 500 || kept > 550 {
		s.Errorf("%d issues are stored, want about 500", kept)
	}
}

func testIssueRetention(s *suite) {
	w := s.take()
	s.die(w, 500, "broken")
	f, err := s.st.Prune(s.ctx, sqlstore.Retention{Issues: s.now.Add(-time.Hour)})
	s.must(err)
	s.equal("a young issue", f.Issues, int64(0))
	f, err = s.st.Prune(s.ctx, sqlstore.Retention{Issues: time.Now().Add(time.Hour)})
	s.must(err)
	s.equal("an old issue", f.Issues, int64(1))
	s.equal("issues", len(s.issues(issue.Filter{})), 0)
	s.die(s.take(), 500, "broken")
	if all := s.issues(issue.Filter{}); len(all) != 1 || all[0].Count != 1 {
		s.Errorf("the same failure again: %+v", all)
	}
}

func testIssuesUnderRace(s *suite) {
	const each, workers = 10, 4
	work := make([][]gaff.Work, workers)
	for i := range work {
		for range each {
			work[i] = append(work[i], s.take())
		}
	}
	done := make(chan error, workers)
	for _, ws := range work {
		go func() {
			var err error
			for i, w := range ws {
				if e := s.st.Finish(context.WithoutCancel(s.ctx), w.Lease, gaff.Outcome{
					State: gaff.StateDead, Failure: &gaff.Failure{Handler: fmt.Sprint("h", i%3), Cause: "broken"},
					Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, StartedAt: s.now, Error: "broken"},
				}); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for range workers {
		s.must(<-done)
	}
	var total int64
	for _, i := range s.issues(issue.Filter{}) {
		total += i.Count
	}
	s.equal("counted failures", total, int64(each*workers))
}
