package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/erase"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// The ids of the user that the tests erase.
const (
	erasedUser = "user-TO-ERASE-1"
	otherUser  = "user-TO-KEEP-1"
)

// personal are rows of a user.
type personal struct {
	user, job, run, media, webhook, mention string
}

// addPersonal stores a job with a file, its webhook, a run, an event that names the user, a
// rejected request and a line of the audit log.
func addPersonal(s *suite, user string) (p personal) {
	s.Helper()
	p.user, p.job = user, "job_of_"+user
	w := s.take(func(ev *gaff.Event) {
		ev.Source, ev.CorrelationID, ev.WebhookID = "p", "request-"+p.job, "request-"+p.job
		ev.Data = json.RawMessage(`{"prompt":"text of ` + user + `"}`)
		ev.Request.Body = ev.Data
	})
	p.webhook = w.Event.ID
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		err := tx.InsertJob(s.ctx, &jobs.Job{
			ID: p.job, Provider: "p", RequestID: "request-" + p.job, UserID: user, ProjectID: "project-of-both", Status: jobs.JobCompleted, SettledAt: s.now,
			Result: json.RawMessage(`{"text":"` + user + `"}`),
		})
		if err != nil {
			return err
		}
		m := &jobs.Media{JobID: p.job, Position: "0", ProjectID: "project-of-both", Storage: jobs.StorageStored, StoredKey: "sha256/aa/" + user, ThumbnailKey: "thumbnail/aa/" + user, SHA256: user}
		if _, err := tx.AddMedia(s.ctx, m); err != nil {
			return err
		}
		p.media = m.ID
		if err := tx.SaveInput(s.ctx, p.job, json.RawMessage(`{"prompt":"`+user+`"}`)); err != nil {
			return err
		}
		if err := tx.SaveBudget(s.ctx, &jobs.Budget{Name: "of-" + p.job, UserID: user}); err != nil {
			return err
		}
		if err := tx.AddLogEntry(s.ctx, p.job, "submit", "of "+user); err != nil {
			return err
		}
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "job.completed", CorrelationID: p.job, ParentID: w.Event.ID, Hop: 1, Data: json.RawMessage(`{"userId":"` + user + `"}`)}, to("next"))
	}))
	s.writeRuns(func(tx runs.Tx) error {
		run := &runs.Run{ID: id.New(id.Run, s.now), Workflow: "w", Version: "v", UserID: user, Status: runs.Completed, Input: json.RawMessage(`{"u":"` + user + `"}`)}
		if _, err := tx.InsertRun(s.ctx, run); err != nil {
			return err
		}
		p.run = run.ID
		return tx.SaveSteps(s.ctx, run.ID, []runs.Step{{Name: "a", Item: -1, Status: runs.StepCompleted, Input: json.RawMessage(`"` + user + `"`), Result: json.RawMessage(`"` + user + `"`)}})
	})
	mention := s.take(func(ev *gaff.Event) {
		ev.Data = json.RawMessage(`{"customer":{"id":"` + user + `"}}`)
		ev.Request.Body = ev.Data
	})
	p.mention = mention.Event.ID
	s.must(s.st.Finish(s.ctx, mention.Lease, gaff.Outcome{
		State: gaff.StateDead, Attempt: gaff.Attempt{Outcome: gaff.AttemptFailed, StartedAt: s.now, Error: "no account of " + user, Detail: user},
		Failure: &gaff.Failure{Handler: "h", Cause: "no account of " + user},
	}))
	rj := &gaff.Rejection{ID: id.New(id.Rejection, s.now), Source: "shop", Status: 401, URL: "https://x.example/?user=" + user, Body: []byte(user), ReceivedAt: s.now}
	rj.Whole = &gaff.Request{Method: "POST", URL: rj.URL, Body: []byte(user), ReceivedAt: s.now}
	s.must(s.st.Reject(s.ctx, rj))
	s.must(s.st.AddAudit(s.ctx, access.Entry{ID: id.New(id.Audit, s.now), At: s.now, Actor: "someone", Action: "submit-job", Target: p.job, Detail: json.RawMessage(`{"user":"` + user + `"}`)}))
	s.write(func(tx jobs.Tx) error {
		return tx.SaveProject(s.ctx, &jobs.Project{ID: "project-owned-by-" + strings.ToLower(user), Owner: user})
	})
	return p
}

// naming counts the rows of all tables that contain a text, by table.
func (s *suite) naming(text string) map[string]int {
	s.Helper()
	counts, err := s.st.RowsNaming(s.ctx, text)
	s.must(err)
	return counts
}

func testEraseUser(s *suite) {
	erased, kept := addPersonal(s, erasedUser), addPersonal(s, otherUser)
	before := s.naming(otherUser)
	target := erase.Target{Kind: erase.User, ID: erasedUser}
	found, err := s.st.FindErasable(s.ctx, target)
	s.must(err)
	s.equal("found", found.Counts, erase.Counts{Events: 3, Jobs: 1, Media: 1, Runs: 1, Rejections: 1, Records: found.Records})
	if len(s.naming(erasedUser)) == 0 {
		s.Fatal("counting erased something")
	}
	done, err := s.st.Erase(s.ctx, target)
	s.must(err)
	s.equal("erased", done.Counts, found.Counts)
	s.equal("tables that name the user", s.naming(erasedUser), map[string]int{"erased_file": 2})
	keys, err := s.st.ErasedFiles(s.ctx, "", 10)
	s.must(err)
	s.equal("files to delete", keys, []string{"sha256/aa/" + erasedUser, "thumbnail/aa/" + erasedUser})
	for _, key := range keys {
		s.must(s.st.FileErased(s.ctx, key, time.Now().Add(time.Hour)))
	}
	s.equal("tables that name the user at last", s.naming(erasedUser), map[string]int{})
	if diff := cmp.Diff(before, s.naming(otherUser)); diff != "" {
		s.Errorf("rows of another user: %s", diff)
	}
	s.equal("a pseudonym in the audit log", s.naming(done.Pseudonym)["audit"], 1)
	_, err = s.st.Job(s.ctx, erased.job)
	s.wants("the job", err, gaff.ErrNotFound)
	_, err = s.st.Event(s.ctx, erased.webhook)
	s.wants("its webhook", err, gaff.ErrNotFound)
	if d := s.detail(kept.webhook); d.Status != gaff.StatusSuccess {
		s.Errorf("the webhook of another user: %+v", d)
	}
	again, err := s.st.Erase(s.ctx, target)
	s.must(err)
	s.equal("once more", again.Counts, erase.Counts{})
}

func testEraseTotals(s *suite) {
	addPersonal(s, erasedUser)
	addPersonal(s, otherUser)
	_, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.User, ID: erasedUser})
	s.must(err)
	listed, _ := s.listedCounts()
	counts, err := s.st.Counts(s.ctx, s.now.Add(-1e12))
	s.must(err)
	for _, c := range counts.Sources {
		if c.Source == gaff.InternalSource {
			continue // lists leave them out
		}
		want := listed[c.Source]
		if want == nil {
			want = &gaff.SourceCount{}
		}
		if c.Pending != want.Pending || c.Success != want.Success || c.Error != want.Error {
			s.Errorf("totals of %s: %+v, want those of the stored events %+v", c.Source, c, *want)
		}
	}
}

func testEraseJob(s *suite) {
	erased, kept := addPersonal(s, erasedUser), addPersonal(s, otherUser)
	done, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Job, ID: erased.job})
	s.must(err)
	s.equal("erased", done.Counts, erase.Counts{Events: 2, Jobs: 1, Media: 1})
	for _, ref := range []jobs.JobRef{{ID: erased.job}, {Provider: "p", RequestID: "request-" + erased.job}} {
		s.write(func(tx jobs.Tx) error {
			erased, err := tx.JobErased(s.ctx, ref)
			if err == nil && !erased {
				err = fmt.Errorf("%+v is not known as erased", ref)
			}
			return err
		})
	}
	s.write(func(tx jobs.Tx) error {
		erased, err := tx.JobErased(s.ctx, jobs.JobRef{ID: kept.job})
		if err == nil && erased {
			err = fmt.Errorf("job %s is known as erased", kept.job)
		}
		return err
	})
	_, err = s.st.Erase(s.ctx, erase.Target{Kind: erase.Job, ID: erased.job})
	s.wants("an erased job", err, gaff.ErrNotFound)
}

func testEraseFile(s *suite) {
	of := addPersonal(s, erasedUser)
	page, err := s.st.Media(s.ctx, jobs.MediaFilter{JobID: of.job})
	s.must(err)
	file := erase.Target{Kind: erase.Media, ID: page.Items[0].ID}
	found, err := s.st.FindErasable(s.ctx, file)
	s.must(err)
	s.equal("found", found.Counts, erase.Counts{Media: 1})
	done, err := s.st.Erase(s.ctx, file)
	s.must(err)
	s.equal("erased", done.Counts, erase.Counts{Media: 1})
	_, err = s.st.Job(s.ctx, of.job)
	s.must(err)
	_, err = s.st.Erase(s.ctx, file)
	s.wants("an erased file", err, gaff.ErrNotFound)
	_, err = s.st.FindErasable(s.ctx, file)
	s.wants("what belongs to an erased file", err, gaff.ErrNotFound)
}

func testEraseEvent(s *suite) {
	w := s.take()
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		return tx.Emit(s.ctx, &gaff.Event{Source: gaff.InternalSource, Type: "t", ParentID: w.Event.ID, Data: json.RawMessage(`{}`)}, to("next"))
	}))
	running := s.claim(1)[0]
	done, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Event, ID: w.Event.ID})
	s.must(err)
	s.equal("erased, with the event that it caused", done.Counts, erase.Counts{Events: 2})
	s.wants("the end of a delivery that was running", s.finish(running, gaff.StateSucceeded, ""), gaff.ErrLeaseLost)
	_, err = s.st.Erase(s.ctx, erase.Target{Kind: erase.Event, ID: w.Event.ID})
	s.wants("an erased event", err, gaff.ErrNotFound)
	s.equal("the next event is stored", s.accept(s.event()).Duplicate, false)
}

func testEraseProject(s *suite) {
	erased, kept := addPersonal(s, erasedUser), addPersonal(s, otherUser)
	done, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.Project, ID: "project-of-both"})
	s.must(err)
	s.equal("erased", done.Counts, erase.Counts{Events: 4, Jobs: 2, Media: 2, Projects: 1, Records: done.Records})
	for _, p := range []personal{erased, kept} {
		_, err := s.st.Job(s.ctx, p.job)
		s.wants(p.job, err, gaff.ErrNotFound)
	}
	s.equal("tables that name the project", s.naming("project-of-both"), map[string]int{})
	s.write(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_new", Provider: "p", ProjectID: "project-of-both"})
	})
	if _, err := s.st.Project(s.ctx, "project-of-both"); err != nil {
		s.Errorf("a project that is used again after its erasure: %v", err)
	}
}

func testEraseUnfinished(s *suite) {
	s.write(func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{ID: "job_open", Provider: "p", UserID: erasedUser, Status: jobs.JobProcessing})
	})
	for _, target := range []erase.Target{{Kind: erase.Job, ID: "job_open"}, {Kind: erase.User, ID: erasedUser}} {
		found, err := s.st.FindErasable(s.ctx, target)
		s.must(err)
		s.equal("jobs that are not finished", found.OpenJobs, []string{"job_open"})
		_, err = s.st.Erase(s.ctx, target)
		s.wants("erase an unfinished job", err, gaff.ErrConflict)
	}
	if _, err := s.st.Job(s.ctx, "job_open"); err != nil {
		s.Error(err)
	}
}

func testEraseBatch(s *suite) {
	body := []byte(`[{"n":1},{"user":"` + erasedUser + `"}]`)
	first := s.take(func(ev *gaff.Event) { ev.Data, ev.Request.Body = json.RawMessage(`{"n":1}`), body })
	s.must(s.finish(first, gaff.StateSucceeded, ""))
	_, err := s.st.Erase(s.ctx, erase.Target{Kind: erase.User, ID: erasedUser})
	s.must(err)
	d := s.detail(first.Event.ID)
	s.equal("the data of an event whose request named the user", string(d.Data), `{"n":1}`)
	s.equal("tables that name the user", s.naming(erasedUser), map[string]int{})
}

func testRedactProcessed(s *suite) {
	take := func(name string) gaff.Work {
		return s.take(func(ev *gaff.Event) {
			ev.Data = json.RawMessage(`{"email":"` + name + `@PERSONAL"}`)
			ev.Request.Body = ev.Data
		})
	}
	redaction := &gaff.Redaction{Pointers: []string{"/email"}, Headers: []string{"X-A"}, Processed: true}
	run := func() int {
		n, err := s.st.RedactProcessed(s.ctx, "shop", time.Time{}, redaction.Apply)
		s.must(err)
		return n
	}
	done, open, dead := take("done"), take("open"), take("dead")
	s.must(s.finish(done, gaff.StateSucceeded, ""))
	s.must(s.finish(dead, gaff.StateDead, "broken"))
	s.equal("redacted", run(), 1)
	d := s.detail(done.Event.ID)
	s.equal("data", string(d.Data), `{"email":"[masked]"}`)
	s.equal("body", string(d.Request.Body), `{"email":"[masked]"}`)
	s.equal("header", d.Request.Header.Get("X-A"), "[masked]")
	s.equal("is damaged", d.Damaged, false)
	for _, w := range []gaff.Work{open, dead} {
		if d := s.detail(w.Event.ID); !strings.Contains(string(d.Data), "@PERSONAL") {
			s.Errorf("an event that is not processed was redacted: %s", d.Data)
		}
	}
	s.equal("redacted again", run(), 0)
	s.must(s.finish(open, gaff.StateSucceeded, ""))
	s.equal("redacted later", run(), 1)
	s.equal("a repeated request is a duplicate", s.accept(s.event(func(ev *gaff.Event) { ev.DedupeKey = done.Event.DedupeKey })).Duplicate, true)
	again := s.accept(s.event(func(ev *gaff.Event) {
		ev.DedupeKey, ev.Data, ev.Redaction = done.Event.DedupeKey, json.RawMessage(`{"email":"done@PERSONAL"}`), redaction
		ev.Request.Body = ev.Data
	}))
	s.equal("the same request, repeated after the redaction", []bool{again.Duplicate, again.Conflict}, []bool{true, false})
	other := s.accept(s.event(func(ev *gaff.Event) {
		ev.DedupeKey, ev.Data, ev.Redaction = done.Event.DedupeKey, json.RawMessage(`{"email":"done@PERSONAL","n":1}`), redaction
		ev.Request.Body = ev.Data
	}))
	s.equal("another body under its key", []bool{other.Duplicate, other.Conflict}, []bool{true, true})
	for i := range 450 { // more than one transaction
		w := take(fmt.Sprint("more", i))
		s.must(s.finish(w, gaff.StateSucceeded, ""))
	}
	s.equal("redacted many", run(), 450)
	s.equal("rows with personal data", s.naming("@PERSONAL"), map[string]int{"payload": 1})
}

func testRedactFailed(s *suite) {
	fail := func() gaff.Work {
		w := s.take(func(ev *gaff.Event) {
			ev.Data = json.RawMessage(`{"email":"@PERSONAL"}`)
			ev.Request.Body = ev.Data
		})
		s.must(s.finish(w, gaff.StateDead, "broken"))
		return w
	}
	redaction := &gaff.Redaction{Pointers: []string{"/email"}, Processed: true}
	run := func(failedBefore time.Time) int {
		n, err := s.st.RedactProcessed(s.ctx, "shop", failedBefore, redaction.Apply)
		s.must(err)
		return n
	}
	first := fail()
	s.equal("redacted before its time", run(time.Now().Add(-time.Hour)), 0)
	s.equal("redacted", run(time.Now().Add(time.Hour)), 1)
	s.equal("data", string(s.detail(first.Event.ID).Data), `{"email":"[masked]"}`)
	s.equal("redacted again", run(time.Now().Add(time.Hour)), 0)
	second := fail()
	s.equal("redacted earlier than before", run(time.Now().Add(-time.Hour)), 0)
	s.equal("one that fails later", run(time.Now().Add(time.Hour)), 1)
	s.equal("its data", string(s.detail(second.Event.ID).Data), `{"email":"[masked]"}`)
	s.equal("rows with personal data", s.naming("@PERSONAL"), map[string]int{})
}
