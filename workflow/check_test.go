package workflow_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gaff/workflow"
)

func TestExamplesCompile(t *testing.T) {
	t.Parallel()
	for name, text := range workflow.Examples() {
		c, err := workflow.Parse(name, text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		// A stored definition is read back as the same version.
		w, err := workflow.FromJSON(c.Definition)
		if err != nil {
			t.Fatal(err)
		}
		again, err := workflow.Compile(w)
		if err != nil || again.Hash != c.Hash {
			t.Errorf("%s: stored and read it is %v %v, was %s", name, again, err, c.Hash)
		}
	}
}

// aliasBomb returns a short file whose lines each expand to ten times the line before.
func aliasBomb(lines int) string {
	text := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < lines; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(alias+", ", 9)+alias)
	}
	return text
}

func TestParseNamesFaults(t *testing.T) {
	t.Parallel()
	const head = "name: film\ninputs:\n  - name: prompts\n    type: list\n    items: string\n  - name: count\n    type: integer\n    default: 2\nsteps:\n"
	step := func(text string) string { return head + text }
	for name, c := range map[string]struct {
		text string
		want []string // the places and words that the faults must have, in order
	}{
		"no YAML":       {"name: [", []string{"film.yaml:1:"}},
		"empty":         {"", []string{"want one YAML document"}},
		"alias bomb":    {aliasBomb(9), []string{"film.yaml:1:", "too large with its aliases expanded"}},
		"too deep":      {"name: " + strings.Repeat("[", 1000), []string{"film.yaml:1:", "nested deeper than 64 levels"}},
		"unknown key":   {"name: film\nstepz: []\n", []string{`film.yaml:2:1: "stepz" is not a key here`}},
		"unknown inner": {step("  - name: a\n    emit: {type: x, date: 1}\n"), []string{`film.yaml:11:`, `"date" is not a key here`}},
		"no steps":      {"name: film\n", []string{"at least one step"}},
		"name":          {"name: Big Film\nsteps:\n  - name: a\n    emit: {type: x}\n", []string{"film.yaml:1:7: name: "}},
		"unknown step": {step("  - name: a\n    needs: [b, c]\n    emit: {type: x}\n  - name: bb\n    emit: {type: x}\n"),
			[]string{`film.yaml:11:13: steps[0].needs[0]: unknown step "b"`, `film.yaml:11:16: `}},
		"step in an expression": {step("  - name: images\n    emit: {type: x}\n  - name: a\n    when: steps.imges.status == 'failed'\n    emit: {type: x}\n"),
			[]string{"film.yaml:13:16: steps[1].when: undefined field 'imges'; did you mean images?"}},
		"cycle": {step("  - name: a\n    needs: [b]\n    emit: {type: x}\n  - name: b\n    when: steps.a.status == ''\n    emit: {type: x}\n"),
			[]string{"steps wait for one another: a needs b needs a"}},
		"itself":  {step("  - name: a\n    emit: {type: x, data: \"${steps.a.result}\"}\n"), []string{"a needs a"}},
		"type":    {step("  - name: a\n    when: input.count + 'x'\n    emit: {type: x}\n"), []string{"film.yaml:11:23: steps[0].when: found no matching overload for '_+_' applied to '(int, string)'"}},
		"no bool": {step("  - name: a\n    when: input.count + 1\n    emit: {type: x}\n"), []string{"steps[0].when: the expression gives int; want true or false"}},
		"no list": {step("  - name: a\n    for_each: input.count\n    emit: {type: x}\n"), []string{"for_each: the expression gives int; want list(any)"}},
		"item":    {step("  - name: a\n    for_each: input.prompts\n    emit:\n      type: x\n      data: ${item + 1}\n"), []string{"film.yaml:14:20: steps[0].emit.data: found no matching overload"}},
		"no item": {step("  - name: a\n    emit: {type: x, data: \"${item}\"}\n"), []string{"undeclared reference to 'item'"}},
		"template in quotes": {step("  - name: a\n    emit:\n      type: x\n      data: \"hi ${input.cuont}\"\n"),
			[]string{"film.yaml:13:24: steps[0].emit.data: undefined field 'cuont'; did you mean count?"}},
		"template in a block": {step("  - name: a\n    emit:\n      type: x\n      data: |\n        one\n        two ${input.cuont}\n"),
			[]string{"film.yaml:15:20: steps[0].emit.data: undefined field 'cuont'"}},
		"open brace": {step("  - name: a\n    emit: {type: x, data: \"${input.count\"}\n"), []string{"the ${ has no }"}},
		"expression with braces": {step("  - name: a\n    when: ${input.count > 1}\n    emit: {type: x}\n"),
			[]string{"write it without ${ }"}},
		"two kinds":   {step("  - name: a\n    emit: {type: x}\n    approve: {}\n"), []string{"this one has 2"}},
		"no kind":     {step("  - name: a\n"), []string{"this one has 0"}},
		"twice":       {step("  - name: a\n    emit: {type: x}\n  - name: a\n    emit: {type: x}\n"), []string{`duplicate name "a"`}},
		"reserved":    {step("  - name: in\n    emit: {type: x}\n"), []string{"is reserved by the expression language"}},
		"duration":    {step("  - name: a\n    approve: {deadline: soon}\n"), []string{`invalid duration "soon"`}},
		"fallback":    {step("  - name: a\n    submit: {provider: fal, model: m}\n    on_failure: {run: b}\n"), []string{`unknown step "b"`}},
		"on_failure":  {step("  - name: a\n    submit: {provider: fal, model: m}\n    on_failure: explode\n"), []string{"want fail, skip, continue"}},
		"no model":    {step("  - name: a\n    submit: {provider: fal}\n"), []string{"is missing"}},
		"event":       {step("  - name: a\n    wait_for: {event: paid}\n"), []string{"want SOURCE:TYPE"}},
		"inner event": {step("  - name: a\n    wait_for: {event: \"gaff:*\"}\n"), []string{"name one type of gaff's internal events"}},
		"own type":    {step("  - name: a\n    emit: {type: job.completed}\n"), []string{"reserved for gaff"}},
		"secret where it is stored": {step("  - name: a\n    http: {url: \"https://x.example/${secrets.a}\"}\n"),
			[]string{"undeclared reference to 'secrets'"}},
		"trigger": {"name: film\ninputs:\n  - {name: url, required: true}\non:\n  - event: fal:generation.completed\n    filter: event.dta.x\n    input: {uri: 1}\nsteps:\n  - name: a\n    emit: {type: x}\n",
			[]string{"on[0]", "required", "undefined field 'dta'", `unknown input "uri"`}},
		"cron":          {"name: film\nschedule:\n  - cron: 99 * * * *\nsteps:\n  - name: a\n    emit: {type: x}\n", []string{"film.yaml:3:11: schedule[0].cron: "}},
		"cron's zone":   {"name: film\nschedule:\n  - cron: \"TZ=\"\nsteps:\n  - name: a\n    emit: {type: x}\n", []string{"write the time zone as timezone"}},
		"never":         {"name: film\nschedule:\n  - cron: 0 0 30 2 *\nsteps:\n  - name: a\n    emit: {type: x}\n", []string{"never occurs"}},
		"default":       {"name: film\ninputs:\n  - {name: n, type: integer, default: many}\nsteps:\n  - name: a\n    emit: {type: x}\n", []string{"film.yaml:3:39: inputs[0].default: many is not of type integer"}},
		"long function": {step("  - name: a\n    when: \"" + strings.Repeat("true && ", 600) + "true\"\n    emit: {type: x}\n"), []string{"longer than"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := workflow.Parse("film.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("no fault was found")
			}
			rest := err.Error()
			for _, want := range c.want {
				i := strings.Index(rest, want)
				if i < 0 {
					t.Fatalf("want %q in\n%s", want, err)
				}
				rest = rest[i:]
			}
		})
	}
}

func TestCheckInput(t *testing.T) {
	t.Parallel()
	c, err := workflow.Parse("x.yaml", []byte(`
name: x
inputs:
  - {name: prompts, type: list, items: string, required: true, max: 2}
  - {name: size, enum: [small, large], default: small}
  - {name: n, type: number, max: 10}
  - {name: free, type: any}
steps:
  - name: a
    emit: {type: x}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c2 := range []struct{ in, out, fault string }{
		{`{"prompts":["a"]}`, `{"free":null,"n":null,"prompts":["a"],"size":"small"}`, ""},
		{`{"prompts":[],"n":1.5,"free":{"a":12345678901234567}}`, `{"free":{"a":12345678901234567},"n":1.5,"prompts":[],"size":"small"}`, ""},
		{``, "", "input prompts: is required"},
		{`[]`, "", "not a JSON object"},
		{`{"prompts":["a",1]}`, "", "input prompts: [1] 1 is not of type string"},
		{`{"prompts":["a","b","c"]}`, "", "3 items; at most 2"},
		{`{"prompts":["a"],"size":"medium"}`, "", "medium is not one of"},
		{`{"prompts":["a"],"n":11}`, "", "at most 10"},
		{`{"prompts":["a"],"color":1}`, "", "input color: workflow x has no such input"},
	} {
		out, err := c.CheckInput(json.RawMessage(c2.in))
		if c2.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c2.fault) {
				t.Errorf("%s: error %v, want %q", c2.in, err, c2.fault)
			}
			continue
		}
		if err != nil || string(out) != c2.out {
			t.Errorf("%s: %s %v, want %s", c2.in, out, err, c2.out)
		}
	}
}

// No text makes the checker panic or hang.
func FuzzParse(f *testing.F) {
	for _, text := range workflow.Examples() {
		f.Add(text)
	}
	f.Add([]byte("name: a\nsteps:\n  - name: a\n    when: \"[1,2].map(x, [x].map(y, y))\"\n    emit: {type: x, data: &a [*a]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := workflow.Parse("f.yaml", text)
		if err != nil {
			return
		}
		w, err := workflow.FromJSON(c.Definition)
		if err != nil {
			t.Fatalf("read the stored definition: %v", err)
		}
		again, err := workflow.Compile(w)
		if err != nil {
			t.Fatalf("compile the stored definition: %v", err)
		}
		if again.Hash != c.Hash {
			t.Fatal("storing the definition changed its version")
		}
	})
}

func TestFaultSplitsOffHint(t *testing.T) {
	t.Parallel()
	for problem, want := range map[string][2]string{
		`unknown step "lok"; did you mean look?`:    {`unknown step "lok"`, "did you mean look?"},
		`unknown provider "x": want fal`:            {`unknown provider "x"`, "want fal"},
		`"a; b": want a method`:                     {`"a; b"`, "want a method"},
		`"a: want b" is not a name; choose another`: {`"a: want b" is not a name`, "choose another"},
		`a workflow needs at least one step`:        {`a workflow needs at least one step`, ""},
	} {
		if text, hint := (workflow.Fault{Problem: problem}).Split(); text != want[0] || hint != want[1] {
			t.Errorf("%s: %q, %q", problem, text, hint)
		}
	}
}
