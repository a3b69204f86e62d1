//go:build slim

package blob_test

import (
	"strings"
	"testing"

	"gaff/internal/blob"
)

func TestSlimBuildRejectsBuckets(t *testing.T) {
	t.Parallel()
	_, err := blob.Open("s3://films/media?endpoint=http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "run the full build") {
		t.Errorf("Open: %v, want an error that names the full build", err)
	}
}
