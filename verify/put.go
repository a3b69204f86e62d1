package verify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"gaff/internal/payload"

	"gaff"
)

// put writes a text at a place of a request that is being signed. Where that is in the
// body, the body is written anew.
func (p place) put(r *gaff.Request, pointer, text string, number bool) error {
	switch p.in {
	case "header":
		r.Header.Set(p.name, text)
		return nil
	case "query":
		u, err := url.Parse(r.URL)
		if err != nil {
			return fmt.Errorf("request URL: %w", ErrMalformed)
		}
		query := u.Query()
		query.Set(p.name, text)
		u.RawQuery = query.Encode()
		r.URL = u.String()
		return nil
	case "json":
		var value any = text
		if number {
			value = json.Number(text)
		}
		body, err := payload.SetJSON(r.Body, pointer, value)
		if err == nil {
			r.Body = body
		}
		return err
	case "form":
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return fmt.Errorf("body: %w: no form", ErrMalformed)
		}
		form.Set(p.name, text)
		r.Body = []byte(form.Encode())
		return nil
	}
	return fmt.Errorf("%s: not a place that can be written to", p.label)
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

// wantsForm reports whether a JSON body cannot be signed, since the proof covers a form's
// fields or is one.
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
