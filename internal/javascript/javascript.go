// Package javascript runs the JavaScript of transformations: a script that defines the function transform,
// which makes the body of a request from an event. The engine is QuickJS, translated to Go.
//
// Each run has a new engine in a region of memory of its own, so that nothing of one event reaches
// another, and can neither open files nor connections. Time, memory, the size of the result and the
// number of engines are bounded, also for scripts that are meant to do harm
// (docs/decisions/0053-javascript.md).
package javascript

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Bounds of a script and of one run.
const (
	// MaxScript is the maximum length of a script, in bytes.
	MaxScript = 64 << 10
	// MaxTime is the time limit of one run.
	MaxTime = 2 * time.Second
	// MaxMemory is the memory of one run, in bytes.
	MaxMemory = 64 << 20
	// MaxBody is the size limit of the body that a run makes, in bytes.
	MaxBody = 8 << 20
	// MaxHeaders is how many headers a run may set.
	MaxHeaders = 32
	// maxEngines is how many engines run at once, if there are as many processors; one script gets half
	// of them.
	maxEngines = 4
	// maxWait is how long a run waits for an engine.
	maxWait = 5 * time.Second
)

// ErrBusy means that all engines were in use; the script did not run.
var ErrBusy error = busyError{}

type busyError struct{}

func (busyError) Error() string   { return "all JavaScript engines are busy" }
func (busyError) LogText() string { return "all JavaScript engines are busy" }

// Error is a mistake in a script, or an error that it threw. Line and Column count from 1; 0 if unknown.
type Error struct {
	Message      string
	Line, Column int
}

func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return e.Message
	case e.Column == 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Message)
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

// Result is what a script made of an event.
type Result struct {
	// Drop is set if transform returned null: nothing is to be sent.
	Drop bool
	// Body is JSON, or, if Text is set, the string that transform returned.
	Body []byte
	Text bool
	// Header has the headers that the script set, with names and values as it wrote them.
	Header map[string]string
	// Logs has the first lines of console.log: at most 100 of 1,000 bytes.
	Logs []string
}

// Script is a checked script. It is safe for concurrent use.
type Script struct {
	source  string
	engines chan struct{} // one for each running engine
	limit   time.Duration
}

// engines has one for each running engine of the process.
var engines = make(chan struct{}, min(max(runtime.GOMAXPROCS(0), 2), maxEngines))

// compiling is held by the engine that checks a script.
var compiling sync.Mutex

// Compile checks a script: its syntax, and that it defines the function transform. A mistake is an [*Error].
func Compile(source string) (*Script, error) {
	switch {
	case len(source) > MaxScript:
		return nil, &Error{Message: fmt.Sprintf("the script has %d bytes; at most %d are allowed", len(source), MaxScript)}
	case strings.TrimSpace(source) == "":
		return nil, &Error{Message: "the script is empty; define function transform(event) { … }"}
	case strings.ContainsRune(source, 0):
		return nil, &Error{Message: "the script has a NUL character"}
	}
	s := &Script{source: source, engines: make(chan struct{}, cap(engines)/2), limit: MaxTime}
	if err := available(); err != nil {
		return nil, err
	}
	compiling.Lock() // and no engine of a run, so that busy ones make no script invalid
	defer compiling.Unlock()
	_, err := execute(source, nil, s.limit)
	return s, err
}

// Run calls the script's function transform with an event, a JSON object. The error is [ErrBusy], that
// of ctx, or an [*Error] with the reason why there is no result.
func (s *Script) Run(ctx context.Context, event []byte) (*Result, error) {
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	for _, free := range []chan struct{}{s.engines, engines} {
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-wait.C:
			return nil, ErrBusy
		}
	}
	return execute(s.source, event, s.limit)
}
