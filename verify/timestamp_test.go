package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, unit string
		want       int64 // milliseconds; -1 for none
	}{
		{"1767225600", "", 1767225600000},
		{"1767225600123", "ms", 1767225600123},
		{"2026-01-01T00:00:00Z", "rfc3339", 1767225600000},
		{"2026-01-01T00:00:00.123456789Z", "rfc3339", 1767225600123},
		{"2026-01-01T01:00:00+01:00", "rfc3339", 1767225600000},
		{"2026-01-01 00:00:00Z", "rfc3339", -1},
		{"2026-01-01T00:00:00", "rfc3339", -1},
		{"2026-01-01T00:00:00,5Z", "rfc3339", -1},
		{"2026-1-1T0:00:00Z", "rfc3339", -1},
		{"2026-13-01T00:00:00Z", "rfc3339", -1},
		{"2026-01-01T00:00:00." + strings.Repeat("0", 40) + "Z", "rfc3339", -1},
		{"Thu, 01 Jan 2026 00:00:00 GMT", "http-date", 1767225600000},
		{"1767225600", "http-date", 1767225600000},
		{"Fri, 01 Jan 2026 00:00:00 GMT", "http-date", -1}, // another weekday
		{"Thu, 1 Jan 2026 00:00:00 GMT", "http-date", -1},
		{"Thu, 01 Jan 2026 00:00:00 UTC", "http-date", -1},
		{"Thu, 01 Jan 2026 00:00:00 GMT", "s", -1},
		{"-1", "s", -1},
		{"0x69", "s", -1},
		{"1234567890123456", "s", -1},
		{"\u0661\u0667\u0666", "s", -1},
	} {
		at, ok := parseTime(tt.text, tt.unit)
		if got := at.UnixMilli(); ok != (tt.want >= 0) || ok && got != tt.want {
			t.Errorf("%q as %s: %d, %v", tt.text, tt.unit, got, ok)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("1767225600", "s")
	f.Add("2026-01-01T00:00:00.5Z", "rfc3339")
	for _, text := range fuzzseed.Vary("1767225600", "2026-01-01T00:00:00.5Z") {
		for _, unit := range []string{"s", "ms", "rfc3339"} {
			f.Add(text, unit)
		}
	}
	f.Fuzz(func(t *testing.T, text, unit string) {
		at, ok := parseTime(text, unit)
		if !ok || unit == "rfc3339" {
			return
		}
		if again := formatTime(at, unit); again != text {
			t.Errorf("%q was read as %q", text, again)
		}
	})
}

// ErrStale promises that all else was right, so that a caller may still make something
// of an old request.
func TestStaleOnlyIfAuthentic(t *testing.T) {
	t.Parallel()
	v := preset(t, "stripe", Options{Secrets: []string{"whsec_x"}})
	for _, age := range []time.Duration{-301 * time.Second, 301 * time.Second} {
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon.Add(age)}
		if err := v.Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrStale) {
			t.Errorf("%s off: %v", age, err)
		}
		r.Body = []byte(`{ }`)
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s off and forged: %v", age, err)
		}
	}
	// Parts of a second do not count where the sender sends whole ones.
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon.Add(300*time.Second + 999*time.Millisecond)}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Errorf("300.999 s old: %v", err)
	}
}
