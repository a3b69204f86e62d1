package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"

	"gaff/internal/redact"
)

// SourceSpec describes a source that is made by the API. Its members are those of a source in
// gaff.yaml (docs/configuration.md), in camel case at the first level.
type SourceSpec struct {
	Name         string            `json:"name" maxLength:"64" doc:"The part of the URL after /api/v1/webhooks/: lower case letters, digits, - and _."`
	Preset       string            `json:"preset,omitempty" example:"stripe" doc:"A known sender; gaff sources presets lists them."`
	Verify       Object            `json:"verify,omitempty" doc:"How the sender signs, in place of a preset: docs/verification.md."`
	Secrets      []string          `json:"secrets,omitzero" doc:"The sender's secrets; each is accepted. Left out: gaff makes one, if the sender's kind allows. An empty list: none yet, so the source rejects everything."`
	Settings     map[string]string `json:"settings,omitempty" doc:"Values that the verification refers to, such as callback_url."`
	ID           string            `json:"id,omitempty" doc:"A JSON pointer to the event's id in the body."`
	Type         string            `json:"type,omitempty" doc:"A JSON pointer to the event's type."`
	Status       string            `json:"status,omitempty" doc:"A JSON pointer to a status that makes events of one id different."`
	Job          string            `json:"job,omitempty" doc:"A JSON pointer to the sender's id of the work."`
	MaxBody      int64             `json:"maxBody,omitempty" minimum:"0" doc:"The largest body, in bytes; 0 for the gateway's limit."`
	AcceptGzip   bool              `json:"acceptGzip,omitempty"`
	Allow        []string          `json:"allow,omitempty" doc:"The networks that may send (CIDR)."`
	ContentTypes []string          `json:"contentTypes,omitempty" doc:"The accepted media types."`
	Rate         float64           `json:"rate,omitempty" minimum:"0" doc:"Requests per second; 0 for no limit."`
	Burst        int               `json:"burst,omitempty" minimum:"0"`
	Answer       Object            `json:"answer,omitempty" doc:"What a sender that waits is answered: from (a destination), wait, body, content_type (docs/answers.md)."`
	Jobs         Object            `json:"jobs,omitempty" doc:"Where a body holds the state of a job, over the preset's own."`
	Schemas      map[string]JSON   `json:"schemas,omitempty" doc:"JSON Schemas of the data, by event type; * is for types without one (docs/schemas.md). A patch replaces a schema as a whole."`
	OnViolation  string            `json:"onViolation,omitempty" enum:"warn,refuse" doc:"What happens to an event that violates its schema: warn (the default) stores and marks it, refuse answers 422."`
}

// File returns the description as gaff.yaml has it.
func (s SourceSpec) File() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	delete(members, "name")
	out := map[string]json.RawMessage{}
	for name, value := range members {
		out[snake(name)] = value
	}
	return marshal(out)
}

// snake returns the key of a member in gaff.yaml: max_body for maxBody.
func snake(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Masked returns the description without its secrets: of each the last characters are left.
// Settings may be secrets too.
func (s SourceSpec) Masked() *SourceSpec {
	s.Secrets = slices.Clone(s.Secrets)
	for i, secret := range s.Secrets {
		s.Secrets[i] = hint(secret)
	}
	s.Settings = maps.Clone(s.Settings)
	for name := range s.Settings {
		s.Settings[name] = redact.Masked
	}
	return &s
}

// SourceState is the stored state of a source, beside its configuration.
type SourceState struct {
	Spec      *SourceSpec
	Paused    string
	UpdatedAt Time
	Former    []FormerSecret
}

// FormerSecret is a secret that was replaced, and is still accepted.
type FormerSecret struct {
	Hint  string `json:"hint" doc:"Its last characters."`
	Until Time   `json:"until" doc:"Until when it is accepted."`
}

// NewFormerSecret makes the document of a replaced secret.
func NewFormerSecret(secret string, until Time) FormerSecret {
	return FormerSecret{hint(secret), until}
}

// WithState adds the stored state to the document of a source.
func (s Source) WithState(state SourceState) Source {
	s.Managed, s.Paused, s.UpdatedAt, s.FormerSecrets = state.Spec == nil, Text(state.Paused), state.UpdatedAt, state.Former
	if state.Spec != nil {
		s.Spec = state.Spec.Masked()
	}
	if s.FormerSecrets == nil {
		s.FormerSecrets = []FormerSecret{}
	}
	return s
}

// NewSecretSource is a source with a secret that was just made.
type NewSecretSource struct {
	Source
	Secret Text `json:"secret" doc:"The new secret, to be entered at the sender; no other answer has it. Null if the request set it, or the sender makes its own."`
}

// SourceRotation replaces the secret of a source.
type SourceRotation struct {
	Secret string `json:"secret,omitempty" minLength:"1" maxLength:"16384" doc:"The new secret, if the sender makes it; left out: gaff makes one."`
	Grace  string `json:"grace,omitempty" minLength:"1" example:"24h" doc:"How long the former secrets are accepted too, up to 30d; 24h if left out, 0s for not at all."`
}
