//go:build slim

package tunnel

import (
	"context"
	"errors"
)

// Open always fails.
func Open(context.Context, Options) (*Tunnel, error) {
	return nil, errors.New("--tunnel needs a build of gaff with the tunnel, and this one was built without (tag slim): run the full build, or start without --tunnel")
}
