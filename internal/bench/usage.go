package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is what a load goes to: the nodes of one build, or the bare server.
type target struct {
	nodes    []*process
	addrs    []string
	database int    // the pid of PostgreSQL's first process; 0 without PostgreSQL
	disk     string // the kernel's counters of the disk that holds the data; empty: unknown
}

// usage is what a target has used since it was started.
type usage struct {
	cpu            time.Duration
	written, syncs int64
}

func (t target) usage() (u usage) {
	for _, node := range t.nodes {
		u.cpu += node.cpu()
		u.written += bytesWritten(node.cmd.Process.Pid)
	}
	if t.database != 0 {
		u.cpu += treeCPU(t.database)
		for _, pid := range append(children(t.database), t.database) {
			u.written += bytesWritten(pid)
		}
	}
	u.syncs = flushes(t.disk)
	return u
}

// bytesWritten is how many bytes of files a process has changed, in whole pages, as Linux counts
// them when they change and not when the disk gets them.
func bytesWritten(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// diskOf returns the file with the kernel's counters of the disk that holds a folder.
func diskOf(dir string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return ""
	}
	major, minor := (st.Dev>>8)&0xfff, st.Dev&0xff|(st.Dev>>12)&0xfff00
	path := fmt.Sprintf("/sys/dev/block/%d:%d", major, minor)
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		path = filepath.Join(path, "..") // only the whole disk counts its flushes
	}
	return filepath.Join(path, "stat")
}

// flushes is the number of flushes of the disk's cache; each fsync and
// fdatasync of a file with new data is one. It is the 16th of Linux's counters of a disk
// (Documentation/block/stat.rst).
func flushes(disk string) int64 {
	text, err := os.ReadFile(disk)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 16 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[15], 10, 64)
	return n
}

// statFields are the fields of /proc/PID/stat from the third on.
func statFields(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// ticks adds up fields of /proc/PID/stat that are times in hundredths of a second.
func ticks(fields []string) (sum time.Duration) {
	for _, field := range fields {
		n, _ := strconv.Atoi(field)
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// cpu is the user and system time that the process has used.
func (p *process) cpu() time.Duration {
	if fields := statFields(p.cmd.Process.Pid); fields != nil {
		return ticks(fields[11:13])
	}
	return 0
}

// children are the pids of a process's children.
func children(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if fields := statFields(child); fields != nil && fields[1] == strconv.Itoa(pid) {
			pids = append(pids, child)
		}
	}
	return pids
}

// treeCPU is the user and system time of a process and of its children, also those that
// have ended.
func treeCPU(pid int) (sum time.Duration) {
	if fields := statFields(pid); fields != nil {
		sum = ticks(fields[11:15]) // with the children that were waited for
	}
	for _, child := range children(pid) {
		if fields := statFields(child); fields != nil {
			sum += ticks(fields[11:13])
		}
	}
	return sum
}
