//go:build !slim && !386 && !arm && (linux || darwin || freebsd)

package javascript

import (
	"fmt"
	"syscall"
)

func mapMemory(size int) ([]byte, error) {
	region, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for JavaScript: %w", size, err)
	}
	return region, nil
}

func protectMemory(region []byte) { _ = syscall.Mprotect(region, syscall.PROT_NONE) }

func unmapMemory(region []byte) { _ = syscall.Munmap(region) }
