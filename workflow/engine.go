package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Store is what the engine needs from a database.
type Store interface {
	runs.Store
	runs.Reader
	Project(ctx context.Context, id string) (*jobs.Project, error)
	Job(ctx context.Context, id string) (*jobs.Job, error)
	Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error)
	Event(ctx context.Context, id string) (*gaff.EventDetail, error)
	Events(ctx context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error)
}

// Submission asks for a job.
type Submission struct {
	Provider, Model, Kind   string
	ProjectID, UserID       string
	RunID, StepID           string
	Input, Metadata         json.RawMessage
	IdempotencyKey, EventID string
	Hop                     int
}

// Jobs submits and cancels outside work.
type Jobs interface {
	// Enqueue adds a job, to be submitted once the transaction is committed.
	Enqueue(ctx context.Context, tx jobs.Tx, s Submission) (jobID string, err error)
	// Cancel ends a job, at its provider too. A job that has ended already is no error.
	Cancel(ctx context.Context, jobID string) error
}

// Options of an engine. Store, Router and Jobs are required.
type Options struct {
	Store  Store
	Router jobs.Router
	Jobs   Jobs
	// Client makes the calls of http steps. It should judge the addresses that it dials, for
	// a workflow may take them from what strangers send. Nil: http steps fail.
	Client interface {
		Do(*http.Request) (*http.Response, error)
	}
	// Secrets are what headers may use as secrets.NAME.
	Secrets map[string]string
	// Limits is how many jobs of workflows may be under way at once at a provider; no entry
	// means no limit.
	Limits map[string]int
	// Interpreters tell which job an event of a source is about, so that a run is begun in
	// its project and a loop is seen.
	Interpreters map[string]jobs.Interpreter
	// Log is told of what people should know. Nil means slog.Default().
	Log *slog.Logger
}

// Engine moves runs forward. It is safe for use by many goroutines, and by many processes
// over one database.
type Engine struct {
	o     Options
	log   *slog.Logger
	locks locks

	// current are the workflows by name; it is replaced as a whole.
	current atomic.Pointer[map[string]*Compiled]
	// routed are the versions, by hash, whose events are among those wanted; guarded by mu.
	routed map[string]bool
	// wanted are the kinds of event that some workflow starts by or waits for.
	wanted atomic.Pointer[map[string]bool]

	mu       sync.Mutex
	versions map[string]*Compiled // by hash

	quit chan struct{}
	stop sync.Once
	done sync.WaitGroup
}

// New makes an engine.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	e := &Engine{o: o, log: o.Log, versions: map[string]*Compiled{}, quit: make(chan struct{})}
	e.current.Store(&map[string]*Compiled{})
	e.wanted.Store(&map[string]bool{})
	e.routed = map[string]bool{}
	return e
}

// How many events of a kind are worked at once.
const (
	advanceWorkers = 32
	callWorkers    = 16
	callTimeout    = 30 * time.Second
	maxCallTimeout = 10 * time.Minute
	// searchWindow is how far back an event counts that came before the wait for it began.
	searchWindow = time.Hour
	// maxSearched is how many events of a kind are looked through for it, the newest ones.
	maxSearched = 2000
	// refreshEvery is how often the engine looks for versions that other nodes have begun
	// runs of, and for places that nobody took.
	refreshEvery = 15 * time.Second
)

// Register adds the engine's handlers to a gateway that was not started yet.
func (e *Engine) Register(gw interface {
	HandleWith(source, eventType string, h gaff.Handler, o gaff.HandleOptions)
}) {
	gw.HandleWith(gaff.InternalSource, "*", gaff.HandlerFunc(e.handle), gaff.HandleOptions{
		Name: "workflows", Workers: advanceWorkers,
		Match: func(s *gaff.Subject) bool {
			switch s.Event.Type {
			case eventAdvance, eventSearch, eventCancel, eventSchedule:
				return true
			case "job.completed", "job.failed", "job.cancelled":
				return isOfRun(s.Event)
			}
			return false
		},
	})
	gw.HandleWith(gaff.InternalSource, eventCall, gaff.HandlerFunc(e.handleCall), gaff.HandleOptions{
		Name: "workflows/calls", Workers: callWorkers,
		Retry: &gaff.RetryPolicy{Timeout: maxCallTimeout + 10*time.Second},
	})
	wants := func(s *gaff.Subject) bool {
		wanted := *e.wanted.Load()
		return wanted[s.Event.Source+":"+s.Event.Type] || wanted[s.Event.Source+":*"]
	}
	// Without a source, for it is not one of a source's handlers but of all.
	gw.HandleWith("", "", gaff.HandlerFunc(e.handleEvent), gaff.HandleOptions{
		Name: "workflows/events", Workers: advanceWorkers, Match: wants,
	})
}

// isOfRun tells whether a job's end concerns a run.
func isOfRun(ev *gaff.Event) bool { return bytes.Contains(ev.Data, []byte(`"runId":"run_`)) }

// Start begins what the engine does by itself: schedules, and looking after runs that other
// nodes began. The gateway must have been started. Stop ends it.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.refresh(ctx); err != nil {
		return err
	}
	if err := e.schedule(ctx, time.Now()); err != nil {
		return err
	}
	e.done.Go(func() {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		for {
			select {
			case <-e.quit:
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(context.Background(), refreshEvery)
			if err := e.refresh(ctx); err != nil && !errors.Is(err, gaff.ErrStopped) {
				e.log.Warn("look after workflow runs", "error", err)
			}
			cancel()
		}
	})
	return nil
}

// Stop ends what Start began. Stopping twice is harmless.
func (e *Engine) Stop() {
	e.stop.Do(func() { close(e.quit) })
	e.done.Wait()
}

// handle works the inner events that move runs.
func (e *Engine) handle(ctx context.Context, ev *gaff.Event) error {
	if strings.HasPrefix(ev.Type, "job.") {
		return e.handleJobSettled(ctx, ev)
	}
	var m message
	if err := json.Unmarshal(ev.Data, &m); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	switch ev.Type {
	case eventAdvance:
		return e.handleTimer(ctx, m)
	case eventSearch:
		return e.searchEarlier(ctx, m)
	case eventCancel:
		return e.o.Jobs.Cancel(ctx, m.JobID)
	case eventSchedule:
		return e.handleSchedule(ctx, m)
	}
	return gaff.Discard(fmt.Errorf("no such event: %s", ev.Type))
}
