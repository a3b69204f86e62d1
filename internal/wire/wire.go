// Package wire holds the JSON documents of the API, each once: the struct with its tags, and the
// function that makes it from a row of the domain. The API answers with them, the OpenAPI document
// and the TypeScript types are generated from them, and the commands decode them.
//
// Tags: json names the member, doc, enum, format and example describe it in the OpenAPI document;
// query names a parameter of a list, flag the command's flag for it (its doc is the flag's help).
package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gaff"
)

// Text is a string that is null in JSON if it is empty.
type Text string

// MarshalJSON writes the text, or null.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return marshal(string(t))
}

// Time is a time as JavaScript's toISOString writes it; the zero time is null.
type Time struct{ time.Time }

// timeFormat is how JavaScript's toISOString writes a time in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes the time in UTC to the millisecond, or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().AppendFormat(nil, `"`+timeFormat+`"`), nil
}

// String returns the time as it is written in JSON; empty for the zero time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

// JSON is any JSON value, passed on with its bytes unchanged; nil is null.
type JSON json.RawMessage

// MarshalJSON replaces bytes that are not UTF-8: a single webhook with such bytes would make its
// whole list unreadable for strict readers.
func (j JSON) MarshalJSON() ([]byte, error) {
	switch {
	case len(j) == 0:
		return []byte("null"), nil
	case !utf8.Valid(j):
		return bytes.ToValidUTF8(j, []byte("\uFFFD")), nil
	}
	return j, nil
}

// UnmarshalJSON keeps the bytes; null becomes nil.
func (j *JSON) UnmarshalJSON(text []byte) error {
	*j = nil
	if string(text) != "null" {
		*j = bytes.Clone(text)
	}
	return nil
}

// Object is a JSON object, passed on with its bytes unchanged; nil if it is missing or null.
type Object json.RawMessage

// MarshalJSON writes the object as it is, or null.
func (o Object) MarshalJSON() ([]byte, error) { return JSON(o).MarshalJSON() }

// UnmarshalJSON keeps the bytes; null becomes nil.
func (o *Object) UnmarshalJSON(text []byte) error { return (*JSON)(o).UnmarshalJSON(text) }

// List is a page of a list.
type List[T any] struct {
	Docs       []T  `json:"docs" nullable:"false"`
	NextCursor Text `json:"nextCursor" doc:"The cursor of the next page; null on the last page."`
}

// NewList makes a list of a page of rows.
func NewList[R, D any](page gaff.Page[R], doc func(R) D) List[D] {
	out := List[D]{Docs: make([]D, 0, len(page.Items)), NextCursor: Text(page.Next)}
	for _, row := range page.Items {
		out.Docs = append(out.Docs, doc(row))
	}
	return out
}

// Page is the part of a list that a request asks for.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many to return."`
	Cursor string `query:"cursor" doc:"The nextCursor of the page before."`
}

// After returns the page as stores take it.
func (p Page) After() gaff.Cursor { return gaff.Cursor{After: p.Cursor, Limit: p.Limit} }

// Cut takes a page out of rows that are few enough to be read at once. The cursor is the key of
// the last row of the page before.
func Cut[R any](p Page, rows []R, key func(R) string) (gaff.Page[R], error) {
	if p.Cursor != "" {
		i := 0
		for i < len(rows) && key(rows[i]) != p.Cursor {
			i++
		}
		if i == len(rows) {
			return gaff.Page[R]{}, Invalid("cursor: the list has changed; start again with the first page")
		}
		rows = rows[i+1:]
	}
	if p.Limit <= 0 || len(rows) <= p.Limit {
		return gaff.Page[R]{Items: rows}, nil
	}
	return gaff.Page[R]{Items: rows[:p.Limit], Next: key(rows[p.Limit-1])}, nil
}

// Invalid is an error about a value of a request; it is a [gaff.ErrInvalid].
type Invalid string

// Error returns the text.
func (e Invalid) Error() string { return string(e) }

// Is reports whether target is gaff.ErrInvalid.
func (Invalid) Is(target error) bool { return target == gaff.ErrInvalid }

// longestAgo is the longest duration that [Since] takes.
const longestAgo = 100 * 365 * 24 * time.Hour

// Since reads a time, or a duration as that long before now; an empty text is the zero time. name
// is the parameter's, for errors.
func Since(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, perr := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, perr
	}
	if err != nil || d < 0 || d > longestAgo {
		return time.Time{}, Invalid(fmt.Sprintf("%s: %.40q is not a time; write 2026-01-31T12:00:00Z, or 24h or 7d for that long ago", name, text))
	}
	return time.Now().Add(-d), nil
}

// period reads the parameters since and until of a list.
func period(since, until string) (from, to time.Time, err error) {
	if from, err = Since("since", since); err == nil {
		to, err = Since("until", until)
	}
	return from, to, err
}

// Until reads a time, or a duration as that long after now; an empty text is the zero time.
func Until(name, text string) (time.Time, error) {
	t, err := Since(name, text)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	if _, perr := time.Parse(time.RFC3339Nano, text); perr != nil {
		now := time.Now()
		t = now.Add(now.Sub(t))
	}
	return t, nil
}

// Duration reads a duration such as 20s; an empty text is def.
func Duration(name, text string, def time.Duration) (time.Duration, error) {
	if text == "" {
		return def, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, Invalid(fmt.Sprintf("%s: %.40q is not a duration; write one such as 20s or 5m", name, text))
	}
	return d, nil
}

// Write writes a document and a newline. Characters of markup are written as they are.
func Write(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func marshal(doc any) ([]byte, error) {
	var b bytes.Buffer
	err := Write(&b, doc)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// texts returns a list that is never null in JSON.
func texts(list []string) []string { return append([]string{}, list...) }
