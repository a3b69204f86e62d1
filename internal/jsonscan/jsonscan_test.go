package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestItemsYieldsPartsOfTheList(t *testing.T) {
	t.Parallel()
	var got []string
	if err := Items([]byte(` [1, "a" ,{"b":[2]},[ ]] `), func(value []byte) error {
		got = append(got, string(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "|"); text != `1|"a"|{"b":[2]}|[ ]` {
		t.Error(text)
	}
}

func TestMembersYieldsNamesInQuotes(t *testing.T) {
	t.Parallel()
	var got []string
	if err := Members([]byte(`{"a" : 1, "\u0062":{"c":"d"} }`), func(name, value []byte) error {
		got = append(got, string(name)+string(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "|"); text != `"a"1|"\u0062"{"c":"d"}` {
		t.Error(text)
	}
}

// Eight bytes of a string are read at a time: every byte is put at every place of them.
func TestValidReadsEveryByteOfStrings(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				doc := []byte(`"` + strings.Repeat("\xff", length) + `"`)
				doc[at+1] = byte(c)
				if got, want := Valid(doc), json.Valid(doc); got != want {
					t.Errorf("%q: valid is %v, want %v", doc, got, want)
				}
			}
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, doc := range []string{`{"a":[1,2.5e3,"\ud83d",null,true]}`, `[1,]`, `{"a" 1}`, ``, `1 2`} {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if got, want := Valid([]byte(doc)), json.Valid([]byte(doc)); got != want {
			t.Errorf("%q: valid is %v, want %v", doc, got, want)
		}
	})
}
