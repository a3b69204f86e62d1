//go:build race

package custom_test

// underRace is by how much more the race detector's build allocates.
const underRace = 2
