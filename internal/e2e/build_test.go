//go:build !acceptance

package e2e

import (
	"os"
	"os/exec"
)

// buildGaff builds the binary with the flags of the tests: with others, every package would be compiled again.
func buildGaff(path string) error {
	build := exec.Command("go", "build", "-o", path, "../../cmd/gaff")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	return build.Run()
}
