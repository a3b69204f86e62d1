package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gaff/internal/sqlstore"
	"gaff/store/sqlite"
)

// A check of a busy gateway ends although events arrive meanwhile.
func TestCheckOfBodiesEndsWhileEventsArrive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	stored := 0
	store := func() error {
		for range 300 { // more than a page
			stored++
			if _, err := accept(st, stored, false); err != nil {
				return err
			}
		}
		return nil
	}
	if err := store(); err != nil {
		t.Fatal(err)
	}
	r, err := sqlite.Reader(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	pages := 0
	report, err := r.CheckBodies(t.Context(), func(sqlstore.BodyReport) error {
		if pages++; pages > 5 {
			return errors.New("the check goes on with events that arrived after it began")
		}
		return store()
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Checked != 300 {
		t.Errorf("%d bodies were checked, want the 300 that were stored when it began", report.Checked)
	}
}

// Operators check databases of disks that were mounted read-only after errors.
func TestCheckNamesFolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gaff.db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+"-wal", 0o700); err != nil { // the log cannot be made, as on a read-only disk
		t.Fatal(err)
	}
	err = sqlite.Check(t.Context(), path, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be written") || !strings.Contains(err.Error(), "check the copy") {
		t.Errorf("%v; want an error that names the remedy", err)
	}
}
