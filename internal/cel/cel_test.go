package cel

import (
	"encoding/json"
	"errors"
	"reflect"
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

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`data.kind =`:                     "Syntax error",
		`nothing == 1`:                    "undeclared reference",
		`"text"`:                          "not true or false",
		strings.Repeat("true && ", 1000):  "longer than",
		`source.matches("[")`:             "",
		`[1,2].map(x, [1,2].map(y, x*y))`: "not true or false",
	} {
		_, err := CompileBool(text, "source", "data")
		if want == "" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want it to tell %q", text, err, want)
		}
	}
}

// What an evaluation may cost is bounded, whatever the event holds.
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
	e, err := Compile(`{"url": data.images[0].url, "n": data.images.size(), "big": data.big}`, "data")
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Value(map[string]any{"data": doc(t, `{"images":[{"url":"u"}],"big":9007199254740991}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"url": "u", "n": json.Number("1"), "big": json.Number("9007199254740991")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	if _, err := e.Value(map[string]any{"data": doc(t, `{}`)}); !errors.Is(err, ErrNoValue) {
		t.Errorf("a missing field: %v, want ErrNoValue", err)
	}
}
