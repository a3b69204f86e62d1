//go:build slim

package schema_test

import (
	"strings"
	"testing"

	"gaff/internal/schema"
)

func TestSlimBuildRejectsSchemas(t *testing.T) {
	t.Parallel()
	if _, err := schema.New([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), "run the full build") {
		t.Errorf("error %v, want one that names the full build", err)
	}
}
