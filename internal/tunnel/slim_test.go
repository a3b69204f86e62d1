//go:build slim

package tunnel

import (
	"strings"
	"testing"
)

func TestSlimBuildRejectsTunnels(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), Options{Token: "token"}); err == nil || !strings.Contains(err.Error(), "run the full build") {
		t.Errorf("Open: %v, want an error that names the full build", err)
	}
}
