package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// pages reads a list to its end, a few at a time.
func pages[T any](s *suite, list func(gaff.Cursor) (gaff.Page[T], error)) (all []T) {
	s.Helper()
	c := gaff.Cursor{Limit: 3}
	for range 1000 {
		page, err := list(c)
		s.must(err)
		all = append(all, page.Items...)
		if c.After = page.Next; c.After == "" {
			return all
		}
		if len(page.Items) != 3 {
			s.Fatalf("a page of %d with another after it", len(page.Items))
		}
	}
	s.Fatal("the list has no end")
	return nil
}

// listed is an event that a list is expected to have.
type listed struct {
	id, source, typ string
	status          gaff.Status
	received        time.Time
}

// listedEvents accepts 40 events of three sources, two types and three statuses, and an internal
// one. The newest is the first.
func (s *suite) listedEvents() (all []listed) {
	for i := range 40 {
		l := listed{source: []string{"a", "b", "c"}[i%3], typ: []string{"x", "y"}[i%2]}
		rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(func(ev *gaff.Event) {
			ev.Source, ev.Type = l.source, l.typ
			ev.ReceivedAt = time.Now().UTC().Truncate(time.Microsecond)
			l.received = ev.ReceivedAt
		}), Deliveries: to("h"), Take: takeAll(1)})
		s.must(err)
		l.id = rc.ID
		switch i % 4 {
		case 1:
			l.status = gaff.StatusSuccess
			s.must(s.finish(rc.Work[0], gaff.StateSucceeded, ""))
		case 2:
			l.status = gaff.StatusError
			s.must(s.finish(rc.Work[0], gaff.StateDead, fmt.Sprint("fault_", i)))
		}
		all = append(all, l)
	}
	s.accept(s.event(func(ev *gaff.Event) { ev.Source = gaff.InternalSource }))
	slices.Reverse(all)
	return all
}

// eventIDs lists the ids of events on all pages.
func (s *suite) eventIDs(f gaff.EventFilter) (ids []string) {
	s.Helper()
	for _, l := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Log], error) {
		f.Cursor = c
		return s.st.Events(s.ctx, f)
	}) {
		ids = append(ids, l.ID)
	}
	return ids
}

func testEventLists(s *suite) {
	all := s.listedEvents()
	want := func(match func(listed) bool) (ids []string) {
		for _, l := range all {
			if match(l) {
				ids = append(ids, l.id)
			}
		}
		return ids
	}
	s.equal("all", s.eventIDs(gaff.EventFilter{}), want(func(listed) bool { return true }))
	for _, source := range []string{"", "a", "b", "none"} {
		for _, typ := range []string{"", "y"} {
			for _, status := range []gaff.Status{-1, gaff.StatusPending, gaff.StatusSuccess, gaff.StatusError} {
				f := gaff.EventFilter{Source: source, Type: typ}
				if status >= 0 {
					f.Status = &status
				}
				s.equal(fmt.Sprintf("source %q type %q status %s", source, typ, status), s.eventIDs(f), want(func(l listed) bool {
					return (source == "" || l.source == source) && (typ == "" || l.typ == typ) && (status < 0 || l.status == status)
				}))
			}
		}
	}
	since, until := all[29].received, all[19].received
	s.equal("since and until", s.eventIDs(gaff.EventFilter{Since: since, Until: until, Source: "b"}), want(func(l listed) bool {
		return !l.received.Before(since) && l.received.Before(until) && l.source == "b"
	}))
	s.equal("number with internal events", len(s.eventIDs(gaff.EventFilter{Internal: true})), 41)
	s.equal("number of internal events", len(s.eventIDs(gaff.EventFilter{Source: gaff.InternalSource})), 1)
	for _, c := range []gaff.Cursor{{Limit: 501}, {Limit: -1}, {After: "?"}, {After: "-1"}, {After: "nonsense"}, {After: "1"}} {
		_, err := s.st.Events(s.ctx, gaff.EventFilter{Cursor: c})
		s.wants(fmt.Sprintf("cursor %+v", c), err, gaff.ErrInvalid)
	}
}

func testEventSearch(s *suite) {
	all := s.listedEvents()
	nth := func(i int) string { return all[len(all)-1-i].id } // by arrival
	s.must(s.st.Write(s.ctx, func(tx jobs.Tx) error {
		for id, request := range map[string]string{"job-a": "wh-5", "job-b": "wh-6", "job-c": ""} {
			if err := tx.InsertJob(s.ctx, &jobs.Job{ID: id, Provider: "b", RequestID: request, ProjectID: "film-" + id}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, c := range []struct {
		what   string
		filter gaff.EventFilter
		want   []string
	}{
		{"job", gaff.EventFilter{JobID: "job-a"}, []string{nth(4)}},
		{"job of another source", gaff.EventFilter{JobID: "job-a", Source: "a"}, nil},
		{"job and another webhook", gaff.EventFilter{JobID: "job-a", WebhookID: "wh-6"}, nil},
		{"job whose request has another provider", gaff.EventFilter{JobID: "job-b"}, nil},
		{"job without a request", gaff.EventFilter{JobID: "job-c"}, nil},
		{"unknown job", gaff.EventFilter{JobID: "job-z"}, nil},
		{"project", gaff.EventFilter{ProjectID: "film-job-a"}, []string{nth(4)}},
		{"project without an event", gaff.EventFilter{ProjectID: "film-job-b"}, nil},
		{"webhook id", gaff.EventFilter{WebhookID: "wh-5"}, []string{nth(4)}},
		{"text in an error", gaff.EventFilter{Query: "fault_10"}, []string{nth(10)}},
		{"text with a wildcard", gaff.EventFilter{Query: "fault%"}, nil},
		{"text in a body", gaff.EventFilter{Query: `"n":7,`}, []string{nth(6)}},
		{"id of an event of another source", gaff.EventFilter{Query: nth(3), Source: "none"}, nil},
	} {
		s.equal(c.what, s.eventIDs(c.filter), c.want)
	}
	s.write(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_found", Provider: "a", RequestID: "wh-5"})
	})
	for _, id := range []string{"wh-5", "job_found", nth(4)} {
		page, err := s.st.Events(s.ctx, gaff.EventFilter{Query: id})
		s.must(err)
		if len(page.Items) != 1 || page.Items[0].ID != nth(4) {
			s.Errorf("the first page for %s has %d events, want the one that it names", id, len(page.Items))
		}
		rest, err := s.st.Events(s.ctx, gaff.EventFilter{Query: id, Cursor: gaff.Cursor{After: page.Next}})
		s.must(err)
		if slices.ContainsFunc(rest.Items, func(l gaff.Log) bool { return l.ID == page.Items[0].ID }) {
			s.Errorf("the second page for %s has the event again", id)
		}
	}
}

func testLogs(s *suite) {
	var ids []string
	for i := range 12 {
		w := s.take(func(ev *gaff.Event) {
			ev.Type = []string{"x", "y"}[i%2]
			ev.ReceivedAt = s.now.Add(-time.Duration(i) * time.Minute) // they arrive in reverse
		})
		if i < 9 {
			s.must(s.finish(w, gaff.StateSucceeded, ""))
		}
		ids = append(ids, w.Event.ID)
	}
	success := gaff.StatusSuccess
	logs, total, err := s.st.Logs(s.ctx, gaff.LogQuery{Source: "shop", Status: &success, Limit: 4, Offset: 2})
	s.must(err)
	var got []string
	for _, l := range logs {
		got = append(got, l.ID)
	}
	// The last one processed comes first.
	s.equal("by the time of processing", got, []string{ids[6], ids[5], ids[4], ids[3]})
	if total != 9 {
		s.Errorf("total %d, want 9", total)
	}
	for _, ascending := range []bool{false, true} {
		logs, total, err = s.st.Logs(s.ctx, gaff.LogQuery{ByReceived: true, Ascending: ascending, Limit: 50})
		s.must(err)
		if total != 12 || len(logs) != 12 {
			s.Fatalf("%d of %d", len(logs), total)
		}
		for i := 1; i < len(logs); i++ {
			if logs[i].ReceivedAt.After(logs[i-1].ReceivedAt) != ascending {
				s.Errorf("ascending %v: %s after %s", ascending, logs[i].ReceivedAt, logs[i-1].ReceivedAt)
			}
		}
	}
	logs, total, err = s.st.Logs(s.ctx, gaff.LogQuery{Type: "y", Limit: 50, Offset: 100})
	s.must(err)
	if len(logs) != 0 || total != 6 {
		s.Errorf("past the end: %d of %d", len(logs), total)
	}
}

func testDeliveryLists(s *suite) {
	var want []string
	var last gaff.Work
	for i := range 8 {
		rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(func(ev *gaff.Event) {
			ev.Source = []string{"a", "b"}[i%2]
		}), Deliveries: to("h", "k"), Take: takeAll(2)})
		s.must(err)
		s.must(s.finish(rc.Work[0], []gaff.State{gaff.StateDead, gaff.StateSucceeded}[i%2], "x"))
		want = append(want, rc.Work[0].Delivery.ID, rc.Work[1].Delivery.ID)
		last = rc.Work[1]
	}
	list := func(f gaff.DeliveryFilter) (ids []string) {
		for _, d := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Delivery], error) {
			f.Cursor = c
			return s.st.Deliveries(s.ctx, f)
		}) {
			ids = append(ids, d.ID)
		}
		return ids
	}
	slices.Reverse(want)
	s.equal("all", list(gaff.DeliveryFilter{}), want)
	dead, pending := gaff.StateDead, gaff.StatePending
	for what, c := range map[string]struct {
		f gaff.DeliveryFilter
		n int
	}{
		"dead": {gaff.DeliveryFilter{State: &dead}, 4}, "of a": {gaff.DeliveryFilter{Source: "a"}, 8},
		"of k": {gaff.DeliveryFilter{Handler: "k"}, 8}, "dead of b": {gaff.DeliveryFilter{State: &dead, Source: "b"}, 0},
	} {
		if got := list(c.f); len(got) != c.n {
			s.Errorf("%s: %d, want %d", what, len(got), c.n)
		}
	}
	running := gaff.StateRunning
	count := func(what string, state *gaff.State, want int) {
		for _, d := range pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Delivery], error) {
			return s.st.Deliveries(s.ctx, gaff.DeliveryFilter{State: state, Cursor: c})
		}) {
			if want--; d.State != *state {
				s.Errorf("%s: %s is shown as %s, want %s", what, d.ID, d.State, *state)
			}
		}
		if want != 0 {
			s.Errorf("%s: %d deliveries are missing", what, want)
		}
	}
	count("claimed ones are running", &running, 8)
	count("claimed ones are not pending", &pending, 0)
	s.must(s.st.Release(s.ctx, []gaff.Lease{last.Lease}))
	count("one was given back", &running, 7)
	count("one was given back", &pending, 1)
	d, attempts, err := s.st.Delivery(s.ctx, want[1])
	s.must(err)
	if d.ID != want[1] || d.Handler != "h" || d.Source != "b" || len(attempts) != 1 || attempts[0].DeliveryID != want[1] {
		s.Errorf("delivery %+v, attempts %+v", d, attempts)
	}
	s.equal("of an event", list(gaff.DeliveryFilter{EventID: d.EventID}), want[:2])
}

func testResultLists(s *suite) {
	var wantJobs, media []string
	for i := range 9 {
		s.must(s.apply(func(tx jobs.Tx) error {
			j := &jobs.Job{ID: fmt.Sprint("job_", i), Provider: []string{"fal", "lf"}[i%2], ProjectID: []string{"", "p1", "p2"}[i%3],
				UserID: "u", RequestID: fmt.Sprint("r", i), Status: jobs.JobStatus(i % 5)}
			wantJobs = append(wantJobs, j.ID)
			if err := tx.InsertJob(s.ctx, j); err != nil {
				return err
			}
			m := &jobs.Media{ID: fmt.Sprint("med_", i), JobID: j.ID, ProjectID: j.ProjectID, Position: "0", MediaType: jobs.MediaVideo}
			media = append(media, m.ID)
			_, err := tx.AddMedia(s.ctx, m)
			return err
		}))
	}
	slices.Reverse(wantJobs)
	slices.Reverse(media)
	listJobs := func(f jobs.JobFilter) (ids []string) {
		for _, j := range pages(s, func(c gaff.Cursor) (gaff.Page[jobs.Job], error) {
			f.Cursor = c
			return s.st.Jobs(s.ctx, f)
		}) {
			ids = append(ids, j.ID)
		}
		return ids
	}
	listMedia := func(f jobs.MediaFilter) (ids []string) {
		for _, m := range pages(s, func(c gaff.Cursor) (gaff.Page[jobs.Media], error) {
			f.Cursor = c
			return s.st.Media(s.ctx, f)
		}) {
			ids = append(ids, m.ID)
		}
		return ids
	}
	failed := jobs.JobFailed
	s.equal("jobs", listJobs(jobs.JobFilter{}), wantJobs)
	s.equal("of a provider", listJobs(jobs.JobFilter{Provider: "lf"}), []string{"job_7", "job_5", "job_3", "job_1"})
	s.equal("of a project", listJobs(jobs.JobFilter{ProjectID: "p1", UserID: "u"}), []string{"job_7", "job_4", "job_1"})
	s.equal("of a request", listJobs(jobs.JobFilter{RequestID: "r6"}), []string{"job_6"})
	s.equal("failed", listJobs(jobs.JobFilter{Status: &failed}), []string{"job_8", "job_3"})
	s.equal("of nobody", listJobs(jobs.JobFilter{UserID: "v"}), []string{})
	s.write(func(tx jobs.Tx) error {
		j, err := tx.Job(s.ctx, "job_6")
		s.must(err)
		j.Model = "fal-ai/flux/dev"
		s.must(tx.SaveJob(s.ctx, j))
		return tx.SaveInput(s.ctx, "job_2", json.RawMessage(`{"prompt":"a Red fox, 100%"}`))
	})
	errored := jobs.JobFilter{ErrorType: jobs.NoErrorType}
	s.equal("failed without a type", listJobs(errored), []string{"job_8", "job_3"})
	s.equal("of another error", listJobs(jobs.JobFilter{ErrorType: "policy"}), []string{})
	s.equal("of exactly a model", listJobs(jobs.JobFilter{Model: "fal-ai/flux/dev"}), []string{"job_6"})
	s.equal("of a part of a model", listJobs(jobs.JobFilter{Model: "flux"}), []string{})
	s.equal("unfinished", listJobs(jobs.JobFilter{Unfinished: true, Provider: "lf"}), []string{"job_5", "job_1"})
	s.equal("before they were created", listJobs(jobs.JobFilter{Until: s.now}), []string{})
	s.equal("since then", listJobs(jobs.JobFilter{Since: s.now}), wantJobs)
	s.equal("media of a model", listMedia(jobs.MediaFilter{Model: "fal-ai/flux/dev"}), []string{"med_6"})
	s.equal("media before they were created", listMedia(jobs.MediaFilter{Until: s.now}), []string{})
	s.equal("media since then", listMedia(jobs.MediaFilter{Since: s.now}), media)
	s.equal("of a prompt", listJobs(jobs.JobFilter{Query: "red FOX"}), []string{"job_2"})
	s.equal("of a prompt with a wildcard", listJobs(jobs.JobFilter{Query: "100%"}), []string{"job_2"})
	s.equal("a wildcard is text", listJobs(jobs.JobFilter{Query: "r_d"}), []string{})
	s.equal("of a model", listJobs(jobs.JobFilter{Query: "FLUX"}), []string{"job_6"})
	s.equal("of a model in another project", listJobs(jobs.JobFilter{Query: "flux", ProjectID: "p2"}), []string{})
	s.equal("media", listMedia(jobs.MediaFilter{}), media)
	s.equal("media of a project", listMedia(jobs.MediaFilter{ProjectID: "p2", MediaType: jobs.MediaVideo}), []string{"med_8", "med_5", "med_2"})
	s.equal("media of a job", listMedia(jobs.MediaFilter{JobID: "job_4"}), []string{"med_4"})
	s.equal("images", listMedia(jobs.MediaFilter{MediaType: jobs.MediaImage}), []string{})

	cards, err := s.st.JobCards(s.ctx, []string{"job_2", "job_6", "job_none"})
	s.must(err)
	s.equal("a prompt", cards["job_2"].Prompt, "a Red fox, 100%")
	s.equal("a first file", cards["job_6"].File.ID, "med_6")
	s.equal("known jobs", len(cards), 2)
	outcomes, err := s.st.Outcomes(s.ctx, s.now)
	s.must(err)
	s.equal("outcomes", []any{len(outcomes), outcomes[0].Status}, []any{9, jobs.JobFailed})
	none, err := s.st.Outcomes(s.ctx, time.Now().Add(365*24*time.Hour))
	s.must(err)
	s.equal("outcomes of later", len(none), 0)

	for size, listed := range map[int]int{jobs.MaxListed: jobs.MaxListed, jobs.MaxListed + 1: 0} {
		long := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
		s.write(func(tx jobs.Tx) error {
			j, err := tx.Job(s.ctx, "job_0")
			s.must(err)
			j.Result = long
			return tx.SaveJob(s.ctx, j)
		})
		page, err := s.st.Jobs(s.ctx, jobs.JobFilter{RequestID: "r0"})
		s.must(err)
		j, err := s.st.Job(s.ctx, "job_0")
		s.must(err)
		s.equal("a long result in a list, and alone", []int{len(page.Items[0].Result), len(j.Result)}, []int{listed, size})
		s.equal("its size", []int64{page.Items[0].ResultSize, j.ResultSize}, []int64{int64(size), int64(size)})
	}
}

func testLogSearch(s *suite) {
	all := s.listedEvents()
	is := func(field gaff.LogField, op gaff.LogOperator, values ...any) gaff.LogCondition {
		return gaff.LogCondition{Field: field, Operator: op, Values: values}
	}
	want := func(match func(listed) bool) (ids []string) {
		for _, l := range all {
			if match(l) {
				ids = append(ids, l.id)
			}
		}
		return ids
	}
	newest := []gaff.LogOrder{{Field: gaff.LogReceivedAt, Descending: true}}
	milliseconds := func(l listed) time.Time { return l.received.Truncate(time.Millisecond) }
	for name, c := range map[string]struct {
		where gaff.LogCondition
		match func(listed) bool
	}{
		"no condition": {gaff.LogCondition{}, func(listed) bool { return true }},
		"or": {gaff.LogCondition{Or: []gaff.LogCondition{is(gaff.LogSource, gaff.OpEquals, "a"), is(gaff.LogStatus, gaff.OpEquals, gaff.StatusError)}},
			func(l listed) bool { return l.source == "a" || l.status == gaff.StatusError }},
		"and": {gaff.LogCondition{And: []gaff.LogCondition{is(gaff.LogSource, gaff.OpNotEquals, "a"), is(gaff.LogType, gaff.OpIn, "y", "z")}},
			func(l listed) bool { return l.source != "a" && l.typ == "y" }},
		"text of an error":        {is(gaff.LogError, gaff.OpContains, "FAULT_"), func(l listed) bool { return l.status == gaff.StatusError }},
		"no error":                {is(gaff.LogError, gaff.OpEquals, nil), func(l listed) bool { return l.status != gaff.StatusError }},
		"other than an error":     {is(gaff.LogError, gaff.OpNotEquals, "x"), func(listed) bool { return true }},
		"never processed":         {is(gaff.LogProcessedAt, gaff.OpExists, false), func(l listed) bool { return l.status == gaff.StatusPending }},
		"time":                    {is(gaff.LogReceivedAt, gaff.OpGreaterThan, all[7].received), func(l listed) bool { return milliseconds(l).After(milliseconds(all[7])) }},
		"time to the millisecond": {is(gaff.LogReceivedAt, gaff.OpEquals, milliseconds(all[7])), func(l listed) bool { return milliseconds(l).Equal(milliseconds(all[7])) }},
		"until a time":            {is(gaff.LogReceivedAt, gaff.OpLessThanEqual, milliseconds(all[7])), func(l listed) bool { return !milliseconds(l).After(milliseconds(all[7])) }},
		"id":                      {is(gaff.LogID, gaff.OpIn, all[3].id, "evt_none"), func(l listed) bool { return l.id == all[3].id }},
		"a list without a value":  {is(gaff.LogSource, gaff.OpIn), func(listed) bool { return false }},
		"a wildcard as text":      {is(gaff.LogError, gaff.OpLike, "fault%"), func(listed) bool { return false }},
	} {
		found, err := s.st.SearchLogs(s.ctx, gaff.LogSearch{Where: c.where, Order: newest, Limit: 100})
		s.must(err)
		var ids []string
		for _, l := range found.Logs {
			ids = append(ids, l.ID)
		}
		s.equal(name, ids, want(c.match))
		s.equal("total of "+name, found.Total, len(ids))
	}
	page, err := s.st.SearchLogs(s.ctx, gaff.LogSearch{Order: newest, Offset: 38, Limit: 5})
	s.must(err)
	s.equal("the last page", len(page.Logs), 2)
	s.equal("the total on the last page", page.Total, 40)
	_, err = s.st.SearchLogs(s.ctx, gaff.LogSearch{Where: is(gaff.LogStatus, gaff.OpGreaterThan, gaff.StatusError), Limit: 1})
	s.wants("an order of statuses", err, gaff.ErrInvalid)
}
