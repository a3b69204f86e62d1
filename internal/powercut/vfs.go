package powercut

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff/internal/sqlitevfs"
)

// VFS makes SQLite in this process record its operations on files below the folder back. It wraps
// SQLite's own file access, which still does the work, syncs included. It may be called once.
func VFS(back string) (*Record, error) {
	v := &layer{record: &Record{}, back: back, numbers: map[string]uint64{}, files: map[uintptr]*vfsFile{}}
	tls := libc.NewTLS()
	var err error
	if v.base, err = sqlitevfs.Default(tls); err != nil {
		return nil, err
	}
	err = sqlitevfs.Register(tls, "powercut", v.base, true, func(vfs *sqlite3.Tsqlite3_vfs) {
		vfs.FxOpen, vfs.FxDelete = sqlitevfs.Pointer(v.open), sqlitevfs.Pointer(v.remove)
	})
	if err != nil {
		return nil, err
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
	code := sqlitevfs.Func[sqlitevfs.OpenFunc](sqlitevfs.At[sqlite3.Tsqlite3_vfs](v.base).FxOpen)(tls, v.base, name, file, flags, out)
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
	f := sqlitevfs.At[sqlite3.Tsqlite3_file](file)
	base := sqlitevfs.At[sqlite3.Tsqlite3_io_methods](f.FpMethods)
	v.files[file] = &vfsFile{number: v.numbers[rel], path: rel, base: base}
	if v.methods == 0 {
		address, ours := sqlitevfs.Copy(tls, base)
		ours.FxWrite, ours.FxTruncate = sqlitevfs.Pointer(v.write), sqlitevfs.Pointer(v.truncate)
		ours.FxSync, ours.FxClose = sqlitevfs.Pointer(v.sync), sqlitevfs.Pointer(v.close)
		v.methods = address
	}
	f.FpMethods = v.methods
	return 0
}

func (v *layer) remove(tls *libc.TLS, _, name uintptr, syncFolder int32) int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	code := sqlitevfs.Func[sqlitevfs.DeleteFunc](sqlitevfs.At[sqlite3.Tsqlite3_vfs](v.base).FxDelete)(tls, v.base, name, syncFolder)
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
		return sqlitevfs.Func[sqlitevfs.TransferFunc](f.base.FxWrite)(tls, file, data, n, offset)
	}, func() Op {
		return Op{Kind: Write, Offset: offset, Data: bytes.Clone(sqlitevfs.Bytes(data, n))}
	})
}

func (v *layer) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	return v.do(file, func(f *vfsFile) int32 {
		return sqlitevfs.Func[sqlitevfs.TruncateFunc](f.base.FxTruncate)(tls, file, size)
	}, func() Op { return Op{Kind: Truncate, Size: size} })
}

func (v *layer) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	return v.do(file, func(f *vfsFile) int32 {
		return sqlitevfs.Func[sqlitevfs.SyncFunc](f.base.FxSync)(tls, file, flags)
	}, func() Op { return Op{Kind: Sync} })
}

func (v *layer) close(tls *libc.TLS, file uintptr) int32 {
	v.mu.Lock()
	f := v.files[file]
	delete(v.files, file)
	v.mu.Unlock()
	return sqlitevfs.Func[sqlitevfs.CloseFunc](f.base.FxClose)(tls, file)
}
