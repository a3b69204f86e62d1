//go:build !slim && !386 && !arm && (linux || darwin || freebsd || windows)

package javascript

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"

	"gaff/internal/excerpt"
)

//go:embed prelude.js
var prelude string

const (
	// grace is how long after its time limit an engine may go on until its memory is revoked: the
	// engine looks at the clock between steps, but not inside a long one.
	grace = 250 * time.Millisecond
	// pollEvery is how many calls and loops pass until the engine looks at the clock.
	pollEvery = 500
	// file is the name of the script in stack traces.
	file = "transform.js"
	// maxMessage is the longest message of an error, in bytes.
	maxMessage = 500
	// maxLogs is how many lines of console.log a result has, and maxLog the longest one, in bytes.
	maxLogs = 100
	maxLog  = 1000
)

func available() error { return nil }

// epoch is what the times of engines count from.
var epoch = time.Now()

// engine is one QuickJS runtime with one context. Only its own goroutine uses it.
type engine struct {
	heap     *heap
	tls      *libc.TLS
	runtime  uintptr
	context  uintptr
	deadline time.Duration // since epoch
}

// interrupt is what the engine's interrupt handler reads; it is in the heap.
type interrupt struct {
	deadline time.Duration
	context  uintptr
}

var interruptHandler = pointer(func(_ *libc.TLS, _, opaque uintptr) int32 {
	i := at[interrupt](opaque)
	if time.Since(epoch) >= i.deadline {
		return 1
	}
	at[lib.TJSContext](i.context).Finterrupt_counter = pollEvery
	return 0
})

// execute runs a script in a new engine, on a goroutine of its own, whose stack is freed with it.
func execute(source string, event []byte, limit time.Duration) (r *Result, err error) {
	h, err := newHeap(MaxMemory)
	if err != nil {
		return nil, err
	}
	defer h.close()
	watchdog := time.AfterFunc(limit+grace, h.revoke)
	defer watchdog.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = guarded(h, source, event, limit)
	}()
	<-done
	return r, err
}

// guarded runs the script, and turns a fault of the engine into an error.
func guarded(h *heap, source string, event []byte, limit time.Duration) (r *Result, err error) {
	debug.SetPanicOnFault(true)
	e := &engine{heap: h, tls: libc.NewTLS(), deadline: time.Since(epoch) + limit}
	defer e.tls.Close()
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, &Error{Message: fmt.Sprintf("the engine failed: %v", p)}
			if fault, ok := p.(runtime.Error); ok && e.late() && strings.Contains(fault.Error(), "memory address") {
				err = e.tooLong(limit)
			}
		}
	}()
	if r, err = e.run(source, event); err != nil && e.late() {
		err = e.tooLong(limit)
	}
	return r, err
}

func (e *engine) late() bool { return time.Since(epoch) >= e.deadline }

func (e *engine) tooLong(limit time.Duration) error {
	return &Error{Message: fmt.Sprintf("took longer than %s", limit)}
}

var errMemory = &Error{Message: fmt.Sprintf("used more than %d MiB of memory", MaxMemory>>20)}

// start makes the runtime and its context.
func (e *engine) start() error {
	table, state := e.heap.alloc(int(unsafe.Sizeof(allocator))), e.heap.alloc(int(unsafe.Sizeof(interrupt{})))
	*at[[4]uintptr](table) = allocator
	if e.runtime = lib.XJS_NewRuntime2(e.tls, table, e.heap.base); e.runtime == 0 {
		return errMemory
	}
	if e.context = lib.XJS_NewContext(e.tls, e.runtime); e.context == 0 {
		return errMemory
	}
	*at[interrupt](state) = interrupt{e.deadline, e.context}
	lib.XJS_SetInterruptHandler(e.tls, e.runtime, interruptHandler, state)
	return nil
}

// run evaluates the script and, with an event, calls transform. Values are not freed: the heap is.
func (e *engine) run(source string, event []byte) (*Result, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	calls, err := e.eval(prelude, "gaff.js")
	if err != nil {
		return nil, err
	}
	begin, end := lib.XJS_GetPropertyUint32(e.tls, e.context, calls, 0), lib.XJS_GetPropertyUint32(e.tls, e.context, calls, 1)
	if _, err := e.eval(source, file); err != nil {
		return nil, err
	}
	transform, err := e.eval(`typeof transform === "function" ? transform : undefined`, "gaff.js")
	switch {
	case err != nil:
		return nil, err
	case transform.Ftag == lib.EJS_TAG_UNDEFINED:
		return nil, &Error{Message: "the script defines no function transform; write function transform(event) { … }"}
	case event == nil:
		return nil, nil
	}
	text, err := e.newString(event)
	if err != nil {
		return nil, err
	}
	large := lib.TJSValue{Ftag: lib.EJS_TAG_BOOL}
	if hasLargeNumber(event) {
		*(*uint64)(unsafe.Pointer(&large)) = 1
	}
	value, err := e.call(begin, transform, text, large)
	if err == nil {
		value, err = e.settle(value)
	}
	if err == nil {
		value, err = e.call(end, value)
	}
	if err != nil {
		return nil, err
	}
	return e.result(value)
}

// result reads what end of the prelude wrote.
func (e *engine) result(value lib.TJSValue) (*Result, error) {
	text, err := e.text(value, MaxBody+MaxScript+1<<20)
	if err != nil {
		return nil, err
	}
	rest, body, _ := strings.Cut(text, "\n")
	r := &Result{Drop: rest[0] == 'D', Text: rest[0] == 'T', Body: []byte(body)}
	if err := json.Unmarshal([]byte(rest[1:]), &[]any{&r.Header, &r.Logs}); err != nil {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	r.Logs = bounded(r.Logs)
	switch {
	case len(body) > MaxBody:
		return nil, &Error{Message: fmt.Sprintf("the body has %d bytes; at most %d are allowed", len(body), MaxBody)}
	case len(r.Header) > MaxHeaders:
		return nil, &Error{Message: fmt.Sprintf("%d headers are set; at most %d are allowed", len(r.Header), MaxHeaders)}
	}
	return r, nil
}

// bounded shortens logs to maxLogs lines of maxLog bytes. The prelude does so too, but runs in the
// engine, where the script may have changed what it calls.
func bounded(logs []string) []string {
	if len(logs) > maxLogs {
		logs = slices.Clone(logs[:maxLogs])
	}
	for i, line := range logs {
		if len(line) > maxLog {
			logs[i] = strings.Clone(excerpt.Prefix(line, maxLog))
		}
	}
	return logs
}

// settle waits for a promise: it runs the jobs of the engine until none is left.
func (e *engine) settle(value lib.TJSValue) (lib.TJSValue, error) {
	state := lib.XJS_PromiseState(e.tls, e.context, value)
	if state < 0 { // not a promise
		return value, nil
	}
	for lib.XJS_IsJobPending(e.tls, e.runtime) != 0 && !e.late() {
		if lib.XJS_ExecutePendingJob(e.tls, e.runtime, 0) < 0 {
			if err := e.exception(); e.late() {
				return value, err
			}
		}
	}
	result := lib.XJS_PromiseResult(e.tls, e.context, value)
	switch lib.XJS_PromiseState(e.tls, e.context, value) {
	case lib.EJS_PROMISE_FULFILLED:
		return result, nil
	case lib.EJS_PROMISE_REJECTED:
		return value, e.thrown(result)
	}
	return value, &Error{Message: "the promise of transform is never settled: there are no timers and no network to wait for"}
}

func (e *engine) eval(source, name string) (lib.TJSValue, error) {
	text, size, err := e.cString(source)
	if err != nil {
		return lib.TJSValue{}, err
	}
	path, _, err := e.cString(name)
	if err != nil {
		return lib.TJSValue{}, err
	}
	return e.checked(lib.XJS_Eval(e.tls, e.context, text, size, path, lib.MJS_EVAL_TYPE_GLOBAL))
}

func (e *engine) call(function lib.TJSValue, args ...lib.TJSValue) (lib.TJSValue, error) {
	list := e.heap.alloc(len(args) * int(unsafe.Sizeof(lib.TJSValue{})))
	if list == 0 {
		return lib.TJSValue{}, errMemory
	}
	copy(unsafe.Slice(at[lib.TJSValue](list), len(args)), args)
	return e.checked(lib.XJS_Call(e.tls, e.context, function, lib.TJSValue{Ftag: lib.EJS_TAG_UNDEFINED}, int32(len(args)), list))
}

// cString copies text into the heap, with a NUL behind it.
func (e *engine) cString(text string) (address uintptr, size lib.Tsize_t, err error) {
	if address = e.heap.alloc(len(text) + 1); address == 0 {
		return 0, 0, errMemory
	}
	to := unsafe.Slice(at[byte](address), len(text)+1)
	copy(to, text)
	to[len(text)] = 0
	return address, lib.Tsize_t(len(text)), nil
}

func (e *engine) newString(text []byte) (lib.TJSValue, error) {
	address, size, err := e.cString(string(text))
	if err != nil {
		return lib.TJSValue{}, err
	}
	value, err := e.checked(lib.XJS_NewStringLen(e.tls, e.context, address, size))
	e.heap.state().release(address)
	return value, err
}

// text returns a value as a string of at most limit bytes.
func (e *engine) text(value lib.TJSValue, limit int) (string, error) {
	size := e.heap.alloc(int(unsafe.Sizeof(lib.Tsize_t(0))))
	if size == 0 {
		return "", errMemory
	}
	address := lib.XJS_ToCStringLen2(e.tls, e.context, size, value, 0)
	if address == 0 {
		return "", e.exception()
	}
	n := int(*at[lib.Tsize_t](size))
	if n > limit {
		return "", &Error{Message: fmt.Sprintf("the body has more than %d bytes", MaxBody)}
	}
	return strings.ToValidUTF8(string(unsafe.Slice(at[byte](address), n)), "\uFFFD"), nil
}

// checked returns a value, or the exception instead of which it is.
func (e *engine) checked(value lib.TJSValue) (lib.TJSValue, error) {
	if value.Ftag == lib.EJS_TAG_EXCEPTION {
		return value, e.exception()
	}
	return value, nil
}

func (e *engine) exception() error {
	full := e.heap.state().full != 0
	err := e.thrown(lib.XJS_GetException(e.tls, e.context))
	if found, ok := errors.AsType[*Error](err); ok && full && (found.Message == "null" || strings.HasSuffix(found.Message, "out of memory")) {
		return errMemory
	}
	return err
}

// position finds the innermost place of the script in a stack trace.
var position = regexp.MustCompile(regexp.QuoteMeta(file) + `:(\d+)(?::(\d+))?`)

// thrown describes what a script threw: any value, whose members and conversions may throw themselves.
func (e *engine) thrown(value lib.TJSValue) error {
	message, err := e.text(value, MaxBody)
	if err != nil {
		message = "threw a value that cannot be converted to a string"
	}
	out := &Error{Message: excerpt.Line(message, maxMessage)}
	if lib.XJS_IsError(e.tls, e.context, value) == 0 {
		return out
	}
	name, _, err := e.cString("stack")
	if err != nil {
		return out
	}
	stack := lib.XJS_GetPropertyStr(e.tls, e.context, value, name)
	if stack.Ftag != lib.EJS_TAG_STRING {
		lib.XJS_GetException(e.tls, e.context) // of a getter; none is left for the next call
		return out
	}
	trace, _ := e.text(stack, MaxBody)
	if found := position.FindStringSubmatch(trace); found != nil {
		out.Line, _ = strconv.Atoi(found[1])
		out.Column, _ = strconv.Atoi(found[2])
	}
	return out
}

// hasLargeNumber reports whether JSON may have an integer that a double would round.
func hasLargeNumber(text []byte) bool {
	digits := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			digits = 0
			continue
		}
		if digits++; digits > 15 {
			return true
		}
	}
	return false
}
