package storetest

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/internal/erase"
)

func toH(*gaff.Event) []gaff.Delivery { return to("h") }

func (s *suite) publish(ps ...gaff.Publication) []gaff.Publication {
	s.Helper()
	done, err := s.st.Publish(s.ctx, ps, toH)
	s.must(err)
	return done
}

func testPublish(s *suite) {
	done := s.publish(
		gaff.Publication{Type: "order.paid", Data: json.RawMessage(`{"n":1}`), ProjectID: "film", By: "shop", Caller: "a", IdempotencyKey: "k"},
		gaff.Publication{Type: "order.paid", Data: json.RawMessage(`{"n":2}`)},
		gaff.Publication{Type: "order.paid", Data: json.RawMessage(`{"n":1}`), Caller: "a", IdempotencyKey: "k"},
		gaff.Publication{Type: "order.paid", Data: json.RawMessage(`{"n":1}`), Caller: "b", IdempotencyKey: "k"},
	)
	s.equal("a repeated key in a list", []bool{done[2].Duplicate, done[2].ID == done[0].ID}, []bool{true, true})
	s.equal("a key of another caller", []bool{done[3].Duplicate, done[3].ID == done[0].ID}, []bool{false, false})
	d := s.detail(done[0].ID)
	s.equal("the event", []string{d.Source, d.Type, d.ProjectID, d.WebhookID, string(d.Data), d.Verification.Subject},
		[]string{gaff.PublishedSource, "order.paid", "film", "k", `{"n":1}`, "shop"})
	s.equal("its deliveries", len(d.Deliveries), 1)
	again := s.publish(gaff.Publication{Type: "order.paid", Data: json.RawMessage(`{"n":9}`), Caller: "a", IdempotencyKey: "k"})[0]
	s.equal("the key with other data", []any{again.ID, again.Duplicate, again.Conflict}, []any{done[0].ID, true, true})
	again = s.publish(gaff.Publication{Type: "order.open", Data: json.RawMessage(`{"n":1}`), Caller: "a", IdempotencyKey: "k"})[0]
	s.equal("the key with another type", []any{again.ID, again.Type, again.Conflict}, []any{done[0].ID, "order.paid", true})
	again = s.publish(gaff.Publication{Type: "order.open", Data: json.RawMessage(`{"n":1}`), Caller: "a", IdempotencyKey: "k", RunAt: time.Now().Add(time.Hour)})[0]
	s.equal("the key with another type and time", []any{again.ID, again.Conflict, again.RunAt.After(time.Now())}, []any{done[0].ID, true, false})
	s.equal("claimed", len(s.claim(10)), 3)
}

func (s *suite) scheduled(p gaff.Publication) gaff.Publication {
	s.Helper()
	if p.Type == "" {
		p.Type, p.Data = "reminder.due", json.RawMessage(`{"n":1}`)
	}
	return s.publish(p)[0]
}

func (s *suite) publishDue() int {
	s.Helper()
	n, err := s.st.PublishDue(s.ctx, 100, toH)
	s.must(err)
	return n
}

func (s *suite) scheduledEvent(id string) *gaff.Publication {
	s.Helper()
	p, err := s.st.ScheduledEvent(s.ctx, id)
	s.must(err)
	return p
}

func testSchedule(s *suite) {
	later := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	first := s.scheduled(gaff.Publication{RunAt: later, Caller: "a", IdempotencyKey: "k", ProjectID: "film"})
	s.equal("a scheduled event", first.State, gaff.Scheduled)
	s.equal("due early", s.publishDue(), 0)
	next, err := s.st.NextScheduled(s.ctx)
	s.must(err)
	s.equal("the next one's time", next.Equal(later), true)
	again := s.scheduled(gaff.Publication{RunAt: later.Add(time.Hour), Caller: "a", IdempotencyKey: "k"})
	s.equal("the same key", []any{again.ID, again.Duplicate, again.Conflict}, []any{first.ID, true, false})
	now := s.scheduled(gaff.Publication{Caller: "a", IdempotencyKey: "k"})
	s.equal("the same key, at once", []any{now.ID, now.Duplicate}, []any{first.ID, true})
	s.reopen()
	_, err = s.st.ChangeScheduled(s.ctx, first.ID, func(p *gaff.Publication) error {
		p.RunAt, p.Data = time.Now().Add(-time.Second), json.RawMessage(`{"n":2}`)
		return nil
	})
	s.must(err)
	s.equal("due after the change", s.publishDue(), 1)
	s.equal("due twice", s.publishDue(), 0)
	p := s.scheduledEvent(first.ID)
	s.equal("after it was published", []any{p.State, p.Data == nil}, []any{gaff.Published, true})
	s.equal("the event's data", string(s.detail(p.EventID).Data), `{"n":2}`)
	again = s.scheduled(gaff.Publication{Caller: "a", IdempotencyKey: "k"})
	s.equal("the same key afterwards", []any{again.ID, again.EventID, again.Conflict}, []any{first.ID, p.EventID, true})
	_, err = s.st.ChangeScheduled(s.ctx, first.ID, func(*gaff.Publication) error { return nil })
	s.wants("a change of a published one", err, gaff.ErrConflict)
	_, err = s.st.ChangeScheduled(s.ctx, "sch_none", func(*gaff.Publication) error { return nil })
	s.wants("a change of a missing one", err, gaff.ErrNotFound)
}

func testScheduleCanceled(s *suite) {
	p := s.scheduled(gaff.Publication{RunAt: time.Now().Add(time.Hour)})
	q := s.scheduled(gaff.Publication{RunAt: time.Now().Add(time.Hour), ProjectID: "film"})
	canceled, err := s.st.ChangeScheduled(s.ctx, p.ID, func(p *gaff.Publication) error {
		p.State = gaff.ScheduleCanceled
		return nil
	})
	s.must(err)
	s.equal("canceled", []any{canceled.State, canceled.Data == nil}, []any{gaff.ScheduleCanceled, true})
	state := gaff.Scheduled
	for name, f := range map[string]gaff.ScheduleFilter{"by state": {State: &state}, "by project": {ProjectID: "film"}} {
		page, err := s.st.ScheduledEvents(s.ctx, f)
		s.must(err)
		if len(page.Items) != 1 || page.Items[0].ID != q.ID {
			s.Errorf("%s: %+v", name, page.Items)
		}
	}
}

// However many processes look for due events, each is published once.
func testScheduleUnderRace(s *suite) {
	for range 40 {
		p := s.scheduled(gaff.Publication{RunAt: time.Now().Add(time.Hour)})
		_, err := s.st.ChangeScheduled(s.ctx, p.ID, func(p *gaff.Publication) error {
			p.RunAt = time.Now()
			return nil
		})
		s.must(err)
	}
	var wg sync.WaitGroup
	var published atomic.Int64
	until := time.Now().Add(20 * time.Second)
	for range 4 {
		wg.Go(func() {
			for published.Load() < 40 && time.Now().Before(until) {
				n, err := s.st.PublishDue(s.ctx, 7, toH)
				if err != nil {
					s.Error(err)
					return
				}
				published.Add(int64(n))
			}
		})
	}
	wg.Wait()
	page, err := s.st.Events(s.ctx, gaff.EventFilter{Source: gaff.PublishedSource})
	s.must(err)
	s.equal("published", published.Load(), int64(40))
	s.equal("events", len(page.Items), 40)
}

// A project need not have a distinctive id: its published and scheduled events name it in a column.
func testErasePublished(s *suite) {
	later := time.Now().Add(time.Hour)
	own := s.publish(gaff.Publication{Type: "a", ProjectID: "film"}, gaff.Publication{Type: "a", ProjectID: "film", RunAt: later})
	others := s.publish(gaff.Publication{Type: "a", ProjectID: "filmed"}, gaff.Publication{Type: "a", ProjectID: "filmed", RunAt: later})
	found, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Project, ID: "film"})
	s.must(err)
	s.equal("erased", found.Events, int64(2))
	_, err = s.st.Event(s.ctx, own[0].ID)
	s.wants("the published one", err, gaff.ErrNotFound)
	_, err = s.st.ScheduledEvent(s.ctx, own[1].ID)
	s.wants("the scheduled one", err, gaff.ErrNotFound)
	s.detail(others[0].ID)
	s.scheduledEvent(others[1].ID)
}
