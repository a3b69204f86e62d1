//go:build !slim && !386 && !arm && (linux || darwin || freebsd || windows)

package javascript

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/fuzzseed"
)

const event = `{"id":"evt_1","source":"shop","type":"order.paid","data":{"total":12.5,"seed":17454220438242315174,"items":[{"sku":"a"},{"sku":"b"}]}}`

func compiled(t testing.TB, source string) *Script {
	t.Helper()
	s, err := Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunMakesTheBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source string
		want   Result
	}{
		"object": {
			`function transform(event) { return {kind: event.source + ":" + event.type, skus: event.data.items.map((i) => i.sku)} }`,
			Result{Body: []byte(`{"kind":"shop:order.paid","skus":["a","b"]}`)},
		},
		"arrow function": {`const transform = ({ id }) => ({ id })`, Result{Body: []byte(`{"id":"evt_1"}`)}},
		"array":          {`const transform = (e) => [e.id, null]`, Result{Body: []byte(`["evt_1",null]`)}},
		"text":           {`const transform = (e) => "order=" + e.data.total`, Result{Text: true, Body: []byte("order=12.5")}},
		"empty text":     {`const transform = () => ""`, Result{Text: true, Body: []byte("")}},
		"text with line breaks": {
			`const transform = () => "a\nb\n"`, Result{Text: true, Body: []byte("a\nb\n")},
		},
		"nothing": {`const transform = (e) => e.data.total > 10 ? null : e`, Result{Drop: true, Body: []byte("")}},
		"headers": {
			`function transform(event, out) { out.headers["X-Kind"] = event.type; out.headers["x-total"] = event.data.total; return {} }`,
			Result{Body: []byte(`{}`), Header: map[string]string{"X-Kind": "order.paid", "x-total": "12.5"}},
		},
		"logs": {
			`function transform(event) { console.log("total", event.data.total, {a: [1]}); return {} }`,
			Result{Body: []byte(`{}`), Logs: []string{`total 12.5 {"a":[1]}`}},
		},
		"promise":       {`async function transform(e) { const v = await Promise.resolve(e.id); return {v} }`, Result{Body: []byte(`{"v":"evt_1"}`)}},
		"large integer": {`const transform = (e) => ({seed: e.data.seed, next: e.data.seed + 1n})`, Result{Body: []byte(`{"seed":17454220438242315174,"next":17454220438242315175}`)}},
		"half a surrogate pair": {
			`const transform = () => "\ud83d!"`, Result{Text: true, Body: []byte("\uFFFD!")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := compiled(t, c.source).Run(t.Context(), []byte(event))
			if err != nil {
				t.Fatal(err)
			}
			if c.want.Header == nil {
				c.want.Header = map[string]string{}
			}
			if c.want.Logs == nil {
				c.want.Logs = []string{}
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCompileNamesTheFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, want string }{
		"syntax":          {"function transform(e) {\n  return {a: };\n}", "2:14: SyntaxError: "},
		"no function":     {"const body = 1", "the script defines no function transform"},
		"another thing":   {"const transform = 1", "the script defines no function transform"},
		"empty":           {" \n", "the script is empty"},
		"long":            {"//" + strings.Repeat("x", MaxScript), "the script has 65538 bytes; at most 65536 are allowed"},
		"NUL":             {"function transform() {}\x00", "NUL"},
		"top level":       {"\nnothing.there;\nfunction transform() {}", "2:1: ReferenceError: "},
		"import":          {`import fs from "fs"; function transform() {}`, "SyntaxError"},
		"top-level await": {`await 1; function transform() {}`, "SyntaxError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Compile(c.source)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%v is a %T, want an *Error", err, err)
			}
		})
	}
}

// hostile are bodies of transform that must end with an error, or soon.
var hostile = map[string]struct{ body, want string }{
	"endless loop":                   {`while (true) {}`, "took longer than"},
	"endless loop that catches":      {`while (true) { try { while (true) {} } catch {} finally { continue } }`, "took longer than"},
	"endless recursion":              {`function f() { return f() + 1 } f()`, "1:57: InternalError: stack overflow"},
	"recursion of getters":           {`const x = {get a() { return x.a }}; x.a`, "stack overflow"},
	"recursion of toString":          {`const x = {toString() { return "" + x }}; return "" + x`, "stack overflow"},
	"memory in arrays":               {`const a = []; while (true) a.push(new Array(1000).fill(1))`, "used more than 64 MiB of memory"},
	"memory in one buffer":           {`return new Uint8Array(1e9)`, "used more than 64 MiB of memory"},
	"memory in a map":                {`const m = new Map(); while (true) m.set({}, {})`, "used more than 64 MiB of memory"},
	"memory in text":                 {`return "a".repeat(1 << 29)`, "used more than 64 MiB of memory"},
	"memory, caught":                 {`const a = []; while (true) try { while (true) a.push(new Array(1e5).fill(1)) } catch {}`, ""},
	"giant output":                   {`return {a: "a".repeat(9e6)}`, "the body has 9000008 bytes; at most 8388608 are allowed"},
	"giant text":                     {`return "a".repeat(2e7)`, "the body has more than 8388608 bytes"},
	"many headers":                   {`for (let i = 0; i < 33; i++) out.headers["x" + i] = "1"; return {}`, "33 headers are set; at most 32 are allowed"},
	"deep result":                    {`let o = {}; for (let i = 0; i < 1e5; i++) o = {o}; return o`, "stack overflow"},
	"circular result":                {`const a = []; a[0] = a; return a`, "TypeError: circular reference"},
	"deep JSON":                      {`JSON.parse("[".repeat(1e6))`, "stack overflow"},
	"deep source":                    {`eval("(".repeat(1e5))`, "stack overflow"},
	"deep regular expression":        {`new RegExp("(?:".repeat(1e5))`, "SyntaxError"},
	"deep proxies":                   {`let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return p.x`, "stack overflow"},
	"slow regular expression":        {`return [/(a+)+$/.test("a".repeat(40) + "b")]`, "took longer than"},
	"promise chain":                  {`const f = () => Promise.resolve().then(f); return f()`, ""},
	"endless await":                  {`return (async () => { while (true) await null })()`, "took longer than"},
	"pending promise":                {`return new Promise(() => {})`, "the promise of transform is never settled"},
	"rejected promise":               {`return Promise.reject(new RangeError("no"))`, "RangeError: no"},
	"thrown null":                    {`throw null`, "null"},
	"thrown object":                  {`throw {toString() { throw 1 }}`, "threw a value that cannot be converted to a string"},
	"thrown endless object":          {`throw {toString() { while (true) {} }}`, "took longer than"},
	"thrown symbol":                  {`throw Symbol("x")`, "threw a value that cannot be converted to a string"},
	"thrown giant text":              {`throw "x".repeat(1e6)`, "xxxx"},
	"stack that throws":              {`const e = new Error("a"); Object.defineProperty(e, "stack", {get() { throw 1 }}); throw e`, "Error: a"},
	"long array of holes":            {`return [new Array(4294967295).indexOf(1)]`, "took longer than"},
	"long object like an array":      {`return [Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)]`, "took longer than"},
	"long list as JSON":              {`return new Array(4294967295)`, ""},
	"long search":                    {`return ["a".repeat(4e6).indexOf("a".repeat(2e6) + "b")]`, "took longer than"},
	"comparison of long texts":       {`const a = "a".repeat(1.6e7), b = "a".repeat(1.6e7); while (a == b) {}`, "took longer than"},
	"large numbers":                  {`return [String(7n ** 300000n).length]`, ""},
	"waiting thread":                 {`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000)`, "TypeError"},
	"undefined":                      {``, "TypeError: transform returned undefined; return an object"},
	"number":                         {`return 1`, "TypeError: transform returned number"},
	"function":                       {`return () => 1`, "TypeError: transform returned function"},
	"header of an object":            {`out.headers.a = {}; return {}`, "TypeError: the header a is object; set a string"},
	"toJSON that never ends":         {`return {toJSON() { while (true) {} }}`, "took longer than"},
	"toJSON that hides the body":     {`return {toJSON() {}}`, "TypeError: transform returned object"},
	"headers by a getter":            {`Object.defineProperty(out, "headers", {get() { while (true) {} }}); return {}`, "took longer than"},
	"prototype of Object":            {`Object.defineProperty(Object.prototype, "then", {get() { throw new Error("then") }}); return {a: 1}`, ""},
	"replaced built-in functions":    {`JSON.stringify = String = Object.keys = RegExp.prototype.exec = () => { throw 1 }; return {a: 1}`, ""},
	"index of all arrays":            {`Object.defineProperty(Array.prototype, 0, {set() { throw 1 }, get() { return "x" }}); return {a: 1}`, ""},
	"modules of the system":          {`return import("std").then((m) => ({m: typeof m}))`, "ReferenceError"},
	"module of a file":               {`return import("/etc/passwd").then((m) => ({m}))`, ""},
	"functions of the host":          {`return [fetch("http://127.0.0.1")]`, "'fetch' is not defined"},
	"process":                        {`return process.env`, "'process' is not defined"},
	"timers":                         {`setTimeout(() => 1, 1)`, "'setTimeout' is not defined"},
	"clean-up after its end":         {`new FinalizationRegistry(() => { while (true) {} }).register({}, 1); return {}`, ""},
	"async iteration without an end": {`return (async () => { for await (const x of (function* () { while (true) yield 1 })()) {} })()`, "took longer than"},
}

func TestHostileScriptsAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compiled(t, "function transform(event, out) { "+c.body+" }")
			s.limit = 300 * time.Millisecond
			if c.want != "" && c.want != "took longer than" {
				s.limit = 20 * time.Second // another bound ends it first
			}
			_, err := s.Run(t.Context(), []byte(event))
			for errors.Is(err, ErrBusy) { // other tests have the engines
				_, err = s.Run(t.Context(), []byte(event))
			}
			if err == nil && c.want != "" || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && len(err.Error()) > 2*maxMessage {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

// A script can change built-in functions, but not make its logs longer by that.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	const giant = `const giant = "x".repeat(8e6), result = {join: () => ({slice: () => giant})}; `
	for name, body := range map[string]string{
		"long line":                `console.log("x".repeat(8e6))`,
		"many lines":               `for (let i = 0; i < 1e5; i++) console.log("x")`,
		"many values":              `console.log(...new Array(6e4).fill("xx"))`,
		"bytes of characters":      `console.log("漢".repeat(1000))`,
		"replaced map":             giant + `Array.prototype.map = () => result; console.log("a")`,
		"replaced join":            giant + `Array.prototype.join = result.join; console.log("a")`,
		"replaced slice":           giant + `String.prototype.slice = () => giant; console.log("a")`,
		"replaced JSON of arrays":  giant + `Array.prototype.toJSON = () => [{}, [giant]]; console.log("a")`,
		"replaced JSON of objects": giant + `Object.prototype.toJSON = () => [{}, [giant]]; console.log("a")`,
		"replaced elements":        giant + `Object.defineProperty(Array.prototype, 0, {get: () => giant, set() {}}); console.log("a")`,
		"conversion to text":       giant + `console.log({toJSON() {}, toString: () => giant})`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compiled(t, "function transform() { "+body+"; return '' }")
			s.limit = 20 * time.Second
			r, err := s.Run(t.Context(), []byte(event))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Logs) > maxLogs {
				t.Errorf("%d lines", len(r.Logs))
			}
			for _, line := range r.Logs {
				if len(line) > maxLog || !utf8.ValidString(line) {
					t.Fatalf("a line of %d bytes: %.20q", len(line), line)
				}
			}
		})
	}
}

// The result is bounded by itself, without what the prelude does.
func TestBoundedShortensLogs(t *testing.T) {
	t.Parallel()
	lines := []string{"short", strings.Repeat("漢", maxLog)}
	for range 1000 {
		lines = append(lines, "x")
	}
	got := bounded(lines)
	if len(got) != maxLogs || got[0] != "short" || got[1] != strings.Repeat("漢", maxLog/3) {
		t.Errorf("%d lines, the second of %d bytes", len(got), len(got[1]))
	}
}

// A script that the engine cannot interrupt ends soon, too, and others go on.
func TestLongBuiltinFunctionEnds(t *testing.T) {
	t.Parallel()
	s := compiled(t, `function transform() { return [Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)] }`)
	s.limit = 50 * time.Millisecond
	for range 3 {
		started := time.Now()
		_, err := s.Run(t.Context(), []byte(event))
		if err == nil || err.Error() != "took longer than 50ms" {
			t.Fatalf("error %v, want that it took longer than 50ms", err)
		}
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("took %s", took)
		}
	}
	if _, err := compiled(t, `const transform = (e) => ({id: e.id})`).Run(t.Context(), []byte(event)); err != nil {
		t.Error(err)
	}
}

func TestRunsShareNothing(t *testing.T) {
	t.Parallel()
	s := compiled(t, `let n = 0; globalThis.seen ??= []; Array.prototype.count ??= 0;
		function transform(event) { seen.push(event.id); Array.prototype.count++; return {n: ++n, seen: seen.length, count: [].count} }`)
	for range 3 {
		r, err := s.Run(t.Context(), []byte(event))
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"n":1,"seen":1,"count":1}`; string(r.Body) != want {
			t.Errorf("body %s, want %s", r.Body, want)
		}
	}
}

// Many runs at once use few engines, give each event its own result, and leave no goroutine.
func TestConcurrentRunsAreBounded(t *testing.T) {
	s := compiled(t, `function transform(event) { let n = 0; for (let i = 0; i < 1000; i++) n += i; return {id: event.id, n} }`)
	before := runtime.NumGoroutine()
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			r, err := s.Run(t.Context(), fmt.Appendf(nil, `{"id":"evt_%d"}`, i))
			if err != nil {
				if !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				return
			}
			if want := fmt.Sprintf(`{"id":"evt_%d","n":499500}`, i); string(r.Body) != want {
				t.Errorf("body %s, want %s", r.Body, want)
			}
		})
	}
	if n := len(engines); n > maxEngines {
		t.Errorf("%d engines at once, more than %d", n, maxEngines)
	}
	wait.Wait()
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, before %d", after, before)
	}
}

// A destination must not become unusable because other scripts run while it is read.
func TestBusyEnginesDoNotDelayCompile(t *testing.T) {
	for range cap(engines) {
		engines <- struct{}{}
		defer func() { <-engines }()
	}
	began := time.Now()
	if _, err := Compile(`const transform = (e) => e`); err != nil || time.Since(began) > maxWait {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := compiled(t, `const transform = (e) => e`)
	for range cap(s.engines) {
		s.engines <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, []byte(event)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestRunWaitsForAnEngineForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Script{engines: make(chan struct{}, 1)}
		s.engines <- struct{}{}
		began := time.Now()
		if _, err := s.Run(t.Context(), []byte(event)); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v, want %v", err, ErrBusy)
		}
		if took := time.Since(began); took != maxWait {
			t.Errorf("waited %s, want %s", took, maxWait)
		}
	})
}

// The memory of an engine is given back, also after it was taken away from the engine.
func TestEnginesLeaveNoMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/maps"); err != nil {
		t.Skip("needs /proc")
	}
	regions := func() int {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(maps), "\n")
	}
	good, endless := compiled(t, `const transform = (e) => e`), compiled(t, `const transform = () => [new Array(4294967295).indexOf(1)]`)
	endless.limit = time.Millisecond
	before := regions()
	for range 20 {
		_, _ = good.Run(t.Context(), []byte(event))
		_, _ = endless.Run(t.Context(), []byte(event))
	}
	// Other tests run at the same time.
	if after := regions(); after > before+20 {
		t.Errorf("%d regions of memory are mapped, before %d", after, before)
	}
}

func TestHeapReusesBlocks(t *testing.T) {
	t.Parallel()
	last := -1
	for n := uintptr(1); n < 1<<14; n++ {
		index, size := sizeOf(n)
		if size < n || size > max(32, n+n/4+8) || index < last || index > last+1 {
			t.Fatalf("sizeOf(%d) is %d, %d after index %d", n, index, size, last)
		}
		last = index
	}
	h, err := newHeap(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	for range 1000 {
		a, b := h.state().malloc(10_000), h.state().malloc(20_000)
		if a == 0 || b == 0 {
			t.Fatal("the heap is full although all blocks were freed")
		}
		h.state().release(a)
		h.state().release(b)
	}
	if h.state().malloc(1<<20) != 0 || h.state().malloc(1<<40) != 0 {
		t.Error("a block larger than the heap")
	}
}

func FuzzScript(f *testing.F) {
	for _, text := range fuzzseed.Vary(
		`function transform(event, out) { out.headers["X-Kind"] = event.type; return {kind: event.source, list: event.data.items.map((i) => i.sku).sort()} }`,
		`async function transform(e) { const v = await Promise.resolve(e.id); return /a(?<b>[a-c]+)*$/u.exec(v)?.groups ?? {v: 1n << 70n} }`,
		`class A { #x = [..."äöü"]; get y() { return this.#x } } function* transform(e) { yield* new A().y; return new Proxy(e, {}) }`,
	) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		s := &Script{source: string(source), engines: make(chan struct{}, 1), limit: 20 * time.Millisecond}
		if r, err := s.Run(t.Context(), []byte(event)); err == nil && len(r.Body) > MaxBody {
			t.Errorf("a body of %d bytes", len(r.Body))
		}
	})
}

func BenchmarkRun(b *testing.B) {
	s := compiled(b, `function transform(event) { return {kind: event.source + ":" + event.type, skus: event.data.items.map((i) => i.sku)} }`)
	for b.Loop() {
		if _, err := s.Run(b.Context(), []byte(event)); err != nil {
			b.Fatal(err)
		}
	}
}
