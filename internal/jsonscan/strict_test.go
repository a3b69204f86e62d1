package jsonscan

import (
	"errors"
	"testing"
)

type moment int

func (m *moment) UnmarshalText(text []byte) error {
	if string(text) != "midnight" {
		return errors.New("not midnight")
	}
	return nil
}

func TestStrictNamesMembersInWordsOfJSON(t *testing.T) {
	t.Parallel()
	type inner struct {
		Size int64 `json:"size"`
	}
	type document struct {
		Name  string   `json:"name"`
		Ready bool     `json:"ready"`
		Rate  float64  `json:"rate"`
		Tags  []string `json:"tags"`
		Inner inner    `json:"inner"`
		At    moment   `json:"at"`
	}
	for text, want := range map[string]string{
		`{"name":5}`:               "name: expected a text in quotation marks, not number",
		`{"ready":"yes"}`:          "ready: expected true or false, not string",
		`{"rate":"fast"}`:          "rate: expected a number, not string",
		`{"tags":"a"}`:             "tags: expected a list, not string",
		`{"inner":[]}`:             "inner: expected an object, not array",
		`{"inner":{"size":"5KB"}}`: "inner.size: expected a whole number, not string",
		`{"at":5}`:                 "at: expected a text in quotation marks, not number",
		`{"name":"a","at":"noon"}`: "at: not midnight",
		`{"at":`:                   "unexpected EOF",
		`5`:                        "expected an object, not number",
		`{"other":1}`:              `unknown field "other"`,
		`{} {}`:                    "more than one JSON value",
	} {
		if err := Strict([]byte(text), new(document)); err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	doc := document{}
	if err := Strict([]byte(`{"name":"a","inner":{"size":2}}`), &doc); err != nil || doc.Inner.Size != 2 {
		t.Errorf("a correct document: %v %+v", err, doc)
	}
}
