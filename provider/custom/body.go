package custom

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gaff"
	"gaff/internal/payload"
	"gaff/verify"
)

// readable returns a body as JSON, by what the sender may send beside it: see
// sender.Description.Content.
func readable(r *gaff.Request, content string) (json.RawMessage, error) {
	err := verify.ValidJSON(r.Body)
	if err == nil || content == "" {
		return r.Body, err
	}
	kind, field, _ := strings.Cut(content, ":")
	if kind == "form" {
		members, isForm, err := formMembers(r, field)
		switch {
		case err != nil:
			return nil, err
		case isForm && field != "":
			if list, ok := members[field].([]any); ok {
				return nil, fmt.Errorf("form field %s: it came %d times", field, len(list))
			}
			text, ok := members[field].(string)
			if !ok {
				return nil, fmt.Errorf("form field %s: missing", field)
			}
			if err := verify.ValidJSON([]byte(text)); err != nil {
				return nil, fmt.Errorf("form field %s: %w", field, err)
			}
			return json.RawMessage(text), nil
		case isForm:
			return json.Marshal(members)
		}
		return nil, err
	}
	return anything(r.Body)
}

// anything is a body of any kind as JSON: null for none, a text for text, and an object
// with a member "base64" for the rest.
func anything(body []byte) (json.RawMessage, error) {
	switch {
	case len(body) == 0:
		return json.RawMessage("null"), nil
	case utf8.Valid(body):
		return json.Marshal(string(body))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(body)})
}

// formMembers reads a form as an object: a text for a field, a list for one that came several
// times. A file of a multipart form is an object with its name, content type and size: its
// bytes are in the request's body. A part that is JSON is a field even if it has a file's name,
// and so is the one named want.
func formMembers(r *gaff.Request, want string) (members map[string]any, isForm bool, err error) {
	kind := r.Header.Get("Content-Type")
	fields, err := payload.Form(kind, r.Body)
	switch {
	case errors.Is(err, payload.ErrNoForm) && kind == "":
		return nil, false, errors.New("neither JSON nor a form, by its Content-Type")
	case errors.Is(err, payload.ErrNoForm):
		return nil, false, fmt.Errorf("neither JSON nor a form: Content-Type %.100q", kind)
	case err != nil:
		return nil, true, err
	}
	values := map[string][]any{}
	for i := range fields {
		f := &fields[i]
		if f.File && !f.JSON() && (f.Name != want || want == "") {
			values[f.Name] = append(values[f.Name], map[string]any{
				"filename": f.FileName, "contentType": f.ContentType, "size": len(f.Value),
			})
			continue
		}
		values[f.Name] = append(values[f.Name], f.Text())
	}
	members = make(map[string]any, len(values))
	for name, list := range values {
		if len(list) == 1 {
			members[name] = list[0]
		} else {
			members[name] = list
		}
	}
	return members, true, nil
}
