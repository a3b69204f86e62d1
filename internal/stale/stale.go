// Package stale marks reads whose answer may be a few seconds old, so that a read replica of the
// database may give it.
package stale

import "context"

type key struct{}

// Allow returns a context whose reads may be a few seconds old.
func Allow(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// Allowed reports whether Allow made ctx, or one that it is made of.
func Allowed(ctx context.Context) bool {
	allowed, _ := ctx.Value(key{}).(bool)
	return allowed
}
