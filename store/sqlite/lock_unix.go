//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
)

// lockFile makes sure that one process owns the database: claims are in memory, so a second
// process would process every delivery again. The kernel frees the lock when the process ends,
// also after a crash.
type lockFile struct {
	path string
	file *os.File // the lock file
	data *os.File // the database, of which a byte is locked too
}

// lock claims the database at path, which it creates if it is missing.
func lock(path string) (*lockFile, error) {
	l := &lockFile{path: path + ".lock"}
	var err error
	if l.file, err = lockNamed(l.path); err != nil {
		return nil, err
	}
	if l.data, err = createPrivate(path); err == nil && !lockRange(l.data) {
		err = inUse("its lock file was removed")
	}
	if err != nil {
		_ = l.close()
		return nil, err
	}
	return l, nil
}

var errInUse = errors.New("stop it, or name another data folder")

func inUse(holder string) error {
	return fmt.Errorf("another gaff process (%s) has this database open: %w", holder, errInUse)
}

// lockNamed locks the file of the name.
func lockNamed(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("the data folder cannot be written, check its owner and free space: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			holder := make([]byte, 32)
			n, _ := f.Read(holder)
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, inUse("pid " + strings.TrimSpace(string(holder[:n])))
			}
			return nil, fmt.Errorf("lock the database: %w", err)
		}
		if !isUnder(f, path) { // removed meanwhile
			f.Close()
			continue
		}
		// The process id is for the message above; the lock does not depend on it.
		if err := f.Truncate(0); err == nil {
			_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
		}
		return f, nil
	}
}

func isUnder(f *os.File, path string) bool {
	mine, err := f.Stat()
	there, terr := os.Stat(path)
	return err == nil && terr == nil && os.SameFile(mine, there)
}

// hold creates the lock file again if it was removed. It fails if another process has created
// it.
func (l *lockFile) hold(log *slog.Logger) error {
	if isUnder(l.file, l.path) {
		return nil
	}
	f, err := lockNamed(l.path)
	if err != nil {
		return err
	}
	log.Warn("the lock file of the database was removed; gaff created it again", "path", l.path)
	old := l.file
	l.file = f
	return old.Close()
}

// close must be called after SQLite has closed the database: closing any handle of a file
// releases SQLite's own locks of it.
func (l *lockFile) close() error {
	var err error
	if l.data != nil {
		err = l.data.Close()
	}
	return errors.Join(err, l.file.Close())
}
