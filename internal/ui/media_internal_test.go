package ui

import (
	"strings"
	"testing"

	"gaff/jobs"
)

// Small models load with the page, larger ones by a button, very large ones not at all.
func TestModelsLoadBySize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size         int64
		view, button bool
	}{{autoModel, true, false}, {48_000_000, true, true}, {maxModel, true, true}, {maxModel + 1, false, false}} {
		m := jobs.Media{ID: "med_1", ContentType: "model/gltf-binary", MediaType: jobs.MediaFile, Size: c.size, Links: jobs.MediaLinks{StoredURL: "/media/med_1/x"}}
		if kind := previewKind(m); kind != "model" {
			t.Fatalf("kind %q", kind)
		}
		var b strings.Builder
		if err := modelView(mediaCard{Media: m}).Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		if got := strings.Contains(page, `data-model="/media/med_1/x"`); got != (c.view && hasViewer()) {
			t.Errorf("%d bytes: 3D view %v", c.size, got)
		}
		if got := strings.Contains(page, "Load 3D view ("+size(c.size)+")"); got != (c.button && hasViewer()) {
			t.Errorf("%d bytes: button %v", c.size, got)
		}
		if !strings.Contains(page, "download") {
			t.Errorf("%d bytes: no download", c.size)
		}
	}
}
