package sqlstore

import (
	"database/sql"
	"strings"
	"time"
	"unicode/utf8"
)

// micros is how times are stored. Only nullMicros stores the zero time as null.
func micros(t time.Time) int64 { return t.UnixMicro() }

func nullMicros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func fromNull(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicros(us.Int64)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func nilIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// nilIfNil keeps a nil slice from becoming an empty value.
func nilIfNil(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// plainText replaces the bytes that PostgreSQL allows in no text: invalid UTF-8 and zero. It
// does so for both databases, and for parameters of queries, so that a text finds itself.
func plainText(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok && !isPlain(text) {
			args[i] = plain(text)
		}
	}
	return args
}

func isPlain(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func plain(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
