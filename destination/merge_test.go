package destination

import (
	"encoding/json"
	"testing"
)

// The examples of RFC 7396, appendix A, and section 1.
func TestMergePatchFollowsRFC7396(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890}`, `{"m":0.10}`, `{"m":0.10,"n":12345678901234567890}`},
	} {
		target, err := decode([]byte(c[0]))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := decode([]byte(c[1]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(mergePatch(target, patch))
		if err != nil || string(got) != c[2] {
			t.Errorf("%s patched with %s: %s (%v), want %s", c[0], c[1], got, err, c[2])
		}
	}
}

func TestMergeRemovesOneHeader(t *testing.T) {
	t.Parallel()
	s := Spec{Name: "out", URL: "https://a.example", Headers: map[string]string{"X-Old": "1", "X-Kept": "2"}}
	if err := Merge(&s, []byte(`{"headers":{"X-Old":null,"X-New":"3"}}`)); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.Headers)
	if want := `{"X-Kept":"2","X-New":"3"}`; err != nil || string(text) != want {
		t.Errorf("the headers are %s (%v), want %s", text, err, want)
	}
	for _, patch := range []string{``, `null`, `[]`, `"x"`, `{} {}`, `{"nothing":1}`} {
		if err := Merge(&s, []byte(patch)); err == nil {
			t.Errorf("the patch %s is taken", patch)
		}
	}
}
