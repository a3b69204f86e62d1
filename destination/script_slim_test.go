//go:build slim

package destination

import (
	"strings"
	"testing"
)

func TestSlimBuildRejectsJavaScript(t *testing.T) {
	t.Parallel()
	err := (&Spec{Name: "app", URL: "https://app.example.com/", TransformJS: `const transform = (e) => e`}).Check()
	if err == nil || !strings.Contains(err.Error(), "transformJs: needs a build of gaff with JavaScript") || !strings.Contains(err.Error(), "run the full build") {
		t.Errorf("error %v, want one that names the full build", err)
	}
}
