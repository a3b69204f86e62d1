package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/payload"
)

func isForm(r *gaff.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// formTexts returns the values of a field in a form, urlencoded or multipart, in the bytes of their
// charset: those are signed. A body of another content type is read as urlencoded.
func formTexts(r *gaff.Request, name string) (texts []string, err error) {
	fields, err := payload.Form(r.Header.Get("Content-Type"), r.Text())
	if errors.Is(err, payload.ErrNoForm) {
		fields, err = payload.Form("application/x-www-form-urlencoded", r.Text())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, f := range fields {
		if f.Name != name || f.File && !f.JSON() {
			continue
		}
		if f.Broken {
			return nil, fmt.Errorf("%w: a %% that is not an escape", ErrMalformed)
		}
		texts = append(texts, string(f.Value))
	}
	return texts, nil
}

// formField returns a field of a form. A field that occurs twice is ambiguous.
func formField(r *gaff.Request, name string) ([]byte, error) {
	fields, err := payload.Form(r.Header.Get("Content-Type"), r.Text())
	if errors.Is(err, payload.ErrNoForm) {
		return nil, fmt.Errorf("Content-Type: %w: a form is wanted", ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var found []byte
	for _, f := range fields {
		if f.Name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("form field %s: %w: it came twice", name, ErrAmbiguous)
		}
		found = []byte(f.Text())
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("form field %s: %w", name, ErrMissing)
	}
	return found, nil
}

// InForm returns a JSON document as the form that the sender sends; ok is false if the sender
// signs JSON as it is.
func (s Scheme) InForm(doc []byte) (form []byte, ok bool, err error) {
	if !s.wantsForm() {
		return doc, false, nil
	}
	form, err = asForm(doc, s.Content)
	return form, err == nil, err
}

// wantsForm reports whether the scheme signs only forms: the signature covers fields of a form, or
// is in one.
func (s Scheme) wantsForm() bool {
	return s.Name == "twilio" || s.Name == "plivo" || strings.Contains(s.Signed, "{form") ||
		slices.ContainsFunc(s.Signature, func(p Signature) bool { return p.In == "form" })
}

// asForm writes a JSON document as a form: in the one field that content names, else with a
// field for each member.
func asForm(doc []byte, content string) ([]byte, error) {
	form := url.Values{}
	if _, field, ok := strings.Cut(content, ":"); ok {
		form.Set(field, strings.TrimSpace(string(doc)))
		return []byte(form.Encode()), nil
	}
	var fields map[string]any
	if err := json.Unmarshal(doc, &fields); err != nil {
		return nil, err
	}
	for name, value := range fields {
		form.Set(name, fmt.Sprint(value))
	}
	return []byte(form.Encode()), nil
}
