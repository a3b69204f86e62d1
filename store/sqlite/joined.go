package sqlite

import (
	"sync"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff/internal/sqlitevfs"
)

// joinedName is the VFS of the writing connection.
const joinedName = "gaff-joined"

// registerJoined registers it, once.
var registerJoined = sync.OnceValues(func() (*joined, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	base, err := sqlitevfs.Default(tls)
	if err != nil {
		return nil, err
	}
	return newJoined(tls, joinedName, base)
})

// maxJoined is how many bytes SQLite's own VFS passes to the system in one call.
const maxJoined = 1<<17 - 1

// joined is a VFS that passes writes which SQLite makes to the write-ahead log one after the
// other to the file in one call. SQLite writes each page in two calls, of 24 bytes and of a page.
//
// It has the same file format and durability as the VFS below. SQLite syncs the log before it
// publishes a commit, and joined writes before it syncs, so a failed write fails the sync and the
// commit. This rests on synchronous=FULL, which check verifies; without a sync, joined writes at
// the memory barrier before the commit is published, which cannot fail. Reads, sizes and
// truncations of the log come after the buffered writes too. Frames of a transaction that was
// rolled back are dropped when its lock is released: later, another process may have written in
// their place.
type joined struct {
	name  string
	base  uintptr  // the VFS below
	files sync.Map // address of an open file → *joinedFile
	// handles are the addresses of connections (sqlite3*) by their names. SQLite passes them to
	// the VFS of a connection's database.
	handles sync.Map

	mu      sync.Mutex
	methods map[uintptr]uintptr // of joined, by those of the VFS below
}

// joinedFile is an open database or its write-ahead log.
type joinedFile struct {
	base *sqlite3.Tsqlite3_io_methods
	log  *joinedFile // of a database; nil if it is not open
	name string      // of a database's connection; may be empty
	db   *joinedFile // of a log

	// The buffered bytes of the log at address: n at data, to be written at offset.
	address uintptr
	data    uintptr
	n       int32
	offset  int64
}

// newJoined registers the VFS over another one.
func newJoined(tls *libc.TLS, name string, base uintptr) (*joined, error) {
	j := &joined{name: name, base: base, methods: map[uintptr]uintptr{}}
	err := sqlitevfs.Register(tls, name, base, false, func(vfs *sqlite3.Tsqlite3_vfs) {
		vfs.FxOpen = sqlitevfs.Pointer(j.open)
	})
	return j, err
}

func (j *joined) open(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	below := sqlitevfs.At[sqlite3.Tsqlite3_vfs](j.base)
	code := sqlitevfs.Func[sqlitevfs.OpenFunc](below.FxOpen)(tls, j.base, name, file, flags, out)
	isLog := flags&sqlite3.SQLITE_OPEN_WAL != 0
	if code != sqlite3.SQLITE_OK || !isLog && flags&sqlite3.SQLITE_OPEN_MAIN_DB == 0 {
		return code
	}
	opened := sqlitevfs.At[sqlite3.Tsqlite3_file](file)
	f := &joinedFile{address: file, base: sqlitevfs.At[sqlite3.Tsqlite3_io_methods](opened.FpMethods)}
	methods := j.wrap(tls, opened.FpMethods, isLog)
	if isLog && methods != 0 {
		f.db, f.data = j.file(sqlite3.Xsqlite3_database_file_object(tls, name)), libc.Xmalloc(tls, maxJoined)
	}
	if methods == 0 || isLog && f.data == 0 {
		_ = sqlitevfs.Func[sqlitevfs.CloseFunc](f.base.FxClose)(tls, file)
		opened.FpMethods = 0
		return sqlite3.SQLITE_NOMEM
	}
	if isLog {
		f.db.log = f
	} else {
		f.name = connectionName(tls, name)
	}
	j.files.Store(file, f)
	opened.FpMethods = methods
	return code
}

// wrap returns the address of the methods of a database or a log, given those of the VFS below,
// which differ for the two; 0 if there is no memory.
func (j *joined) wrap(tls *libc.TLS, base uintptr, isLog bool) uintptr {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.methods[base] != 0 {
		return j.methods[base]
	}
	address, m := sqlitevfs.Copy(tls, sqlitevfs.At[sqlite3.Tsqlite3_io_methods](base))
	if m == nil {
		return 0
	}
	m.FxClose = sqlitevfs.Pointer(j.close)
	if isLog {
		m.FxWrite, m.FxRead, m.FxSync = sqlitevfs.Pointer(j.write), sqlitevfs.Pointer(j.read), sqlitevfs.Pointer(j.sync)
		m.FxTruncate, m.FxFileSize = sqlitevfs.Pointer(j.truncate), sqlitevfs.Pointer(j.size)
	} else {
		m.FxFileControl = sqlitevfs.Pointer(j.control)
		m.FxShmLock, m.FxShmBarrier = sqlitevfs.Pointer(j.lock), sqlitevfs.Pointer(j.barrier)
	}
	j.methods[base] = address
	return address
}

func (j *joined) file(address uintptr) *joinedFile {
	f, _ := j.files.Load(address)
	return f.(*joinedFile)
}

// flush writes the buffered bytes. After an error they are gone, as after one of a write.
func (f *joinedFile) flush(tls *libc.TLS) int32 {
	if f.n == 0 {
		return sqlite3.SQLITE_OK
	}
	n := f.n
	f.n = 0
	return sqlitevfs.Func[sqlitevfs.TransferFunc](f.base.FxWrite)(tls, f.address, f.data, n, f.offset)
}

func (j *joined) write(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	f := j.file(file)
	if f.offset+int64(f.n) != offset || f.n+n > maxJoined {
		if code := f.flush(tls); code != sqlite3.SQLITE_OK {
			return code
		}
	}
	if n > maxJoined {
		return sqlitevfs.Func[sqlitevfs.TransferFunc](f.base.FxWrite)(tls, file, data, n, offset)
	}
	if f.n == 0 {
		f.offset = offset
	}
	copy(sqlitevfs.Bytes(f.data+uintptr(f.n), n), sqlitevfs.Bytes(data, n))
	f.n += n
	return sqlite3.SQLITE_OK
}

func (j *joined) read(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	f := j.file(file)
	if code := f.flush(tls); code != sqlite3.SQLITE_OK {
		return code
	}
	return sqlitevfs.Func[sqlitevfs.TransferFunc](f.base.FxRead)(tls, file, data, n, offset)
}

func (j *joined) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := j.file(file)
	if code := f.flush(tls); code != sqlite3.SQLITE_OK {
		return code
	}
	return sqlitevfs.Func[sqlitevfs.SyncFunc](f.base.FxSync)(tls, file, flags)
}

func (j *joined) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := j.file(file)
	if code := f.flush(tls); code != sqlite3.SQLITE_OK {
		return code
	}
	return sqlitevfs.Func[sqlitevfs.TruncateFunc](f.base.FxTruncate)(tls, file, size)
}

func (j *joined) size(tls *libc.TLS, file, size uintptr) int32 {
	f := j.file(file)
	if code := f.flush(tls); code != sqlite3.SQLITE_OK {
		return code
	}
	return sqlitevfs.Func[sqlitevfs.SizeFunc](f.base.FxFileSize)(tls, file, size)
}

// writeLock is the lock of the shared memory that a writer holds during its transaction
// (WAL_WRITE_LOCK in SQLite's wal.c).
const writeLock = 0

// lock drops what a transaction has buffered when it ends: a commit has synced it, so it is of a
// rollback.
func (j *joined) lock(tls *libc.TLS, file uintptr, offset, n, flags int32) int32 {
	f := j.file(file)
	const release = sqlite3.SQLITE_SHM_UNLOCK | sqlite3.SQLITE_SHM_EXCLUSIVE
	if f.log != nil && flags&release == release && offset == writeLock {
		f.log.n = 0
	}
	return sqlitevfs.Func[sqlitevfs.LockFunc](f.base.FxShmLock)(tls, file, offset, n, flags)
}

// barrier is called before a commit is published.
func (j *joined) barrier(tls *libc.TLS, file uintptr) {
	f := j.file(file)
	if f.log != nil {
		_ = f.log.flush(tls)
	}
	sqlitevfs.Func[sqlitevfs.BarrierFunc](f.base.FxShmBarrier)(tls, file)
}

func (j *joined) close(tls *libc.TLS, file uintptr) int32 {
	f := j.file(file)
	j.files.Delete(file)
	if f.db != nil {
		f.db.log = nil
		libc.Xfree(tls, f.data)
	} else {
		j.handles.Delete(f.name)
	}
	return sqlitevfs.Func[sqlitevfs.CloseFunc](f.base.FxClose)(tls, file)
}

// connectionParameter is the parameter of a database's URI that names its connection.
const connectionParameter = "gaff_connection"

func connectionName(tls *libc.TLS, file uintptr) string {
	parameter, err := libc.CString(connectionParameter)
	if err != nil || file == 0 {
		return ""
	}
	defer libc.Xfree(tls, parameter)
	return libc.GoString(sqlite3.Xsqlite3_uri_parameter(tls, file, parameter))
}

// handle returns the address of a named connection; 0 if it is not open.
func (j *joined) handle(name string) uintptr {
	address, _ := j.handles.Load(name)
	db, _ := address.(uintptr)
	return db
}

// control notes the connection's address, which SQLite passes when it opens the database.
func (j *joined) control(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 {
	f := j.file(file)
	if op == sqlite3.SQLITE_FCNTL_PDB && f.name != "" {
		j.handles.Store(f.name, *sqlitevfs.At[uintptr](arg))
	}
	return sqlitevfs.Func[sqlitevfs.ControlFunc](f.base.FxFileControl)(tls, file, op, arg)
}
