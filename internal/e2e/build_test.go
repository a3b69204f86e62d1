package e2e

import (
	"debug/elf"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// The linker ignores a -X whose variable does not exist, so the stamps are read from a binary.
func TestMakeStampsTheBinary(t *testing.T) {
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
