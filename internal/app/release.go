package app

import (
	"context"
	"runtime/debug"
	"time"
)

// releaseAfter is how long after the start its memory is returned: the first handlers, the
// first check and the first look of a browser come before it.
const releaseAfter = time.Second

// releaseMemory returns to the system what only the start needed: heap that became free,
// and pages of the binary (docs/decisions/0032-idle-memory.md).
func releaseMemory(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(releaseAfter):
	}
	debug.FreeOSMemory()
	releaseBinary()
}
