//go:build slim

// Package broker of a slim build has no brokers.
package broker

import (
	"context"
	"errors"
	"net/netip"

	"gaff/destination"
)

// Publisher is a connection to a broker.
type Publisher interface {
	Publish(ctx context.Context, m destination.Message) error
	Close() error
}

// Open always fails.
func Open(destination.Spec, []netip.Prefix) (Publisher, error) {
	return nil, errors.New("kind: queue needs a build of gaff with brokers, and this one was built without (tag slim): run the full build, or use another kind")
}
