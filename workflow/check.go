package workflow

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/robfig/cron/v3"
)

type checker struct {
	w      *Workflow
	file   string
	at     positions
	faults Faults
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

// reserved words of CEL, and of ours, that cannot name a step or an input.
var reserved = strings.Fields("as break const continue else for function if import in let loop package namespace return var void while true false null")

var inputTypes = strings.Fields("string number integer boolean list object any")

// names checks what is not expressions: the rest is read with these names.
func (k *checker) names() {
	w := k.w
	if !workflowName.MatchString(w.Name) {
		k.fault("name", "%q: want lower case letters, digits, - and _, at most 64", w.Name)
	}
	if w.Concurrency < 0 {
		k.fault("concurrency", "%d: want how many jobs may be under way at once, or 0 for no limit", w.Concurrency)
	}
	if len(w.Steps) == 0 {
		k.fault("steps", "there is no step")
	}
	if len(w.Steps) > MaxSteps {
		k.fault("steps", "%d steps; at most %d are possible", len(w.Steps), MaxSteps)
	}
	seen := map[string]bool{}
	for i, in := range w.Inputs {
		path := fmt.Sprintf("inputs[%d]", i)
		k.identifier(path+".name", in.Name, seen)
		if in.Type != "" && !slices.Contains(inputTypes, in.Type) {
			k.fault(path+".type", "%q is no type: want %s", in.Type, strings.Join(inputTypes, ", "))
			continue
		}
		if in.Items != "" && (in.Type != "list" || in.Items == "list" || !slices.Contains(inputTypes, in.Items)) {
			k.fault(path+".items", "%q: want the type of a list's items, and type: list", in.Items)
			continue
		}
		if in.Required && in.Default != nil {
			k.fault(path+".default", "an input that is required needs no default")
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
		k.fault(path, "%q is a word of the expression language; choose another", name)
	case seen[name]:
		k.fault(path, "%q is there twice", name)
	}
	seen[name] = true
}

func (k *checker) step(lang *language, path string, st *step) {
	plain, err := lang.env(runVariables)
	if err != nil {
		k.fault(path, "%v", err)
		return
	}
	for j, need := range st.Needs {
		if !slices.ContainsFunc(k.w.Steps, func(s Step) bool { return s.Name == need }) {
			hint := ""
			var names []string
			for _, s := range k.w.Steps {
				names = append(names, s.Name)
			}
			if near := nearest(need, names); near != "" {
				hint = "; did you mean " + near + "?"
			}
			k.fault(fmt.Sprintf("%s.needs[%d]", path, j), "there is no step %q%s", need, hint)
		}
	}
	st.when = k.expression(plain, path+".when", st.When, cel.BoolType)
	vars := []map[string]*cel.Type{runVariables}
	itemType := cel.DynType
	if st.forEach = k.expression(plain, path+".for_each", st.ForEach, cel.ListType(cel.DynType)); st.forEach != nil {
		if out := st.forEach.out; out.Kind() == cel.ListKind && len(out.Parameters()) == 1 {
			itemType = out.Parameters()[0]
		}
	}
	if st.ForEach != "" {
		vars = append(vars, map[string]*cel.Type{"item": itemType, "index": cel.IntType})
	}
	env, err := lang.env(vars...)
	if err != nil {
		k.fault(path, "%v", err)
		return
	}
	kinds := 0
	if s := st.Submit; s != nil {
		kinds++
		k.submit(env, path+".submit", st, s)
	}
	if f := st.WaitFor; f != nil {
		kinds++
		p := path + ".wait_for"
		st.source, st.eventType = k.event(p+".event", f.Event)
		if f.Condition != "" {
			with, err := lang.env(append(vars, eventVariables)...)
			if err != nil {
				k.fault(p, "%v", err)
				return
			}
			st.condition = k.expression(with, p+".condition", f.Condition, cel.BoolType)
		}
		st.correlation = k.text(env, p+".correlation", f.Correlation)
	}
	if h := st.HTTP; h != nil {
		kinds++
		p := path + ".http"
		if h.URL == "" {
			k.fault(p, "url is missing")
		}
		if h.Method != "" && !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, h.Method) {
			k.fault(p+".method", "%q: want GET, POST, PUT, PATCH or DELETE", h.Method)
		}
		secret, err := lang.env(append(vars, map[string]*cel.Type{"secrets": cel.MapType(cel.StringType, cel.StringType)})...)
		if err != nil {
			k.fault(p, "%v", err)
			return
		}
		st.url = k.text(env, p+".url", h.URL)
		st.body = k.value(env, p+".body", h.Body)
		st.headers = map[string]value{}
		for name, text := range h.Headers {
			if !headerName.MatchString(name) {
				k.fault(p+".headers", "%q is no header's name", name)
			}
			st.headers[name] = k.text(secret, p+".headers."+name, text)
		}
	}
	if a := st.Approve; a != nil {
		kinds++
		if a.OnDeadline != "" && a.OnDeadline != "fail" && a.OnDeadline != "approve" {
			k.fault(path+".approve.on_deadline", "%q: want fail or approve", a.OnDeadline)
		}
		if a.OnDeadline != "" && a.Deadline == 0 {
			k.fault(path+".approve.on_deadline", "there is no deadline")
		}
		st.message = k.text(env, path+".approve.message", a.Message)
	}
	if e := st.Emit; e != nil {
		kinds++
		if !emitName.MatchString(e.Type) {
			k.fault(path+".emit.type", "%q: want a type such as film.done", e.Type)
		}
		for _, own := range []string{"job.", "run.", "media.", "workflow."} {
			if strings.HasPrefix(e.Type, own) {
				k.fault(path+".emit.type", "types that begin with %s are gaff's own; choose another", own)
			}
		}
		st.data = k.value(env, path+".emit.data", e.Data)
	}
	if kinds != 1 {
		k.fault(path, "a step does one of submit, wait_for, http, approve and emit; this one has %d of them", kinds)
	}
	if r := st.Retry; r != nil {
		if r.Attempts < 1 || r.Attempts > 100 {
			k.fault(path+".retry.attempts", "%d: want the number of tries, 1 to 100", r.Attempts)
		}
		if r.Factor != 0 && r.Factor < 1 {
			k.fault(path+".retry.factor", "%v: want at least 1", r.Factor)
		}
		if st.Approve != nil || st.Emit != nil {
			k.fault(path+".retry", "only jobs, calls and waits are tried again")
		}
	}
	if st.Timeout > 0 && st.Submit == nil && st.HTTP == nil {
		k.fault(path+".timeout", "only jobs and calls have a timeout; a wait and an approval have a deadline")
	}
	st.startRefs = slices.Concat(refsOf(st.when), refsOf(st.forEach), valueRefs(st.model, st.input, st.meta, st.correlation, st.url, st.body,
		st.message, st.data), valueRefs(slices.Collect(maps.Values(st.headers))...))
	st.judgeRefs = refsOf(st.condition)
	st.needs = slices.Concat(st.Needs, st.startRefs, st.judgeRefs)
	slices.Sort(st.needs)
	st.needs = slices.Compact(st.needs)
	for _, set := range []*[]string{&st.startRefs, &st.judgeRefs} {
		slices.Sort(*set)
		*set = slices.Compact(*set)
	}
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

func (k *checker) submit(env *cel.Env, path string, st *step, s *Submit) {
	if s.Provider == "" {
		k.fault(path, "provider is missing: fal or lastframe")
	}
	model, key := s.Model, "model"
	switch {
	case s.Model != "" && s.Service != "":
		k.fault(path, "model and service are the same; give one")
	case s.Service != "":
		model, key = s.Service, "service"
	case s.Model == "":
		k.fault(path, "model (fal) or service (lastframe) is missing")
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
}

func (k *checker) event(path, text string) (source, eventType string) {
	found := eventName.FindStringSubmatch(text)
	if found == nil {
		k.fault(path, "%q: want SOURCE:TYPE, such as fal:generation.completed, or SOURCE:*", text)
		return "", ""
	}
	if found[1] == "gaff" && (found[2] == "*" || strings.HasPrefix(found[2], "workflow.")) {
		k.fault(path, "%q: of gaff's own events one type must be named, and none that moves runs; gaff:job.completed is one", text)
		return "", ""
	}
	return found[1], found[2]
}

func (k *checker) expression(env *cel.Env, path, text string, want *cel.Type) *expression {
	if text == "" {
		return nil
	}
	if strings.HasPrefix(strings.TrimSpace(text), "${") {
		k.faultAt(path, text, 0, "this is an expression as it is: write it without ${ }")
		return nil
	}
	e, err := parseExpression(env, text, want)
	if bad, ok := errors.AsType[*exprError](err); ok {
		k.faultAt(path, text, bad.offset, bad.problem)
		return nil
	}
	return e
}

// text checks a text that may hold expressions; nil for an empty one.
func (k *checker) text(env *cel.Env, path, text string) value {
	if text == "" {
		return nil
	}
	return k.value(env, path, text)
}

// value checks a value and all that is in it; nil for none.
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
		k.fault(path, "keys must be text")
		return nil
	}
	return constant{numbers(v)}
}

func (k *checker) template(env *cel.Env, path, text string) value {
	parts, err := pieces(text)
	if bad, ok := errors.AsType[*exprError](err); ok {
		k.faultAt(path, text, bad.offset, bad.problem)
		return nil
	}
	var m mixed
	for _, p := range parts {
		if !p.expr {
			m = append(m, p.text)
			continue
		}
		e, err := parseExpression(env, p.text, nil)
		if bad, ok := errors.AsType[*exprError](err); ok {
			k.faultAt(path, text, p.offset+bad.offset, bad.problem)
			continue
		}
		m = append(m, e)
	}
	switch {
	case len(m) == 0:
		return constant{""}
	case len(m) == 1:
		if e, ok := m[0].(*expression); ok {
			return whole{e}
		}
		return constant{m[0]}
	}
	return m
}

func (k *checker) trigger(lang *language, path string, t *Trigger, c *Compiled) {
	env, err := lang.env(eventVariables)
	if err != nil {
		k.fault(path, "%v", err)
		return
	}
	out := &trigger{}
	out.source, out.eventType = k.event(path+".event", t.Event)
	out.filter = k.expression(env, path+".filter", t.Filter, cel.BoolType)
	out.project = k.text(env, path+".project", t.Project)
	out.key = k.text(env, path+".key", t.Key)
	out.input = k.startInput(env, path, t.Input)
	c.triggers = append(c.triggers, out)
}

func (k *checker) schedule(lang *language, path string, s *Schedule, c *Compiled) {
	env, err := lang.env(map[string]*cel.Type{"scheduled": cel.TimestampType})
	if err != nil {
		k.fault(path, "%v", err)
		return
	}
	out := &schedule{Schedule: s, zone: time.UTC}
	if strings.Contains(s.Cron, "TZ=") || strings.HasPrefix(s.Cron, "@every") {
		k.fault(path+".cron", "%q: want five fields (minute hour day month weekday), or @hourly, @daily, @weekly, @monthly; a zone stands in timezone", s.Cron)
	} else if out.cron, err = cron.ParseStandard(s.Cron); err != nil {
		k.fault(path+".cron", "%q: %v; want five fields: minute hour day month weekday", s.Cron, err)
	} else if out.cron.Next(time.Unix(0, 0)).IsZero() {
		k.fault(path+".cron", "%q never comes", s.Cron)
	}
	if s.Timezone != "" {
		if out.zone, err = time.LoadLocation(s.Timezone); err != nil {
			k.fault(path+".timezone", "%q is no time zone: want a name such as Europe/Berlin", s.Timezone)
		}
	}
	out.project = k.text(env, path+".project", s.Project)
	out.input = k.startInput(env, path, s.Input)
	c.schedules = append(c.schedules, out)
}

// startInput checks what a trigger or schedule starts a run with.
func (k *checker) startInput(env *cel.Env, path string, input map[string]any) value {
	for _, name := range slices.Sorted(maps.Keys(input)) {
		if !slices.ContainsFunc(k.w.Inputs, func(in Input) bool { return in.Name == name }) {
			k.fault(join(path+".input", name), "the workflow has no input %q", name)
		}
	}
	for _, in := range k.w.Inputs {
		if _, given := input[in.Name]; in.Required && !given {
			k.fault(path, "the input %q is required and not given here", in.Name)
		}
	}
	if input == nil {
		input = map[string]any{}
	}
	return k.value(env, path+".input", input)
}

func refsOf(e *expression) []string {
	if e == nil {
		return nil
	}
	return e.refs
}

func valueRefs(vs ...value) (names []string) {
	for _, v := range vs {
		if v != nil {
			names = append(names, v.refs()...)
		}
	}
	return names
}
