package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// VFS makes SQLite in this process record its operations on files below the folder back. It wraps
// SQLite's own file access, which still does the work, syncs included. It may be called once.
func VFS(back string) (*Record, error) {
	v := &layer{record: &Record{}, back: back, numbers: map[string]uint64{}, files: map[uintptr]*vfsFile{}}
	tls := libc.NewTLS()
	v.base = sqlite3.Xsqlite3_vfs_find(tls, 0)
	if v.base == 0 {
		return nil, errors.New("SQLite has no file access of its own")
	}
	ours := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	wrapped := at[sqlite3.Tsqlite3_vfs](ours)
	*wrapped = *at[sqlite3.Tsqlite3_vfs](v.base)
	name, err := libc.CString("powercut")
	if err != nil {
		return nil, err
	}
	wrapped.FzName, wrapped.FpNext = name, 0
	wrapped.FxOpen, wrapped.FxDelete = function(v.open), function(v.remove)
	if code := sqlite3.Xsqlite3_vfs_register(tls, ours, 1); code != 0 {
		return nil, fmt.Errorf("register the file access: code %d", code)
	}
	return v.record, nil
}

type layer struct {
	record *Record
	back   string
	base   uintptr // SQLite's own

	mu      sync.Mutex
	numbers map[string]uint64 // of existing files, by path
	last    uint64
	files   map[uintptr]*vfsFile // open ones
	methods uintptr
}

type vfsFile struct {
	number uint64
	path   string // below the folder; empty: elsewhere, and not recorded
	base   *sqlite3.Tsqlite3_io_methods
}

// kept has the Go functions that SQLite calls: the garbage collector does not see SQLite's memory.
var kept []any

// function returns the C function pointer of a Go function.
func function(f any) uintptr {
	kept = append(kept, f)
	type iface [2]uintptr
	return (*iface)(unsafe.Pointer(&f))[1]
}

// at returns SQLite's value at an address. It is not Go memory, so the collector does not move it.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// of returns the Go function behind a function pointer of SQLite.
func of[F any](pointer uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ uintptr }{pointer}))
}

type (
	openFunc     = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	removeFunc   = func(tls *libc.TLS, vfs, name uintptr, syncFolder int32) int32
	writeFunc    = func(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32
	truncateFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc     = func(tls *libc.TLS, file uintptr, flags int32) int32
	closeFunc    = func(tls *libc.TLS, file uintptr) int32
)

// relative returns a path below the folder. It returns false for other paths and for the log's
// shared memory, which does not survive a cut.
func (v *layer) relative(path string) (string, bool) {
	rel, err := filepath.Rel(v.back, path)
	return rel, err == nil && !strings.HasPrefix(rel, "..") && !strings.HasSuffix(rel, "-shm")
}

func (v *layer) open(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	path := ""
	if name != 0 {
		path = libc.GoString(name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, missing := os.Stat(path)
	code := of[openFunc](at[sqlite3.Tsqlite3_vfs](v.base).FxOpen)(tls, v.base, name, file, flags, out)
	if code != 0 {
		return code
	}
	rel, ok := v.relative(path)
	if path == "" || !ok {
		return 0
	}
	if _, known := v.numbers[rel]; !known || missing != nil {
		v.last++
		v.numbers[rel] = v.last
		v.record.add(Op{Kind: Create, File: v.last, Path: rel})
	}
	f := at[sqlite3.Tsqlite3_file](file)
	base := at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
	v.files[file] = &vfsFile{number: v.numbers[rel], path: rel, base: base}
	if v.methods == 0 {
		v.methods = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		ours := at[sqlite3.Tsqlite3_io_methods](v.methods)
		*ours = *base
		ours.FxWrite, ours.FxTruncate, ours.FxSync, ours.FxClose = function(v.write), function(v.truncate), function(v.sync), function(v.close)
	}
	f.FpMethods = v.methods
	return 0
}

func (v *layer) remove(tls *libc.TLS, _, name uintptr, syncFolder int32) int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	code := of[removeFunc](at[sqlite3.Tsqlite3_vfs](v.base).FxDelete)(tls, v.base, name, syncFolder)
	if rel, ok := v.relative(libc.GoString(name)); ok && code == 0 {
		v.record.add(Op{Kind: Remove, File: v.numbers[rel], Path: rel})
		delete(v.numbers, rel)
	}
	return code
}

// do calls SQLite's own function and records the operation if it succeeds.
func (v *layer) do(file uintptr, call func(*vfsFile) int32, op func() Op) int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.files[file]
	code := call(f)
	if code == 0 {
		o := op()
		o.File, o.Path = f.number, f.path
		v.record.add(o)
	}
	return code
}

func (v *layer) write(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	return v.do(file, func(f *vfsFile) int32 {
		return of[writeFunc](f.base.FxWrite)(tls, file, data, n, offset)
	}, func() Op {
		written := unsafe.Slice(at[byte](data), n)
		return Op{Kind: Write, Offset: offset, Data: append([]byte(nil), written...)}
	})
}

func (v *layer) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	return v.do(file, func(f *vfsFile) int32 {
		return of[truncateFunc](f.base.FxTruncate)(tls, file, size)
	}, func() Op { return Op{Kind: Truncate, Size: size} })
}

func (v *layer) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	return v.do(file, func(f *vfsFile) int32 {
		return of[syncFunc](f.base.FxSync)(tls, file, flags)
	}, func() Op { return Op{Kind: Sync} })
}

func (v *layer) close(tls *libc.TLS, file uintptr) int32 {
	v.mu.Lock()
	f := v.files[file]
	delete(v.files, file)
	v.mu.Unlock()
	return of[closeFunc](f.base.FxClose)(tls, file)
}
