//go:build linux || darwin || freebsd

package disk

import (
	"fmt"
	"syscall"
)

// Of returns the space of the file system that holds a folder, as it is available to users
// other than root.
func Of(dir string) (Space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("measure the disk of %s: %w", dir, err)
	}
	size := uint64(st.Bsize)
	return Space{Free: uint64(st.Bavail) * size, Total: st.Blocks * size}, nil //nolint:unconvert // its type differs between systems
}
