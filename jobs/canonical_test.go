package jobs

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gaff/internal/fuzzseed"
)

func TestCanonicalTextsOfEqualValuesAreEqual(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"order and white space": {`{"b":[1,2],"a":{"y":null,"x":true}}`, " {\"a\": {\"x\":true,\n\"y\":null}, \"b\":[1, 2]} "},
		"escapes":               {`{"a":"é<"}`, `{"\u0061":"\u00e9\u003c"}`},
		"forms of a number":     {`[1,100,0.5,-0,0]`, `[1.0,1e2,5E-1,0.0,0e5]`},
		"surrogate pair":        {`"😀"`, `"\ud83d\ude00"`},
	} {
		a, _, errA := canonical(json.RawMessage(pair[0]))
		b, _, errB := canonical(json.RawMessage(pair[1]))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s: %s, %v and %s, %v; want them equal", name, a, errA, b, errB)
		}
	}
}

func TestCanonicalTextsOfDifferentValuesDiffer(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"seeds of 64 bits":  {`{"seed":9007199254740993}`, `{"seed":9007199254740992}`},
		"number and string": {`{"a":1}`, `{"a":"1"}`},
		"order in a list":   {`[1,2]`, `[2,1]`},
		"null and missing":  {`{"a":null}`, `{}`},
		"sign":              {`[-1]`, `[1]`},
		"power":             {`[10]`, `[1]`},
	} {
		a, _, _ := canonical(json.RawMessage(pair[0]))
		if b, _, _ := canonical(json.RawMessage(pair[1])); string(a) == string(b) {
			t.Errorf("%s: both are %s", name, a)
		}
	}
}

func TestAmbiguousJSONHasNoCanonicalText(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"member twice": `{"a":1,"\u0061":2}`, "half a pair": `"\ud83d"`, "bad UTF-8": "\"\xff\"", "two values": `{} {}`,
		"deep": strings.Repeat("[", 200) + strings.Repeat("]", 200), "large power": `1e99999999999`, "open": `{"a":`,
	} {
		if out, _, err := canonical(json.RawMessage(text)); err == nil {
			t.Errorf("%s: got %s, want an error", name, out)
		}
	}
}

func TestSeedOfAnInput(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"seed":0}`: true, `{"parameters":{"seed":7}}`: true, `{"3":{"inputs":{"noise_seed":5}}}`: true,
		`{"prompt":"a"}`: false, `{"seed":null}`: false, `{"seed":-1}`: false, `{"seed":"7"}`: false, `{"seed":[1]}`: false,
	} {
		if _, seeded, err := canonical(json.RawMessage(text)); err != nil || seeded != want {
			t.Errorf("%s: seeded %t, %v; want %t", text, seeded, err, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"prompt":"a \u00e9 dog","seed":1.50e3,"list":[true,null,-0.0]}`, `{"a":{"b":[[]]}}`} {
		f.Add([]byte(seed))
		for _, other := range fuzzseed.Vary(seed) {
			f.Add([]byte(other))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, _, err := canonical(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q has the canonical text %q, and is not JSON", text, out)
		}
		again, _, err := canonical(out)
		if err != nil || string(again) != string(out) {
			t.Fatalf("%q: the canonical text %q becomes %q, %v", text, out, again, err)
		}
	})
}

func TestSignedLinksExpire(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for link, want := range map[string]time.Time{
		"https://x/a.png?X-Amz-Date=20261129T110000Z&X-Amz-Expires=3600": at,
		"https://x/a.png?X-Goog-Date=20261129T115959Z&X-Goog-Expires=1":  at,
		"https://x/a.png?se=2026-11-29T12%3A00%3A00Z&sig=x":              at,
		"https://x/a.png?Expires=1795953600&Signature=x":                 at,
		"https://x/a.png": {}, "https://x/a.png?X-Amz-Expires=3600": {}, "data:image/png;base64,AA==": {}, "https://x/?Expires=never": {},
	} {
		if got, ok := linkExpires(link); !got.Equal(want) || ok == want.IsZero() {
			t.Errorf("%s: got %s, %t; want %s", link, got, ok, want)
		}
	}
	stored := &Media{URL: "https://x/a.png?Expires=1795953600", Storage: StorageStored}
	if !holds(at.Add(-time.Hour), stored) || holds(at.Add(-time.Second), stored) {
		t.Error("a file holds until its link expires, and no longer")
	}
}
