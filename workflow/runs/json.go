package runs

import (
	"fmt"
	"slices"
)

// Runs and steps are encoded as JSON with the names and values of the API's documents. Members without
// a value are left out.

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
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [Status.MarshalText].
func (s *Status) UnmarshalText(text []byte) error { return fromName(s, statusNames[:], text) }

// MarshalText returns the name.
func (s StepStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of [StepStatus.MarshalText].
func (s *StepStatus) UnmarshalText(text []byte) error { return fromName(s, stepStatusNames[:], text) }
