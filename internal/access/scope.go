package access

import (
	"fmt"
	"slices"
	"strings"

	"gaff"
)

// Scope limits a credential to a part of the gateway. The zero value limits nothing. A credential
// with several parts reaches each of them; Operations restrict it further.
type Scope struct {
	// Project is the only project whose jobs, files and runs can be reached.
	Project string `json:"project,omitempty"`
	// Job is the only job that can be reached, with its files; Run the only run. Browser tokens
	// have one of them; API keys have neither.
	Job string `json:"job,omitempty"`
	Run string `json:"run,omitempty"`
	// Source is the only source whose events, deliveries and rejected requests can be reached.
	Source string `json:"source,omitempty"`
	// Destination is the only destination that can be reached, and pulled from.
	Destination string `json:"destination,omitempty"`
	// Operations are the only operations of the API that can be called, by operationId. Empty
	// means all that the role and the rest of the scope allow.
	Operations []string `json:"operations,omitempty"`
}

// Reach is a set of the parts of a [Scope].
type Reach uint8

// The parts of a scope.
const (
	ReachProject Reach = 1 << iota
	ReachJob
	ReachRun
	ReachSource
	ReachDestination
)

// Reach returns the parts that s is limited to; 0 if it is not limited to a part.
func (s Scope) Reach() Reach {
	var r Reach
	for part, value := range map[Reach]string{
		ReachProject: s.Project, ReachJob: s.Job, ReachRun: s.Run, ReachSource: s.Source, ReachDestination: s.Destination,
	} {
		if value != "" {
			r |= part
		}
	}
	return r
}

// Limited reports whether s reaches only a part of the gateway.
func (s Scope) Limited() bool { return s.Reach() != 0 }

// IsZero reports whether s limits nothing.
func (s Scope) IsZero() bool { return !s.Limited() && len(s.Operations) == 0 }

// Allows reports whether a credential with the scope may call an operation that is open to parts.
func (s Scope) Allows(operation string, open Reach) bool {
	if len(s.Operations) > 0 && !slices.Contains(s.Operations, operation) {
		return false
	}
	return !s.Limited() || s.Reach()&open != 0
}

// HasJob reports whether a job, or a file of it, can be reached.
func (s Scope) HasJob(id, project string) bool {
	return !s.Limited() || s.Project != "" && s.Project == project || s.Job != "" && s.Job == id
}

// HasRun reports whether a run can be reached.
func (s Scope) HasRun(id, project string) bool {
	return !s.Limited() || s.Project != "" && s.Project == project || s.Run != "" && s.Run == id
}

// HasSource reports whether a source's events can be reached.
func (s Scope) HasSource(name string) bool {
	return !s.Limited() || s.Source != "" && s.Source == name
}

// HasDestination reports whether a destination can be reached.
func (s Scope) HasDestination(name string) bool {
	return !s.Limited() || s.Destination != "" && s.Destination == name
}

// String returns the scope for people, such as "project film, operations list-jobs get-job".
func (s Scope) String() string {
	var parts []string
	for _, p := range [...][2]string{
		{"project", s.Project}, {"job", s.Job}, {"run", s.Run}, {"source", s.Source}, {"destination", s.Destination},
		{"operations", strings.Join(s.Operations, " ")},
	} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

const (
	maxScopeText  = 1024 // bytes of each id or name
	maxOperations = 200
)

// check returns an error for values that no resource can have.
func (s Scope) check() error {
	if len(s.Operations) > maxOperations {
		return fmt.Errorf("%w: a scope has at most %d operations, not %d", gaff.ErrInvalid, maxOperations, len(s.Operations))
	}
	for _, text := range append([]string{s.Project, s.Job, s.Run, s.Source, s.Destination}, s.Operations...) {
		if len(text) > maxScopeText {
			return fmt.Errorf("%w: the scope %.40q… is longer than %d bytes", gaff.ErrInvalid, text, maxScopeText)
		}
	}
	return nil
}

// within reports whether s reaches nothing that outer does not. It is used if a credential
// creates another one.
func (s Scope) within(outer Scope) bool {
	if len(outer.Operations) > 0 {
		if len(s.Operations) == 0 {
			return false
		}
		for _, op := range s.Operations {
			if !slices.Contains(outer.Operations, op) {
				return false
			}
		}
	}
	return !outer.Limited() || s.Limited() && (s.Project == "" || s.Project == outer.Project) && (s.Source == "" || s.Source == outer.Source) &&
		(s.Destination == "" || s.Destination == outer.Destination)
}
