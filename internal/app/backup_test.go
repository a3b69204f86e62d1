package app_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"gaff/internal/app"
	"gaff/internal/config"
)

// Each snapshot names the one before it, so two of one second need two names.
func TestSnapshotsOfOneSecondAreListed(t *testing.T) {
	t.Parallel()
	place := filepath.Join(t.TempDir(), "backups")
	cfg := config.Default()
	cfg.DataDir, cfg.DatabaseURL = t.TempDir(), ""
	if err := app.Migrate(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			if err := app.BackupTo(t.Context(), cfg, app.BackupOptions{To: place, NoMedia: true}, io.Discard, io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
	list, err := app.Snapshots(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Errorf("%d snapshots, want 3", len(list))
	}
}

func TestSnapshotThatNamesItselfIsAnError(t *testing.T) {
	t.Parallel()
	place := t.TempDir()
	if err := os.Mkdir(filepath.Join(place, "snapshots"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := []byte(`{"name":"a","previous":"a"}`)
	for _, name := range []string{"latest.json", "a.json"} {
		if err := os.WriteFile(filepath.Join(place, "snapshots", name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := app.Snapshots(t.Context(), place); err == nil {
		t.Error("a list without an end is not an error")
	}
}
