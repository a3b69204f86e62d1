package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vector files: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			t.Parallel()
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			results, err := RunVectors(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Agrees() {
					continue
				}
				if !r.Normative {
					t.Logf("DEV %s (%s; %s): want %s, got %s: %s", r.ID, r.Description, r.Policy, r.Expect, r.Got, r.Reason)
					continue
				}
				t.Errorf("%s (%s): want %s, got %s: %s; id %q, type %q", r.ID, r.Description, r.Expect, r.Got, r.Reason, r.Event.ID, r.Event.Type)
			}
		})
	}
}
