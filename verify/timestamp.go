package verify

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gaff/internal/fault"
)

const maxTimestamp = 40 // bytes of text

// parseTime parses a timestamp strictly: digits without sign or leading zero, a complete RFC 3339
// text, or an HTTP date. Lenience would let bytes move between the timestamp and its neighbours.
func parseTime(text, unit string) (time.Time, bool) {
	if unit == "http-date" && strings.HasSuffix(text, "GMT") {
		at, err := time.Parse(http.TimeFormat, text)
		return at, err == nil && at.Format(http.TimeFormat) == text
	}
	if unit == "rfc3339" {
		const shape = "0000-00-00T00:00:00"
		if len(text) < len(shape)+1 || len(text) > maxTimestamp {
			return time.Time{}, false
		}
		for i := range len(shape) {
			if digit := text[i] >= '0' && text[i] <= '9'; digit != (shape[i] == '0') || !digit && text[i] != shape[i] {
				return time.Time{}, false
			}
		}
		if strings.ContainsRune(text, ',') {
			return time.Time{}, false
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	}
	if text == "" || len(text) > 15 || text[0] == '0' && len(text) > 1 {
		return time.Time{}, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return time.Time{}, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if unit == "ms" {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

// fresh reports whether at is within the window around now, inclusive.
func fresh(at, now time.Time, past, future time.Duration) bool {
	return !at.Before(now.Add(-past)) && !at.After(now.Add(future))
}

// formatTime is the reverse of parseTime.
func formatTime(at time.Time, unit string) string {
	switch unit {
	case "ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	case "http-date":
		return at.UTC().Format(http.TimeFormat)
	case "rfc3339":
		return at.UTC().Format(time.RFC3339Nano)
	}
	return strconv.FormatInt(at.Unix(), 10)
}

// judge checks a timestamp against the tolerance, if there is one.
func judge(t *Tolerance, text, unit string, now time.Time) error {
	at, ok := parseTime(text, unit)
	if !ok {
		return fmt.Errorf("timestamp %s: %w", Printable(text), ErrMalformed)
	}
	if t == nil {
		return nil
	}
	if unit == "s" {
		now = now.Truncate(time.Second)
	}
	if past, future := t.window(); !fresh(at, now, past, future) {
		return fmt.Errorf("timestamp %s: %w of %s around %s", Printable(text), ErrStale, past, now.UTC().Format(time.RFC3339))
	}
	return nil
}

func (t *Tolerance) check(path string, f *fault.List) {
	if t == nil {
		return
	}
	if t.Past < 0 || t.Past == 0 && t.Future == nil || t.Future != nil && *t.Future < 0 {
		future := t.Past
		if t.Future != nil {
			future = *t.Future
		}
		f.Add(path, "past %d, future %d; seconds in both directions are wanted, such as 300", t.Past, future)
	}
}

// window returns the tolerance in both directions.
func (t *Tolerance) window() (past, future time.Duration) {
	const most = 100 * 365 * 24 * 3600 // so that sums cannot overflow
	past = time.Duration(min(t.Past, most)) * time.Second
	if t.Future == nil {
		return past, past
	}
	return past, time.Duration(min(*t.Future, most)) * time.Second
}
