package sqlstore

import (
	"fmt"
	"testing"
)

func TestListsOfFullLimitsHaveFewLengths(t *testing.T) {
	t.Parallel()
	lengths := map[int]bool{}
	for n := 1; n <= 5000; n++ {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
		list := padded(names)
		if lengths[len(list)] = true; len(list) >= 2*n && n > 1 || list[n-1] != names[n-1] || list[len(list)-1] != names[n-1] {
			t.Fatalf("%d names become %q", n, list)
		}
	}
	if len(lengths) > 14 {
		t.Errorf("lists of up to 5,000 names have %d lengths: each is a statement that stays prepared", len(lengths))
	}
}
