//go:build windows && !slim && !386 && !arm

package javascript

import (
	"fmt"
	"syscall"
	"unsafe"
)

var (
	kernel32       = syscall.NewLazyDLL("kernel32.dll")
	virtualAlloc   = kernel32.NewProc("VirtualAlloc")
	virtualProtect = kernel32.NewProc("VirtualProtect")
	virtualFree    = kernel32.NewProc("VirtualFree")
)

const (
	memCommitReserve = 0x3000
	memRelease       = 0x8000
	pageNoAccess     = 0x01
	pageReadWrite    = 0x04
)

func mapMemory(size int) ([]byte, error) {
	address, _, err := virtualAlloc.Call(0, uintptr(size), memCommitReserve, pageReadWrite)
	if address == 0 {
		return nil, fmt.Errorf("map %d bytes for JavaScript: %w", size, err)
	}
	return unsafe.Slice(at[byte](address), size), nil
}

func protectMemory(region []byte) {
	var old uint32
	_, _, _ = virtualProtect.Call(uintptr(unsafe.Pointer(unsafe.SliceData(region))), uintptr(len(region)), pageNoAccess, uintptr(unsafe.Pointer(&old)))
}

func unmapMemory(region []byte) {
	_, _, _ = virtualFree.Call(uintptr(unsafe.Pointer(unsafe.SliceData(region))), 0, memRelease)
}
