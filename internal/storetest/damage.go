package storetest

import (
	"gaff"
	"gaff/internal/id"
	"gaff/internal/sqlstore"
)

// damage writes other bytes of the same length into a column of an event's payload.
func (s *suite) damage(eventID, column string) {
	s.Helper()
	seq, _ := id.ParseEvent(eventID)
	s.exec(s.T, `update payload set `+column+` = $1 where seq = $2`, []byte(`{"n":9,"seed":17454220438242315175}`), seq)
}

func testDamagedBody(s *suite) {
	for _, column := range []string{"body", "data"} {
		w := s.accept(s.event(func(e *gaff.Event) { e.Data = []byte(`{"parsed":1}`) }), to("h")...)
		fine := s.accept(s.event(), to("h")...)
		s.damage(w.ID, column)
		work := s.claim(10)
		if len(work) != 1 || work[0].Event.ID != fine.ID {
			s.Fatalf("%s: claimed %+v, want the event that is not damaged alone", column, work)
		}
		s.must(s.finish(work[0], gaff.StateSucceeded, ""))
		d := s.detail(w.ID)
		if !d.Damaged || len(d.Data) != 0 || len(d.Request.Body) != 0 || d.Error != gaff.ErrDamaged.Error() {
			s.Errorf("%s: shown as %+v", column, d.Log)
		}
		if d.Status != gaff.StatusError || d.Deliveries[0].State != gaff.StateDead || d.Deliveries[0].Error != gaff.ErrDamaged.Error() {
			s.Errorf("%s: delivery %+v", column, d.Deliveries[0])
		}
		if len(d.Attempts) != 1 || d.Attempts[0].Outcome != gaff.AttemptDiscarded {
			s.Errorf("%s: attempts %+v", column, d.Attempts)
		}
		_, _, err := s.st.Retry(s.ctx, gaff.RetryParams{EventID: w.ID, Now: s.now})
		s.wants(column+": retry", err, gaff.ErrDamaged)
		_, err = s.st.Replay(s.ctx, w.ID, to("h"))
		s.wants(column+": replay", err, gaff.ErrDamaged)
	}
	if n := s.st.DamagedBodies(); n != 2 {
		s.Errorf("%d damaged bodies are counted, want 2", n)
	}
	evs, _, err := s.st.EventsAfter(s.ctx, "", 10)
	s.must(err)
	for _, ev := range evs {
		if ev.Damaged != (len(ev.Data) == 0) {
			s.Errorf("followed: damaged %t with %d bytes", ev.Damaged, len(ev.Data))
		}
	}
}

// A sender that sends the event again restores its bytes.
func testDamagedRestored(s *suite) {
	ev := s.event()
	rc := s.accept(ev, to("h")...)
	s.damage(rc.ID, "body")
	again := *ev
	if rc := s.accept(&again, to("h")...); !rc.Duplicate || rc.Conflict {
		s.Errorf("the same event again: %+v", rc)
	}
	if d := s.detail(rc.ID); d.Damaged || string(d.Request.Body) != string(ev.Request.Body) {
		s.Errorf("after that: %+v", d.Log)
	}
	other := *ev
	other.Data = []byte(`{"other":1}`)
	other.Request = &gaff.Request{Method: "POST", URL: "/", Body: other.Data}
	s.damage(rc.ID, "body")
	if rc := s.accept(&other, to("h")...); !rc.Duplicate || !rc.Conflict {
		s.Errorf("another body: %+v", rc)
	}
	s.exec(s.T, `update copy set body = $1`, []byte(`{"other":2}`))
	if d := s.detail(rc.ID); len(d.Copies) != 1 || !d.Copies[0].Damaged || d.Copies[0].Body != nil {
		s.Errorf("a damaged copy: %+v", d.Copies)
	}
}

func testCheckBodies(s *suite) {
	var ids []string
	for range 450 { // more than two pages
		ids = append(ids, s.accept(s.event(), to("h")...).ID)
	}
	report, err := s.st.CheckBodies(s.ctx)
	s.must(err)
	s.equal("sound", report, sqlstore.BodyReport{Checked: 450})
	bad := []string{ids[0], ids[199], ids[200], ids[449]}
	for _, eventID := range bad {
		s.damage(eventID, "body")
	}
	report, err = s.st.CheckBodies(s.ctx)
	s.must(err)
	s.equal("damaged", report, sqlstore.BodyReport{Checked: 446, Damaged: bad})
	if n := s.st.DamagedBodies(); n != 4 {
		s.Errorf("%d damaged bodies are counted, want 4", n)
	}
}

// Rows of older versions have no hash.
func testUnhashed(s *suite) {
	s.accept(s.event(), to("h")...)
	s.exec(s.T, `update payload set sha256 = null, data_sha256 = null`)
	if work := s.claim(1); len(work) != 1 || work[0].Event.Damaged {
		s.Errorf("claimed %+v", work)
	}
	report, err := s.st.CheckBodies(s.ctx)
	s.must(err)
	s.equal("report", report, sqlstore.BodyReport{Unhashed: 1})
}
