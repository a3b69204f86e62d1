// Package disk measures the free space of the file system that holds a folder.
package disk

import "errors"

// ErrUnsupported is returned on systems where the space is not measured.
var ErrUnsupported = errors.New("the free space of disks is not measured on this system")

// Space is that of a file system, in bytes.
type Space struct{ Free, Total uint64 }
