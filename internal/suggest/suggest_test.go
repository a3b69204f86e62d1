package suggest

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"sources", "storage", "id"}
	for name, want := range map[string]string{
		"sources": "", "source": "sources", "Soruces": "sources", "storages": "storage", "x": "", "log": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
