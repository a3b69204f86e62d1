package e2e

import (
	"strings"
	"testing"

	"gaff/internal/pgtest"
)

// Nodes of one database whose files lie in folders of their own would answer 404 for half of them.
func TestNodesWithFoldersOfTheirOwn(t *testing.T) {
	t.Parallel()
	database := "GAFF_DATABASE_URL=" + pgtest.URL(t)
	first := newPlace(t, database, "GAFF_MEDIA_URL=")
	first.open(t)
	for _, media := range []string{"", "file://" + t.TempDir(), "file://" + t.TempDir() + "?shared=false"} {
		second := newPlace(t, database, "GAFF_MEDIA_URL="+media)
		if out, err := second.gaff("serve"); err == nil || !strings.Contains(out, "GAFF_MEDIA_URL") || !strings.Contains(out, "shared=true") {
			t.Errorf("a second node with %q: %v\n%s", media, err, out)
		}
		if out, err := second.gaff("migrate"); err != nil {
			t.Errorf("migrate beside a running node: %v\n%s", err, out)
		}
	}
	for _, media := range []string{"off", "file://" + t.TempDir() + "?shared=true"} {
		newPlace(t, database, "GAFF_MEDIA_URL="+media).open(t)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	newPlace(t, database, "GAFF_MEDIA_URL=").open(t)
}
