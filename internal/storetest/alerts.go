package storetest

import (
	"encoding/json"
	"time"

	"gaff"
	"gaff/internal/alert"
	"gaff/internal/sqlstore"
	"gaff/jobs"
	"gaff/workflow/runs"
)

func testAlerts(s *suite) {
	disk := alert.Alert{
		Key: alert.Key{Kind: gaff.EventDiskLow, Cause: "node-1"}, Active: true, Title: "the disk is nearly full", Data: json.RawMessage(`{"free":1}`),
		Count: 3, Since: s.now, SeenAt: s.now.Add(time.Minute), EmittedAt: s.now, Emitted: 1, UpdatedAt: s.now,
	}
	silent := alert.Alert{
		Key: alert.Key{Kind: gaff.EventSourceSilent, Cause: "shop"}, Title: "shop is silent", Data: json.RawMessage(`{}`),
		Since: s.now, SeenAt: s.now, EndedAt: s.now.Add(time.Hour), UpdatedAt: s.now,
	}
	notice := alert.Notice{Channel: "mail", Key: disk.Key, Active: true, Count: 3, SentAt: s.now}
	var emitted *gaff.Event
	write := func(fn func(alert.Tx) error) {
		s.Helper()
		s.must(s.st.WriteAlerts(s.ctx, fn))
	}
	write(func(tx alert.Tx) error {
		s.must(tx.PutAlert(silent))
		s.must(tx.PutAlert(disk))
		s.must(tx.PutNotice(notice))
		emitted = &gaff.Event{Source: gaff.InternalSource, Type: gaff.EventDiskLow, Data: json.RawMessage(`{}`)}
		return tx.Emit(s.ctx, emitted, to("h"))
	})
	alerts, err := s.st.Alerts(s.ctx)
	s.must(err)
	s.equal("alerts, the active one first", alerts, []alert.Alert{disk, silent})
	notices, err := s.st.Notices(s.ctx)
	s.must(err)
	s.equal("notices", notices, []alert.Notice{notice})
	if work := s.claim(10); len(work) != 1 || work[0].Event.Type != gaff.EventDiskLow {
		s.Errorf("deliveries of the emitted event: %+v", work)
	}

	disk.Title, disk.Count, notice.Active = "still nearly full", 4, false
	write(func(tx alert.Tx) error {
		s.must(tx.PutAlert(disk))
		s.must(tx.PutNotice(notice))
		alerts, err := tx.Alerts()
		s.must(err)
		s.equal("alerts within the transaction", alerts, []alert.Alert{disk, silent})
		notices, err := tx.Notices()
		s.equal("notices within the transaction", notices, []alert.Notice{notice})
		return err
	})
	failure := gaff.ErrConflict
	s.wants("a failed transaction", s.st.WriteAlerts(s.ctx, func(tx alert.Tx) error {
		s.must(tx.DropAlert(disk.Key))
		return failure
	}), failure)
	_, err = s.st.Prune(s.ctx, sqlstore.Retention{Issues: time.Now().Add(2 * time.Hour)})
	s.must(err)
	alerts, err = s.st.Alerts(s.ctx)
	s.must(err)
	s.equal("alerts after retention", alerts, []alert.Alert{disk})
	write(func(tx alert.Tx) error { return tx.DropAlert(disk.Key) })
	alerts, err = s.st.Alerts(s.ctx)
	s.must(err)
	notices, err2 := s.st.Notices(s.ctx)
	s.must(err2)
	if len(alerts)+len(notices) != 0 {
		s.Errorf("after the alert was dropped: %+v, %+v", alerts, notices)
	}
}

func testOverdue(s *suite) {
	old := s.now.Add(-2 * time.Hour)
	s.writeRuns(func(tx runs.Tx) error {
		for _, j := range []jobs.Job{
			{ID: "job_1", Provider: "fal", Model: "flux", CreatedAt: old},
			{ID: "job_2", Provider: "fal", Model: "flux", CreatedAt: old.Add(time.Minute), Status: jobs.JobProcessing},
			{ID: "job_3", Provider: "fal", Model: "video", CreatedAt: old},
			{ID: "job_4", Provider: "fal", Model: "flux", CreatedAt: old, Status: jobs.JobCompleted},
			{ID: "job_5", Provider: "fal", Model: "flux", CreatedAt: s.now},
		} {
			s.must(tx.InsertJob(s.ctx, &j))
		}
		s.must(tx.SaveWorkflow(s.ctx, &runs.WorkflowVersion{Hash: "v1", Name: "film", Definition: json.RawMessage(`{}`), CreatedAt: s.now}))
		_, err := tx.InsertRun(s.ctx, &runs.Run{ID: "run_1", Workflow: "film", Version: "v1", Input: json.RawMessage(`{}`), CreatedAt: old})
		s.must(err)
		return tx.SaveSteps(s.ctx, "run_1", []runs.Step{
			{RunID: "run_1", Name: "approve", Item: runs.WholeStep, Status: runs.StepWaiting},
			{RunID: "run_1", Name: "event", Item: runs.WholeStep, Status: runs.StepWaiting, WaitSource: "shop", WaitType: "paid"},
			{RunID: "run_1", Name: "events", Item: runs.WholeStep, Status: runs.StepWaiting},
			{RunID: "run_1", Name: "events", Item: 0, Status: runs.StepWaiting, WaitSource: "shop", WaitType: "paid"},
			{RunID: "run_1", Name: "done", Item: runs.WholeStep, Status: runs.StepCompleted},
		})
	})
	all, err := s.st.OverdueJobs(s.ctx, s.now.Add(-time.Hour), 10)
	s.must(err)
	s.equal("overdue jobs", all, []alert.Overdue{
		{Of: "fal", Part: "flux", Count: 2, Oldest: old, ID: "job_1"}, {Of: "fal", Part: "video", Count: 1, Oldest: old, ID: "job_3"},
	})
	all, err = s.st.WaitingRuns(s.ctx, time.Now().Add(time.Hour), 10)
	s.must(err)
	if len(all) != 1 || all[0].Of != "film" || all[0].Part != "approve" || all[0].Count != 1 || all[0].ID != "run_1" {
		s.Errorf("waiting runs: %+v, want the step approve alone", all)
	}
	all, err = s.st.WaitingRuns(s.ctx, old, 10)
	s.must(err)
	s.equal("runs that wait for a short time", len(all), 0)
}
