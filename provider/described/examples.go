package described

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
)

// Examples are messages of a provider, copied from its own documents or SDK, and what they mean.
// They are a file of their own, so that a wrong description does not pass its test.
type Examples struct {
	// Source and Date say where and when the messages were copied.
	Source string `yaml:"source"`
	Date   string `yaml:"date"`
	// Made lists the messages that the documents describe but do not show, by their names here.
	Made []string `yaml:"made"`

	Model string         `yaml:"model"`
	Input map[string]any `yaml:"input"`

	// Submit, Poll and Cancel are the requests that the provider expects.
	Submit Request  `yaml:"submit"`
	Poll   *Request `yaml:"poll"`
	Cancel *Request `yaml:"cancel"`

	// Accepted is the answer to a submit, and Refused one to a submit that is rejected.
	Accepted Response  `yaml:"accepted"`
	Refused  *Response `yaml:"refused"`
	// Running, Done and Failed are answers to polls.
	Running *Response `yaml:"running"`
	Done    *Response `yaml:"done"`
	Failed  *Response `yaml:"failed"`
	// Cancelled is the answer to a cancellation.
	Cancelled *Response `yaml:"cancelled"`
	// Webhook is the body of the webhook about the completed work.
	Webhook map[string]any `yaml:"webhook"`
	// Signed is a webhook with its signature; nil: the documents show none.
	Signed *Signed `yaml:"signed"`

	// Expect is what the messages mean.
	Expect Expected `yaml:"expect"`
}

// Request is a request as the provider's documents show it.
type Request struct {
	Method string `yaml:"method"`
	// Path has the query, as sent.
	Path string `yaml:"path"`
	// Headers are those that must be sent, with their values; secrets are written as "NAME-secret".
	Headers map[string]string `yaml:"headers"`
	// Body is the JSON body, or the fields of the form; nil: none is compared. The webhook URL is
	// written as WEBHOOK_URL.
	Body map[string]any `yaml:"body"`
}

// Response is an answer as the provider's documents show it.
type Response struct {
	Status int            `yaml:"status"` // 200 if zero
	Body   map[string]any `yaml:"body"`
	// Text is a body that is not JSON.
	Text string `yaml:"text"`
}

// Expected says what the messages mean.
type Expected struct {
	ID string `yaml:"id"`
	// Running is the status of Running; processing if empty.
	Running string `yaml:"running"`
	// Progress is what Running says of it; empty: it is not compared.
	Progress string `yaml:"progress"`
	// Files are the URLs, with the server's as BASE_URL.
	Files []string `yaml:"files"`
	Cost  string   `yaml:"cost"`
	// Error and ErrorType are those of Failed; RefusedError is that of Refused.
	Error        string `yaml:"error"`
	ErrorType    string `yaml:"error_type"`
	RefusedError string `yaml:"refused_error"`
}

// ReadExamples reads a file of examples.
func ReadExamples(text []byte) (*Examples, error) {
	e := &Examples{}
	if err := yaml.UnmarshalWithOptions(text, e, yaml.Strict()); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	switch {
	case e.Source == "" || e.Date == "":
		return nil, errors.New("source and date are missing: where and when the messages were copied from the provider's documents")
	case e.Submit.Method == "" || e.Submit.Path == "":
		return nil, errors.New("submit: method and path are missing")
	case e.Accepted.Body == nil && e.Accepted.Text == "":
		return nil, errors.New("accepted: body is missing")
	}
	if e.Signed != nil {
		return e, e.Signed.check()
	}
	return e, nil
}

// bytes returns the body of an answer.
func (r *Response) bytes() []byte {
	if r.Text != "" {
		return []byte(r.Text)
	}
	if r.Body == nil {
		return nil
	}
	raw, err := json.Marshal(r.Body)
	if err != nil {
		return fmt.Appendf(nil, "%v", err)
	}
	return raw
}
