// Package sorting sorts short lists with little code.
package sorting

import "sort"

// By sorts a list as slices.SortStableFunc does. The compiler makes a copy of that function for each
// type of elements, 15 KB of the binary; this one has one copy, takes longer, and is for lists that
// are not sorted for every webhook.
func By[T any](list []T, compare func(a, b T) int) {
	sort.SliceStable(list, func(i, j int) bool { return compare(list[i], list[j]) < 0 })
}
