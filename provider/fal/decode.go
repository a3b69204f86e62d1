package fal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"gaff/internal/jsonscan"
)

// decode reads a body as encoding/json does.
func decode(body []byte) (*envelope, error) {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, errors.New("the body is not a JSON object")
	}
	env := new(envelope)
	if env.scan(body) {
		return env, nil
	}
	*env = envelope{}
	if err := json.Unmarshal(body, env); err != nil {
		return nil, fmt.Errorf("the body is not what fal sends: %w", err)
	}
	return env, nil
}

// errOther: encoding/json must read the body.
var errOther = errors.New("of another form")

// scan reads a body in one pass and with few allocations. It reports false for a body that is not
// JSON, or that encoding/json does not read to the letter: with names in another case, or with texts that
// have escapes or are not UTF-8.
func (e *envelope) scan(body []byte) bool {
	return jsonscan.Object(body, func(name, value []byte) error {
		switch string(name) {
		case `"request_id"`:
			return scanText(&e.RequestID, value)
		case `"gateway_request_id"`:
			return scanText(&e.GatewayRequestID, value)
		case `"status"`:
			return scanText(&e.Status, value)
		case `"payload"`:
			e.Payload = bytes.Clone(value)
		case `"error"`:
			e.Error = bytes.Clone(value)
		case `"payload_error"`:
			return scanText(&e.PayloadError, value)
		case `"result"`:
			e.Result = bytes.Clone(value)
		case `"metadata"`:
			return e.scanMetadata(value)
		default:
			return unlike(name, envelopeNames)
		}
		return nil
	}) == nil
}

func (e *envelope) scanMetadata(value []byte) error {
	if value[0] == 'n' {
		e.Metadata = nil
		return nil
	}
	if e.Metadata == nil {
		e.Metadata = new(metadata)
	}
	m := e.Metadata
	return jsonscan.Object(value, func(name, value []byte) error {
		switch string(name) {
		case `"job_id"`:
			return scanText(&m.JobID, value)
		case `"project_id"`:
			return scanText(&m.ProjectID, value)
		case `"user_id"`:
			return scanText(&m.UserID, value)
		case `"generation_type"`:
			return scanText(&m.GenerationType, value)
		}
		return unlike(name, metadataNames)
	})
}

// scanText reads a text; null changes nothing.
func scanText(to *string, value []byte) error {
	switch {
	case value[0] == 'n':
		return nil
	case value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 || !utf8.Valid(value):
		return errOther
	}
	*to = string(value[1 : len(value)-1])
	return nil
}

// The members that are read, in quotes.
var (
	envelopeNames = [][]byte{
		[]byte(`"request_id"`), []byte(`"gateway_request_id"`), []byte(`"status"`), []byte(`"payload"`), []byte(`"error"`),
		[]byte(`"payload_error"`), []byte(`"result"`), []byte(`"metadata"`),
	}
	metadataNames = [][]byte{[]byte(`"job_id"`), []byte(`"project_id"`), []byte(`"user_id"`), []byte(`"generation_type"`)}
)

// unlike refuses a name that encoding/json may take for one of names.
func unlike(name []byte, names [][]byte) error {
	if bytes.IndexByte(name, '\\') >= 0 || slices.ContainsFunc(names, func(n []byte) bool { return bytes.EqualFold(n, name) }) {
		return errOther
	}
	return nil
}
