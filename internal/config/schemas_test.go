package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	c := load(t, LoadOptions{Dir: folder(t, map[string]string{
		"gaff.yaml": `sources:
  shop:
    preset: stripe
    on_violation: refuse
    schemas:
      order.paid:
        type: object
        required: [id]
        properties: {amount: {type: number, multipleOf: 0.01}, code: {const: "007"}, open: {enum: [true, null]}}
      order.open: open.json
      order.tabs: file:tabs.json
      "*": {not: {required: [error]}}
`,
		"open.json": `{"type": "object"}`, "tabs.json": "{\n\t\"type\":\t\"object\"\n}",
	})})
	got := map[string]string{}
	for eventType, s := range c.Sources["shop"].Schemas {
		got[eventType] = s.File + " " + s.Text
	}
	want := map[string]string{
		"order.paid": ` {"properties":{"amount":{"multipleOf":0.01,"type":"number"},"code":{"const":"007"},"open":{"enum":[true,null]}},"required":["id"],"type":"object"}`,
		"order.open": `open.json {"type":"object"}`,
		"order.tabs": `tabs.json {"type":"object"}`,
		"*":          ` {"not":{"required":["error"]}}`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.Sources["shop"].OnViolation != ViolationRefuse {
		t.Errorf("on_violation: %q", c.Sources["shop"].OnViolation)
	}
}

// A wrong schema is a fault with the file and line of its mistake.
func TestSchemaFaults(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"bad.json":   "{\n  \"type\": \"object\",\n  \"properties\": {\n    \"a\": {\"pattern\": \"(\"}\n  }\n}",
		"broken.yml": "a: [",
		"large.json": `{"description": "` + strings.Repeat("x", 70<<10) + `"}`,
	}
	for text, want := range map[string]string{
		"schemas:\n      paid:\n        type: object\n        minProperties: no": `sources.a.schemas.paid (gaff.yaml:7): is not a JSON Schema: at /minProperties: is string, want integer`,
		"schemas: {paid: bad.json}":                        `sources.a.schemas.paid="bad.json" (bad.json:4): is not a JSON Schema: at /properties/a/pattern: is not a regular expression of RE2`,
		"schemas: {paid: none.json}":                       `sources.a.schemas.paid="none.json" (gaff.yaml:4): the file cannot be read`,
		"schemas: {paid: broken.yml}":                      `(broken.yml:1)`,
		"schemas: {paid: large.json}":                      `is not a JSON Schema: the schema has 71`,
		`schemas: {paid: {$ref: "https://example.com/s"}}`: `is outside of the schema`,
		"schemas: {paid: [1]}":                             `is not a JSON Schema: is array, want boolean or object`,
		"schemas: {paid: {minimum: 0x10}}":                 `is not a number of JSON`,
		"schemas: {'order.*': true}":                       `is not an event type`,
		"schemas: {paid: true}\n    on_violation: reject":  `sources.a.on_violation="reject" (gaff.yaml:5): is not known`,
		"on_violation: warn":                               `has no effect without schemas:`,
	} {
		_, err := Load(LoadOptions{Dir: folder(t, merge(files, map[string]string{"gaff.yaml": "sources:\n  a:\n    preset: stripe\n    " + text + "\n"}))})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}

func merge(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for name, text := range m {
			all[name] = text
		}
	}
	return all
}

// A source of the API has no files: who describes it need not be allowed to read the gateway's.
func TestSchemaOfRecordIsNoFile(t *testing.T) {
	t.Parallel()
	_, err := ParseSource("app", []byte(`{"preset": "stripe", "schemas": {"paid": "/etc/passwd"}}`))
	faults, ok := errors.AsType[Faults](err)
	if !ok || !strings.Contains(err.Error(), "no file is read here") || faults[0].From != "" {
		t.Errorf("%v", err)
	}
	s, err := ParseSource("app", []byte(`{"preset": "stripe", "schemas": {"paid": {"pattern": "^\\d+\u0020\"$", "minimum": 1e2}}}`))
	if err != nil || s.Schemas["paid"].Text != `{"minimum":1e2,"pattern":"^\\d+ \"$"}` {
		t.Errorf("%v, %v", s.Schemas, err)
	}
}
