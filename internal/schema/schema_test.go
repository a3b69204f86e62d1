//go:build !slim

package schema_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/internal/schema"
)

func compiled(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := schema.New([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate validates a value as the only event of its request.
func validate(t testing.TB, s *schema.Schema, value string) (list []gaff.SchemaProblem, more int) {
	t.Helper()
	list, more, err := s.Validate(t.Context(), schema.NewShare(), []byte(value), new(gaff.SchemaEffort))
	if err != nil {
		t.Error(err)
	}
	return list, more
}

func lines(list []gaff.SchemaProblem, more int) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%s|%s|%s\n", p.Path, p.Keyword, p.Message)
	}
	if more > 0 {
		fmt.Fprintf(&b, "+%d\n", more)
	}
	return b.String()
}

func TestProblemsHavePathAndNoValue(t *testing.T) {
	t.Parallel()
	const order = `{
		"type": "object", "required": ["id", "items"], "additionalProperties": false,
		"properties": {
			"id": {"type": "string", "pattern": "^o_[0-9]+$"}, "email": {"type": "string", "format": "email"},
			"state": {"enum": ["paid", "open"]}, "n": {"type": "integer", "minimum": 1, "multipleOf": 0.5},
			"items": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/item"}}, "either": {"oneOf": [{"type": "string"}, {"type": "null"}]}
		},
		"$defs": {"item": {"type": "object", "required": ["sku"]}}
	}`
	s := compiled(t, order)
	for value, want := range map[string]string{
		`{"id":"o_1","items":[{"sku":"a"}],"email":"a@example.com","state":"paid","n":2,"either":null}`: "",
		`{"id":"secret","items":[{"sku":"a"}]}`:                                                         "/id|pattern|does not match the pattern \"^o_[0-9]+$\"\n",
		`{"id":"o_1","items":[{"sku":"a"},{}]}`:                                                         "/items/1|required|lacks the members \"sku\"\n",
		`{"id":"o_1","items":[],"email":"secret"}`:                                                      "/email|format|is not a valid email\n",
		`{"id":"o_1","items":[],"state":"secret"}`:                                                      "/state|enum|is not one of the allowed values: \"paid\", \"open\"\n",
		`{"id":"o_1","items":[],"n":0.3}`:                                                               "/n|type|is number, want integer\n",
		`{"id":"o_1","items":[],"n":0}`:                                                                 "/n|minimum|is less than 1\n",
		`{"id":"o_1","items":[],"either":5}`:                                                            "/either|oneOf|matches none of the alternatives\n",
		`{"id":"o_1","items":[],"a/b":1}`:                                                               "|additionalProperties|has members that are not allowed: \"a/b\"\n",
		`[]`:                                                                                            "|type|is array, want object\n",
		`{"id":"o_1","items":[],"n":1e999999}`:                                                          "/n||is a number of more than 400 digits, which is not compared\n",
		`{"id":"o_1","items":[],"n":1` + strings.Repeat("0", 500) + `}`:                                 "/n||is a number of more than 400 digits, which is not compared\n",
	} {
		if got := lines(validate(t, s, value)); got != want {
			t.Errorf("%.80s:\n%swant\n%s", value, got, want)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	list, more := validate(t, compiled(t, `{"items": {"type": "string"}}`), "["+strings.Repeat("1,", 99)+"1]")
	if len(list) != schema.MaxProblems || more != 100-schema.MaxProblems {
		t.Errorf("%d problems and %d more", len(list), more)
	}
}

func TestWrongSchemaIsFault(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"type": "objekt"}`:                                             "at /type: ",
		`{"properties": {"a": {"minimum": "x"}}}`:                        "at /properties/a/minimum: is string, want number",
		`{"properties": {"a": {"pattern": "(?!x)"}}}`:                    "at /properties/a/pattern",
		`{"$ref": "https://example.com/order.json"}`:                     `"https://example.com/order.json" is outside of the schema`,
		`{"$ref": "file:///etc/passwd"}`:                                 `"file:///etc/passwd" is outside of the schema`,
		`{"$schema": "https://example.com/own"}`:                         `"https://example.com/own" is outside of the schema`,
		`{"$ref": "#/$defs/none"}`:                                       "/$defs/none",
		`{"$dynamicRef": "#a", "$defs": {"x": {"$dynamicAnchor": "a"}}}`: "$dynamicRef",
		`{"minimum": 1e999999}`:                                          "at /minimum: is a number",
		`{`:                                                              "is not JSON",
		`[1]`:                                                            "is array, want boolean or object",
		`{"description": "` + strings.Repeat("x", schema.MaxBytes) + `"}`: "bytes, more than",
		strings.Repeat(`{"not":`, 80) + "true" + strings.Repeat("}", 80):  "nested deeper than 64 levels",
	} {
		if _, err := schema.New([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

// A value cannot use unlimited time: each of these would take minutes, or for ever.
// One after the other: in parallel, they would wait for each other.
func TestStepsAreBounded(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"x":`, n) + "1" + strings.Repeat("}", n) }
	names := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("%q", fmt.Sprint("m", i)))
		}
		return strings.Join(list, ",")
	}
	both := `{"$defs": {"n": {"type": "object", "properties": {"x": {"%s": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}}}, %s}`
	for name, c := range map[string]struct{ schema, value string }{
		"branches of anyOf":     {fmt.Sprintf(both, "anyOf", `"$ref": "#/$defs/n"`), deep(90)},
		"branches of oneOf":     {fmt.Sprintf(both, "oneOf", `"$ref": "#/$defs/n"`), deep(90)},
		"branches below not":    {fmt.Sprintf(both, "anyOf", `"not": {"$ref": "#/$defs/n"}`), deep(90)},
		"many alternatives":     {`{"items": {"anyOf": [` + strings.Repeat(`{"type": "string"},`, 500) + `{"type": "null"}]}}`, "[" + strings.Repeat("1,", 100_000) + "1]"},
		"numbers of an enum":    {`{"items": {"enum": [` + strings.Repeat("7,", 499) + `8]}}`, "[" + strings.Repeat("1,", 100_000) + "1]"},
		"required members":      {`{"items": {"required": [` + names(1000) + `]}}`, "[" + strings.Repeat("{},", 100_000) + "{}]"},
		"patterns of members":   {`{"items": {"patternProperties": {` + strings.ReplaceAll(names(300), ",", ":true,") + `:true}}}`, "[" + strings.Repeat(`{"`+strings.Repeat("ab", 200)+`":1},`, 10_000) + "{}]"},
		"regular expressions":   {`{"items": {"format": "regex"}}`, "[" + strings.Repeat(`"`+strings.Repeat("(a{1000})", 100)+`",`, 1000) + `""]`},
		"names of many members": {`{"items": {"propertyNames": {"pattern": "x"}}}`, "[" + strings.Repeat(`{"a":1,"b":1},`, 100_000) + "{}]"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			list, _ := validate(t, compiled(t, c.schema), c.value)
			if len(list) != 1 || !strings.Contains(list[0].Message, "needs more than 300000 comparisons") {
				t.Errorf("%v", list[:min(len(list), 2)])
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The events of one request have one budget: with one for each, 5,000 of them would take hours.
func TestEventsOfRequestShareSteps(t *testing.T) {
	s := compiled(t, `{"$defs": {"n": {"type": "object", "properties": {"x": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}}}, "not": {"$ref": "#/$defs/n"}}`)
	value := strings.Repeat(`{"x":`, 90) + "1" + strings.Repeat("}", 90)
	share, spent := schema.NewShare(), new(gaff.SchemaEffort)
	const own, all = "needs more than 300000 comparisons", "the events of its request need more than 1000000 comparisons"
	for i, want := range []string{own, own, own, all, all} {
		list, _, err := s.Validate(t.Context(), share, []byte(value), spent)
		if err != nil || len(list) != 1 || !strings.Contains(list[0].Message, want) {
			t.Errorf("event %d: %v, %v, want %q", i+1, list, err, want)
		}
	}
	list, _, err := s.Validate(t.Context(), share, []byte(`{}`), spent)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Message, all) {
		t.Errorf("a small event after the budget: %v, %v", list, err)
	}
	if spent.Steps != schema.MaxAllSteps {
		t.Errorf("%d steps, want %d", spent.Steps, schema.MaxAllSteps)
	}
}

// Honest requests with many events stay within the budget.
func TestManySmallEventsAreValidated(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"type": "object", "required": ["id", "amount"], "properties": {"id": {"type": "string", "pattern": "^o_"},
		"amount": {"type": "number", "minimum": 0}, "items": {"items": {"required": ["sku"], "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}}}}}`)
	share, spent := schema.NewShare(), new(gaff.SchemaEffort)
	for i := range 5000 {
		value := fmt.Sprintf(`{"id":"o_%d","amount":5,"items":[{"sku":"a","n":1},{"sku":"b","n":2},{"sku":"c","n":3}]}`, i)
		if list, _, err := s.Validate(t.Context(), share, []byte(value), spent); err != nil || len(list) != 0 {
			t.Fatalf("event %d: %v, %v", i, list, err)
		}
	}
}

func TestValidateEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s, share := compiled(t, `{}`), schema.NewShare()
	for range cap(share) {
		share <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if list, _, err := s.Validate(ctx, share, []byte(`{}`), new(gaff.SchemaEffort)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", list, err)
	}
}

// Problems of a large value use a bounded amount of memory.
func TestMemoryIsBounded(t *testing.T) {
	s := compiled(t, `{"items": {"type": "string"}}`)
	value := "[" + strings.Repeat("1,", 4<<20) + "1]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if list, _ := validate(t, s, value); len(list) != 1 {
		t.Errorf("%d problems", len(list))
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<30 {
		t.Errorf("%d MiB were allocated for a value of 8 MiB", got>>20)
	}
}

// Each problem has its path, so that problems of a deep value would use much memory.
func TestDepthOfValueIsBounded(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"type": "array", "items": {"$ref": "#"}}`)
	for depth, want := range map[int]string{90: "is number, want array", 500: "nested deeper than 100 levels"} {
		list, _ := validate(t, s, strings.Repeat("[", depth)+strings.Repeat("1,", 1000)+"1"+strings.Repeat("]", depth))
		if len(list) == 0 || !strings.Contains(list[0].Message, want) {
			t.Errorf("depth %d: %v, want %q", depth, list, want)
		}
	}
}

// A schema that refers to that of JSON Schema must not change how others are compiled.
func TestSchemaIsSharedByManyCallers(t *testing.T) {
	t.Parallel()
	meta := compiled(t, `{"$ref": "http://json-schema.org/draft-07/schema#"}`)
	s := compiled(t, `{"required": ["id"]}`)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if list, _ := validate(t, s, `{"id":1}`); len(list) != 0 {
				t.Errorf("a valid value: %v", list)
			}
			if list, _ := validate(t, s, `{}`); len(list) != 1 {
				t.Errorf("an invalid value: %v", list)
			}
			if list, _ := validate(t, meta, `{"type": 5}`); len(list) != 1 {
				t.Errorf("an invalid schema: %v", list)
			}
			if _, err := schema.New([]byte(fmt.Sprintf(`{"minimum": %d}`, i))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func FuzzSchema(f *testing.F) {
	for _, text := range fuzzseed.Vary(`{"type":"object","required":["a"],"properties":{"a":{"anyOf":[{"$ref":"#"},{"pattern":"^x"}],"minimum":1}}}`) {
		f.Add(text, `{"a":{"a":1e5}}`)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		s, err := schema.New([]byte(text))
		if err != nil {
			return
		}
		if list, more := validate(t, s, value); len(list) > schema.MaxProblems || more > 0 && len(list) < schema.MaxProblems {
			t.Errorf("%d problems and %d more", len(list), more)
		}
	})
}
