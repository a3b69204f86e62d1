package app

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// releaseBinary unmaps the pages of the binary that are in memory. They are read-only and
// unchanged, so the next use maps them again from the page cache, 64 KiB at a time. If a
// step fails, memory stays as it is.
func releaseBinary() {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range binaryMappings(string(maps), path) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// binaryMappings finds the read-only mappings of a file in a text of the form of
// /proc/self/smaps. It leaves out those with pages that differ from the file, such as
// relocated data or breakpoints: MADV_DONTNEED would drop the difference.
func binaryMappings(smaps, path string) (list []mapping) {
	var current mapping // the zero value if it is not one of the binary's
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "Anonymous:" {
			if current.to > 0 && f[1] == "0" {
				list = append(list, current)
			}
			current = mapping{}
		}
		if len(f) < 6 || len(f[1]) != 4 || f[1][1] != '-' || f[1][3] != 'p' || strings.Join(f[5:], " ") != path {
			continue
		}
		from, to, ok := strings.Cut(f[0], "-")
		a, errA := strconv.ParseUint(from, 16, 64)
		b, errB := strconv.ParseUint(to, 16, 64)
		if ok && errA == nil && errB == nil && a < b {
			current = mapping{uintptr(a), uintptr(b)}
		}
	}
	return list
}
