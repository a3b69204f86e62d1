package described_test

import (
	"testing"

	"gaff/provider/described"
)

// Each entry is played against messages of its vendor.
func TestCatalogueAgreesWithItsVendorsExamples(t *testing.T) {
	t.Parallel()
	for _, name := range described.Catalogue() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := described.Find(name)
			for _, f := range d.Check() {
				t.Errorf("%v", f)
			}
			if d.Checked == nil || d.Checked.Date == "" || d.Checked.Source == "" || len(d.Unchecked) == 0 || d.Docs == "" || d.Example == "" {
				t.Error("checked, unchecked, docs and example are wanted")
			}
			e, err := described.ExamplesOf(name)
			if err != nil {
				t.Fatal(err)
			}
			findings, err := described.Play(t.Context(), name, d, e)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if f.Problem != "" {
					t.Errorf("%s: %s", f.Step, f.Problem)
				}
			}
		})
	}
}
