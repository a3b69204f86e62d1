//go:build acceptance

package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// buildGaff builds the binary as it is shipped.
func buildGaff(path string) error {
	build := exec.Command("make", "--no-print-directory", "build", "BINARY="+path, "VERSION=v9.8.7", "COMMIT=c0ffee", "DATE=2026-01-02T03:04:05Z")
	build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
	return build.Run()
}

// The linker ignores a -X whose variable does not exist, so the stamps are read from a binary.
func TestAcceptanceStamps(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.TrimSpace(string(out))
	for _, want := range []string{"gaff version v9.8.7 (commit c0ffee", "2026-01-02T03:04:05Z)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, name := range []string{".symtab", ".debug_info", ".zdebug_info"} {
		if file.Section(name) != nil {
			t.Errorf("the binary is not stripped: it has %s", name)
		}
	}
}
