package sorting_test

import (
	"cmp"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"gaff/internal/sorting"
)

func TestByKeepsTheOrderOfEqualElements(t *testing.T) {
	list := []string{"beta", "a", "alpha", "b", "c"}
	sorting.By(list, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	if diff := gocmp.Diff([]string{"a", "b", "c", "beta", "alpha"}, list); diff != "" {
		t.Error(diff)
	}
}
