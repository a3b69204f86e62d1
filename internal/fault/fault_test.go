package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestListError(t *testing.T) {
	t.Parallel()
	var f List
	if err := f.Err(); err != nil {
		t.Errorf("an empty list is the error %v", err)
	}
	f.Add("a.b", "%d; %s is wanted", 7, "8: more")
	f.OneOf("c", "", "x, y")
	f.OneOf("d", "z", "x, y")
	const want = "a.b: 7; 8: more is wanted\nc: missing; one of x, y is wanted\nd: \"z\" is not known; one of x, y is wanted"
	if got := f.Err().Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	list, ok := errors.AsType[List](fmt.Errorf("wrapped: %w", f.Err()))
	if !ok || len(list) != 3 || list[0] != (Fault{"a.b", "7; 8: more is wanted"}) {
		t.Errorf("the error has the faults %+v", list)
	}
}
