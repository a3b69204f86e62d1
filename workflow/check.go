package workflow

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"gaff/internal/cel"
	"gaff/internal/suggest"
	"gaff/jobs"
)

type checker struct {
	w      *Workflow
	file   string
	at     positions
	faults Faults
	// providers are those that steps can submit to; empty: any.
	providers []string
}

func (k *checker) fault(path, format string, args ...any) {
	k.faultAt(path, "", -1, fmt.Sprintf(format, args...))
}

func (k *checker) faultAt(path, text string, offset int, problem string) {
	line, column := k.at.place(path, text, offset)
	k.faults = append(k.faults, Fault{File: k.file, Line: line, Column: column, Path: path, Problem: problem})
}

var (
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	eventName  = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,63}):(\*|[A-Za-z0-9][A-Za-z0-9._:/-]{0,199})$`)
	emitName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
)

// reserved are words that cannot name a step or an input: keywords of CEL, and our variables.
var reserved = strings.Fields("as break const continue else for function if import in let loop package namespace return var void while true false null")

var inputTypes = strings.Fields("string number integer boolean list object any")

// names checks everything but expressions. Expressions are checked with these names.
func (k *checker) names() {
	w := k.w
	if !workflowName.MatchString(w.Name) {
		k.fault("name", "%q: want lower case letters, digits, - and _, at most 64", w.Name)
	}
	if w.Concurrency < 0 {
		k.fault("concurrency", "%d: want the maximum number of concurrent jobs, or 0 for unlimited", w.Concurrency)
	}
	if len(w.Steps) == 0 {
		k.fault("steps", "a workflow needs at least one step")
	}
	if len(w.Steps) > MaxSteps {
		k.fault("steps", "%d steps; the maximum is %d", len(w.Steps), MaxSteps)
	}
	seen := map[string]bool{}
	for i, in := range w.Inputs {
		path := fmt.Sprintf("inputs[%d]", i)
		k.identifier(path+".name", in.Name, seen)
		if in.Type != "" && !slices.Contains(inputTypes, in.Type) {
			k.fault(path+".type", "unknown type %q: want %s", in.Type, strings.Join(inputTypes, ", "))
			continue
		}
		if in.Items != "" && (in.Type != "list" || in.Items == "list" || !slices.Contains(inputTypes, in.Items)) {
			k.fault(path+".items", "%q: want the type of a list's items, and type: list", in.Items)
			continue
		}
		if in.Required && in.Default != nil {
			k.fault(path+".default", "a required input cannot have a default")
		}
		if in.Default != nil {
			if _, err := in.accept(normal(in.Default)); err != nil {
				k.fault(path+".default", "%v", err)
			}
		}
	}
	seen = map[string]bool{}
	for i, st := range w.Steps {
		k.identifier(fmt.Sprintf("steps[%d].name", i), st.Name, seen)
	}
}

func (k *checker) identifier(path, name string, seen map[string]bool) {
	switch {
	case !identifier.MatchString(name):
		k.fault(path, "%q: want a lower case letter, then lower case letters, digits and _, at most 64", name)
	case slices.Contains(reserved, name):
		k.fault(path, "%q is reserved by the expression language; choose another name", name)
	case seen[name]:
		k.fault(path, "duplicate name %q", name)
	}
	seen[name] = true
}

// step checks a step and compiles its expressions.
func (k *checker) step(lang language, path string, st *step) {
	k.needs(path, st)
	vars := []cel.Variables{runVariables}
	env, ok := k.env(lang, path, vars...)
	if !ok {
		return
	}
	st.when = k.expression(env, path+".when", st.When, cel.Bool)
	st.forEach = k.expression(env, path+".for_each", st.ForEach, cel.List(cel.Any))
	if st.ForEach != "" {
		item := cel.Any
		if st.forEach != nil {
			item = cel.ItemType(st.forEach.Type())
		}
		vars = append(vars, cel.Variables{"item": item, "index": cel.Int})
		if env, ok = k.env(lang, path, vars...); !ok {
			return
		}
	}
	kinds := 0
	if st.Submit != nil {
		kinds++
		k.submit(env, path+".submit", st)
	}
	if st.WaitFor != nil {
		kinds++
		k.waitFor(env, lang, vars, path+".wait_for", st)
	}
	if st.HTTP != nil {
		kinds++
		k.http(env, lang, vars, path+".http", st)
	}
	if st.Approve != nil {
		kinds++
		k.approve(env, path+".approve", st)
	}
	if st.Emit != nil {
		kinds++
		k.emit(env, path+".emit", st)
	}
	if kinds != 1 {
		k.fault(path, "a step does one of submit, wait_for, http, approve and emit; this one has %d of them", kinds)
	}
	k.retry(path, st)
	st.collectRefs()
}

// env returns an environment, and reports false after adding a fault if it fails.
func (k *checker) env(lang language, path string, vars ...cel.Variables) (*cel.Env, bool) {
	env, err := lang.env(vars...)
	if err != nil {
		k.fault(path, "%v", err)
	}
	return env, err == nil
}

func (k *checker) needs(path string, st *step) {
	var names []string
	for _, s := range k.w.Steps {
		names = append(names, s.Name)
	}
	for i, need := range st.Needs {
		if !slices.Contains(names, need) {
			k.fault(fmt.Sprintf("%s.needs[%d]", path, i), "unknown step %q%s", need, suggest.Hint(need, names))
		}
	}
}

func (k *checker) waitFor(env *cel.Env, lang language, vars []cel.Variables, path string, st *step) {
	st.source, st.eventType = k.event(path+".event", st.WaitFor.Event)
	if st.WaitFor.Condition != "" {
		withEvent, ok := k.env(lang, path, slices.Concat(vars, []cel.Variables{eventVariables})...)
		if !ok {
			return
		}
		st.condition = k.expression(withEvent, path+".condition", st.WaitFor.Condition, cel.Bool)
	}
	st.correlation = k.text(env, path+".correlation", st.WaitFor.Correlation)
}

func (k *checker) http(env *cel.Env, lang language, vars []cel.Variables, path string, st *step) {
	h := st.HTTP
	if h.URL == "" {
		k.fault(path, "url is missing")
	}
	if methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}; h.Method != "" && !slices.Contains(methods, h.Method) {
		k.fault(path+".method", "%q: want GET, POST, PUT, PATCH or DELETE", h.Method)
	}
	withSecrets, ok := k.env(lang, path, slices.Concat(vars, []cel.Variables{secretVariables})...)
	if !ok {
		return
	}
	st.url = k.text(env, path+".url", h.URL)
	st.body = k.value(env, path+".body", h.Body)
	st.headers = map[string]value{}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if !headerName.MatchString(name) {
			k.fault(path+".headers", "%q is not a valid header name", name)
		}
		st.headers[name] = k.text(withSecrets, path+".headers."+name, h.Headers[name])
	}
}

func (k *checker) approve(env *cel.Env, path string, st *step) {
	a := st.Approve
	if a.OnDeadline != "" && a.OnDeadline != "fail" && a.OnDeadline != "approve" {
		k.fault(path+".on_deadline", "%q: want fail or approve", a.OnDeadline)
	}
	if a.OnDeadline != "" && a.Deadline == 0 {
		k.fault(path+".on_deadline", "needs a deadline")
	}
	st.message = k.text(env, path+".message", a.Message)
}

func (k *checker) emit(env *cel.Env, path string, st *step) {
	if !emitName.MatchString(st.Emit.Type) {
		k.fault(path+".type", "%q: want a type such as film.done", st.Emit.Type)
	}
	for _, own := range []string{"job.", "run.", "media.", "workflow."} {
		if strings.HasPrefix(st.Emit.Type, own) {
			k.fault(path+".type", "types that begin with %s are reserved for gaff; choose another", own)
		}
	}
	st.data = k.value(env, path+".data", st.Emit.Data)
}

func (k *checker) retry(path string, st *step) {
	if r := st.Retry; r != nil {
		if r.Attempts < 1 || r.Attempts > 100 {
			k.fault(path+".retry.attempts", "%d: want the number of attempts, 1 to 100", r.Attempts)
		}
		if r.Factor != 0 && r.Factor < 1 {
			k.fault(path+".retry.factor", "%v: want at least 1", r.Factor)
		}
		if st.Approve != nil || st.Emit != nil {
			k.fault(path+".retry", "only submit, http and wait_for steps can be retried")
		}
	}
	if st.Timeout > 0 && st.Submit == nil && st.HTTP == nil {
		k.fault(path+".timeout", "only submit and http steps have a timeout; wait_for and approve have a deadline")
	}
}

// collectRefs sets the steps that st reads, and so needs.
func (st *step) collectRefs() {
	values := list(slices.DeleteFunc(append(slices.Collect(maps.Values(st.headers)),
		st.model, st.input, st.meta, st.correlation, st.url, st.body, st.message, st.data), func(v value) bool { return v == nil }))
	sorted := func(names ...[]string) []string {
		all := slices.Concat(names...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	st.startRefs = sorted(stepRefs(st.when), stepRefs(st.forEach), values.refs())
	st.judgeRefs = sorted(stepRefs(st.condition))
	st.needs = sorted(st.Needs, st.startRefs, st.judgeRefs)
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

func (k *checker) submit(env *cel.Env, path string, st *step) {
	s := st.Submit
	k.provider(path+".provider", s.Provider)
	model, key := s.Model, "model"
	switch {
	case s.Model != "" && s.Service != "":
		k.fault(path, "model and service are synonyms; set one of them")
	case s.Service != "":
		model, key = s.Service, "service"
	case s.Model == "":
		k.fault(path, "model, or its synonym service, is missing: want the provider's name for the work")
	}
	st.model = k.text(env, path+"."+key, model)
	input := s.Input
	if input == nil {
		input = map[string]any{}
	}
	st.input = k.value(env, path+".input", input)
	if s.Metadata != nil {
		st.meta = k.value(env, path+".metadata", s.Metadata)
	}
	if s.Priority < jobs.MinPriority || s.Priority > jobs.MaxPriority {
		k.fault(path+".priority", "%d: want %d to %d", s.Priority, jobs.MinPriority, jobs.MaxPriority)
	}
	k.candidates(path, s.Fallback)
}

// provider checks the name of a provider; it may be empty.
func (k *checker) provider(path, name string) {
	if name != "" && len(k.providers) > 0 && !slices.Contains(k.providers, name) {
		k.fault(path, "unknown provider %q: want %s%s", name, strings.Join(k.providers, ", "), suggest.Hint(name, k.providers))
	}
}

// candidates checks the fallback of a submit step.
func (k *checker) candidates(path string, list []Candidate) {
	if len(list) >= jobs.MaxCandidates {
		k.fault(path+".fallback", "%d entries; the maximum is %d", len(list), jobs.MaxCandidates-1)
	}
	for i, c := range list {
		at := fmt.Sprintf("%s.fallback[%d]", path, i)
		if c.Provider == "" || c.Model == "" {
			k.fault(at, "provider and model are wanted: the name of a provider, and its name for the work")
		}
		k.provider(at+".provider", c.Provider)
		for _, e := range []struct{ variable, text string }{{"input", c.Input}, {"result", c.Result}} {
			env, err := cel.NewEnv(nil, cel.Variables{e.variable: cel.Any})
			if err != nil {
				k.fault(at, "%v", err)
				return
			}
			k.expression(env, at+"."+e.variable, e.text, nil)
		}
	}
}

func (k *checker) event(path, text string) (source, eventType string) {
	found := eventName.FindStringSubmatch(text)
	if found == nil {
		k.fault(path, "%q: want SOURCE:TYPE, such as shop:order.paid, or SOURCE:*", text)
		return "", ""
	}
	if found[1] == "gaff" && (found[2] == "*" || strings.HasPrefix(found[2], "workflow.")) {
		k.fault(path, "%q: name one type of gaff's internal events, such as gaff:job.completed; workflow.* cannot be used", text)
		return "", ""
	}
	return found[1], found[2]
}

// expression compiles an expression of the wanted type; nil for an empty or faulty one.
func (k *checker) expression(env *cel.Env, path, text string, want *cel.Type) *cel.Expression {
	if text == "" {
		return nil
	}
	if strings.HasPrefix(strings.TrimSpace(text), "${") {
		k.faultAt(path, text, 0, "this is already an expression: write it without ${ }")
		return nil
	}
	return k.compile(env, path, text, 0, text, want)
}

// compile compiles an expression that begins at a rune offset of a text.
func (k *checker) compile(env *cel.Env, path, text string, offset int, expr string, want *cel.Type) *cel.Expression {
	e, err := env.Compile(expr, want, cel.StepCost)
	if bad, ok := errors.AsType[*cel.Error](err); ok {
		k.faultAt(path, text, offset+bad.Offset, bad.Problem)
		return nil
	}
	return e
}

// text compiles a string that may contain expressions; nil for an empty one.
func (k *checker) text(env *cel.Env, path, text string) value {
	if text == "" {
		return nil
	}
	return k.value(env, path, text)
}

// value compiles a value and all values in it; nil for nil.
func (k *checker) value(env *cel.Env, path string, v any) value {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return k.template(env, path, v)
	case map[string]any:
		o := object{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			sub := k.value(env, join(path, key), v[key])
			if sub == nil {
				sub = constant{nil}
			}
			o[key] = sub
		}
		return o
	case []any:
		l := make(list, len(v))
		for i, item := range v {
			if l[i] = k.value(env, fmt.Sprintf("%s[%d]", path, i), item); l[i] == nil {
				l[i] = constant{nil}
			}
		}
		return l
	case map[any]any:
		k.fault(path, "keys must be strings")
		return nil
	}
	return constant{numbers(v)}
}

func (k *checker) template(env *cel.Env, path, text string) value {
	parts, err := cel.Pieces(text)
	if bad, ok := errors.AsType[*cel.Error](err); ok {
		k.faultAt(path, text, bad.Offset, bad.Problem)
		return nil
	}
	t := template{}
	for _, p := range parts {
		if !p.IsExpr {
			t = append(t, constant{p.Text})
		} else if e := k.compile(env, path, text, p.Offset, p.Text, nil); e != nil {
			t = append(t, computed{e})
		}
	}
	switch len(t) {
	case 0:
		return constant{""}
	case 1:
		return t[0]
	}
	return t
}

func (k *checker) trigger(lang language, path string, t *Trigger, c *Compiled) {
	env, ok := k.env(lang, path, eventVariables)
	if !ok {
		return
	}
	out := &trigger{}
	out.source, out.eventType = k.event(path+".event", t.Event)
	out.filter = k.expression(env, path+".filter", t.Filter, cel.Bool)
	out.project = k.text(env, path+".project", t.Project)
	out.key = k.text(env, path+".key", t.Key)
	out.input = k.startInput(env, path, t.Input)
	c.triggers = append(c.triggers, out)
}

func (k *checker) schedule(lang language, path string, s *Schedule, c *Compiled) {
	env, ok := k.env(lang, path, scheduleVariables)
	if !ok {
		return
	}
	out := &schedule{Schedule: s, zone: time.UTC}
	var err error
	if strings.Contains(s.Cron, "TZ=") || strings.HasPrefix(s.Cron, "@every") {
		k.fault(path+".cron", "%q: want five fields (minute hour day month weekday), or @hourly, @daily, @weekly, @monthly; write the time zone as timezone", s.Cron)
	} else if out.cron, err = cron.ParseStandard(s.Cron); err != nil {
		k.fault(path+".cron", "%q: %v; want five fields: minute hour day month weekday", s.Cron, err)
	} else if out.cron.Next(time.Unix(0, 0)).IsZero() {
		k.fault(path+".cron", "%q never occurs", s.Cron)
	}
	if s.Timezone != "" {
		if out.zone, err = time.LoadLocation(s.Timezone); err != nil {
			k.fault(path+".timezone", "%q is not a time zone: want a name such as Europe/Berlin", s.Timezone)
		}
	}
	out.project = k.text(env, path+".project", s.Project)
	out.input = k.startInput(env, path, s.Input)
	c.schedules = append(c.schedules, out)
}

// startInput compiles the input of a trigger or schedule.
func (k *checker) startInput(env *cel.Env, path string, input map[string]any) value {
	for _, name := range slices.Sorted(maps.Keys(input)) {
		if !slices.ContainsFunc(k.w.Inputs, func(in Input) bool { return in.Name == name }) {
			k.fault(join(path+".input", name), "unknown input %q", name)
		}
	}
	for _, in := range k.w.Inputs {
		if _, given := input[in.Name]; in.Required && !given {
			k.fault(path, "the required input %q is missing", in.Name)
		}
	}
	if input == nil {
		input = map[string]any{}
	}
	return k.value(env, path+".input", input)
}
