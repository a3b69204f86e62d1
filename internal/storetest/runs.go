package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

func (s *suite) write(fn func(tx jobs.Tx) error) { s.Helper(); s.must(s.st.Write(s.ctx, fn)) }

func (s *suite) writeRuns(fn func(tx runs.Tx) error) { s.Helper(); s.must(s.st.WriteRuns(s.ctx, fn)) }

func testProjects(s *suite) {
	s.writeRuns(func(tx runs.Tx) error { return tx.SeeProject(s.ctx, "") })
	// The first job of a project creates it. A saved one keeps its name, owner and metadata.
	s.writeRuns(func(tx runs.Tx) error {
		return tx.SaveProject(s.ctx, &jobs.Project{ID: "p1", Name: "Film", Owner: "ann", Metadata: json.RawMessage(`{"a":1}`)})
	})
	for i, project := range []string{"p1", "p2", "", "p2"} {
		s.writeRuns(func(tx runs.Tx) error {
			return tx.InsertJob(s.ctx, &jobs.Job{ID: fmt.Sprint("job_", i), Provider: "p", ProjectID: project})
		})
	}
	s.writeRuns(func(tx runs.Tx) error {
		j, err := tx.Job(s.ctx, "job_2")
		if err != nil {
			return err
		}
		j.ProjectID = "p3"
		return tx.SaveJob(s.ctx, j)
	})
	// A project of a rolled-back transaction does not exist; a later one creates it.
	refusal := fmt.Errorf("no")
	s.wants("refused", s.st.WriteRuns(s.ctx, func(tx runs.Tx) error {
		s.must(tx.SeeProject(s.ctx, "p4"))
		return refusal
	}), refusal)
	_, err := s.st.Project(s.ctx, "p4")
	s.wants("project of a rolled-back transaction", err, gaff.ErrNotFound)
	s.writeRuns(func(tx runs.Tx) error { return tx.SeeProject(s.ctx, "p4") })
	all := pages(s, func(c gaff.Cursor) (gaff.Page[jobs.Project], error) { return s.st.Projects(s.ctx, c) })
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	s.equal("projects", ids, []string{"p4", "p3", "p2", "p1"})
	s.writeRuns(func(tx runs.Tx) error {
		s.must(tx.InsertJob(s.ctx, &jobs.Job{ID: "job_failed", Provider: "p", ProjectID: "p2", Status: jobs.JobFailed}))
		_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", ProjectID: "p2", Position: "0", MediaType: jobs.MediaImage})
		return err
	})
	for project, want := range map[string]map[jobs.JobStatus]int64{
		"p2": {jobs.JobQueued: 2, jobs.JobFailed: 1}, "": {jobs.JobQueued: 4, jobs.JobFailed: 1}, "none": {},
	} {
		counts, err := s.st.JobCounts(s.ctx, project)
		s.must(err)
		for status, n := range counts {
			s.equal(fmt.Sprintf("jobs of %q that are %s", project, status), n, want[status])
		}
	}
	files, err := s.st.MediaCount(s.ctx, "p2")
	s.must(err)
	s.equal("files of p2", files, int64(1))
	p, err := s.st.Project(s.ctx, "p1")
	s.must(err)
	if p.Name != "Film" || p.Owner != "ann" || string(p.Metadata) != `{"a":1}` || p.CreatedAt.IsZero() || p.UpdatedAt.IsZero() {
		s.Errorf("project %+v", p)
	}
}

// insertRun inserts a run and returns it as it is stored.
func (s *suite) insertRun(run runs.Run) *runs.Run {
	s.Helper()
	s.writeRuns(func(tx runs.Tx) error {
		s.must(tx.SaveWorkflow(s.ctx, &runs.WorkflowVersion{Hash: run.Version, Name: run.Workflow, Definition: json.RawMessage(`{"name":"film"}`)}))
		_, err := tx.InsertRun(s.ctx, &run)
		return err
	})
	got, err := s.st.Run(s.ctx, run.ID)
	s.must(err)
	return got
}

func (s *suite) run() runs.Run {
	return runs.Run{
		ID: "run_1", Workflow: "film", Version: "h1", ProjectID: "p", UserID: "u", Input: json.RawMessage(`{"n":17454220438242315174}`),
		EventID: "evt_x", Hop: 3, Key: "k", DueAt: s.now.Add(time.Hour), CreatedAt: s.now,
	}
}

func testRuns(s *suite) {
	run := s.run()
	got := s.insertRun(run)
	run.UpdatedAt = got.UpdatedAt
	s.equal("run", *got, run)
	stored, err := s.st.WorkflowVersion(s.ctx, "h1")
	s.must(err)
	s.equal("definition", string(stored.Definition), `{"name":"film"}`)
	_, err = s.st.WorkflowVersion(s.ctx, "h2")
	s.wants("unknown version", err, gaff.ErrNotFound)

	insert := func(id, key, formerKey string) string {
		s.Helper()
		r := s.run()
		r.ID, r.Key, r.FormerKey = id, key, formerKey
		s.writeRuns(func(tx runs.Tx) error {
			created, err := tx.InsertRun(s.ctx, &r)
			s.equal("created "+r.ID, created, r.ID == id)
			return err
		})
		return r.ID
	}
	s.equal("run of the same key", insert("run_2", "k", ""), "run_1")
	_, err = s.st.Run(s.ctx, "run_2")
	s.wants("run that was not inserted", err, gaff.ErrNotFound)
	s.equal("run of the former key", insert("run_3", "k3", "k"), "run_1")
	s.equal("run of an unknown former key", insert("run_4", "k4", "none"), "run_4")

	stale := *got
	got.Status, got.Waiting, got.Cost = runs.Running, "for b", 1.5
	s.writeRuns(func(tx runs.Tx) error { return tx.SaveRun(s.ctx, got) })
	s.wants("older revision", s.st.WriteRuns(s.ctx, func(tx runs.Tx) error { return tx.SaveRun(s.ctx, &stale) }), gaff.ErrConflict)
}

// saveSteps saves steps of run_1.
func (s *suite) saveSteps(steps ...runs.Step) {
	s.Helper()
	s.writeRuns(func(tx runs.Tx) error { return tx.SaveSteps(s.ctx, "run_1", steps) })
}

func (s *suite) stepValues(step string) []runs.Step {
	s.Helper()
	values, err := s.st.StepValues(s.ctx, "run_1", step)
	s.must(err)
	return values
}

func testSteps(s *suite) {
	s.insertRun(s.run())
	item := runs.Step{
		RunID: "run_1", Name: "a", Item: 0, Status: runs.StepRunning, Attempt: 1, AttemptsSinceReset: 1, JobID: "job_1",
		Input: json.RawMessage(`{"x":1}`), Slots: [2]string{"workflow/film", "provider/fal"}, DueAt: s.now, Cost: 0.25, StartedAt: s.now,
	}
	whole := runs.Step{RunID: "run_1", Name: "a", Item: runs.WholeStep, Status: runs.StepRunning, Input: json.RawMessage(`[1]`)}
	s.saveSteps(item, whole)
	steps, err := s.st.Steps(s.ctx, "run_1")
	s.must(err)
	if len(steps) != 2 || steps[0].Item != runs.WholeStep || steps[1].Item != 0 || steps[1].Input != nil {
		s.Fatalf("steps %+v, want the whole step, then its item, without values", steps)
	}
	values := s.stepValues("a")
	item.UpdatedAt = values[1].UpdatedAt
	s.equal("item", values[1], item)

	item.Input, item.Status, item.Result = nil, runs.StepCompleted, json.RawMessage(`{"r":1}`)
	s.saveSteps(item)
	item.Result = nil
	s.saveSteps(item)
	values = s.stepValues("a")
	s.equal("values that were not written again", string(values[1].Input)+string(values[1].Result), `{"x":1}{"r":1}`)
	item.Status = runs.StepRunning
	s.saveSteps(item)
	s.equal("result of an item that runs again", string(s.stepValues("a")[1].Result), "")
	s.writeRuns(func(tx runs.Tx) error { return tx.DropItems(s.ctx, "run_1", "a") })
	s.equal("rows after the items were dropped", len(s.stepValues("a")), 1)
}

func testStepLookups(s *suite) {
	s.insertRun(s.run())
	s.saveSteps(
		runs.Step{RunID: "run_1", Name: "a", Item: runs.WholeStep, Status: runs.StepRunning},
		runs.Step{RunID: "run_1", Name: "a", Item: 0, Status: runs.StepRunning, JobID: "job_1"},
		runs.Step{RunID: "run_1", Name: "b", Item: runs.WholeStep, Status: runs.StepWaiting, WaitSource: "shop", WaitType: "paid", WaitKey: "o1"},
		runs.Step{RunID: "run_1", Name: "c", Item: runs.WholeStep, Status: runs.StepWaiting, WaitSource: "shop", WaitType: "*"},
	)
	ref, err := s.st.StepOfJob(s.ctx, "job_1")
	s.must(err)
	s.equal("step of the job", ref, runs.StepRef{RunID: "run_1", Step: "a", Item: 0})
	_, err = s.st.StepOfJob(s.ctx, "")
	s.wants("step without a job", err, gaff.ErrNotFound)
	for _, c := range []struct{ source, eventType, key, want string }{
		{"shop", "paid", "o1", "bc"}, {"shop", "paid", "o2", "c"}, {"shop", "sent", "", "c"}, {"fal", "paid", "o1", ""},
	} {
		refs, err := s.st.WaitingFor(s.ctx, c.source, c.eventType, c.key)
		s.must(err)
		names := ""
		for _, ref := range refs {
			names += ref.Step
		}
		s.equal("steps that wait for "+c.source+" "+c.eventType+" "+c.key, names, c.want)
	}
	refs, err := s.st.WaitingOf(s.ctx, "h1")
	s.must(err)
	s.equal("waiting steps of a version", len(refs), 2)
	s.saveSteps(
		runs.Step{RunID: "run_1", Name: "look", Item: runs.WholeStep, Status: runs.StepWaiting},
		runs.Step{RunID: "run_1", Name: "look", Item: 1, Status: runs.StepWaiting},
		runs.Step{RunID: "run_1", Name: "all", Item: runs.WholeStep, Status: runs.StepWaiting},
	)
	refs, err = s.st.WaitingApprovals(s.ctx, 10)
	s.must(err)
	s.equal("waiting approvals", refs, []runs.StepRef{{RunID: "run_1", Step: "all", Item: runs.WholeStep}, {RunID: "run_1", Step: "look", Item: 1}})

	s.writeRuns(func(tx runs.Tx) error {
		s.must(tx.InsertJob(s.ctx, &jobs.Job{ID: "job_1", Provider: "fal", ProjectID: "p"}))
		for i := range 2 {
			if _, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: "job_1", Position: fmt.Sprint("fal:/", i), URL: fmt.Sprint("u", i), MediaType: jobs.MediaImage}); err != nil {
				return err
			}
		}
		return nil
	})
	media, err := s.st.StepMedia(s.ctx, "run_1", "a")
	s.must(err)
	if len(media) != 1 || len(media[0]) != 2 || media[0][0].URL != "u0" {
		s.Errorf("media %+v, want both files of the item's job", media)
	}
}

func testRunLists(s *suite) {
	run := s.run()
	run.Status = runs.Running
	s.insertRun(run)
	for i := range 5 {
		s.insertRun(runs.Run{
			ID: fmt.Sprint("run_x", i), Workflow: "other", Version: "h2", ProjectID: "p", Status: runs.Status(i % 4), Input: json.RawMessage(`{}`),
		})
	}
	failed := runs.Failed
	for _, f := range []struct {
		filter runs.Filter
		want   int
	}{
		{runs.Filter{}, 6}, {runs.Filter{Workflow: "other"}, 5}, {runs.Filter{ProjectID: "p"}, 6},
		{runs.Filter{Status: &failed}, 1}, {runs.Filter{Workflow: "film", Status: &failed}, 0},
	} {
		all := pages(s, func(c gaff.Cursor) (gaff.Page[runs.Run], error) {
			f.filter.Cursor = c
			return s.st.Runs(s.ctx, f.filter)
		})
		s.equal(fmt.Sprintf("runs by %+v", f.filter), len(all), f.want)
	}
	open, err := s.st.OpenVersions(s.ctx)
	s.must(err)
	slices.Sort(open)
	s.equal("open versions", open, []string{"h1", "h2"})
	counts, err := s.st.RunCounts(s.ctx)
	s.must(err)
	s.equal("counts", counts, map[string]map[string]int{
		"film": {"running": 1}, "other": {"running": 2, "completed": 1, "failed": 1, "cancelled": 1},
	})
}

func testSlots(s *suite) {
	take := func(slot string, limit int) (ok bool) {
		s.writeRuns(func(tx runs.Tx) (err error) {
			ok, err = tx.TakeSlot(s.ctx, slot, limit)
			return err
		})
		return ok
	}
	s.equal("two places", []bool{take("a", 2), take("a", 2), take("a", 2), take("b", 1), take("a", 3), take("a", 0)},
		[]bool{true, true, false, true, true, true})
	free := func(slot string) (used int) {
		s.writeRuns(func(tx runs.Tx) (err error) {
			used, err = tx.FreeSlot(s.ctx, slot)
			return err
		})
		return used
	}
	s.equal("given back", []int{free("a"), free("a"), free("a"), free("a"), free("a"), free("none")}, []int{3, 2, 1, 0, 0, 0})

	for i := range 3 {
		s.writeRuns(func(tx runs.Tx) error {
			id := fmt.Sprint("run_", i)
			if _, err := tx.InsertRun(s.ctx, &runs.Run{ID: id, Workflow: "w", Version: "h", Input: json.RawMessage(`{}`)}); err != nil {
				return err
			}
			return tx.SaveSteps(s.ctx, id, []runs.Step{
				{Name: "x", Item: 0, Status: runs.StepQueued, Slots: [2]string{"workflow/w", "provider/p"}},
				{Name: "x", Item: 1, Status: runs.StepQueued, Slots: [2]string{"", "provider/p"}},
				{Name: "x", Item: 2, Status: runs.StepRunning, Slots: [2]string{"workflow/w", "provider/p"}},
			})
		})
		time.Sleep(time.Millisecond)
	}
	s.writeRuns(func(tx runs.Tx) error {
		for slot, want := range map[string][]string{"provider/p": {"run_0", "run_1"}, "workflow/w": {"run_0", "run_1"}, "none": nil, "": nil} {
			queued, err := tx.QueuedRuns(s.ctx, slot, 2)
			if err != nil {
				return err
			}
			s.equal("runs queued for "+slot, queued, want)
		}
		return nil
	})
	slots, err := s.st.Slots(s.ctx)
	s.must(err)
	slices.SortFunc(slots, func(a, b runs.SlotUse) int { return a.Queued - b.Queued })
	s.equal("limits", slots, []runs.SlotUse{{Slot: "workflow/w", Queued: 3}, {Slot: "provider/p", Queued: 6}})
}
