//go:build !linux && !darwin && !freebsd

package disk

// Of returns ErrUnsupported.
func Of(string) (Space, error) { return Space{}, ErrUnsupported }
