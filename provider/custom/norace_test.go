//go:build !race

package custom_test

const underRace = 1
