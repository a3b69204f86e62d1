package workflow

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/internal/id"
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

// Types of the inner events by which runs move, and of those that tell what became of them.
const (
	eventAdvance  = "workflow.advance"
	eventLook     = "workflow.look"
	eventCall     = "workflow.call"
	eventCancel   = "workflow.cancel_job"
	eventSchedule = "workflow.schedule"

	// EventRun… are for handlers, destinations and other workflows; their data is a
	// [RunEvent].
	EventRunCompleted = "run.completed"
	EventRunFailed    = "run.failed"
	EventRunCancelled = "run.cancelled"
	// EventApprovalWanted tells that a person must decide.
	EventApprovalWanted = "run.approval_wanted"
)

// RunEvent is the data of the inner events about a run.
type RunEvent struct {
	RunID     string `json:"runId"`
	Workflow  string `json:"workflow"`
	ProjectID string `json:"projectId"`
	UserID    string `json:"userId"`
	Status    string `json:"status"`
	Error     string `json:"error,omitempty"`
	// Step, Item and Message are set when a decision is wanted; Item is -1 for a step
	// without items.
	Step    string  `json:"step,omitempty"`
	Item    int     `json:"item"`
	Message string  `json:"message,omitempty"`
	Cost    float64 `json:"cost"`
}

// message is the data of the events that move runs.
type message struct {
	RunID   string    `json:"runId,omitempty"`
	Step    string    `json:"step,omitempty"`
	Item    int       `json:"item,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	JobID   string    `json:"jobId,omitempty"`
	Slot    string    `json:"slot,omitempty"`
	Since   time.Time `json:"since,omitzero"`

	Workflow string    `json:"workflow,omitempty"`
	Cron     string    `json:"cron,omitempty"`
	At       time.Time `json:"at,omitzero"`
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
	// lookBack is how far back an event counts that came before the wait for it began.
	lookBack = time.Hour
	// maxLooked is how many events of a kind are looked through for it, the newest ones.
	maxLooked = 2000
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
			case eventAdvance, eventLook, eventCancel, eventSchedule:
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

// SetWorkflows puts these in the place of those that were there. Runs that were begun keep
// their version.
func (e *Engine) SetWorkflows(cs []*Compiled) error {
	next := map[string]*Compiled{}
	for _, c := range cs {
		if next[c.Name] != nil {
			return fmt.Errorf("two workflows are called %q", c.Name)
		}
		next[c.Name] = c
	}
	e.current.Store(&next)
	for _, c := range cs {
		e.know(c)
	}
	return nil
}

// maxVersions bounds the versions that are kept in memory.
const maxVersions = 2000

// know keeps a version in memory, and its events among those that are wanted.
func (e *Engine) know(c *Compiled) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.versions) > maxVersions {
		clear(e.versions)
	}
	e.versions[c.Hash] = c
	wanted := maps.Clone(*e.wanted.Load())
	c.wants(wanted)
	e.routed[c.Hash] = true
	e.wanted.Store(&wanted)
}

// wants adds the kinds of event that the workflow starts by or waits for.
func (c *Compiled) wants(wanted map[string]bool) {
	for _, t := range c.triggers {
		wanted[t.source+":"+t.eventType] = true
	}
	for _, st := range c.steps {
		if st.WaitFor != nil {
			wanted[st.source+":"+st.eventType] = true
		}
	}
}

// remove stops routing events to versions that are neither current nor have open runs. One that
// gets a run at this very moment is found by the next refresh, with what came meanwhile.
func (e *Engine) remove(open []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	routed, wanted := map[string]bool{}, map[string]bool{}
	for _, c := range *e.current.Load() {
		routed[c.Hash] = true
		c.wants(wanted)
	}
	for _, hash := range open {
		if c := e.versions[hash]; c != nil && e.routed[hash] {
			routed[hash] = true
			c.wants(wanted)
		}
	}
	e.routed = routed
	e.wanted.Store(&wanted)
}

// Workflows are the current ones, by name.
func (e *Engine) Workflows() []*Compiled {
	current := *e.current.Load()
	out := make([]*Compiled, 0, len(current))
	for _, name := range slices.Sorted(maps.Keys(current)) {
		out = append(out, current[name])
	}
	return out
}

// Workflow returns the current one of a name, or gaff.ErrNotFound.
func (e *Engine) Workflow(name string) (*Compiled, error) {
	if c := (*e.current.Load())[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("workflow %.60q: %w; there are %s", name, gaff.ErrNotFound,
		strings.Join(append(slices.Sorted(maps.Keys(*e.current.Load())), "no others"), ", "))
}

// version returns a version of which there are runs.
func (e *Engine) version(ctx context.Context, hash string) (*Compiled, error) {
	e.mu.Lock()
	c := e.versions[hash]
	e.mu.Unlock()
	if c != nil {
		return c, nil
	}
	v, err := e.o.Store.WorkflowVersion(ctx, hash)
	if err != nil {
		return nil, err
	}
	w, err := FromJSON(v.Definition)
	if err != nil {
		return nil, err
	}
	c, err = Compile(w)
	if err != nil {
		return nil, fmt.Errorf("workflow %s of version %.12s cannot be read by this program: %w", v.Name, hash, err)
	}
	c.Hash, c.Definition = v.Hash, v.Definition
	e.know(c)
	return c, nil
}

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

// Reload is SetWorkflows for an engine that was started.
func (e *Engine) Reload(ctx context.Context, cs []*Compiled) error {
	if err := e.SetWorkflows(cs); err != nil {
		return err
	}
	return e.schedule(ctx, time.Now())
}

// refresh learns the versions that have open runs, so that the events which those wait for
// are routed here, and looks for what came before that was so. It also wakes whoever waits
// for a place that is free.
func (e *Engine) refresh(ctx context.Context) error {
	hashes, err := e.o.Store.OpenVersions(ctx)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		e.mu.Lock()
		routed := e.routed[hash] && e.versions[hash] != nil
		e.mu.Unlock()
		if routed {
			continue
		}
		c, err := e.version(ctx, hash)
		if err != nil {
			e.log.Error("a version of a workflow with open runs cannot be used", "hash", hash, "error", err)
			continue
		}
		e.know(c)
		refs, err := e.o.Store.WaitingOf(ctx, hash)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := e.emit(ctx, eventLook, message{RunID: ref.RunID, Step: ref.Step, Item: ref.Item}); err != nil {
				return err
			}
		}
	}
	e.remove(hashes)
	slots, err := e.o.Store.Slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if limit := e.limit(s.Slot); limit < 1 || s.Used < limit {
			if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.wake(ctx, tx, s.Slot, "", 0) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// emit adds an event in a transaction of its own.
func (e *Engine) emit(ctx context.Context, eventType string, m message) error {
	return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.emitIn(ctx, tx, eventType, m, time.Time{}, 0) })
}

// emitIn adds an event that moves a run. Its hop is the run's: a run moves as often as it
// has steps, and what bounds loops counts runs.
func (e *Engine) emitIn(ctx context.Context, tx runs.Tx, eventType string, m message, at time.Time, hop int) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return e.accept(ctx, tx, &gaff.Event{Source: gaff.InternalSource, Type: eventType, CorrelationID: m.RunID, Data: data, Hop: hop}, at)
}

func (e *Engine) accept(ctx context.Context, tx runs.Tx, ev *gaff.Event, at time.Time) error {
	ev.ReceivedAt = tx.Now()
	ds := e.o.Router.Route(ev)
	for i := range ds {
		ds[i].RunAt = at
	}
	return tx.Emit(ctx, ev, ds)
}

// limit is how many places there are under a name; 0 means no bound.
func (e *Engine) limit(slot string) int {
	kind, name, _ := strings.Cut(slot, "/")
	if kind == "provider" {
		return e.o.Limits[name]
	}
	if c := (*e.current.Load())[name]; c != nil {
		return c.Concurrency
	}
	return 0
}

// wake lets the runs go on that wait longest for a place.
func (e *Engine) wake(ctx context.Context, tx runs.Tx, slot, except string, hop int) error {
	queued, err := tx.QueuedRuns(ctx, slot, 2)
	if err != nil {
		return err
	}
	for _, run := range queued {
		if run == except {
			continue
		}
		return e.emitIn(ctx, tx, eventAdvance, message{RunID: run, Slot: slot}, time.Time{}, hop)
	}
	return nil
}

// StartParams say what a run is started with.
type StartParams struct {
	Workflow          string
	ProjectID, UserID string
	Input             json.RawMessage // an object; nil means {}
	// Key, if not empty, makes the start happen once: a second one returns the first run.
	Key string
	// FormerKey is what an older version stored in place of Key; empty: nothing else.
	FormerKey string

	eventID string
	hop     int
}

// Run starts a run of the current version of a workflow and returns it. created is false
// where the key was used before. What is wrong with the input is an error that is
// gaff.ErrInvalid.
func (e *Engine) Run(ctx context.Context, p StartParams) (run *runs.Run, created bool, err error) {
	c, err := e.Workflow(p.Workflow)
	if err != nil {
		return nil, false, err
	}
	if len(p.ProjectID) > 256 || len(p.UserID) > 256 || len(p.Key) > 512 {
		return nil, false, fmt.Errorf("%w: a project or user id has at most 256 bytes, a key 512", gaff.ErrInvalid)
	}
	input, err := c.CheckInput(p.Input)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	now := time.Now()
	run = &runs.Run{
		ID: id.New(id.Run, now), Workflow: c.Name, Version: c.Hash, ProjectID: p.ProjectID, UserID: p.UserID, Input: input,
		EventID: p.eventID, Hop: p.hop, Key: p.Key, FormerKey: p.FormerKey, CreatedAt: now,
	}
	if c.Timeout > 0 {
		run.DueAt = now.Add(time.Duration(c.Timeout))
	}
	project, err := e.project(ctx, run)
	if err != nil {
		return nil, false, err
	}
	fresh := *run
	st := newState(c, *run, *project, nil)
	a := c.advance(st, now, &loader{ctx: ctx, e: e, st: st})
	a.next()
	if a.err != nil {
		return nil, false, a.err
	}
	err = e.commit(ctx, a, e.o.Store.WriteRuns, func(tx runs.Tx) error {
		r := fresh
		if err := tx.SeeProject(ctx, r.ProjectID); err != nil {
			return err
		}
		if err := tx.SaveWorkflow(ctx, &runs.WorkflowVersion{Hash: c.Hash, Name: c.Name, Definition: c.Definition}); err != nil {
			return err
		}
		var err error
		if created, err = tx.InsertRun(ctx, &r); err != nil || !created {
			*run = r
			return err
		}
		if !r.DueAt.IsZero() {
			if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: r.ID}, r.DueAt, r.Hop); err != nil {
				return err
			}
		}
		return e.write(ctx, tx, a, run)
	})
	if err != nil {
		return nil, false, err
	}
	if !created {
		run, err = e.o.Store.Run(ctx, run.ID)
	}
	return run, created, err
}

func (e *Engine) project(ctx context.Context, run *runs.Run) (*jobs.Project, error) {
	if run.ProjectID == "" {
		return &jobs.Project{}, nil
	}
	p, err := e.o.Store.Project(ctx, run.ProjectID)
	if errors.Is(err, gaff.ErrNotFound) {
		return &jobs.Project{ID: run.ProjectID}, nil
	}
	return p, err
}

// write stores an advance: in one transaction, whole or not at all. It may be called more
// than once for the same advance, so it works on copies; out, if not nil, is set to the
// run as it was written.
func (e *Engine) write(ctx context.Context, tx runs.Tx, a *advance, out *runs.Run) error {
	run := a.st.run
	now := tx.Now()
	// The state as it will be, with rows that the queue below may change.
	rows := make(map[*runs.Step]*runs.Step, len(a.order))
	var order []*runs.Step
	edit := func(u *runs.Step) *runs.Step {
		if rows[u] == nil {
			copied := *u
			rows[u] = &copied
			order = append(order, u)
		}
		return rows[u]
	}
	for _, u := range a.order {
		edit(u)
	}
	for _, slot := range a.freed {
		if _, err := tx.FreeSlot(ctx, slot); err != nil {
			return err
		}
	}
	full := map[string]bool{}
	if !run.Status.Settled() {
		for _, def := range a.c.steps {
			for _, u := range a.st.steps[def.Name].units() {
				if u.Status != runs.StepQueued {
					continue
				}
				took, err := e.takeSlots(ctx, tx, u.Slots, full)
				if err != nil {
					return err
				}
				if !took {
					continue
				}
				row := edit(u)
				err = e.submit(ctx, tx, a, &run, def, row, now)
				if errors.Is(err, gaff.ErrInvalid) {
					return &rejectedError{a.st.steps[def.Name], u, err}
				}
				if err != nil {
					return err
				}
			}
		}
	}
	view := a.st
	if len(order) > 0 {
		view = a.st.with(rows)
	}
	run.Waiting = view.waiting(a.c)
	if err := tx.SaveRun(ctx, &run); err != nil {
		return err
	}
	for _, name := range a.dropped {
		if err := tx.DropItems(ctx, run.ID, name); err != nil {
			return err
		}
	}
	if a.due {
		if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: run.ID}, run.DueAt, run.Hop); err != nil {
			return err
		}
	}
	steps := make([]runs.Step, 0, len(order))
	timers := map[int64]bool{}
	for _, u := range order {
		row := rows[u]
		if steps = append(steps, *row); row.DueAt.IsZero() {
			continue
		}
		if us := row.DueAt.UnixMicro(); !timers[us] {
			timers[us] = true
			if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: run.ID}, row.DueAt, run.Hop); err != nil {
				return err
			}
		}
	}
	if err := tx.SaveSteps(ctx, run.ID, steps); err != nil {
		return err
	}
	if err := e.notify(ctx, tx, a, &run); err != nil {
		return err
	}
	// A place that was given back and not taken again is for another run; and one that this
	// run was woken for.
	for _, slot := range slices.Compact(slices.Sorted(slices.Values(a.freed))) {
		if !full[slot] {
			if err := e.wake(ctx, tx, slot, run.ID, run.Hop); err != nil {
				return err
			}
		}
	}
	if out != nil {
		*out = run
	}
	return nil
}

// with is the state as it is with some rows replaced.
func (st *state) with(rows map[*runs.Step]*runs.Step) *state {
	pick := func(u *runs.Step) *runs.Step {
		if row := rows[u]; row != nil {
			return row
		}
		return u
	}
	view := &state{run: st.run, steps: make(map[string]*stepState, len(st.steps))}
	for name, s := range st.steps {
		v := &stepState{def: s.def, row: pick(s.row)}
		for _, u := range s.items {
			v.items = append(v.items, pick(u))
		}
		view.steps[name] = v
	}
	return view
}

// takeSlots takes a place under each limit, or none. full remembers those that have none.
func (e *Engine) takeSlots(ctx context.Context, tx runs.Tx, slots [2]string, full map[string]bool) (bool, error) {
	for _, slot := range slots {
		if full[slot] {
			return false, nil
		}
	}
	var taken []string
	for _, slot := range slots {
		if slot == "" {
			continue
		}
		ok, err := tx.TakeSlot(ctx, slot, e.limit(slot))
		if err != nil {
			return false, err
		}
		if !ok {
			full[slot] = true
			for _, back := range taken {
				if _, err := tx.FreeSlot(ctx, back); err != nil {
					return false, err
				}
			}
			return false, nil
		}
		taken = append(taken, slot)
	}
	return true, nil
}

// submit adds the job of a step.
func (e *Engine) submit(ctx context.Context, tx runs.Tx, a *advance, run *runs.Run, def *step, row *runs.Step, now time.Time) error {
	input := row.Input
	if input == nil {
		// It was made ready in an earlier transaction.
		var err error
		if input, err = a.v.(*loader).input(row.Name, row.Item); err != nil {
			return err
		}
	}
	var sub submission
	if err := json.Unmarshal(input, &sub); err != nil {
		return fmt.Errorf("read what step %s was given: %w", row.Name, err)
	}
	stepID := row.Name
	if row.Item >= 0 {
		stepID += "/" + strconv.Itoa(row.Item)
	}
	key := run.ID + "/" + stepKey(a.st.steps[row.Name], row)
	jobID, err := e.o.Jobs.Enqueue(ctx, tx, Submission{
		Provider: sub.Provider, Model: sub.Model, Kind: sub.Kind, ProjectID: run.ProjectID, UserID: run.UserID,
		RunID: run.ID, StepID: stepID, Input: sub.Input, Metadata: sub.Metadata,
		IdempotencyKey: key, Hop: run.Hop,
	})
	if err != nil {
		return fmt.Errorf("submit step %s: %w", row.Name, err)
	}
	row.Status, row.JobID, row.StartedAt = runs.StepRunning, jobID, now
	if def.Timeout > 0 {
		row.DueAt = now.Add(time.Duration(def.Timeout))
	}
	return nil
}

// stepKey names one try of a step or item within its run: "images/3/1.2" is the second try
// of an item in the first round of its step, "film/2" the second try of a step. The items of
// a step that begins anew are new ones.
func stepKey(s *stepState, u *runs.Step) string {
	if u.Item < 0 {
		return fmt.Sprintf("%s/%d", u.Name, u.Attempt)
	}
	return fmt.Sprintf("%s/%d/%d.%d", u.Name, u.Item, s.row.Attempt, u.Attempt)
}

// notify emits what follows from an advance.
func (e *Engine) notify(ctx context.Context, tx runs.Tx, a *advance, run *runs.Run) error {
	for _, ref := range a.looks {
		if err := e.emitIn(ctx, tx, eventLook, message{RunID: run.ID, Step: ref.Step, Item: ref.Item}, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	for _, u := range a.calls {
		m := message{RunID: run.ID, Step: u.Name, Item: u.Item, Attempt: u.Attempt}
		if err := e.emitIn(ctx, tx, eventCall, m, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	for _, jobID := range a.cancels {
		if err := e.emitIn(ctx, tx, eventCancel, message{RunID: run.ID, JobID: jobID}, time.Time{}, run.Hop); err != nil {
			return err
		}
	}
	public := func(eventType, key string, data any) error {
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		return e.accept(ctx, tx, &gaff.Event{
			Source: gaff.InternalSource, Type: eventType, DedupeKey: key, CorrelationID: run.ID, Data: text,
			ParentID: run.EventID, Hop: run.Hop + 1,
		}, time.Time{})
	}
	for _, em := range a.emits {
		if err := public(em.eventType, "", em.data); err != nil {
			return err
		}
	}
	about := RunEvent{
		RunID: run.ID, Workflow: run.Workflow, ProjectID: run.ProjectID, UserID: run.UserID, Status: run.Status.String(),
		Error: run.Error, Item: runs.WholeStep, Cost: run.Cost,
	}
	for _, u := range a.polls {
		if u.Status != runs.StepWaiting {
			continue
		}
		ask := about
		ask.Step, ask.Item = u.Name, u.Item
		var given struct{ Message string }
		_ = json.Unmarshal(u.Input, &given)
		ask.Message = given.Message
		if err := public(EventApprovalWanted, "", ask); err != nil {
			return err
		}
	}
	if run.Status.Settled() && a.changed {
		return public("run."+run.Status.String(), "", about)
	}
	return nil
}

// commit stores an advance. A job that cannot be asked for, whatever is done, fails its step,
// and the run is moved again.
func (e *Engine) commit(ctx context.Context, a *advance, apply func(context.Context, func(runs.Tx) error) error,
	fn func(runs.Tx) error) error {
	for {
		err := apply(ctx, fn)
		refused, ok := errors.AsType[*rejectedError](err)
		if !ok {
			return err
		}
		a.fail(refused.step, refused.unit, refused.err.Error(), true)
		if a.next(); a.err != nil {
			return a.err
		}
	}
}

// rejectedError is a job that is refused for what it is.
type rejectedError struct {
	step *stepState
	unit *runs.Step
	err  error
}

func (e *rejectedError) Error() string { return e.err.Error() }

// maxConflicts is how often a run is read anew when other nodes change it at the same time.
const maxConflicts = 10

// move loads a run, lets change do something to it, does all that can be done then, and
// stores it with apply. change returns false if there is nothing to do. It may be called
// more than once.
func (e *Engine) move(ctx context.Context, runID string, apply func(context.Context, func(runs.Tx) error) error,
	change func(a *advance) (bool, error)) (*runs.Run, error) {
	defer e.locks.lock(runID)()
	for try := 0; ; try++ {
		a, err := e.load(ctx, runID)
		if err != nil {
			return nil, err
		}
		ok, err := change(a)
		if err != nil || !ok {
			return &a.st.run, err
		}
		a.next()
		if a.err != nil {
			return nil, a.err
		}
		var written runs.Run
		err = e.commit(ctx, a, apply, func(tx runs.Tx) error { return e.write(ctx, tx, a, &written) })
		if errors.Is(err, gaff.ErrConflict) && try < maxConflicts {
			continue
		}
		return &written, err
	}
}

func (e *Engine) load(ctx context.Context, runID string) (*advance, error) {
	run, err := e.o.Store.Run(ctx, runID)
	if err != nil {
		return nil, err
	}
	c, err := e.version(ctx, run.Version)
	if err != nil {
		return nil, err
	}
	project, err := e.project(ctx, run)
	if err != nil {
		return nil, err
	}
	rows, err := e.o.Store.Steps(ctx, runID)
	if err != nil {
		return nil, err
	}
	st := newState(c, *run, *project, rows)
	return c.advance(st, time.Now(), &loader{ctx: ctx, e: e, st: st}), nil
}

// applying finishes the delivery that ctx is of together with what is written.
func (e *Engine) applying(ctx context.Context) (func(context.Context, func(runs.Tx) error) error, error) {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return nil, gaff.Discard(errors.New("workflow handler called outside a delivery"))
	}
	return func(ctx context.Context, fn func(runs.Tx) error) error {
		return e.o.Store.ApplyRuns(ctx, lease, fn)
	}, nil
}

// finish is move for a handler: the delivery ends with the transaction.
func (e *Engine) finish(ctx context.Context, runID string, change func(a *advance) (bool, error)) error {
	apply, err := e.applying(ctx)
	if err != nil {
		return err
	}
	wrote := false
	_, err = e.move(ctx, runID, apply, func(a *advance) (bool, error) {
		ok, err := change(a)
		wrote = ok && err == nil
		return ok, err
	})
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		return nil // the run was removed since
	case err != nil:
		return err
	case wrote:
		return gaff.Finished
	}
	return nil
}

// handle works the inner events that move runs.
func (e *Engine) handle(ctx context.Context, ev *gaff.Event) error {
	if strings.HasPrefix(ev.Type, "job.") {
		return e.jobSettled(ctx, ev)
	}
	var m message
	if err := json.Unmarshal(ev.Data, &m); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	switch ev.Type {
	case eventAdvance:
		return e.timer(ctx, m)
	case eventLook:
		return e.matchEarlier(ctx, m)
	case eventCancel:
		return e.o.Jobs.Cancel(ctx, m.JobID)
	case eventSchedule:
		return e.scheduled(ctx, m)
	}
	return gaff.Discard(fmt.Errorf("no such event: %s", ev.Type))
}

// timer works a deadline, or the news of a free place.
func (e *Engine) timer(ctx context.Context, m message) error {
	err := e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		if a.st.run.Status.Settled() {
			return false, nil
		}
		// Only what is due, or waits for a place, changes anything.
		if due := a.st.run.DueAt; !due.IsZero() && !due.After(a.now) {
			return true, nil
		}
		for _, s := range a.st.steps {
			for _, u := range s.units() {
				if u.Status == runs.StepQueued && m.Slot != "" || !u.DueAt.IsZero() && !u.DueAt.After(a.now) {
					return true, nil
				}
			}
		}
		return false, nil
	})
	if m.Slot == "" || err != nil && !errors.Is(err, gaff.Finished) {
		return err
	}
	// Whether or not this run took the place, there may be another.
	if werr := e.wakeRest(ctx, m); werr != nil {
		e.log.Warn("wake who waits for a place", "slot", m.Slot, "error", werr)
	}
	return err
}

// wakeRest passes the news of a free place on, if there is one still.
func (e *Engine) wakeRest(ctx context.Context, m message) error {
	slots, err := e.o.Store.Slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if limit := e.limit(s.Slot); s.Slot == m.Slot && s.Queued > 0 && (limit < 1 || s.Used < limit) {
			return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.wake(ctx, tx, m.Slot, m.RunID, 0) })
		}
	}
	return nil
}

// jobSettled takes a job's end into the run that asked for it.
func (e *Engine) jobSettled(ctx context.Context, ev *gaff.Event) error {
	var settled jobs.JobSettled
	if err := json.Unmarshal(ev.Data, &settled); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	ref, err := e.o.Store.StepOfJob(ctx, settled.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil // not a run's, or one that the run has given up
	}
	if err != nil {
		return err
	}
	j, err := e.o.Store.Job(ctx, settled.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.finish(ctx, ref.RunID, func(a *advance) (bool, error) {
		s, u := a.st.find(ref.Step, ref.Item)
		if u == nil || u.JobID != j.ID || u.Status != runs.StepRunning {
			return false, nil
		}
		if cost := jobCost(j); cost > 0 {
			u.Cost += cost
			a.st.run.Cost += cost
			if u != s.row {
				s.row.Cost += cost
				a.touch(s.row)
			}
		}
		switch j.Status {
		case jobs.JobCompleted:
			result := j.Result
			if len(result) == 0 {
				result = json.RawMessage("null")
			}
			a.completeRaw(u, result)
		case jobs.JobCancelled:
			a.fail(s, u, "the job was cancelled", true)
		default:
			reason := cmp.Or(j.Error, "the job failed")
			if j.ErrorType != "" {
				reason = j.ErrorType + ": " + reason
			}
			a.fail(s, u, reason, false)
		}
		return true, nil
	})
}

// jobCost is what a provider reported, in its units; 0 if it reports nothing.
func jobCost(j *jobs.Job) float64 {
	cost, err := strconv.ParseFloat(j.Cost, 64)
	if err != nil || math.IsNaN(cost) || math.IsInf(cost, 0) || cost < 0 {
		return 0
	}
	return cost
}

// eventValue is an event as expressions see it.
func eventValue(ev *gaff.Event) map[string]any {
	return map[string]any{
		"id": ev.ID, "source": ev.Source, "type": ev.Type, "webhookId": ev.WebhookID, "correlationId": ev.CorrelationID,
		"receivedAt": ev.ReceivedAt, "data": decode(ev.Data),
	}
}

// handleEvent works an event that some workflow starts by or waits for.
func (e *Engine) handleEvent(ctx context.Context, ev *gaff.Event) error {
	value := eventValue(ev)
	var failures []error
	refs, err := e.o.Store.WaitingFor(ctx, ev.Source, ev.Type, ev.CorrelationID)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		_, err := e.offer(ctx, ref, []*gaff.Event{ev}, e.o.Store.WriteRuns)
		if err != nil && !errors.Is(err, gaff.ErrNotFound) {
			failures = append(failures, fmt.Errorf("run %s: %w", ref.RunID, err))
		}
	}
	for _, c := range e.Workflows() {
		for i, t := range c.triggers {
			if t.source != ev.Source || t.eventType != "*" && t.eventType != ev.Type {
				continue
			}
			if err := e.trigger(ctx, c, i, t, ev, value); err != nil {
				failures = append(failures, fmt.Errorf("start workflow %s: %w", c.Name, err))
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	err = errors.Join(failures...)
	for _, f := range failures {
		if !errors.Is(f, gaff.ErrInvalid) {
			return err
		}
	}
	return gaff.Discard(err) // another try would end the same way
}

// trigger starts a run for an event, once.
func (e *Engine) trigger(ctx context.Context, c *Compiled, n int, t *trigger, ev *gaff.Event, value map[string]any) error {
	vars := map[string]any{"event": value}
	if t.filter != nil {
		yes, err := t.filter.eval(vars)
		if err != nil {
			// A filter speaks of fields that this event may not have.
			e.log.Debug("a workflow's filter does not fit an event", "workflow", c.Name, "event", ev.ID)
			return nil
		}
		if yes != true {
			return nil
		}
	}
	project, hop, err := e.origin(ctx, ev)
	if err != nil {
		return err
	}
	if hop >= gaff.MaxHops {
		return fmt.Errorf("%w: more than %d runs and events caused one another; is there a loop?", gaff.ErrInvalid, gaff.MaxHops)
	}
	if t.project != nil {
		v, err := t.project.eval(vars)
		if err != nil {
			return fmt.Errorf("%w: project: %w", gaff.ErrInvalid, err)
		}
		project = asText(v)
	}
	key := fmt.Sprintf("event:%s:%d", ev.ID, n)
	if t.key != nil {
		v, err := t.key.eval(vars)
		if err != nil {
			return fmt.Errorf("%w: key: %w", gaff.ErrInvalid, err)
		}
		key = clip("key:"+asText(v), 500)
	}
	v, err := t.input.eval(vars)
	if err != nil {
		return fmt.Errorf("%w: input: %w", gaff.ErrInvalid, err)
	}
	input, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: input: %w", gaff.ErrInvalid, err)
	}
	_, _, err = e.Run(ctx, StartParams{Workflow: c.Name, ProjectID: project, Input: input, Key: key, eventID: ev.ID, hop: hop})
	return err
}

// origin finds the project of an event, and its distance from the outside: the event of a
// job that a run asked for is one further than that run, whoever sent it.
func (e *Engine) origin(ctx context.Context, ev *gaff.Event) (project string, hop int, err error) {
	hop = ev.Hop + 1
	jobID := ""
	if ev.Source == gaff.InternalSource {
		var about struct{ JobID, ProjectID string }
		_ = json.Unmarshal(ev.Data, &about)
		project, jobID = about.ProjectID, about.JobID
	} else if in := e.o.Interpreters[ev.Source]; in != nil {
		u, err := in.Interpret(ev)
		if err != nil {
			return "", hop, nil // no event about a job
		}
		project, jobID = u.ProjectID, u.JobID
		if jobID == "" && u.RequestID != "" {
			err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error {
				j, err := tx.JobByRequest(ctx, u.Provider, u.RequestID)
				if err == nil {
					jobID, project = j.ID, cmp.Or(project, j.ProjectID)
				}
				if errors.Is(err, gaff.ErrNotFound) {
					return nil
				}
				return err
			})
			if err != nil {
				return "", hop, err
			}
		}
	}
	if jobID == "" {
		return project, hop, nil
	}
	if project == "" {
		if j, err := e.o.Store.Job(ctx, jobID); err == nil {
			project = j.ProjectID
		}
	}
	ref, err := e.o.Store.StepOfJob(ctx, jobID)
	if err == nil {
		run, err := e.o.Store.Run(ctx, ref.RunID)
		if err == nil {
			hop = max(hop, run.Hop+1)
		}
	}
	return project, hop, nil
}

// offer shows events to a waiting step, and lets the run go on with the first that fits.
func (e *Engine) offer(ctx context.Context, ref runs.StepRef, evs []*gaff.Event,
	apply func(context.Context, func(runs.Tx) error) error) (fit bool, err error) {
	_, err = e.move(ctx, ref.RunID, apply, func(a *advance) (bool, error) {
		fit = false
		s, u := a.st.find(ref.Step, ref.Item)
		if u == nil || u.Status != runs.StepWaiting || u.WaitSource == "" {
			return false, nil
		}
		for _, ev := range evs {
			if ev.Source != u.WaitSource || u.WaitType != "*" && ev.Type != u.WaitType ||
				u.WaitKey != "" && ev.CorrelationID != u.WaitKey || a.st.used(ev.ID) {
				continue
			}
			ok, err := a.judge(s, u, ev)
			if err != nil {
				return false, err
			}
			if !ok {
				continue
			}
			u.EventID = ev.ID
			a.complete(s, u, eventValue(ev))
			fit = true
			return true, nil
		}
		return false, nil
	})
	return fit, err
}

// used tells whether an event began the run or ended a wait of it: each counts once.
func (st *state) used(eventID string) bool {
	if st.run.EventID == eventID {
		return true
	}
	for _, s := range st.steps {
		for _, u := range s.units() {
			if u.EventID == eventID {
				return true
			}
		}
	}
	return false
}

// judge tells whether an event is the one that a step waits for. A condition that cannot be
// computed for it (it speaks of a field that this event has not) is not met.
func (a *advance) judge(s *stepState, u *runs.Step, ev *gaff.Event) (bool, error) {
	if s.def.condition == nil {
		return true, nil
	}
	vars, err := a.variables(s.def.judgeRefs)
	if err != nil {
		return false, err
	}
	if u.Item >= 0 {
		over, err := a.v.items(s.def.Name)
		if err != nil {
			return false, err
		}
		if u.Item < len(over) {
			vars["item"], vars["index"] = over[u.Item], int64(u.Item)
		}
	}
	vars["event"] = eventValue(ev)
	yes, err := s.def.condition.eval(vars)
	if err != nil {
		a.log().Debug("a condition does not fit an event", "run", u.RunID, "step", u.Name, "event", ev.ID)
		return false, nil
	}
	return yes == true, nil
}

func (a *advance) log() *slog.Logger {
	if l, ok := a.v.(*loader); ok && l.e != nil {
		return l.e.log
	}
	return slog.New(slog.DiscardHandler)
}

// matchEarlier goes through the events that came before a wait began. It is the work of an event of
// its own, so it runs after the wait is committed: what came before that is found here, and
// whatever comes after finds the wait.
func (e *Engine) matchEarlier(ctx context.Context, m message) error {
	a, err := e.load(ctx, m.RunID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, u := a.st.find(m.Step, m.Item)
	if u == nil || u.Status != runs.StepWaiting || u.WaitSource == "" {
		return nil
	}
	window := lookBack
	if w := time.Duration(s.def.WaitFor.Window); w > 0 {
		window = w
	}
	since := u.StartedAt.Add(-window)
	if since.Before(a.st.run.CreatedAt) {
		since = a.st.run.CreatedAt
	}
	var found []*gaff.Event
	f := gaff.EventFilter{Source: u.WaitSource, Since: since, Cursor: gaff.Cursor{Limit: 500}}
	if u.WaitType != "*" {
		f.Type = u.WaitType
	}
	for len(found) < maxLooked {
		page, err := e.o.Store.Events(ctx, f)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if u.WaitKey == "" || page.Items[i].CorrelationID == u.WaitKey {
				found = append(found, &page.Items[i].Event)
			}
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	slices.Reverse(found) // the oldest first
	for _, ev := range found {
		if len(ev.Data) == 0 {
			full, err := e.o.Store.Event(ctx, ev.ID)
			if errors.Is(err, gaff.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			ev = &full.Event
		}
		fit, err := e.offer(ctx, runs.StepRef{RunID: m.RunID, Step: m.Step, Item: m.Item}, []*gaff.Event{ev}, e.o.Store.WriteRuns)
		if err != nil || fit {
			return err
		}
	}
	return nil
}

// Cancel ends a run on someone's order, and its jobs at their providers.
func (e *Engine) Cancel(ctx context.Context, runID, by string) (*runs.Run, error) {
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.cancel(by)
		return err == nil, err
	})
}

// Retry makes a run that failed or was cancelled go on; or, with a step named, begins again
// from there; or, with item not runs.WholeStep, does one item of a step again. What
// comes after it is done anew, the rest is kept.
func (e *Engine) Retry(ctx context.Context, runID, step string, item int) (*runs.Run, error) {
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.retry(step, item)
		return err == nil, err
	})
}

// Decide answers an approval. by names who decided.
func (e *Engine) Decide(ctx context.Context, runID, step string, item int, approved bool, by, comment string) (*runs.Run, error) {
	if step == "" {
		rows, err := e.o.Store.Steps(ctx, runID)
		if err != nil {
			return nil, err
		}
		a, err := e.load(ctx, runID)
		if err != nil {
			return nil, err
		}
		var open []string
		for _, row := range rows {
			if row.Status == runs.StepWaiting && a.st.steps[row.Name] != nil && a.st.steps[row.Name].def.Approve != nil && (row.Item >= 0 || a.st.steps[row.Name].def.forEach == nil) {
				open = append(open, row.Name)
				item = row.Item
			}
		}
		if len(open) != 1 {
			return nil, fmt.Errorf("%w: %d decisions are wanted; name the step", gaff.ErrConflict, len(open))
		}
		step = open[0]
	}
	return e.move(ctx, runID, e.o.Store.WriteRuns, func(a *advance) (bool, error) {
		err := a.decide(step, item, approved, by, clip(comment, 2000))
		return err == nil, err
	})
}

// SaveProject makes a project or sets its name, owner and metadata.
func (e *Engine) SaveProject(ctx context.Context, p *jobs.Project) error {
	return e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return tx.SaveProject(ctx, p) })
}

// schedule arranges the next time of every schedule. The event's key is the time, so it is
// arranged once, however many nodes do it.
func (e *Engine) schedule(ctx context.Context, now time.Time) error {
	for _, c := range e.Workflows() {
		for _, s := range c.schedules {
			if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.arrange(ctx, tx, c, s, now) }); err != nil {
				return fmt.Errorf("schedule of %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

func (e *Engine) arrange(ctx context.Context, tx runs.Tx, c *Compiled, s *schedule, after time.Time) error {
	at := s.cron.Next(after.In(s.zone))
	if at.IsZero() {
		return nil
	}
	data, err := json.Marshal(message{Workflow: c.Name, Cron: s.spec(), At: at.UTC()})
	if err != nil {
		return err
	}
	return e.accept(ctx, tx, &gaff.Event{
		Source: gaff.InternalSource, Type: eventSchedule, Data: data,
		DedupeKey: fmt.Sprintf("schedule:%s:%s:%d", c.Name, s.spec(), at.Unix()),
	}, at)
}

func (s *schedule) spec() string { return s.Cron + " " + s.zone.String() }

// scheduled starts the run of a time, and arranges the next.
func (e *Engine) scheduled(ctx context.Context, m message) error {
	c := (*e.current.Load())[m.Workflow]
	if c == nil {
		return nil // it was taken away
	}
	i := slices.IndexFunc(c.schedules, func(s *schedule) bool { return s.spec() == m.Cron })
	if i < 0 {
		return nil // it was changed; the new one was arranged when it was loaded
	}
	s := c.schedules[i]
	if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.arrange(ctx, tx, c, s, time.Now()) }); err != nil {
		return err
	}
	vars := map[string]any{"scheduled": m.At}
	project := ""
	if s.project != nil {
		v, err := s.project.eval(vars)
		if err != nil {
			return gaff.Discard(fmt.Errorf("project: %w", err))
		}
		project = asText(v)
	}
	v, err := s.input.eval(vars)
	if err != nil {
		return gaff.Discard(fmt.Errorf("input: %w", err))
	}
	input, err := encode(v)
	if err != nil {
		return gaff.Discard(fmt.Errorf("input: %w", err))
	}
	_, _, err = e.Run(ctx, StartParams{
		Workflow: c.Name, ProjectID: project, Input: input, Key: fmt.Sprintf("schedule:%s:%d", m.Cron, m.At.Unix()),
	})
	if errors.Is(err, gaff.ErrInvalid) {
		return gaff.Discard(err)
	}
	return err
}

// maxReply is how much of a reply to a call is read, in bytes.
const maxReply = 1 << 20

// handleCall makes the call of an http step. A kill in the midst of it makes it be repeated,
// with the same Idempotency-Key.
func (e *Engine) handleCall(ctx context.Context, ev *gaff.Event) error {
	var m message
	if err := json.Unmarshal(ev.Data, &m); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	a, err := e.load(ctx, m.RunID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, u := a.st.find(m.Step, m.Item)
	current := func(u *runs.Step) bool {
		return u != nil && u.Status == runs.StepRunning && u.Attempt == m.Attempt
	}
	if !current(u) {
		return nil
	}
	result, again, failure := e.call(ctx, a, s, u)
	if failure != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), gaff.ErrStopped) {
		return failure // made again at the next start
	}
	return e.finish(ctx, m.RunID, func(a *advance) (bool, error) {
		s, u := a.st.find(m.Step, m.Item)
		if !current(u) {
			return false, nil
		}
		if failure != nil {
			a.fail(s, u, failure.Error(), !again)
		} else {
			a.complete(s, u, result)
		}
		return true, nil
	})
}

// call makes one call. again tells that another try may end better.
func (e *Engine) call(ctx context.Context, a *advance, s *stepState, u *runs.Step) (result map[string]any, again bool, err error) {
	if e.o.Client == nil {
		return nil, false, errors.New("http steps are switched off")
	}
	vars, err := a.variables(s.def.startRefs)
	if err != nil {
		return nil, true, err
	}
	if u.Item >= 0 {
		over, err := a.v.items(s.def.Name)
		if err != nil {
			return nil, true, err
		}
		if u.Item < len(over) {
			vars["item"], vars["index"] = over[u.Item], int64(u.Item)
		}
	}
	input, err := a.v.(*loader).input(u.Name, u.Item)
	if err != nil {
		return nil, true, err
	}
	var c call
	if err := json.Unmarshal(input, &c); err != nil {
		return nil, false, fmt.Errorf("read what the step was given: %w", err)
	}
	timeout := callTimeout
	if t := time.Duration(s.def.Timeout); t > 0 {
		timeout = min(t, maxCallTimeout)
	}
	callCtx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no reply within %s", timeout))
	defer cancel()
	var body io.Reader
	if c.Body != nil {
		body = strings.NewReader(string(c.Body))
	}
	req, err := http.NewRequestWithContext(callCtx, c.Method, c.URL, body)
	if err != nil {
		return nil, false, err
	}
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" || req.URL.Host == "" {
		return nil, false, fmt.Errorf("%s is no address: want http:// or https://", shorten(c.URL))
	}
	if c.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "gaff")
	// The same at every automatic try, so that the receiver does the work once; another
	// after a person had it done again.
	first := *u
	first.Attempt -= u.Tries - 1
	req.Header.Set("Idempotency-Key", u.RunID+"/"+stepKey(s, &first))
	vars["secrets"] = e.o.Secrets
	for name, text := range s.def.headers {
		if text == nil {
			continue
		}
		v, err := text.eval(vars)
		if err != nil {
			return nil, false, fmt.Errorf("header %s: %w", name, err)
		}
		req.Header.Set(name, asText(v))
	}
	res, err := e.o.Client.Do(req)
	if err != nil {
		if cause := context.Cause(callCtx); cause != nil {
			err = cause
		}
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err // the address is shown beside it
		}
		return nil, true, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, true, fmt.Errorf("read the reply: %w", err)
	case res.StatusCode < 200 || res.StatusCode > 299:
		temporary := res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout ||
			res.StatusCode == http.StatusTooEarly || res.StatusCode == http.StatusConflict
		return nil, temporary, fmt.Errorf("answered %s: %s", res.Status, shorten(strings.ToValidUTF8(string(text), "")))
	case len(text) > maxReply:
		return nil, false, fmt.Errorf("the reply is longer than %d bytes", maxReply)
	}
	result = map[string]any{"status": int64(res.StatusCode), "body": nil}
	if json.Valid(text) {
		result["body"] = decode(text)
	} else {
		result["body"] = strings.ToValidUTF8(string(text), "\uFFFD")
	}
	return result, false, nil
}

// loader reads values from the store, under the changes that are being made.
type loader struct {
	ctx    context.Context
	e      *Engine
	st     *state
	stored map[string][]runs.Step
	over   map[string][]any
}

func (l *loader) rows(name string) ([]runs.Step, error) {
	if rows, ok := l.stored[name]; ok {
		return rows, nil
	}
	rows, err := l.e.o.Store.StepValues(l.ctx, l.st.run.ID, name)
	if err != nil {
		return nil, err
	}
	if l.stored == nil {
		l.stored = map[string][]runs.Step{}
	}
	l.stored[name] = rows
	return rows, nil
}

// input is what a row was given, in an earlier transaction or this one.
func (l *loader) input(name string, item int) (json.RawMessage, error) {
	if _, u := l.st.find(name, item); u != nil && u.Input != nil {
		return u.Input, nil
	}
	rows, err := l.rows(name)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Item == item {
			return rows[i].Input, nil
		}
	}
	return nil, fmt.Errorf("step %s: what it was given is gone", name)
}

func (l *loader) items(name string) ([]any, error) {
	if over, ok := l.over[name]; ok {
		return over, nil
	}
	raw, err := l.input(name, runs.WholeStep)
	if err != nil {
		return nil, err
	}
	over, _ := decode(raw).([]any)
	if l.over == nil {
		l.over = map[string][]any{}
	}
	l.over[name] = over
	return over, nil
}

func (l *loader) step(name string) (map[string]any, error) {
	s := l.st.steps[name]
	stored := map[int]json.RawMessage{}
	var media map[int][]jobs.Media
	needed := s.row.Status != runs.StepPending && s.row.Status != runs.StepSkipped
	if needed {
		for _, u := range s.units() {
			if u.Status == runs.StepCompleted && u.Result == nil {
				rows, err := l.rows(name)
				if err != nil {
					return nil, err
				}
				for i := range rows {
					stored[rows[i].Item] = rows[i].Result
				}
				break
			}
		}
		if s.def.Submit != nil {
			var err error
			if media, err = l.e.o.Store.StepMedia(l.ctx, l.st.run.ID, name); err != nil {
				return nil, err
			}
		}
	}
	unit := func(u *runs.Step) map[string]any {
		result := u.Result
		if result == nil {
			result = stored[u.Item]
		}
		files := []any{}
		if u.Status == runs.StepCompleted {
			for _, m := range media[u.Item] {
				link := m.URL
				if whole, ok := jobs.WholeLink(result, link); ok && m.Shortened() {
					link = whole
				}
				files = append(files, map[string]any{
					"id": m.ID, "job": m.JobID, "url": link, "storedUrl": m.StoredURL, "mediaType": m.MediaType,
					"contentType": m.ContentType, "size": m.Size, "sha256": m.SHA256, "metadata": decode(m.Metadata),
				})
			}
		} else {
			result = nil
		}
		return map[string]any{
			"status": u.Status.String(), "result": decode(result), "error": u.Error, "job": u.JobID, "cost": u.Cost, "media": files,
		}
	}
	v := unit(s.row)
	v["items"] = []any{}
	if s.def.forEach == nil {
		return v, nil
	}
	var over []any
	if needed && len(s.items) > 0 {
		var err error
		if over, err = l.items(name); err != nil {
			return nil, err
		}
	}
	items, files, results := []any{}, []any{}, []any{}
	for _, u := range s.items {
		one := unit(u)
		one["index"] = int64(u.Item)
		one["item"] = nil
		if u.Item < len(over) {
			one["item"] = over[u.Item]
		}
		items = append(items, one)
		files = append(files, one["media"].([]any)...)
		results = append(results, one["result"])
	}
	v["items"], v["media"], v["result"] = items, files, results
	return v, nil
}

// locks lets one goroutine at a time work on a run: those of other processes are held off by
// the run's revision.
type locks struct {
	mu   sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	sync.Mutex
	users int
}

func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*heldLock{}
	}
	h := l.held[name]
	if h == nil {
		h = &heldLock{}
		l.held[name] = h
	}
	h.users++
	l.mu.Unlock()
	h.Lock()
	return func() {
		h.Unlock()
		l.mu.Lock()
		if h.users--; h.users == 0 {
			delete(l.held, name)
		}
		l.mu.Unlock()
	}
}

// Version is the definition that a run keeps.
func (e *Engine) Version(ctx context.Context, run *runs.Run) (*Compiled, error) {
	return e.version(ctx, run.Version)
}
