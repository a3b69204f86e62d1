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

// Submission describes a job to submit.
type Submission struct {
	Provider, Model, Kind   string
	ProjectID, UserID       string
	RunID, StepID           string
	Input, Metadata         json.RawMessage
	Fallback                []jobs.Candidate
	NoReuse                 bool
	Priority                int
	IdempotencyKey, EventID string
	Hop                     int
}

// Refuser is a [Jobs] that stores what follows from an error of Enqueue, after the transaction of
// the call was rolled back.
type Refuser interface {
	Refused(ctx context.Context, tx jobs.Tx, err error) error
}

// Jobs submits and cancels jobs at providers.
type Jobs interface {
	// Enqueue adds a job that is submitted after the transaction committed.
	Enqueue(ctx context.Context, tx jobs.Tx, s Submission) (jobID string, err error)
	// Cancel cancels a job, also at its provider. It does nothing for a settled job.
	Cancel(ctx context.Context, jobID string) error
}

// Options of an engine. Store, Router and Jobs are required.
type Options struct {
	Store  Store
	Router jobs.Router
	Jobs   Jobs
	// Client makes the calls of http steps. It should restrict the addresses that it dials,
	// because a URL can come from an untrusted webhook. If nil, http steps fail.
	Client interface {
		Do(*http.Request) (*http.Response, error)
	}
	// Functions returns the function of the program that an http step with the URL func:NAME calls;
	// nil for none.
	Functions func(name string) Function
	// Secrets are the values of secrets.NAME in headers.
	Secrets map[string]string
	// Limits is the maximum number of concurrent jobs of workflows by provider; a missing
	// entry means unlimited.
	Limits map[string]int
	// Interpreters map an event of a source to its job, so that a run started by the event
	// belongs to the project of the job, and loops are detected.
	Interpreters map[string]jobs.Interpreter
	// Log defaults to slog.Default().
	Log *slog.Logger
}

// Engine advances runs. It is safe for concurrent use, also by several processes over one
// database.
type Engine struct {
	o     Options
	log   *slog.Logger
	locks locks

	// current has the current workflows by name. It is replaced, never modified.
	current atomic.Pointer[map[string]*Compiled]
	// routed has the hashes of the versions whose event types are in wanted; guarded by mu.
	routed map[string]bool
	// wanted has the event types, as source:type, that start a run or end a wait.
	wanted atomic.Pointer[map[string]bool]

	mu       sync.Mutex
	versions map[string]*Compiled // by hash

	quit chan struct{}
	stop sync.Once
	done sync.WaitGroup
}

// New returns an engine. Register and Start make it run.
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

// Limits of the engine: concurrent handlers, calls, and searches for earlier events.
const (
	advanceWorkers = 32
	callWorkers    = 16
	callTimeout    = 30 * time.Second
	maxCallTimeout = 10 * time.Minute
	// searchWindow is the default time before a wait in which an earlier event ends it.
	searchWindow = time.Hour
	// maxSearched is the maximum number of earlier events that are searched, newest first.
	maxSearched = 2000
	// refreshEvery is the interval of looking for versions that other nodes started runs of,
	// and for unused slots.
	refreshEvery = 15 * time.Second
)

// Register adds the engine's handlers to a gateway. Call it before the gateway starts.
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
	// This handler belongs to no source: it receives events of every source.
	gw.HandleWith("", "", gaff.HandlerFunc(e.handleEvent), gaff.HandleOptions{
		Name: "workflows/events", Workers: advanceWorkers, Match: wants,
	})
}

// isOfRun reports whether a job's event is about a job of a run.
func isOfRun(ev *gaff.Event) bool { return bytes.Contains(ev.Data, []byte(`"runId":"run_`)) }

// Start starts the schedules, and the regular refresh for runs that other nodes started. The
// gateway must be running. Stop ends it.
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
				e.log.Warn("refresh workflow runs", "error", err)
			}
			cancel()
		}
	})
	return nil
}

// Stop ends the refresh and waits for it. It may be called more than once.
func (e *Engine) Stop() {
	e.stop.Do(func() { close(e.quit) })
	e.done.Wait()
}

// handle processes the internal events that advance runs.
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
	return gaff.Discard(fmt.Errorf("unknown event type %s", ev.Type))
}
