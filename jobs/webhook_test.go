package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// studio is a provider that says outright what an event means: its body is an update.
type studio struct{}

type said struct {
	Job, Own, Request, Status, Error, Project, User, Kind string
	Create                                                bool
	Result                                                json.RawMessage `json:",omitempty"`
	Break                                                 string
}

func (studio) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{Scheme: "none"}, nil
}

func (studio) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	return gaff.Envelope{Type: "said"}, nil
}

var errCannotRead = errors.New("cannot read this yet")

func (studio) Interpret(ev *gaff.Event) (jobs.Update, error) {
	var s said
	if err := json.Unmarshal(ev.Data, &s); err != nil {
		return jobs.Update{}, gaff.Discard(err)
	}
	switch s.Break {
	case "later":
		return jobs.Update{}, errCannotRead
	case "discard":
		return jobs.Update{}, gaff.Discard(errCannotRead)
	case "panic":
		panic("an interpreter's mistake")
	}
	status, ok := jobs.ParseJobStatus(s.Status)
	if !ok {
		return jobs.Update{}, gaff.Discard(fmt.Errorf("status %q", s.Status))
	}
	u := jobs.Update{
		Provider: "studio", JobID: s.Job, OwnJobID: s.Own, RequestID: s.Request, Create: s.Create, ProjectID: s.Project, UserID: s.User, Kind: s.Kind,
		Status: status, Result: s.Result, Error: s.Error,
	}
	if status == jobs.JobCompleted {
		u.Files, u.FilesTotal = jobs.Files("studio", s.Result, ev.ReceivedAt)
	}
	return u, nil
}

type stage struct {
	*gaff.Gateway
	st *sqlite.Store
	n  int
	// wrap changes the transactions of the handler; nil: it does not.
	wrap func(jobs.Tx) jobs.Tx
	// withEvent counts the effects that were written with their event.
	withEvent atomic.Int32
}

type wrapped struct {
	*sqlite.Store
	s *stage
}

func (w wrapped) EventTx(tx any) jobs.Tx {
	w.s.withEvent.Add(1)
	if w.s.wrap == nil {
		return w.Store.EventTx(tx)
	}
	return w.s.wrap(w.Store.EventTx(tx))
}

func (w wrapped) Apply(ctx context.Context, l gaff.Lease, fn func(jobs.Tx) error) error {
	return w.Store.Apply(ctx, l, func(tx jobs.Tx) error {
		if w.s.wrap != nil {
			tx = w.s.wrap(tx)
		}
		return fn(tx)
	})
}

// newStage is a gateway whose only handler is the one of jobs. Use it within a bubble.
func newStage(t *testing.T, more ...func(*stage)) *stage {
	t.Helper()
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{Gateway: gw, st: st}
	gw.AddSource(gaff.Source{Name: "studio", Verifier: studio{}, Parser: studio{}})
	gw.Handle("studio", "*", jobs.NewHandler(jobs.Options{Store: wrapped{st, s}, Router: gw, Interpreter: studio{}}))
	for _, f := range more {
		f(s)
	}
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gw.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// say sends an event, and waits until all has happened that happens at once.
func (s *stage) say(t *testing.T, w said) string {
	t.Helper()
	s.n++
	body, err := json.Marshal(struct {
		said
		N int // so that no two are the same
	}{w, s.n})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	s.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/studio", strings.NewReader(string(body))))
	var answer struct{ ID string }
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("answered %d %s", rec.Code, rec.Body)
	}
	synctest.Wait()
	return answer.ID
}

func (s *stage) job(t *testing.T, id string) *jobs.Job {
	t.Helper()
	j, err := s.st.Job(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (s *stage) files(t *testing.T, job string) (positions []string) {
	t.Helper()
	page, err := s.st.Media(context.Background(), jobs.MediaFilter{JobID: job})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Items {
		positions = append(positions, m.Position)
	}
	return positions
}

// internal lists the types of the events that were emitted about a job.
func (s *stage) internal(t *testing.T, job string) (types []string) {
	t.Helper()
	page, err := s.st.Events(context.Background(), gaff.EventFilter{Source: gaff.InternalSource})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range page.Items {
		if l.CorrelationID == job {
			types = append(types, l.Type)
		}
	}
	return types
}

func (s *stage) event(t *testing.T, id string) *gaff.EventDetail {
	t.Helper()
	d, err := s.st.Event(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const oneFile = `{"images":[{"url":"https://f/a.png","width":1}]}`

func TestEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	say := func(status, result string) said {
		return said{Job: "j", Request: "r", Create: true, Status: status, Result: json.RawMessage(result), Error: "why", Project: "p"}
	}
	done, other := say("completed", oneFile), say("completed", `{"images":[{"url":"https://f/b.png"},{"url":"https://f/c.png"}]}`)
	for name, c := range map[string]struct {
		said   []said
		status string
		result string // of the job; empty: none
		err    string
		files  int
		inner  string
	}{
		"as it should be":          {[]said{say("queued", ""), say("processing", ""), done}, "completed", oneFile, "", 1, "[job.completed]"},
		"completed alone":          {[]said{done}, "completed", oneFile, "", 1, "[job.completed]"},
		"completed twice":          {[]said{done, done}, "completed", oneFile, "", 1, "[job.completed]"},
		"late processing":          {[]said{done, say("processing", "")}, "completed", oneFile, "", 1, "[job.completed]"},
		"late queued":              {[]said{say("processing", ""), say("queued", "")}, "processing", "", "", 0, "[]"},
		"late failure":             {[]said{done, say("failed", `{"error":"why"}`)}, "completed", oneFile, "", 1, "[job.completed]"},
		"failed":                   {[]said{say("failed", `{"error":"why"}`)}, "failed", `{"error":"why"}`, "why", 0, "[job.failed]"},
		"files of a failed job":    {[]said{say("failed", ""), done}, "failed", "", "why", 0, "[job.failed]"},
		"files of a cancelled job": {[]said{say("cancelled", ""), done}, "cancelled", "", "", 0, "[job.cancelled]"},
		"another result later":     {[]said{done, other}, "completed", oneFile, "", 2, "[job.completed]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				for _, w := range c.said {
					if d := s.event(t, s.say(t, w)); d.Status != gaff.StatusSuccess {
						t.Errorf("%s: event is %s: %s", w.Status, d.Status, d.Error)
					}
				}
				j := s.job(t, "j")
				if j.Status.String() != c.status || string(j.Result) != c.result || j.Error != c.err {
					t.Errorf("job is %s, result %s, error %q; want %s, %s, %q", j.Status, j.Result, j.Error, c.status, c.result, c.err)
				}
				if j.Status.Settled() != !j.SettledAt.IsZero() || j.Status.Settled() != (j.SettledBy == jobs.SettledByWebhook) {
					t.Errorf("job is %s, settled by %q at %s", j.Status, j.SettledBy, j.SettledAt)
				}
				if files := s.files(t, "j"); len(files) != c.files {
					t.Errorf("files %v, want %d", files, c.files)
				}
				if inner := fmt.Sprint(s.internal(t, "j")); inner != c.inner {
					t.Errorf("emitted %s, want %s", inner, c.inner)
				}
			})
		})
	}
}

func TestWhatAJobKnowsStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.say(t, said{Job: "j", Request: "r1", Create: true, Status: "queued", Project: "p1", Kind: "image"})
		s.say(t, said{Job: "j", Request: "r2", Create: true, Status: "completed", Project: "p2", User: "anna", Kind: "video", Result: json.RawMessage(oneFile)})
		j := s.job(t, "j")
		if j.RequestID != "r1" || j.ProjectID != "p1" || j.Kind != "image" || j.UserID != "anna" {
			t.Errorf("job has request %s, project %s, kind %s, user %s", j.RequestID, j.ProjectID, j.Kind, j.UserID)
		}
		page, err := s.st.Media(context.Background(), jobs.MediaFilter{ProjectID: "p1"})
		if err != nil || len(page.Items) != 1 || page.Items[0].JobID != "j" {
			t.Errorf("the files of the job's project are %v, %v", page.Items, err)
		}
	})
}

// One request is one job: a second job that claims it goes without.
func TestOneRequestIsOneJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.say(t, said{Job: "first", Request: "r", Create: true, Status: "processing"})
		s.say(t, said{Job: "second", Request: "r", Create: true, Status: "completed", Result: json.RawMessage(oneFile)})
		if j := s.job(t, "second"); j.RequestID != "" || j.Status != jobs.JobCompleted {
			t.Errorf("the second job is %s with the request %q", j.Status, j.RequestID)
		}
		s.say(t, said{Request: "r", Status: "completed", Result: json.RawMessage(oneFile)})
		if j := s.job(t, "first"); j.Status != jobs.JobCompleted {
			t.Errorf("the first job is %s", j.Status)
		}
	})
}

// What another provider's webhook names is not its job: the secret of one source must not
// finish, fail or fill the work of another.
func TestJobOfAnotherProviderIsNotChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		if err := s.st.Write(context.Background(), func(tx jobs.Tx) error {
			return tx.InsertJob(context.Background(), &jobs.Job{ID: "theirs", Provider: "fal", RequestID: "r", CreatedAt: tx.Now()})
		}); err != nil {
			t.Fatal(err)
		}
		ev := s.say(t, said{Job: "theirs", Request: "r", Create: true, Status: "completed", Result: json.RawMessage(oneFile)})
		if j := s.job(t, "theirs"); j.Status != jobs.JobQueued {
			t.Errorf("another provider's job is %s", j.Status)
		}
		if got := s.event(t, ev); got.Status != gaff.StatusError || !strings.Contains(got.Error, "is one of fal") {
			t.Errorf("the event is %s: %q", got.Status, got.Error)
		}
		s.say(t, said{Job: "theirs", Own: "ours", Request: "ours", Create: true, Status: "completed", Result: json.RawMessage(oneFile)})
		if j := s.job(t, "ours"); j.Status != jobs.JobCompleted || j.Provider != "studio" {
			t.Errorf("the provider's own job is %s of %s", j.Status, j.Provider)
		}
		if j := s.job(t, "theirs"); j.Status != jobs.JobQueued {
			t.Errorf("another provider's job is %s", j.Status)
		}
	})
}

func TestUnknownRequestIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		id := s.say(t, said{Request: "r", Status: "completed", Result: json.RawMessage(oneFile)})
		if d := s.event(t, id); d.Status != gaff.StatusPending || len(d.Attempts) != 0 {
			t.Fatalf("at first the event is %s after %d attempts", d.Status, len(d.Attempts))
		}
		time.Sleep(30 * time.Second)
		s.say(t, said{Job: "j", Request: "r", Create: true, Status: "queued", Project: "p"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := s.event(t, id); d.Status != gaff.StatusSuccess || len(d.Attempts) != 1 {
			t.Errorf("with its job known the event is %s after %d attempts", d.Status, len(d.Attempts))
		}
		if j := s.job(t, "j"); j.Status != jobs.JobCompleted || len(s.files(t, "j")) != 1 {
			t.Errorf("the job is %s", j.Status)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		id := s.say(t, said{Request: "nobody's", Create: true, Status: "completed", Result: json.RawMessage(oneFile)})
		time.Sleep(time.Minute + 50*time.Second)
		synctest.Wait()
		if d := s.event(t, id); d.Status != gaff.StatusPending {
			t.Errorf("before its time is over the event is %s", d.Status)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		d := s.event(t, id)
		if d.Status != gaff.StatusError || !strings.HasPrefix(d.Error, "unknown request") || len(d.Attempts) != 1 || d.Attempts[0].Outcome != gaff.AttemptDiscarded {
			t.Errorf("the event is %s, %q after %v", d.Status, d.Error, d.Attempts)
		}
		page, err := s.st.Jobs(context.Background(), jobs.JobFilter{})
		if err != nil || len(page.Items) != 0 {
			t.Errorf("there are jobs %v, %v", page.Items, err)
		}
	})
}

func TestInterpretersFailures(t *testing.T) {
	t.Parallel()
	for breaks, want := range map[string]struct {
		status  gaff.Status
		outcome string
	}{
		"later":   {gaff.StatusPending, gaff.AttemptFailed},
		"discard": {gaff.StatusError, gaff.AttemptDiscarded},
		"panic":   {gaff.StatusPending, gaff.AttemptPanicked},
	} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				d := s.event(t, s.say(t, said{Job: "j", Create: true, Status: "completed", Break: breaks}))
				if d.Status != want.status || len(d.Attempts) != 1 || d.Attempts[0].Outcome != want.outcome {
					t.Errorf("event is %s after %v, want %s after %s", d.Status, d.Attempts, want.status, want.outcome)
				}
			})
		})
	}
}

var errSecondFile = errors.New("the second file is not stored")

type noSecondFile struct {
	jobs.Tx
	n int
}

func (tx *noSecondFile) AddMedia(ctx context.Context, m *jobs.Media) (bool, error) {
	if tx.n++; tx.n == 2 {
		return false, errSecondFile
	}
	return tx.Tx.AddMedia(ctx, m)
}

// What one event leads to is one transaction: if a part cannot be written, nothing is.
func TestEffectsAreAllOrNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.wrap = func(tx jobs.Tx) jobs.Tx { return &noSecondFile{Tx: tx} } })
		d := s.event(t, s.say(t, said{Job: "j", Create: true, Status: "completed", Result: manyFiles(2)}))
		if d.Status == gaff.StatusSuccess || !strings.Contains(d.Error, errSecondFile.Error()) {
			t.Errorf("event is %s: %s", d.Status, d.Error)
		}
		if _, err := s.st.Job(context.Background(), "j"); !errors.Is(err, gaff.ErrNotFound) {
			t.Errorf("the job is there: %v", err)
		}
		if files := s.files(t, "j"); len(files) != 0 {
			t.Errorf("files %v", files)
		}
	})
}

// manyFiles is a result with n files.
func manyFiles(n int) json.RawMessage {
	return json.RawMessage(`{"images":[` + strings.TrimSuffix(strings.Repeat(`{"url":"https://f/a.png"},`, n), ",") + `]}`)
}

// Many files would keep all senders waiting, so they are written after the reply.
func TestEffectsOfAFewFilesAreWrittenWithTheEvent(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]int32{16: 1, 17: 0} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			s.say(t, said{Job: "j", Create: true, Status: "completed", Result: manyFiles(files)})
			if got := s.withEvent.Load(); got != want {
				t.Errorf("%d files: written %d times with the event, want %d", files, got, want)
			}
			if got := len(s.files(t, "j")); got != files {
				t.Errorf("%d of %d files are stored", got, files)
			}
		})
	}
}

func TestResultOfManyFilesSettlesTheJobWithTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		result := manyFiles(20_000)
		s.say(t, said{Job: "j", Create: true, Status: "completed", Project: "p", Result: result})
		if j := s.job(t, "j"); j.Status != jobs.JobCompleted || len(j.Result) != len(result) {
			t.Errorf("the job is %s with %d bytes, want it completed with %d", j.Status, len(j.Result), len(result))
		}
		if n, err := s.st.MediaCount(t.Context(), "p"); n != 1000 || err != nil {
			t.Errorf("%d files, %v; want 1,000", n, err)
		}
		log, err := s.st.JobLog(t.Context(), "j")
		if err != nil || len(log) != 1 || log[0].What != "webhook" || !strings.HasPrefix(log[0].Text, "1,000 of 20,000 files stored: ") {
			t.Errorf("log %+v, %v", log, err)
		}
	})
}

func TestNextStepIsHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var settled []jobs.JobSettled
		s := newStage(t, func(s *stage) {
			s.Handle(gaff.InternalSource, "job.completed", gaff.JSON(func(_ context.Context, ev *gaff.Event, j jobs.JobSettled) error {
				settled = append(settled, j)
				return nil
			}))
		})
		id := s.say(t, said{Job: "j", Create: true, Status: "completed", Project: "p", User: "u", Kind: "image", Result: json.RawMessage(oneFile)})
		want := jobs.JobSettled{
			JobID: "j", Provider: "studio", ProjectID: "p", UserID: "u", Kind: "image", Status: "completed", SettledBy: jobs.SettledByWebhook,
		}
		if len(settled) != 1 || settled[0] != want {
			t.Errorf("the next step was called with %+v, want %+v", settled, want)
		}
		if d := s.event(t, id); len(d.Children) != 1 {
			t.Errorf("the event's children are %v", d.Children)
		}
	})
}

func TestOutsideADelivery(t *testing.T) {
	t.Parallel()
	h := jobs.NewHandler(jobs.Options{Interpreter: studio{}})
	if err := h.Handle(context.Background(), &gaff.Event{}); err == nil {
		t.Error("a handler called by itself did as if it had a delivery")
	}
}
