package sender

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"gaff/internal/jsonpointer"
	"gaff/internal/payload"
	"gaff/verify"
)

// Sample returns a body and headers such as the sender's, with an id and a type at the description's
// places. members are added if the body is an object. It is for tests: real bodies have more.
func (d Description) Sample(id, eventType string, members map[string]any) (body []byte, header http.Header, err error) {
	return d.SampleAt(id, eventType, members, nil)
}

// SampleAt is Sample with more values, by their JSON pointers. Those replace values of the description.
func (d Description) SampleAt(id, eventType string, members map[string]any, at map[string]string) (body []byte, header http.Header, err error) {
	header = http.Header{"Content-Type": {"application/json"}}
	doc := []byte("{}")
	pointers := []struct {
		at    *verify.Location
		value string
	}{{d.ID, id}, {d.EventType, eventType}}
	batch := d.Batch
	for _, p := range pointers {
		if p.at != nil && p.at.In == "json" && strings.HasPrefix(p.at.Pointer, "/0/") {
			batch = cmp.Or(batch, &Batch{}) // the body is a list
		}
	}
	items := ""
	if batch != nil {
		items = strings.ReplaceAll(batch.Lists()[0], "/*", "/0")
	}
	named := d.EventType != nil && d.EventType.In == "member" && eventType != ""
	switch {
	case batch != nil && items == "":
		doc = []byte("[{}]")
	case named: // the member's name is the type
		if doc, err = payload.SetJSON(doc, "/"+jsonpointer.Escape(eventType), members); err != nil {
			return nil, nil, err
		}
	default:
		for name, value := range members {
			if doc, err = payload.SetJSON(doc, "/"+jsonpointer.Escape(name), value); err != nil {
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
			if doc, err = payload.SetJSON(doc, p.at.Pointer, p.value); err != nil {
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
				if doc, err = payload.SetJSON(doc, items+"/0"+field.list[0], field.value); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	for _, pointer := range slices.Sorted(maps.Keys(at)) {
		if pointer == "" {
			continue
		}
		if doc, err = payload.SetJSON(doc, pointer, at[pointer]); err != nil {
			return nil, nil, err
		}
	}
	form, isForm, err := d.InForm(doc)
	if err != nil {
		return nil, nil, err
	}
	if isForm {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return form, header, nil
}
