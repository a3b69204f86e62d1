//go:build !unix

package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// lockFile makes sure that one process owns the database: Windows lets no process remove a file
// that another one has open. So the file of a process that ended can be removed, and that of a
// running one cannot.
type lockFile struct{ file *os.File }

var errInUse = errors.New("stop it, or name another data folder")

func lock(path string) (*lockFile, error) {
	name := path + ".lock"
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("another gaff process has this database open: %w (%w)", errInUse, err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	data, err := createPrivate(path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &lockFile{f}, data.Close()
}

func (l *lockFile) hold(*slog.Logger) error { return nil }

func (l *lockFile) close() error { return l.file.Close() }
