package cel

import (
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func doc(t *testing.T, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBool(t *testing.T) {
	t.Parallel()
	data := `{"kind":"image","seed":17454220438242315,"cost":0.5,"tags":["a","b"],"metadata":{"project_id":"p1"},"none":null}`
	for text, want := range map[string]bool{
		`data.kind == "image"`:                                       true,
		`data.kind == "video" || data.cost < 1.0`:                    true,
		`data.seed == 17454220438242315`:                             true,
		`data.seed + 1 == 17454220438242315`:                         false,
		`"b" in data.tags`:                                           true,
		`data.tags.exists(t, t.startsWith("c"))`:                     false,
		`has(data.metadata.project_id) && !has(data.metadata.other)`: true,
		`data.none == null`:                                          true,
		`source == "fal" && type.endsWith(".completed")`:             true,
		`data.cost < 1`:                                              true,
	} {
		e, err := CompileBool(text, "source", "type", "data")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := e.Bool(map[string]any{"source": "fal", "type": "generation.completed", "data": doc(t, data)})
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestCompileNamesTheFault(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`data.kind =`:                    "1:11: Syntax error",
		`nothing == 1`:                   "1:1: undeclared reference to 'nothing'; the variables are data, source",
		"true &&\n  dta.x == 1":          "2:3: undeclared reference to 'dta'; did you mean data?",
		`"text"`:                         "gives string; want true or false",
		``:                               "the expression is empty",
		strings.Repeat("true && ", 1000): "longer than",
		strings.Repeat("[", 200) + "1" + strings.Repeat("]", 200): "recursion",
		`[1,2].map(x, [1,2].map(y, x*y))`:                         "gives list(list(int)); want true or false",
	} {
		_, err := CompileBool(text, "source", "data")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want %q", text, err, want)
		}
	}
}

// An expression that is correct may have no value for an event, or another than true or false.
func TestBoolNamesTheFault(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`data.other == 1`:      "data.other == 1: no such key: other",
		`data.kind`:            `data.kind gives "image"; want true or false`,
		`data.kind.missing`:    "no such key: missing",
		`source.matches("[")`:  "missing closing ]",
		`{1: true}[data.none]`: "invalid qualifier type",
	} {
		e, err := CompileBool(text, "source", "data")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		_, err = e.Bool(map[string]any{"source": "fal", "data": doc(t, `{"kind":"image","none":null}`)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	t.Parallel()
	e, err := CompileBool(`data.all(a, data.all(b, data.all(c, a + b + c >= 0)))`, "data")
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 1000)
	for i := range list {
		list[i] = json.Number("1")
	}
	if _, err := e.Bool(map[string]any{"data": list}); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("a thousand million steps: %v", err)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	env, err := NewEnv(Objects{"Input": {"url": String, "n": Int}}, Variables{"input": Object("Input"), "data": Any})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]any{
		`{"url": data.images[0].url, "n": data.images.size()}`: map[string]any{"url": "u", "n": int64(1)},
		`data.big`:                          int64(17454220438242315),
		`data.half + 1.0`:                   1.5,
		`input.n + 1`:                       int64(3),
		`input.url`:                         "u",
		`data.?missing.orValue("none")`:     "none",
		`data.?missing`:                     nil,
		`b"ab"`:                             "YWI=",
		`timestamp("2026-01-02T03:04:05Z")`: "2026-01-02T03:04:05Z",
		`math.greatest(1, 2)`:               int64(2),
	} {
		e, err := env.Compile(text, nil, StepCost)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := e.Value(map[string]any{
			"input": map[string]any{"url": "u", "n": int64(2)},
			"data":  doc(t, `{"images":[{"url":"u"}],"big":17454220438242315,"half":0.5}`),
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestFieldOfObjectIsChecked(t *testing.T) {
	t.Parallel()
	env, err := NewEnv(Objects{"Input": {"count": Int}}, Variables{"input": Object("Input")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = env.Compile("1 + input.cuont", Int, StepCost)
	want := &Error{Problem: "undefined field 'cuont'; did you mean count?", Line: 1, Column: 10, Offset: 9}
	if !reflect.DeepEqual(err, error(want)) {
		t.Errorf("got %#v, want %#v", err, want)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	env, err := NewEnv(nil, Variables{"steps": Any, "item": Any})
	if err != nil {
		t.Fatal(err)
	}
	e, err := env.Compile("[steps.b.x, steps.a, item.c, steps.b.y].map(s, s.d)", nil, StepCost)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Fields("steps"), []string{"a", "b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Each of these builds, or goes over, far more than it is given.
var amplifiers = map[string]string{
	"replace":               `data.s.replace("a", data.s).size() > 0`,
	"replace nothing":       `data.s.replace("", data.s).size() > 0`,
	"replace, counted":      `data.s.replace("a", data.s, 100000).size() > 0`,
	"join":                  `data.list.join(data.s).size() > 0`,
	"join of doubled lists": `[data.list].map(x, x+x).map(x, x+x).map(x, x+x).map(x, x+x).map(x, x+x).map(x, x+x).map(x, x+x)[0].join(data.s) != ""`,
	"precision":             `data.precision.format([1.0]).size() > 0`,
	"matches":               `data.s.matches("(a?){500}b")`,
	"split":                 `data.s.split("").size() > 0`,
	"compared tree":         `dyn([1])` + strings.Repeat(`.map(x, dyn([x, x]))`, 60) + ` == [1]`,
	"formatted tree":        `"%s".format([1].map(x, dyn([x, x]))` + strings.Repeat(`.map(x, dyn([x, x]))`, 60) + `) == ""`,
	"tree in a loop":        `[0, 1].all(i, i == 0 || dyn([1])` + strings.Repeat(`.map(x, dyn([x, x]))`, 60) + ` == [1])`,
}

func TestAmplifyingExpressionEndsWithinItsBounds(t *testing.T) {
	list := make([]any, 10_000)
	for i := range list {
		list[i] = "a"
	}
	vars := map[string]any{"data": map[string]any{"s": strings.Repeat("a", 400_000), "list": list, "precision": "%.99999999f"}}
	for name, text := range amplifiers {
		t.Run(name, func(t *testing.T) {
			e, err := CompileBool(text, "data")
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := e.Bool(vars); err == nil {
				t.Error("no error")
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

func TestLargeEventIsFiltered(t *testing.T) {
	t.Parallel()
	items := make([]any, 1_000)
	for i := range items {
		items[i] = map[string]any{"id": json.Number("1"), "tags": []any{"a", "b"}}
	}
	e, err := CompileBool(`data.items.exists(i, i.id == 2) || data.text.replace("a", "bb").matches("^b+$")`, "data")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Bool(map[string]any{"data": map[string]any{"items": items, "text": strings.Repeat("a", 20_000)}}); err != nil || !got {
		t.Errorf("got %v, %v", got, err)
	}
}
