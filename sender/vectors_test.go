package sender

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gaff"
	"gaff/verify"
)

// vectorFiles reads the vector files of a folder of testdata, by provider.
func vectorFiles(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/" + folder + "/*.json")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d vector files: %v", len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(name), ".json")] = text
	}
	return files
}

// otherwise are the vectors that name a choice and are decided differently here; the
// reasons stand in docs/verification.md.
var otherwise = map[string]string{
	"linear-042":  "a timestamp in JSON may be a text",
	"hubspot-066": "the file's own scheme signs the URL as it is; the preset undoes the escapes",
	"shopify-045": "the file's own scheme has one header; the preset takes both",
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for name, text := range vectorFiles(t, "vectors") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results, err := RunVectors(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(results) == 0 {
				t.Fatal("no vectors")
			}
			for _, r := range results {
				if _, other := otherwise[r.ID]; r.Agrees() == other {
					t.Errorf("%s (%s; normative %v): want %s, got %s: %s; id %q, type %q",
						r.ID, r.Description, r.Normative, r.Expect, r.Got, r.Reason, r.Event.ID, r.Event.Type)
				}
			}
		})
	}
}

// Senders that are in no shared set: their files were computed by another program, from
// the catalogue's descriptions alone.
func TestVectorsOfOthers(t *testing.T) {
	t.Parallel()
	for name, text := range vectorFiles(t, "catalogue") {
		results, err := RunVectors(bytes.NewReader(text))
		if err != nil || len(results) == 0 || results[0].Detail != "" {
			t.Errorf("%s: %d results, %v", name, len(results), err)
			continue
		}
		for _, r := range results {
			if !r.Agrees() {
				t.Errorf("%s (%s): want %s, got %s: %s", r.ID, r.Description, r.Expect, r.Got, r.Reason)
			}
		}
	}
}

// The presets are held to the vectors, too, not only the schemes that the files bring.
func TestVectorsByPreset(t *testing.T) {
	t.Parallel()
	files := vectorFiles(t, "vectors")
	maps.Copy(files, vectorFiles(t, "catalogue"))
	for name, text := range files {
		if strings.HasPrefix(name, "generic-") || name == "turnkey-like" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var file vectorFile
			if err := json.Unmarshal(text, &file); err != nil {
				t.Fatal(err)
			}
			scheme, ok := Preset(name)
			if !ok {
				t.Fatal("no such preset")
			}
			results, err := file.run(scheme)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if !r.Agrees() && r.ID != "linear-042" {
					t.Errorf("%s (%s): want %s, got %s: %s", r.ID, r.Description, r.Expect, r.Got, r.Reason)
				}
			}
		})
	}
}

// The page for operators names every choice that a vector is about.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/verification.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(what string) {
		if !bytes.Contains(page, []byte("`"+what+"`")) {
			t.Errorf("docs/verification.md does not name `%s`", what)
		}
	}
	for _, text := range vectorFiles(t, "vectors") {
		results, err := RunVectors(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Policy != "" {
				has(r.Policy)
			}
		}
	}
	for id := range otherwise {
		has(id)
	}
}

// Senders that do not exist, described only by the scheme of their file: every field of
// the model.
func TestOwnVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/own/*.json")
	if err != nil || len(files) < 70 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		results, err := RunVectors(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(results) == 0 || (results[0].Detail != "") != strings.Contains(name, "challenge-and-more") {
			t.Errorf("%s: %d results", name, len(results))
		}
		for _, r := range results {
			if !r.Agrees() {
				t.Errorf("%s %s: want %s, got %s: %s", r.ID, r.Description, r.Expect, r.Got, r.Reason)
			}
		}
	}
}

// A refusal must also be for the right reason: a verifier that refuses everything
// satisfies most vectors.
func TestVectorReasons(t *testing.T) {
	t.Parallel()
	// What a vector names as its reason, and what may be answered for it.
	allowed := map[string][]error{
		"alg_not_allowed":     {verify.ErrMismatch},
		"ambiguous_field":     {verify.ErrAmbiguous},
		"ambiguous_id":        {verify.ErrAmbiguous},
		"bad_claim":           {verify.ErrMissing, verify.ErrMalformed},
		"bad_encoding":        {verify.ErrMalformed},
		"bad_prefix":          {verify.ErrMalformed},
		"bad_signature":       {verify.ErrMismatch, verify.ErrMalformed, verify.ErrAmbiguous},
		"bad_timestamp":       {verify.ErrMalformed, verify.ErrMissing, verify.ErrStale},
		"body_not_json":       {verify.ErrMalformed},
		"crit_header":         {verify.ErrMalformed},
		"duplicate_header":    {verify.ErrAmbiguous},
		"expired":             {verify.ErrStale},
		"future_timestamp":    {verify.ErrStale},
		"key_fetch_failed":    {gaff.ErrUnverifiable},
		"key_url_not_allowed": {verify.ErrMismatch},
		"malformed_token":     {verify.ErrMalformed},
		"missing_field":       {verify.ErrMissing},
		"missing_header":      {verify.ErrMissing},
		"missing_id":          {verify.ErrMissing},
		"missing_signature":   {verify.ErrMissing},
		"missing_timestamp":   {verify.ErrMissing},
		"missing_token":       {verify.ErrMissing},
		"no_usable_signature": {verify.ErrMissing},
		"not_yet_valid":       {verify.ErrStale},
		"stale_timestamp":     {verify.ErrStale, verify.ErrAmbiguous},
		"token_mismatch":      {verify.ErrMismatch},
		"unsigned_body":       {verify.ErrMissing},
		"wrong_issuer":        {verify.ErrMismatch},
	}
	// Keys that are refused before any request comes.
	atStart := []string{"fal-062", "fal-063", "fal-064", "fal-065", "fal-068", "sendgrid-025", "stripe-083"}
	checked := 0
	for name, text := range vectorFiles(t, "vectors") {
		results, err := RunVectors(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var file struct{ Vectors []struct{ Reason string } }
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			want, ok := allowed[file.Vectors[i].Reason]
			if !ok || r.Got == "valid" || slices.Contains(atStart, r.ID) {
				continue
			}
			checked++
			if !slices.ContainsFunc(want, func(e error) bool { return errors.Is(r.Err, e) }) {
				t.Errorf("%s (%s): %s, but refused with %q", r.ID, r.Description, file.Vectors[i].Reason, r.Reason)
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d refusals were checked", checked)
	}
}

func TestRunVectorsFaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":        `{`,
		"another format": `{"format":"gaff-challenges/1","vectors":[]}`,
		"wrong type":     `{"format":"gaff-vectors/1","scheme":{"kind":7},"vectors":[]}`,
		"endless body":   `{"format":"gaff-vectors/1","scheme":{"kind":"token"},"vectors":[{"id":"a","body_repeat":["aaaa",1e12]}]}`,
		"odd body":       `{"format":"gaff-vectors/1","scheme":{"kind":"token"},"vectors":[{"id":"a","body_repeat":[1]}]}`,
		"odd key":        `{"format":"gaff-vectors/1","scheme":{"kind":"token"},"vectors":[{"id":"a","keys":[{"kind":"secret","value":1}]}]}`,
	} {
		if _, err := RunVectors(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Members that differ in case are different members: a reader that folds case must not
// be led to another value than the one that was signed.
func TestAdyenMemberCase(t *testing.T) {
	t.Parallel()
	var file vectorFile
	if err := json.Unmarshal(vectorFiles(t, "vectors")["adyen"], &file); err != nil {
		t.Fatal(err)
	}
	for i := range file.Vectors {
		v := &file.Vectors[i]
		if v.ID != "adyen-001" {
			continue
		}
		forged := bytes.Replace(v.BodyBase64, []byte(`"pspReference": "7914073381342284"`),
			[]byte(`"pspReference": "1", "pspreference": "7914073381342284"`), 1)
		if bytes.Equal(forged, v.BodyBase64) {
			t.Fatal("nothing forged")
		}
		v.BodyBase64 = forged
		s, _ := Preset("adyen")
		if res, err := v.run(s); err != nil || res.Got != "invalid" {
			t.Errorf("%+v, %v", res, err)
		}
		return
	}
	t.Fatal("no adyen-001")
}
