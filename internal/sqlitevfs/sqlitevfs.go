// Package sqlitevfs helps to write layers around SQLite's own file access (a VFS) in Go.
package sqlitevfs

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Functions that SQLite calls, and that a layer calls of the VFS below it.
type (
	// OpenFunc opens a file.
	OpenFunc = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	// DeleteFunc deletes a file.
	DeleteFunc = func(tls *libc.TLS, vfs, name uintptr, syncFolder int32) int32
	// CloseFunc closes a file.
	CloseFunc = func(tls *libc.TLS, file uintptr) int32
	// TransferFunc reads or writes n bytes at an offset.
	TransferFunc = func(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32
	// TruncateFunc changes a file's size.
	TruncateFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	// SyncFunc syncs a file.
	SyncFunc = func(tls *libc.TLS, file uintptr, flags int32) int32
	// SizeFunc stores a file's size at the address size.
	SizeFunc = func(tls *libc.TLS, file, size uintptr) int32
	// LockFunc locks or unlocks n parts of the shared memory.
	LockFunc = func(tls *libc.TLS, file uintptr, offset, n, flags int32) int32
	// ControlFunc passes a message of SQLite about a file.
	ControlFunc = func(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32
	// BarrierFunc orders reads and writes of the shared memory.
	BarrierFunc = func(tls *libc.TLS, file uintptr)
)

var (
	mu sync.Mutex
	// functions keeps the Go functions that SQLite calls alive: the garbage collector does not
	// see SQLite's memory.
	functions []any
)

// Pointer returns the C function pointer of a Go function, which lives as long as the process.
func Pointer(function any) uintptr {
	mu.Lock()
	defer mu.Unlock()
	functions = append(functions, function)
	type iface [2]uintptr
	return (*iface)(unsafe.Pointer(&function))[1]
}

// At returns the value of SQLite's at an address. It is not Go memory, so the garbage collector
// does not move it.
func At[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// Bytes returns n bytes of SQLite's memory.
func Bytes(address uintptr, n int32) []byte { return unsafe.Slice(At[byte](address), n) }

// Func returns the Go function behind a function pointer of SQLite.
func Func[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{pointer})) }

// Copy returns the address of a copy of a value, in memory that is never freed.
func Copy[T any](tls *libc.TLS, value *T) (uintptr, *T) {
	address := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(*value)))
	if address == 0 {
		return 0, nil
	}
	copied := At[T](address)
	*copied = *value
	return address, copied
}

// Default returns the VFS that SQLite uses if a connection names none.
func Default(tls *libc.TLS) (uintptr, error) {
	base := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if base == 0 {
		return 0, errors.New("SQLite has no file access of its own")
	}
	return base, nil
}

// Register registers a copy of the VFS base under a name, after change has replaced some of its
// functions. It becomes the default if asDefault is set.
func Register(tls *libc.TLS, name string, base uintptr, asDefault bool, change func(*sqlite3.Tsqlite3_vfs)) error {
	address, vfs := Copy(tls, At[sqlite3.Tsqlite3_vfs](base))
	text, err := libc.CString(name)
	if err != nil || vfs == nil {
		return errors.Join(errors.New("register a VFS: out of memory"), err)
	}
	vfs.FzName, vfs.FpNext = text, 0
	change(vfs)
	first := int32(0)
	if asDefault {
		first = 1
	}
	if code := sqlite3.Xsqlite3_vfs_register(tls, address, first); code != 0 {
		return fmt.Errorf("register the VFS %s: code %d", name, code)
	}
	return nil
}
