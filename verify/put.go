package verify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

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
		body, err := putJSON(r.Body, pointer, value)
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

// putJSON returns the document with a value at a pointer. Objects that lack on the way
// are made.
func putJSON(doc []byte, pointer string, value any) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, errors.New("the body is not JSON, and the proof stands in it")
	}
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := range tokens {
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(tokens[i], "~1", "/"), "~0", "~")
	}
	if err := putAt(root, tokens, value); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(root)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// empty is what holds a member: a list of one for the first item, else an object.
func empty(token string) any {
	if token == "0" {
		return []any{map[string]any{}}
	}
	return map[string]any{}
}

func putAt(at any, tokens []string, value any) error {
	last := len(tokens) == 1
	switch at := at.(type) {
	case map[string]any:
		if last {
			at[tokens[0]] = value
			return nil
		}
		if at[tokens[0]] == nil {
			at[tokens[0]] = empty(tokens[1])
		}
		return putAt(at[tokens[0]], tokens[1:], value)
	case []any:
		i, err := strconv.Atoi(tokens[0])
		if err != nil || i < 0 || i >= len(at) {
			return fmt.Errorf("the body has no item %s, and the proof stands in it", tokens[0])
		}
		if last {
			at[i] = value
			return nil
		}
		return putAt(at[i], tokens[1:], value)
	}
	return fmt.Errorf("the body has no object for %s, and the proof stands in it", tokens[0])
}

// Sample makes a body and headers such as the sender's, with an id and a type at the
// places that the scheme names; members are put beside, where the body is an object. It
// is for tests: real bodies hold more.
func (s Scheme) Sample(id, eventType string, members map[string]any) (body []byte, header http.Header, err error) {
	header = http.Header{"Content-Type": {"application/json"}}
	doc := []byte("{}")
	pointers := []struct {
		at    *Location
		value string
	}{{s.ID, id}, {s.EventType, eventType}}
	batch := s.Batch
	for _, p := range pointers {
		if p.at != nil && p.at.In == "json" && strings.HasPrefix(p.at.Pointer, "/0/") {
			batch = cmp.Or(batch, &Batch{}) // the body is a list
		}
	}
	items := ""
	if batch != nil {
		items = strings.ReplaceAll(batch.Lists()[0], "/*", "/0")
	}
	named := s.EventType != nil && s.EventType.In == "member" && eventType != ""
	switch {
	case batch != nil && items == "":
		doc = []byte("[{}]")
	case named: // the member itself tells the type, so there is no other
		if doc, err = putJSON(doc, "/"+escapePointer(eventType), members); err != nil {
			return nil, nil, err
		}
	default:
		for name, value := range members {
			if doc, err = putJSON(doc, "/"+escapePointer(name), value); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, p := range pointers {
		switch {
		case p.at == nil || p.value == "":
		case p.at.In == "header":
			header.Set(p.at.Name, p.value)
		case p.at.In == "json":
			if doc, err = putJSON(doc, p.at.Pointer, p.value); err != nil {
				return nil, nil, err
			}
		}
	}
	if batch != nil {
		for _, field := range [...]struct {
			list  Pointers
			value string
		}{{batch.ID, id}, {batch.Type, eventType}} {
			if len(field.list) > 0 && field.value != "" {
				if doc, err = putJSON(doc, items+"/0"+field.list[0], field.value); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	if !s.wantsForm() {
		return doc, header, nil
	}
	if doc, err = asForm(doc, s.Content); err != nil {
		return nil, nil, err
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return doc, header, nil
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

func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
