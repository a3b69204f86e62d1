package verify

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"gaff/internal/fuzzseed"

	"gaff/internal/jsonscan"
)

func TestPointers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pointer, doc string
		want         string // raw; empty for none
	}{
		{"/a", `{"a":1}`, `1`},
		{"/a/b/1", ` { "x":[{}], "a" : { "b" : [0, "one" ] } } `, `"one"`},
		{"/a", `{"a":{"b":[1,{"c":null}]},"d":2}`, `{"b":[1,{"c":null}]}`},
		{"/", `{"":7}`, `7`},
		{"/a~1b/~0", `{"a/b":{"~":7}}`, `7`},
		{"/a", `{"\u0061":7}`, `7`},
		{"/\U0001F600", `{"\ud83d\ude00":7}`, `7`},
		{"/0", `[5]`, `5`},
		{"/00", `[5]`, ``},
		{"/10", `[0,1,2,3,4,5,6,7,8,9,10]`, `10`},
		{"/-", `[5]`, ``},
		{"/0", `{"0":5}`, `5`},
		{"/a", `{"A":1}`, ``},
		{"/a/b", `{"a":"b"}`, ``},
		{"/a", `{"a":1,"a":2}`, `2`},
		{"/a/b", `{"a":{"b":1},"a":2}`, ``},
		{"/a/b", `{"a":2,"a":{"b":1}}`, `1`},
		{"/n", `{"n":123456789012345678901234567890.10e+5}`, `123456789012345678901234567890.10e+5`},
	}
	for _, tt := range tests {
		var set pointers
		if _, err := set.add(tt.pointer); err != nil {
			t.Fatal(err)
		}
		got, err := set.find([]byte(tt.doc))
		if err != nil || string(got[0]) != tt.want {
			t.Errorf("%s in %s: %q, %v; want %q", tt.pointer, tt.doc, got, err, tt.want)
		}
	}
}

func TestPointersOfOnePass(t *testing.T) {
	t.Parallel()
	var set pointers
	for range maxPointers / 4 {
		set.must("/a/b")
		set.must("/a")
		set.must("/c/0")
		set.must("/none")
	}
	got, err := set.find([]byte(`{"a":{"b":1},"c":[2]}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(got); i += 4 {
		if string(got[i]) != `1` || string(got[i+1]) != `{"b":1}` || string(got[i+2]) != `2` || got[i+3] != nil {
			t.Errorf("%q", got[i:i+4])
		}
	}
	if _, err := set.add("/x"); err == nil {
		t.Error("one pointer too many")
	}
}

func TestPointerFaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "/~", "/a~2", strings.Repeat("/a", maxPointerDepth+1)} {
		var set pointers
		if _, err := set.add(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestPointersInDeepDocuments(t *testing.T) {
	t.Parallel()
	var set pointers
	set.must("/a")
	for name, tt := range map[string]struct {
		doc string
		ok  bool
	}{
		"deep arrays":        {`{"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"a":1}`, true},
		"deep objects":       {`{"x":` + strings.Repeat(`{"x":`, 9000) + "1" + strings.Repeat("}", 9000) + `,"a":1}`, true},
		"too deep":           {`{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,"a":1}`, false},
		"never closed":       {strings.Repeat("[", 1<<20), false},
		"never closed on it": {strings.Repeat(`{"a":`, 1<<18), false},
		"crossed":            {`{"x":[{]},"a":1}`, false},
	} {
		if _, err := set.find([]byte(tt.doc)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnquoteKeepsBytes(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"\"a\xff\"":            "a\xff",
		"\"\\n\xff\"":          "\n\xff",
		`"\"\\\/\b\f\r\t"`:     "\"\\/\b\f\r\t",
		`"\ud83d\ude00\u00E9"`: "\U0001F600\u00e9",
		`"\ud83d"`:             "\ufffd",
		`"\ud83d\u0041"`:       "\ufffdA",
		`"\ude00\ud83d\ude00"`: "\ufffd\U0001F600",
	} {
		if got := jsonscan.Unquote([]byte(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

// What the scanner finds must be what the standard library reads: nobody may be shown
// one value here and another one further on.
func FuzzPointers(f *testing.F) {
	for _, doc := range []string{
		`{"a":{"b":[1,"x"]}}`, `{"a":1,"a":{"b":2}}`, `[1,[2,{"a":3}]]`, `"\ud800"`, `{"\u0061":-0.1e+5}`, "\ufeff{}", `{"a":{"b":}}`, "nul", "01",
	} {
		f.Add([]byte(doc), "/a/b")
		for _, other := range fuzzseed.Vary(doc) {
			f.Add([]byte(other), "/a/b")
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, text string) {
		var set pointers
		if _, err := set.add(text); err != nil {
			return
		}
		got, err := set.find(doc)
		if valid := json.Valid(doc); valid != (err == nil) {
			t.Fatalf("valid %v, but %v", valid, err)
		}
		if err != nil || !isASCII(doc) || !isASCII([]byte(text)) {
			return // the standard library rewrites invalid UTF-8
		}
		want := json.RawMessage(doc)
		for _, token := range set.list[0] {
			want = child(want, token)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got[0]) {
			t.Errorf("%s in %s: %q, want %q", text, doc, got[0], want)
		}
	})
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == '\\' {
			return false
		}
	}
	return true
}

func child(doc json.RawMessage, token string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(doc, &object) == nil && object != nil {
		return object[token]
	}
	var list []json.RawMessage
	if json.Unmarshal(doc, &list) == nil {
		for i := range list {
			if indexIs(token, i) {
				return list[i]
			}
		}
	}
	return nil
}
