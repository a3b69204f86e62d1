package postgres

import (
	"reflect"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// parameterTypes are the Go types of the parameters of statements, by their PostgreSQL type. pgx has
// a list of its own with 54 types and their arrays, which the build tag nopgxregisterdefaulttypes
// leaves out: 1.8 MiB of the binary (docs/decisions/0031-small-binary.md).
var parameterTypes = map[string][]reflect.Type{
	"text":        {reflect.TypeFor[string]()},
	"bytea":       {reflect.TypeFor[[]byte]()},
	"bool":        {reflect.TypeFor[bool]()},
	"int4":        {reflect.TypeFor[int32]()},
	"int8":        {reflect.TypeFor[int64](), reflect.TypeFor[int]()},
	"float8":      {reflect.TypeFor[float64]()},
	"timestamptz": {reflect.TypeFor[time.Time]()},
}

// registerTypes makes the types known to a connection, with their arrays and with null. pgx looks
// them up if the server does not tell it the types of a statement's parameters: an address can choose
// such a protocol, with default_query_exec_mode=exec.
func registerTypes(m *pgtype.Map) {
	for name, types := range parameterTypes {
		for _, t := range types {
			for _, t := range [...]reflect.Type{t, reflect.PointerTo(t)} {
				m.RegisterDefaultPgType(reflect.Zero(t).Interface(), name)
				m.RegisterDefaultPgType(reflect.Zero(reflect.SliceOf(t)).Interface(), "_"+name)
			}
		}
	}
}
