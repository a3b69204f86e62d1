package storetest

import (
	"time"

	"gaff"
	"gaff/internal/sqlstore"
)

// A violation is stored with its event, found by it, and ends with the event's body.
func testViolations(s *suite) {
	violation := &gaff.SchemaViolation{
		Schema: "order.paid", More: 3,
		Problems: []gaff.SchemaProblem{{Path: "/amount", Keyword: "type", Message: "is string, want number"}, {Keyword: "required", Message: `lacks the members "id"`}},
	}
	good, bad := s.accept(s.event()), s.accept(s.event(func(ev *gaff.Event) { ev.Violation = violation }))
	all := []*gaff.Event{s.event(), s.event(func(ev *gaff.Event) { ev.Violation = violation })}
	batch, err := s.st.AcceptAll(s.ctx, []gaff.AcceptParams{{Event: all[0]}, {Event: all[1]}})
	s.must(err)
	s.equal("the violation", s.detail(bad.ID).Violation, violation)
	s.equal("the number of its problems", s.detail(bad.ID).Violations, 5)
	s.equal("an event without one", []any{s.detail(good.ID).Violation == nil, s.detail(good.ID).Violations}, []any{true, 0})
	list := func(f gaff.EventFilter) (ids []string) {
		page, err := s.st.Events(s.ctx, f)
		s.must(err)
		for _, l := range page.Items {
			if l.Violations != 5 {
				s.Errorf("%s has %d problems in a list", l.ID, l.Violations)
			}
			ids = append(ids, l.ID)
		}
		return ids
	}
	s.equal("events with violations", list(gaff.EventFilter{Violation: true}), []string{batch[1].ID, bad.ID})
	s.equal("of a type without any", list(gaff.EventFilter{Violation: true, Type: "none"}), []string(nil))
	_, err = s.st.Prune(s.ctx, sqlstore.Retention{Payloads: s.now.Add(time.Hour)})
	s.must(err)
	s.equal("once the bodies are removed", list(gaff.EventFilter{Violation: true}), []string(nil))
}
