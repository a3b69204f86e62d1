//go:build !linux

package powercut

import "errors"

// Mount needs Linux.
func Mount(_, _ string) (*Record, func() error, error) {
	return nil, nil, errors.New("recording a file system needs Linux")
}
