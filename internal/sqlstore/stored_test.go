package sqlstore

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/internal/id"
)

func TestStoredRequest(t *testing.T) {
	t.Parallel()
	r := &gaff.Request{
		Method: "POST", URL: "https://h/api/v1/webhooks/fal?a=b%20c", RemoteAddr: "192.0.2.1",
		Header: http.Header{
			"X-One": {"a: b"}, "X-Two": {"first", "second", ""}, "X-Latin": {"\xe9\xff"}, "X-Break": {"a\r\n:scheme forged"},
		},
	}
	v := gaff.Verification{Scheme: "hmac-sha256", KeyID: "k1", Subject: "user\n:key forged", Dialect: "fal", Secrets: []string{"header:X-One", "json:/a/*/b"}}
	got, proof, _ := decodeRequest(encodeRequest(r, v, "film"))
	want := *r
	want.Header = http.Header{
		"X-One": {"a: b"}, "X-Two": {"first", "second", ""}, "X-Latin": {"\xe9\xff"}, "X-Break": {"a  :scheme forged"},
	}
	if !reflect.DeepEqual(got, &want) {
		t.Errorf("read back as %+v, want %+v", got, want)
	}
	v.Subject = "user :key forged"
	if !reflect.DeepEqual(proof, v) {
		t.Errorf("verification is read back as %+v, want %+v", proof, v)
	}
}

// A stored request is read back unchanged, with any text of an untrusted client in it.
func FuzzStoredRequest(f *testing.F) {
	f.Add("POST", "https://h/x", "192.0.2.1", "X-Name", "a value", "hmac-sha256", "user")
	f.Add("POST", "", "", ":remote", "a\nb", ":key x", "\r")
	for _, text := range fuzzseed.Vary("X-Name", "a value", ":key x") {
		f.Add("POST", "https://h/x", text, text, text, text, text)
	}
	f.Add("", "a b\nc", "::1", "", "\xff\x00", "", "")
	f.Fuzz(func(t *testing.T, method, url, remote, name, value, scheme, subject string) {
		// HTTP allows no blank in a method or a URL, and only tokens as names.
		if strings.ContainsAny(method+url, " \r\n") || name == "" || strings.ContainsAny(name, ": \r\n") {
			return
		}
		r := &gaff.Request{Method: method, URL: url, RemoteAddr: remote, Header: http.Header{name: {value, value}}}
		got, proof, _ := decodeRequest(encodeRequest(r, gaff.Verification{Scheme: scheme, Subject: subject}, ""))
		if got.Method != method || got.URL != url || got.RemoteAddr != oneLine(remote) || proof.Scheme != oneLine(scheme) || proof.Subject != oneLine(subject) {
			t.Errorf("%q %q %q is read back as %+v, %+v", method, url, remote, got, proof)
		}
		if values := got.Header[name]; len(values) != 2 || values[0] != oneLine(value) {
			t.Errorf("header %q: %q is read back as %q", name, value, got.Header)
		}
	})
}

// Bytes that no version wrote do not panic.
func FuzzDecodeStored(f *testing.F) {
	f.Add([]byte("POST https://h/x\n:remote 192.0.2.1\nX-Name: a\n"))
	f.Add([]byte(":\n:\n: \n"))
	for _, text := range fuzzseed.Vary("POST https://h/x\n:remote 192.0.2.1\n:key k\nX-Name: a\n") {
		f.Add([]byte(text))
	}
	f.Add([]byte("\xff\n\n:key"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		r, v, _ := decodeRequest(stored)
		texts := []string{r.Method, r.URL, r.RemoteAddr, v.Scheme, v.KeyID, v.Subject, v.Dialect}
		for name, values := range r.Header {
			texts = append(append(texts, name), values...)
		}
		if r.Header == nil || strings.Contains(strings.Join(texts, ""), "\n") {
			t.Errorf("%q is read as %+v, %+v", stored, r, v)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, text := range []string{writeCursor(0), writeCursor(1), writeCursor(1 << 62), "nonsense", "", "-1", "zzz", "00" + writeCursor(7), "+" + writeCursor(7)} {
		f.Add(text)
	}
	for _, text := range fuzzseed.Vary(writeCursor(123456789), "12-3") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := readCursor(text)
		if err == nil && (n < 0 || writeCursor(n) != text) {
			t.Errorf("%q is read as %d, which is written %q", text, n, writeCursor(n))
		}
		if seq, item, ok := parseChangeID(text); ok && (seq < 0 || strings.Count(text, "-") == 0) {
			t.Errorf("%q is read as change %d-%d", text, seq, item)
		}
	})
}

// A reader does not skip a number that a slower transaction may still commit.
func TestSettledStopsAtYoungGaps(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(seq int64, age time.Duration) *gaff.Event {
		return &gaff.Event{ID: id.OfEvent(now.Add(-age), seq), ReceivedAt: now.Add(-age)}
	}
	old, young := time.Hour, time.Second
	for name, tt := range map[string]struct {
		after int64
		evs   []*gaff.Event
		want  int
	}{
		"none":                 {5, nil, 0},
		"no gap":               {5, []*gaff.Event{at(6, young), at(7, young)}, 2},
		"a young gap":          {5, []*gaff.Event{at(6, young), at(8, young), at(9, young)}, 1},
		"a young gap at first": {5, []*gaff.Event{at(7, young)}, 0},
		"an old gap":           {5, []*gaff.Event{at(8, old), at(9, old), at(11, young)}, 2},
		"from the beginning":   {0, []*gaff.Event{at(8, young), at(9, young), at(12, young)}, 2},
	} {
		if got := settled(tt.evs, tt.after, now.Add(-12*time.Second)); len(got) != tt.want {
			t.Errorf("%s: %d, want %d", name, len(got), tt.want)
		}
	}
}
