//go:build acceptance

package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The bundle of the console's 3D view is what its sources and the pinned packages give.
func TestAcceptanceViewerIsReproducible(t *testing.T) {
	t.Parallel()
	built := filepath.Join(t.TempDir(), "viewer.js.gz")
	runIn(t, filepath.Join("..", "..", "tools", "viewer"), nil, "./build", built)
	if !bytes.Equal(unzipped(t, built), unzipped(t, filepath.Join("..", "ui", "viewer", "viewer.js.gz"))) {
		t.Error("internal/ui/viewer/viewer.js.gz differs from what tools/viewer/build makes: run make viewer")
	}
}

func unzipped(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
