package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/jobs"
)

// jobEffects are effects of an event that write a job.
type jobEffects struct {
	s      *suite
	jobID  string
	before error // returned before anything is written
	after  error // returned, or panicked with, after the job was written
	panics bool

	writes, stored atomic.Int32
	eventID        atomic.Value
}

func (e *jobEffects) Reads() any { return jobs.JobRef{ID: e.jobID} }
func (e *jobEffects) Stored()    { e.stored.Add(1) }

func (e *jobEffects) Write(ctx context.Context, tx any, ev *gaff.Event) error {
	e.writes.Add(1)
	e.eventID.Store(ev.ID)
	if e.before != nil {
		return e.before
	}
	t := e.s.st.EventTx(tx)
	j := &jobs.Job{ID: e.jobID, Provider: "fal", RequestID: "r-" + e.jobID, ProjectID: "p", Status: jobs.JobCompleted, CreatedAt: t.Now(), SettledAt: t.Now()}
	if _, err := t.Job(ctx, e.jobID); err == nil {
		return t.AddLogEntry(ctx, e.jobID, "webhook", "again: event "+ev.ID)
	} else if !errors.Is(err, gaff.ErrNotFound) {
		return err
	}
	if err := t.InsertJob(ctx, j); err != nil {
		return err
	}
	if e.panics {
		panic(e.after)
	}
	return e.after
}

func (s *suite) jobEffects(jobID string) *jobEffects { return &jobEffects{s: s, jobID: jobID} }

// acceptWith stores an event for the handlers, whose first one has the effects.
func (s *suite) acceptWith(ev *gaff.Event, e gaff.Effects, handlers ...string) gaff.Receipt {
	s.Helper()
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev, Deliveries: to(handlers...), Take: takeAll(len(handlers)), Effects: e})
	s.must(err)
	return rc
}

func (s *suite) hasJob(jobID string) bool {
	s.Helper()
	_, err := s.st.Job(s.ctx, jobID)
	if err != nil && !errors.Is(err, gaff.ErrNotFound) {
		s.Fatal(err)
	}
	return err == nil
}

// An event that is stored with its effects looks like one whose delivery succeeded at its first attempt.
func testAcceptWithEffects(s *suite) {
	e := s.jobEffects("j1")
	began := time.Now().Add(-time.Second)
	rc := s.acceptWith(s.event(), e, "effects")
	if !rc.EffectsStored || len(rc.Work) != 0 || rc.Duplicate || rc.ID == "" {
		s.Fatalf("receipt %+v", rc)
	}
	if e.eventID.Load() != rc.ID {
		s.Errorf("the effects had event %v, stored is %s", e.eventID.Load(), rc.ID)
	}
	if n := e.stored.Load(); n != 1 {
		s.Errorf("Stored was called %d times", n)
	}
	if !s.hasJob("j1") {
		s.Error("the job is missing")
	}
	d := s.detail(rc.ID)
	if d.Status != gaff.StatusSuccess || d.Unhandled || d.ProcessedAt.Before(began) || d.RetryCount != 0 || len(d.Request.Body) == 0 {
		s.Errorf("log %+v", d.Log)
	}
	if len(d.Deliveries) != 1 {
		s.Fatalf("%d deliveries", len(d.Deliveries))
	}
	if dl := d.Deliveries[0]; dl.State != gaff.StateSucceeded || dl.Attempts != 1 || dl.FinishedAt.Before(began) || dl.Error != "" {
		s.Errorf("delivery %+v", dl)
	}
	if len(d.Attempts) != 1 {
		s.Fatalf("%d attempts", len(d.Attempts))
	}
	if a := d.Attempts[0]; a.Number != 1 || a.Outcome != gaff.AttemptSucceeded || a.StartedAt.Before(began) || a.Duration < 0 {
		s.Errorf("attempt %+v", a)
	}
	if work := s.claim(10); len(work) != 0 {
		s.Errorf("claimed %+v", work)
	}
	// A duplicate has no effects, in memory or from the database.
	for range 2 {
		again := s.jobEffects("j2")
		ev := s.event(func(ev *gaff.Event) { ev.DedupeKey, ev.Data, ev.Request.Body = d.DedupeKey, d.Data, d.Request.Body })
		if rc2 := s.acceptWith(ev, again, "effects"); !rc2.Duplicate || rc2.EffectsStored || rc2.ID != rc.ID {
			s.Errorf("again: %+v", rc2)
		}
		if again.writes.Load()+again.stored.Load() != 0 || s.hasJob("j2") {
			s.Errorf("a duplicate has effects: %d writes", again.writes.Load())
		}
		s.reopen()
	}
	s.countsAgree()
}

// countsAgree compares the counters of events with the events.
func (s *suite) countsAgree() {
	s.Helper()
	listed, _ := s.listedCounts()
	c, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	for _, got := range c.Sources {
		if want := listed[got.Source]; want == nil || got.Pending != want.Pending || got.Success != want.Success || got.Error != want.Error {
			s.Errorf("counts of %s: %+v, the list has %+v", got.Source, got, want)
		}
	}
}

// A handler whose gateway has another store learns it.
func testEventTx(s *suite) {
	if tx := s.st.EventTx("no transaction"); tx != nil {
		s.Errorf("EventTx returned %T", tx)
	}
}

// The other deliveries of the event are handed out as without effects.
func testEffectsOfOneDelivery(s *suite) {
	rc := s.acceptWith(s.event(), s.jobEffects("j1"), "effects", "forward")
	if !rc.EffectsStored || len(rc.Work) != 1 || rc.Work[0].Lease.Delivery != 2 {
		s.Fatalf("receipt %+v", rc)
	}
	if d := s.detail(rc.ID); d.Status != gaff.StatusPending || d.ProcessedAt.IsZero() || d.Deliveries[0].State != gaff.StateSucceeded || d.Deliveries[1].State.Done() {
		s.Errorf("log %+v, deliveries %+v", d.Log, d.Deliveries)
	}
	s.must(s.finish(rc.Work[0], gaff.StateSucceeded, ""))
	if d := s.detail(rc.ID); d.Status != gaff.StatusSuccess || len(d.Attempts) != 2 {
		s.Errorf("finished: %+v", d.Log)
	}
	rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: s.event(), Deliveries: to("forward", "effects"), Take: takeAll(2), Effects: s.jobEffects("j2"), EffectsOf: 1})
	s.must(err)
	if !rc.EffectsStored || len(rc.Work) != 1 || rc.Work[0].Delivery.Handler != "forward" {
		s.Errorf("effects of the second delivery: %+v", rc)
	}
	s.countsAgree()
}

// Effects that fail leave their event to the queue, and nothing of them is stored.
func testEffectsThatFail(s *suite) {
	failed := errors.New("it cannot be written")
	for name, change := range map[string]func(*jobEffects){
		"before": func(e *jobEffects) { e.before = failed },
		"after":  func(e *jobEffects) { e.after = failed },
		"panic":  func(e *jobEffects) { e.after, e.panics = failed, true },
	} {
		e := s.jobEffects("failing-" + name)
		change(e)
		rc := s.acceptWith(s.event(), e, "effects", "forward")
		if rc.EffectsStored || len(rc.Work) != 2 || rc.Duplicate {
			s.Fatalf("%s: receipt %+v", name, rc)
		}
		if e.writes.Load() != 1 || e.stored.Load() != 0 {
			s.Errorf("%s: %d writes, Stored called %d times", name, e.writes.Load(), e.stored.Load())
		}
		if reported := rc.EffectsFailure != nil; reported != (name != "before") {
			s.Errorf("%s: the failure is %v", name, rc.EffectsFailure)
		}
		if s.hasJob(e.jobID) {
			s.Errorf("%s: the job is stored", name)
		}
		d := s.detail(rc.ID)
		if d.Status != gaff.StatusPending || !d.ProcessedAt.IsZero() || len(d.Attempts) != 0 || d.Deliveries[0].State.Done() {
			s.Errorf("%s: log %+v", name, d.Log)
		}
		s.must(s.finish(rc.Work[0], gaff.StateSucceeded, ""))
		s.must(s.finish(rc.Work[1], gaff.StateDead, "no"))
		if d := s.detail(rc.ID); d.Status != gaff.StatusError || len(d.Attempts) != 2 {
			s.Errorf("%s: finished %+v", name, d.Log)
		}
	}
	s.countsAgree()
}

// Many events at once, of which some fail, some are the same, and some report on one job. One that fails
// late leaves all of its transaction to the queue, so the first half has none.
func testEffectsTogether(s *suite) {
	failed := errors.New("it cannot be written")
	var wg sync.WaitGroup
	var stored, queued, twice atomic.Int32
	for i := range 600 {
		if i == 300 {
			wg.Wait()
		}
		e := s.jobEffects(fmt.Sprint("job-", i/3))
		ev := s.event()
		switch {
		case i%20 == 0:
			e.before = failed
		case i > 300 && i%50 == 1:
			e.after = failed
		case i%30 == 2:
			ev.DedupeKey = "the same"
		case i%7 == 3:
			ev.SignedKey = fmt.Sprint("signed-", i)
		}
		wg.Go(func() {
			rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev, Deliveries: to("effects"), Take: takeAll(1), Effects: e})
			switch {
			case err != nil:
				s.Error(err)
			case rc.Duplicate:
				twice.Add(1)
			case rc.EffectsStored:
				stored.Add(1)
			case len(rc.Work) == 1:
				queued.Add(1)
			default:
				s.Errorf("receipt %+v", rc)
			}
			if rc.EffectsStored != (e.stored.Load() == 1) || e.stored.Load() > 1 {
				s.Errorf("effects stored: %t, Stored called %d times", rc.EffectsStored, e.stored.Load())
			}
		})
	}
	wg.Wait()
	if twice.Load() != 19 || stored.Load()+queued.Load() != 581 || stored.Load() == 0 {
		s.Errorf("%d with effects, %d queued, %d duplicates", stored.Load(), queued.Load(), twice.Load())
	}
	bySource, _ := s.listedCounts()
	if c := bySource["shop"]; c.Success != int64(stored.Load()) || c.Pending != int64(queued.Load()) {
		s.Errorf("listed %+v, want %d with effects, %d queued", c, stored.Load(), queued.Load())
	}
	s.countsAgree()
}
