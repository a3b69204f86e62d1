package sender

import (
	"bytes"

	"gaff/verify"
)

// Challenge describes a call by which a sender tests an address: when it is one, and
// what the answer is. It is answered before, and instead of, being kept as an event.
type Challenge struct {
	// Method of the call; empty means POST.
	Method string `json:"method,omitempty" yaml:"method,omitempty"`
	// Match tells the call from a webhook: all must hold. An empty list: the method does.
	Match []Match `json:"match,omitempty" yaml:"match,omitempty"`
	// Signed: the sender signs the call, so it is verified first.
	Signed bool `json:"signed,omitempty" yaml:"signed,omitempty"`
	// Guard is a place whose text must be equal to an operator's setting.
	Guard *Guard `json:"guard,omitempty" yaml:"guard,omitempty"`
	// Value is the text that the answer is made of, {value} in it.
	Value *verify.Location `json:"value,omitempty" yaml:"value,omitempty"`
	// Pattern is a regular expression that the whole value must match.
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Forbid lists characters of which a value must have none: under a key that signs
	// webhooks, too, a crafted value would make the answer a webhook's signature.
	Forbid string `json:"forbid,omitempty" yaml:"forbid,omitempty"`
	// HMAC is the HMAC of the value under the source's first secret, {hmac} in the answer.
	HMAC *ChallengeHMAC `json:"hmac,omitempty" yaml:"hmac,omitempty"`
	// Capture is a key that the sender hands over: it is kept, as long as the source has
	// none, and shown to the operator. A call that would replace one is refused.
	Capture *verify.Location `json:"capture,omitempty" yaml:"capture,omitempty"`
	// Fetch is an address that confirms the subscription when it is fetched. That is done
	// only where the setting "confirm" is "true"; else the operator is told of it.
	Fetch *Fetch `json:"fetch,omitempty" yaml:"fetch,omitempty"`
	// Answer is what is sent.
	Answer Answer `json:"answer,omitzero" yaml:"answer,omitempty"`
}

// Match is a condition on a place: it holds a text, or this one.
type Match struct {
	verify.Location `yaml:",inline"`
	// Value is the text that must stand there; empty: any that Pattern, a regular
	// expression for the whole text, allows.
	Value   string `json:"value,omitempty" yaml:"value,omitempty"`
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Absent turns it round: nothing may stand there.
	Absent bool `json:"absent,omitempty" yaml:"absent,omitempty"`
}

// Guard is a place with the setting that its text must equal.
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

// Fetch is where the address to fetch stands, and which hosts are allowed.
type Fetch struct {
	verify.Location `yaml:",inline"`
	// Hosts are names. "{aws_region}" in one is the name of a region of Amazon's, "*" any
	// part without a dot: only where every such host is the sender's.
	Hosts []string `json:"hosts" yaml:"hosts"`
}

// Answer is made of templates of {value}, {hmac} and {config:NAME} (a setting). One of
// JSON, Text and Body, or none for an empty body.
type Answer struct {
	// Status is 200 if zero.
	Status int `json:"status,omitempty" yaml:"status,omitempty"`
	// JSON is an object of texts.
	JSON map[string]string `json:"json,omitempty" yaml:"json,omitempty"`
	// Text is sent as text/plain, Body as it stands, as application/json.
	Text string `json:"text,omitempty" yaml:"text,omitempty"`
	Body string `json:"body,omitempty" yaml:"body,omitempty"`
	// Headers are set beside.
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
