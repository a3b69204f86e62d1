//go:build !unix

package sqlite

import (
	"fmt"
	"os"
)

// lock makes sure that one process owns the database: while a process holds the file
// open, Windows lets no other remove it, so a leftover of a process that died goes away
// and a living one's stays.
func lock(path string) (unlock func() error, err error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("another gaff process has this database open: stop it, or name another data folder (%w)", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	return f.Close, nil
}
