package sender

import (
	"net/url"
	"strings"
	"testing"

	"gaff"
	"gaff/verify"
)

// A sample is read as what it was made for, for every preset that can sign.
func TestSamples(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		s, _ := Preset(name)
		if !s.CanSign() {
			continue
		}
		o := options(t, s.Scheme)
		v, err := New(s, o)
		if err != nil {
			t.Fatal(err)
		}
		body, header, err := s.Sample("id-1", "made", map[string]any{"x/y": "z"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Header: header, Body: body, ReceivedAt: noon}
		if err := v.Sign(r, noon); err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
			continue
		}
		out, err := v.Verify(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, r.Body)
			continue
		}
		if s.Content == "" && s.EventType != nil && out.Type != "made" && name != "msgraph" {
			t.Errorf("%s: type %q", name, out.Type)
		}
	}
}

// A sender that signs fields of a form sends a form: a JSON document becomes one.
func TestJSONIsSignedAsTheForm(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gitea-form", "transloadit"} {
		s, _ := Preset(name)
		v := preset(t, name, verify.Options{Secrets: []string{"a-secret-of-this-sender"}})
		sample, header, err := s.Sample("id-1", "made", nil)
		if err != nil || header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s: the sample is %s, %v", name, header.Get("Content-Type"), err)
		}
		for _, body := range []string{`{"assembly_id":"a","ok":"ASSEMBLY_COMPLETED"}`, string(sample)} {
			r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Body: []byte(body), ReceivedAt: noon}
			if err := v.Sign(r, noon); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			_, field, _ := strings.Cut(s.Content, ":")
			form, err := url.ParseQuery(string(r.Body))
			doc := []byte(form.Get(field))
			if err != nil || verify.ValidJSON(doc) != nil {
				t.Errorf("%s: %s holds %q, %v", name, field, doc, err)
			}
			if _, err := v.Verify(t.Context(), r); err != nil {
				t.Errorf("%s: %v\n%s", name, err, r.Body)
			}
		}
	}
}
