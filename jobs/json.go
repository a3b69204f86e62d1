package jobs

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The types of this package are encoded as JSON with the names and values of the API's documents.
// Members without a value are left out.

// mediaMembers are those of a file but for its links.
type mediaMembers Media

// mediaDocument has the links beside the other members.
type mediaDocument struct {
	mediaMembers
	MediaLinks
}

// MarshalJSON encodes a file as the API does.
func (m Media) MarshalJSON() ([]byte, error) {
	return json.Marshal(mediaDocument{mediaMembers(m), m.Links})
}

// UnmarshalJSON is the reverse of [Media.MarshalJSON].
func (m *Media) UnmarshalJSON(text []byte) error {
	var d mediaDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	*m = Media(d.mediaMembers)
	m.Links = d.MediaLinks
	return nil
}

// fromName sets a value to the place of its name.
func fromName[T ~int](to *T, names []string, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("unknown value %.60q: want one of %q", text, names)
	}
	*to = T(i)
	return nil
}

// MarshalText returns the name.
func (s JobStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [JobStatus.MarshalText].
func (s *JobStatus) UnmarshalText(text []byte) error { return fromName(s, jobStatusNames[:], text) }

// MarshalText returns the name.
func (s SubmitState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [SubmitState.MarshalText].
func (s *SubmitState) UnmarshalText(text []byte) error { return fromName(s, submitNames[:], text) }

// MarshalText returns the name.
func (s Storage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [Storage.MarshalText].
func (s *Storage) UnmarshalText(text []byte) error { return fromName(s, storageNames[:], text) }

// MarshalText returns the name.
func (s ChargeState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [ChargeState.MarshalText].
func (s *ChargeState) UnmarshalText(text []byte) error { return fromName(s, chargeStates[:], text) }

// MarshalText returns the decimal amount.
func (m Micros) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the reverse of [Micros.MarshalText].
func (m *Micros) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMicros(string(text))
	return err
}
