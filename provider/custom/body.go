package custom

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"unicode/utf8"

	"bytes"

	"gaff"
	"gaff/verify"
)

const (
	maxFormParts = 1000
	maxFormValue = 1 << 20
)

// readable returns a body as JSON, by what the sender may send beside it: see
// verify.Scheme.Content.
func readable(r *gaff.Request, content string) (json.RawMessage, error) {
	err := verify.ValidJSON(r.Body)
	if err == nil || content == "" {
		return r.Body, err
	}
	kind, field, _ := strings.Cut(content, ":")
	if kind == "form" {
		members, isForm, err := formMembers(r)
		switch {
		case err != nil:
			return nil, err
		case isForm && field != "":
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

// formMembers reads a form as an object: a text for a field, a list of texts for one that
// came several times. Files of a multipart form are left out.
func formMembers(r *gaff.Request) (members map[string]any, isForm bool, err error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, false, errors.New("neither JSON nor a form: no Content-Type tells")
	}
	values := url.Values{}
	switch kind {
	case "application/x-www-form-urlencoded":
		if values, err = url.ParseQuery(string(r.Body)); err != nil {
			return nil, true, errors.New("no form")
		}
	case "multipart/form-data":
		parts := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
		for n := 0; ; n++ {
			part, err := parts.NextPart()
			if err == io.EOF { //nolint:errorlint // one that is cut off ends with a wrapped io.EOF
				break
			}
			if err != nil || n == maxFormParts {
				return nil, true, errors.New("no form that can be read")
			}
			if part.FormName() == "" || part.FileName() != "" {
				continue
			}
			text, err := io.ReadAll(io.LimitReader(part, maxFormValue))
			if err != nil {
				return nil, true, errors.New("no form that can be read")
			}
			values.Add(part.FormName(), string(text))
		}
	default:
		return nil, false, fmt.Errorf("neither JSON nor a form: Content-Type %.100q", kind)
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
