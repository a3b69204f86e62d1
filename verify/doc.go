// Package verify proves who sent a webhook. A sender is described as data, a [Scheme];
// the same description signs.
package verify

// Scheme describes how a sender signs: the generic model.
type Scheme struct {
	Kind string `json:"kind" yaml:"kind"`
}
