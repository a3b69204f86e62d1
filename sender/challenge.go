package sender

import (
	"bytes"

	"gaff/verify"
)

// Challenge describes a call by which a sender tests a URL: how to recognize it, and the answer. A
// challenge is answered and not stored as an event.
type Challenge struct {
	// Method of the call; empty means POST.
	Method string `json:"method,omitempty" yaml:"method,omitempty"`
	// Match lists the conditions that all hold for the call, and not for a webhook. If it is empty,
	// the method decides.
	Match []Match `json:"match,omitempty" yaml:"match,omitempty"`
	// Signed: the sender signs the call, so it is verified first.
	Signed bool `json:"signed,omitempty" yaml:"signed,omitempty"`
	// Guard is a place whose text must be equal to an operator's setting.
	Guard *Guard `json:"guard,omitempty" yaml:"guard,omitempty"`
	// Value is the text that the answer contains as {value}.
	Value *verify.Location `json:"value,omitempty" yaml:"value,omitempty"`
	// Pattern is a regular expression that the whole value must match.
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Forbid lists characters that a value must not contain. If the key also signs webhooks, a
	// crafted value would make the answer a webhook's signature.
	Forbid string `json:"forbid,omitempty" yaml:"forbid,omitempty"`
	// HMAC is the HMAC of the value under the source's first secret, {hmac} in the answer.
	HMAC *ChallengeHMAC `json:"hmac,omitempty" yaml:"hmac,omitempty"`
	// Capture is the place of a key that the sender issues. It is stored if the source has no key,
	// and shown to the operator. A call that would replace a key is rejected.
	Capture *verify.Location `json:"capture,omitempty" yaml:"capture,omitempty"`
	// Fetch is a URL that confirms the subscription when fetched. It is fetched only if the setting
	// "confirm" is "true"; else the operator gets it in a note.
	Fetch *Fetch `json:"fetch,omitempty" yaml:"fetch,omitempty"`
	// Answer is the response.
	Answer Answer `json:"answer,omitzero" yaml:"answer,omitempty"`
}

// Match is a condition on the text at a place.
type Match struct {
	verify.Location `yaml:",inline"`
	// Value is the required text. Empty: any that matches Pattern, a regular expression for the
	// whole text.
	Value   string `json:"value,omitempty" yaml:"value,omitempty"`
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Absent requires that the place is empty.
	Absent bool `json:"absent,omitempty" yaml:"absent,omitempty"`
}

// Guard is a place, and the setting that its text must be equal to.
type Guard struct {
	verify.Location `yaml:",inline"`
	Setting         string `json:"setting" yaml:"setting"`
	// Status is the answer to another text; 403 if zero.
	Status int `json:"status,omitempty" yaml:"status,omitempty"`
}

// ChallengeHMAC says how the HMAC of a value is made and written.
type ChallengeHMAC struct {
	Algorithm string `json:"algorithm" yaml:"algorithm"` // hmac-sha1, hmac-sha256, hmac-sha512
	Encoding  string `json:"encoding" yaml:"encoding"`
}

// Fetch is the place of the URL to fetch, and its allowed hosts.
type Fetch struct {
	verify.Location `yaml:",inline"`
	// Hosts are host names. "{aws_region}" is the name of an AWS region, "*" any label; use it only
	// if every such host is the sender's.
	Hosts []string `json:"hosts" yaml:"hosts"`
}

// Answer has templates with {value}, {hmac} and {config:NAME} (a setting). At most one of JSON,
// Text and Body is set; without one the body is empty.
type Answer struct {
	// Status is 200 if zero.
	Status int `json:"status,omitempty" yaml:"status,omitempty"`
	// JSON is an object of texts.
	JSON map[string]string `json:"json,omitempty" yaml:"json,omitempty"`
	// Text is sent as text/plain, Body as application/json, without replacements.
	Text string `json:"text,omitempty" yaml:"text,omitempty"`
	Body string `json:"body,omitempty" yaml:"body,omitempty"`
	// Headers are set in addition.
	Headers map[string]string `json:"headers,omitempty" yaml:"headers,omitempty"`
}

// Challenges is one challenge or several. In a file, a list or a single one.
type Challenges []Challenge

// UnmarshalJSON takes an object or a list of objects.
func (c *Challenges) UnmarshalJSON(text []byte) error {
	if t := bytes.TrimSpace(text); len(t) > 0 && t[0] == '{' {
		text = append(append([]byte{'['}, t...), ']')
	}
	var list []Challenge
	err := strictJSON(text, &list)
	*c = list
	return err
}

// UnmarshalYAML takes a mapping or a sequence of mappings.
func (c *Challenges) UnmarshalYAML(unmarshal func(any) error) error {
	var items []any
	if unmarshal(&items) == nil {
		var list []Challenge
		err := unmarshal(&list)
		*c = list
		return err
	}
	one := make([]Challenge, 1)
	err := unmarshal(&one[0])
	*c = one
	return err
}
