package sqlite

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"gaff/internal/sqlitevfs"
	"gaff/internal/sqlstore"
)

// native runs statements on the writing connection without database/sql, whose conversions of
// arguments and columns cost more than SQLite's own work on a row. It uses the connection that
// the driver opened, so it must not run at the same time as that. Statements stay prepared until
// close.
type native struct {
	db    uintptr
	mutex uintptr // of the connection, see newNative
	tls   *libc.TLS
	stmts map[string]*nativeStmt
	// bound has the arguments of the running statement. SQLite reads their bytes where they are,
	// so they must live on the heap until it is reset.
	bound []any
}

var _ sqlstore.Statements = (*native)(nil)

// nativeStmt is a prepared statement and, while it runs, the row at which it is.
type nativeStmt struct {
	n       *native
	address uintptr
	// args has the number of the argument of each parameter: "$3" is the third wherever it
	// occurs, a bare "?" the next.
	args    []int
	columns int
	running bool
}

// nativeError is an error of SQLite, as the driver's Error.
type nativeError struct {
	code int32
	text string
}

func (e *nativeError) Error() string { return e.text }

// Code returns SQLite's extended result code.
func (e *nativeError) Code() int { return int(e.code) }

// coded is an error of SQLite, from the driver or from native.
type coded interface {
	error
	Code() int
}

// newNative takes the connection's mutex away until Close, as SQLITE_OPEN_NOMUTEX does: each bound
// argument locked it. SQLite's own calls for other threads, such as an interrupt, do not take it. Calls
// of native are made by one goroutine at a time, and database/sql locks its connection for each call.
func newNative(db uintptr) *native {
	mutex := &sqlitevfs.At[sqlite3.Tsqlite3](db).Fmutex
	n := &native{db: db, mutex: *mutex, tls: libc.NewTLS(), stmts: map[string]*nativeStmt{}}
	*mutex = 0
	return n
}

// Close finalizes the statements; the connection cannot be closed before. It may be called again.
func (n *native) Close() {
	if n.tls == nil {
		return
	}
	for _, s := range n.stmts {
		sqlite3.Xsqlite3_finalize(n.tls, s.address)
	}
	clear(n.stmts)
	sqlitevfs.At[sqlite3.Tsqlite3](n.db).Fmutex = n.mutex
	n.tls.Close()
	n.tls = nil
}

func (n *native) fail(code int32) error {
	text, detail := libc.GoString(sqlite3.Xsqlite3_errstr(n.tls, code)), libc.GoString(sqlite3.Xsqlite3_errmsg(n.tls, n.db))
	if detail != text {
		text += ": " + detail
	}
	return &nativeError{code, fmt.Sprintf("%s (%d)", text, code)}
}

func (n *native) prepare(text string) (*nativeStmt, error) {
	if s := n.stmts[text]; s != nil {
		return s, nil
	}
	c, err := libc.CString(text)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(n.tls, c)
	place := libc.Xmalloc(n.tls, libc.Tsize_t(unsafe.Sizeof(uintptr(0))))
	if place == 0 {
		return nil, &nativeError{sqlite3.SQLITE_NOMEM, "out of memory (7)"}
	}
	defer libc.Xfree(n.tls, place)
	if code := sqlite3.Xsqlite3_prepare_v3(n.tls, n.db, c, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, place, 0); code != sqlite3.SQLITE_OK {
		return nil, n.fail(code)
	}
	s := &nativeStmt{n: n, address: *sqlitevfs.At[uintptr](place)}
	s.columns = int(sqlite3.Xsqlite3_column_count(n.tls, s.address))
	for i := range sqlite3.Xsqlite3_bind_parameter_count(n.tls, s.address) {
		number := int(i)
		if name := sqlite3.Xsqlite3_bind_parameter_name(n.tls, s.address, i+1); name != 0 {
			if _, err := fmt.Sscanf(libc.GoString(name)[1:], "%d", &number); err != nil {
				return nil, fmt.Errorf("parameter %s: want $N or ?", libc.GoString(name))
			}
			number--
		}
		s.args = append(s.args, number)
	}
	n.stmts[text] = s
	return s, nil
}

// begin binds the arguments of a statement; end resets it.
func (n *native) begin(text string, args []any) (*nativeStmt, error) {
	s, err := n.prepare(text)
	if err != nil {
		return nil, err
	}
	if s.running {
		return nil, errors.New("a statement runs within itself")
	}
	n.bound = args
	for i, number := range s.args {
		if number >= len(args) {
			return nil, fmt.Errorf("%d arguments, want at least %d", len(args), number+1)
		}
		if err := n.bind(s, int32(i+1), args[number]); err != nil {
			return nil, err
		}
	}
	s.running = true
	return s, nil
}

func (n *native) end(s *nativeStmt) {
	sqlite3.Xsqlite3_reset(n.tls, s.address) // repeats the error of the step
	s.running, n.bound = false, nil
}

// Exec runs a statement, and returns the number of rows that it changed.
func (n *native) Exec(text string, args []any) (int64, error) {
	s, err := n.begin(text, args)
	if err != nil {
		return 0, err
	}
	defer n.end(s)
	for {
		switch code := sqlite3.Xsqlite3_step(n.tls, s.address); code {
		case sqlite3.SQLITE_ROW:
		case sqlite3.SQLITE_DONE:
			return sqlite3.Xsqlite3_changes64(n.tls, n.db), nil
		default:
			return 0, n.fail(code)
		}
	}
}

// Each runs a statement, and calls scan for each of its rows.
func (n *native) Each(scan func(sqlstore.Row) error, text string, args []any) error {
	s, err := n.begin(text, args)
	if err != nil {
		return err
	}
	defer n.end(s)
	for {
		switch code := sqlite3.Xsqlite3_step(n.tls, s.address); code {
		case sqlite3.SQLITE_ROW:
			if err := scan(s); err != nil {
				return err
			}
		case sqlite3.SQLITE_DONE:
			return nil
		default:
			return n.fail(code)
		}
	}
}

// empty is where texts without bytes are: SQLite takes an address of 0 for null.
var empty [1]byte

func (n *native) bind(s *nativeStmt, at int32, arg any) error {
	var code int32
	switch v := arg.(type) {
	case nil:
		code = sqlite3.Xsqlite3_bind_null(n.tls, s.address, at)
	case int64:
		code = sqlite3.Xsqlite3_bind_int64(n.tls, s.address, at, v)
	case int:
		code = sqlite3.Xsqlite3_bind_int64(n.tls, s.address, at, int64(v))
	case float64:
		code = sqlite3.Xsqlite3_bind_double(n.tls, s.address, at, v)
	case string:
		p := unsafe.Pointer(unsafe.StringData(v))
		if v == "" {
			p = unsafe.Pointer(&empty)
		}
		code = sqlite3.Xsqlite3_bind_text(n.tls, s.address, at, uintptr(p), int32(len(v)), 0)
	case []byte:
		p := unsafe.Pointer(unsafe.SliceData(v))
		if v != nil && len(v) == 0 {
			p = unsafe.Pointer(&empty)
		}
		code = sqlite3.Xsqlite3_bind_blob(n.tls, s.address, at, uintptr(p), int32(len(v)), 0)
	case bool:
		var number int64
		if v {
			number = 1
		}
		code = sqlite3.Xsqlite3_bind_int64(n.tls, s.address, at, number)
	default:
		return n.convert(s, at, arg)
	}
	if code != sqlite3.SQLITE_OK {
		return n.fail(code)
	}
	return nil
}

// convert binds a value of a type that database/sql converts to one that bind knows.
func (n *native) convert(s *nativeStmt, at int32, arg any) error {
	value, err := driver.DefaultParameterConverter.ConvertValue(arg)
	if err != nil {
		return err
	}
	switch value.(type) {
	case nil, int64, float64, string, []byte, bool:
		n.bound = append(n.bound[:len(n.bound):len(n.bound)], value) // keeps its bytes
		return n.bind(s, at, value)
	}
	return fmt.Errorf("argument %d is a %T, which is not stored", at, arg)
}

// Scan copies the columns of the row, as that of database/sql.
func (s *nativeStmt) Scan(dest ...any) error {
	if len(dest) != s.columns {
		return fmt.Errorf("scan %d columns into %d variables", s.columns, len(dest))
	}
	for i, d := range dest {
		if err := s.scan(int32(i), d); err != nil {
			return fmt.Errorf("scan column %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *nativeStmt) scan(at int32, dest any) error {
	switch d := dest.(type) {
	case *[]byte:
		*d = s.bytes(at)
		return nil
	case sql.Scanner:
		return d.Scan(s.value(at))
	}
	if s.kind(at) == sqlite3.SQLITE_NULL {
		v := reflect.ValueOf(dest).Elem()
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice && v.Kind() != reflect.Interface {
			return fmt.Errorf("null into a %s", v.Type())
		}
		v.SetZero()
		return nil
	}
	switch d := dest.(type) {
	case *int64:
		*d = s.number(at)
	case *int:
		*d = int(s.number(at))
	case *string:
		*d = s.text(at)
	case *bool:
		*d = s.number(at) != 0
	case *float64:
		*d = sqlite3.Xsqlite3_column_double(s.n.tls, s.address, at)
	default:
		return s.reflect(at, reflect.ValueOf(dest).Elem())
	}
	return nil
}

// reflect scans a column into a variable of a named type.
func (s *nativeStmt) reflect(at int32, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number := s.number(at)
		if v.OverflowInt(number) {
			return fmt.Errorf("%d into a %s", number, v.Type())
		}
		v.SetInt(number)
	case reflect.String:
		v.SetString(s.text(at))
	case reflect.Bool:
		v.SetBool(s.number(at) != 0)
	case reflect.Float64:
		v.SetFloat(sqlite3.Xsqlite3_column_double(s.n.tls, s.address, at))
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return fmt.Errorf("a column into a %s", v.Type())
		}
		v.SetBytes(s.bytes(at))
	default:
		return fmt.Errorf("a column into a %s", v.Type())
	}
	return nil
}

func (s *nativeStmt) kind(at int32) int32 {
	return sqlite3.Xsqlite3_column_type(s.n.tls, s.address, at)
}

func (s *nativeStmt) number(at int32) int64 {
	return sqlite3.Xsqlite3_column_int64(s.n.tls, s.address, at)
}

// raw returns a column's bytes, which are valid until the next call of SQLite; nil for null.
func (s *nativeStmt) raw(at int32) []byte {
	var address uintptr
	switch s.kind(at) {
	case sqlite3.SQLITE_NULL:
		return nil
	case sqlite3.SQLITE_BLOB:
		address = sqlite3.Xsqlite3_column_blob(s.n.tls, s.address, at)
	default:
		address = sqlite3.Xsqlite3_column_text(s.n.tls, s.address, at)
	}
	size := sqlite3.Xsqlite3_column_bytes(s.n.tls, s.address, at)
	if size == 0 {
		return []byte{}
	}
	return sqlitevfs.Bytes(address, size)
}

// bytes returns a copy of a column's bytes; nil for null.
func (s *nativeStmt) bytes(at int32) []byte { return bytes.Clone(s.raw(at)) }

// text returns a copy of a column's bytes.
func (s *nativeStmt) text(at int32) string { return string(s.raw(at)) }

// value returns a column as drivers return it.
func (s *nativeStmt) value(at int32) any {
	switch s.kind(at) {
	case sqlite3.SQLITE_INTEGER:
		return s.number(at)
	case sqlite3.SQLITE_FLOAT:
		return sqlite3.Xsqlite3_column_double(s.n.tls, s.address, at)
	case sqlite3.SQLITE_TEXT:
		return s.text(at)
	case sqlite3.SQLITE_BLOB:
		return s.bytes(at)
	}
	return nil
}
