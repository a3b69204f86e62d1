//go:build slim

// Package all of a slim build has no brokers.
package all

import (
	"errors"
	"net/netip"

	"gaff/destination"
)

// Open always fails.
func Open(destination.Spec, []netip.Prefix) (destination.Publisher, error) {
	return nil, errors.New("kind: queue needs a build of gaff with brokers, and this one was built without (tag slim): run the full build, or use another kind")
}
