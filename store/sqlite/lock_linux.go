package sqlite

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	// ofdSetLock is F_OFD_SETLK: a lock of the open file, which stays if this process closes
	// another handle of the file.
	ofdSetLock = 37
	// lockByte is beyond the end of the largest SQLite database.
	lockByte = 1 << 62
)

// lockRange locks a byte of the database file that SQLite does not use, so that the claim
// holds even if the file beside it is removed. It reports false if another process has it.
// File systems without such locks count as free.
func lockRange(f *os.File) bool {
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: lockByte, Len: 1}
	err := syscall.FcntlFlock(f.Fd(), ofdSetLock, &l)
	return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES)
}
