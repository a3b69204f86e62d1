package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/payload"
)

// place is a [Location] ready for use. The zero place has no text.
type place struct {
	in    string
	name  string // canonical for headers
	index int    // within a pointer set
	label string // for errors
	or    *place // is read if this place is empty
	and   *place // its text follows
	lines bool   // the text may have line breaks
	exact bool   // different values have different texts, which identify events
}

// newPlace checks a location. Nil gives the zero place.
func newPlace(l *Location, path string, set *pointers, f *fault.List) place {
	if l == nil {
		return place{}
	}
	p := place{in: l.In, name: l.Name, label: l.Name}
	switch l.In {
	case "header", "form", "query":
		if l.Name == "" {
			f.Add(path+".name", "missing; the %s's name is wanted", l.In)
		}
		if l.Pointer != "" {
			f.Add(path+".pointer", "not used with in: %s; remove it, or write in: json", l.In)
		}
		if l.In == "header" {
			if l.Name != "" && !IsHeaderName(l.Name) {
				f.Add(path+".name", "%q is not a header name", l.Name)
			}
			p.name = textproto.CanonicalMIMEHeaderKey(l.Name)
		} else {
			p.label = l.In + " field " + l.Name
		}
	case "json":
		if l.Name != "" {
			f.Add(path+".name", "not used with in: json; write pointer")
		}
		i, err := set.add(l.Pointer)
		if err != nil {
			f.Add(path+".pointer", "%v", err)
		}
		p.index, p.label = i, "body "+l.Pointer
	case "body":
		if l.Name != "" || l.Pointer != "" {
			f.Add(path, "in: body is the whole body; remove name and pointer")
		}
		p.label = "body"
	case "member":
		if l.Pointer != "" {
			f.Add(path+".pointer", "not used with in: member; remove it")
		}
		p.label = "body's first member"
	case "":
		f.Add(path+".in", "missing; one of header, json, form, query, body, member is wanted")
	default:
		f.OneOf(path+".in", l.In, "header, json, form, query, body, member")
	}
	if l.Or != nil {
		or := newPlace(l.Or, path+".or", set, f)
		p.or = &or
	}
	if l.And != nil {
		and := newPlace(l.And, path+".and", set, f)
		p.and = &and
	}
	return p
}

// identify makes the place and its alternatives exact.
func (p *place) identify() {
	p.exact = true
	for _, other := range []*place{p.or, p.and} {
		if other != nil {
			other.identify()
		}
	}
}

// text returns the text at the place. values are the results of the place's pointer set. A missing
// or empty text is ErrMissing, two different texts are ErrAmbiguous.
func (p place) text(r *gaff.Request, values [][]byte) (string, error) {
	text, err := p.read(r, values)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.label, err)
	}
	return text, nil
}

// read is like text, without the label in the error.
func (p place) read(r *gaff.Request, values [][]byte) (string, error) {
	text, err := p.readHere(r, values)
	if p.or != nil && errors.Is(err, ErrMissing) {
		return p.or.read(r, values)
	}
	if p.and != nil && err == nil {
		if more, err := p.and.read(r, values); err == nil {
			if p.exact {
				return JoinExactly([]string{text, more}, "."), nil
			}
			text += "." + more
		}
	}
	return text, err
}

func (p place) readHere(r *gaff.Request, values [][]byte) (string, error) {
	switch p.in {
	case "header":
		values := r.Header[p.name]
		if p.name == "Host" && len(values) == 0 { // net/http removes it from the headers
			if u, err := url.Parse(r.URL); err == nil {
				values = []string{u.Host}
			}
		}
		return oneOf(values)
	case "json":
		if p.index < len(values) {
			read := jsonText
			if p.exact {
				read = exactText
			}
			if text, ok := read(values[p.index]); ok && text != "" {
				return text, nil
			}
		}
	case "member":
		return firstMember(r.Text(), p.name)
	case "body":
		return oneOf([]string{strings.TrimRight(string(r.Body), "\r\n")})
	case "form":
		texts, err := formTexts(r, p.name)
		if err != nil {
			return "", err
		}
		return p.one(texts)
	case "query":
		u, err := url.Parse(r.URL)
		if err != nil {
			return "", ErrMalformed
		}
		fields, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			return "", ErrMalformed
		}
		return p.one(fields[p.name])
	}
	return "", ErrMissing
}

// one returns the text that all values are equal to.
func (p place) one(values []string) (string, error) {
	if p.lines {
		return same(values)
	}
	return oneOf(values)
}

// put writes a text to the place in a request that is being signed. For a place in the body it
// encodes the body again.
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

// firstMember returns the name of an object's first member that is not called skip.
func firstMember(doc []byte, skip string) (string, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", ErrMissing
	}
	for d.More() {
		t, err := d.Token()
		if name, ok := t.(string); err == nil && ok && name != skip {
			return name, nil
		}
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			break
		}
	}
	return "", ErrMissing
}

// headerText returns the value of a header by its canonical name.
func headerText(h http.Header, name, label string) (string, error) {
	text, err := oneOf(h[name])
	if err != nil {
		return "", fmt.Errorf("%s: %w", label, err)
	}
	return text, nil
}

// oneOf returns the single-line text that all values are equal to.
func oneOf(values []string) (string, error) {
	text, err := same(values)
	if err != nil {
		return "", err
	}
	// HTTP headers cannot contain these. In requests from other sources they could move the borders
	// in signed content.
	if strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%w: line break", ErrMalformed)
	}
	return text, nil
}

// same returns the text that all values are equal to.
func same(values []string) (string, error) {
	for _, v := range values {
		if v != values[0] {
			return "", fmt.Errorf("%w: it came %d times with different values", ErrAmbiguous, len(values))
		}
	}
	if len(values) == 0 || values[0] == "" {
		return "", ErrMissing
	}
	return values[0], nil
}

// IsHeaderName reports whether text may be a header's name (RFC 9110).
func IsHeaderName(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return text != ""
}

// header is a header with its required value.
type header struct{ name, value string }

func requiredHeaders(m map[string]string, f *fault.List) []header {
	var list []header
	for name, value := range m {
		if !IsHeaderName(name) {
			f.Add("require_headers", "%q is not a header name", name)
		}
		list = append(list, header{textproto.CanonicalMIMEHeaderKey(name), value})
	}
	slices.SortFunc(list, func(a, b header) int { return strings.Compare(a.name, b.name) })
	return list
}

func checkHeaders(list []header, h http.Header) error {
	for _, want := range list {
		got, err := headerText(h, want.name, want.name)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("%s: %w: %s, %s is wanted", want.name, ErrMismatch, Printable(got), Printable(want.value))
		}
	}
	return nil
}
