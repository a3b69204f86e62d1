package redact

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestJSONMasksExactlyThePlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ doc, place, want string }{
		{`{"passcode":"s", "a": [1, {"passcode":"t"}]}`, "json:/passcode", `{"passcode":"[masked]", "a": [1, {"passcode":"t"}]}`},
		{`{"value":[{"c":"s"},{"b":1,"c" : "s" }],"c":"t"}`, "json:/value/*/c", `{"value":[{"c":"[masked]"},{"b":1,"c" : "[masked]" }],"c":"t"}`},
		{`[{"c":"s"}]`, "json:/*/c", `[{"c":"[masked]"}]`},
		{`[{"c":"s"}]`, "json:/0/c", `[{"c":"[masked]"}]`},
		{`{"a":{"k":["s",{"b":"s"}]},"z":1}`, "json:/a", `{"a":"[masked]","z":1}`},
		{`{"a":"s","a":"s"}`, "json:/a", `{"a":"[masked]","a":"[masked]"}`},
		{`{"\u0061":"s"}`, "json:/a", `{"\u0061":"[masked]"}`},
		{`{"a/b":{"~":12.50}}`, "json:/a~1b/~0", `{"a/b":{"~":"[masked]"}}`},
		{`{"n":1e400,"a":"s"}`, "json:/a", `{"n":1e400,"a":"[masked]"}`},
		{`{"auth":"s"}`, "form:auth", `{"auth":"[masked]"}`},
		{`{"b":1}`, "json:/a", `{"b":1}`},
		{`{"A":"s"}`, "json:/a", `{"A":"[masked]"}`},
		{` "s" `, "json:", ` "[masked]" `},
	} {
		if got := string(JSON([]byte(c.doc), []string{c.place})); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.place, c.doc, got, c.want)
		}
	}
}

func TestJSONThatCannotBeReadShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{`{"b":1,"a":"SECRET`, `{"b":,"a":"SECRET"}`, `{"b":1,}{"a":"SECRET"}`, `{"a":{"x":"SECRET"`, `{"b":1 "a":"SECRET"}`, "\xff{\"a\":\"SECRET\"}"} {
		if got := string(JSON([]byte(doc), []string{"json:/a"})); strings.Contains(got, "SECRET") {
			t.Errorf("%s: %s", doc, got)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"a":{"b":[1,{"c":null}]},"b":"x"}`)
	f.Fuzz(func(t *testing.T, doc string) {
		got := JSON([]byte(doc), []string{"json:/a", "json:/b/*/c"})
		if json.Valid([]byte(doc)) && !json.Valid(got) {
			t.Errorf("%q became %q", doc, got)
		}
	})
}

func TestBodyMasksForms(t *testing.T) {
	t.Parallel()
	places := []string{"form:auth"}
	if got := string(Body("application/x-www-form-urlencoded; charset=utf-8", []byte("a=1&auth=SECRET&%61uth=SECRET&b="), places)); got != "a=1&auth=[masked]&%61uth=[masked]&b=" {
		t.Errorf("form: %s", got)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("a", "1")
	_ = w.WriteField("auth", "SECRET")
	_ = w.Close()
	for name, body := range map[string][]byte{"whole": b.Bytes(), "cut": b.Bytes()[:b.Len()-10]} {
		if got := string(Body(w.FormDataContentType(), body, places)); strings.Contains(got, "SECRET") {
			t.Errorf("multipart, %s: %s", name, got)
		}
	}
	if got := string(Body("text/plain", []byte("SECRET"), []string{"body"})); got != Masked {
		t.Errorf("body: %s", got)
	}
}

// The sender's secret is hidden also if the body is not of the kind that was expected, as
// in a rejected request.
func TestBodyOfAnotherKindShowsNoSecret(t *testing.T) {
	t.Parallel()
	form, multi := "x=1&auth=SECRET", "--b\r\nContent-Disposition: form-data; name=\"auth\"\r\n\r\nSECRET\r\n--b--\r\n"
	for _, c := range []struct{ kind, body string }{
		{"", form}, {"text/plain", form}, {"text/plain", multi}, {"multipart/mixed; boundary=b", multi}, {"multipart/form-data", multi},
		{"application/json", `{"auth":"SECRET"}`}, {"application/json", form}, {"application/x-www-form-urlencoded", "x=1;auth=SECRET"},
		{"application/x-www-form-urlencoded", "auth\xff=SECRET"}, {"application/x-www-form-urlencoded", "Auth=SECRET"}, {"application/x-www-form-urlencoded", `{"auth":"SECRET"}`},
	} {
		if got := string(Body(c.kind, []byte(c.body), []string{"form:auth"})); strings.Contains(got, "SECRET") {
			t.Errorf("%q as %q: %s", c.body, c.kind, got)
		}
	}
	got := string(Body("application/x-www-form-urlencoded", []byte(`payload={"t":"SECRET"}`), []string{"form:auth", "json:/t"}))
	if strings.Contains(got, "SECRET") {
		t.Errorf("JSON in a field: %s", got)
	}
}

func TestHeaderMasksTheQueryOfRepeatedURLs(t *testing.T) {
	t.Parallel()
	got := Header(http.Header{"X-Original-Url": {"/in?a=1&k=SECRET"}, "Referer": {"https://h/?k=SECRET"}, "X-B": {"a?"}}, []string{"query:k"})
	want := http.Header{"X-Original-Url": {"/in?a=1&k=" + Masked}, "Referer": {"https://h/?k=" + Masked}, "X-B": {"a?"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestQueryMasksAllValues(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"/in?a=SECRET&b=SECRET": "/in?a=[masked]&b=[masked]", "/in": "/in", "/in?": "/in?"} {
		if got := Query(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestHeaderMasksWordsAndPlaces(t *testing.T) {
	t.Parallel()
	got := Header(http.Header{"Verif-Hash": {"s"}, "Authorization": {"s"}, "X-Api-Key": {"s"}, "Idempotency-Key": {"i"}, "X-Signature": {"sig"}}, []string{"header:verif-hash"})
	want := http.Header{"Verif-Hash": {Masked}, "Authorization": {Masked}, "X-Api-Key": {Masked}, "Idempotency-Key": {"i"}, "X-Signature": {"sig"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestURLMasksPasswordsAndParameters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://u:p@h/a?k=s&b=1&%6b=s": "https://u:[masked]@h/a?k=[masked]&b=1&%6b=[masked]",
		"https://h?token=s#f":           "https://h?token=[masked]#f",
		"/p?x=1":                        "/p?x=1",
		"https://h/@x":                  "https://h/@x",
		"https://h/a?%zz=s":             "https://h/a?%zz=[masked]",
	} {
		if got := URL(in, []string{"query:k"}); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestHostShowsNoPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://hooks.example/services/T0/SECRET?a=b": "https://hooks.example/…",
		"https://u:p@h": "https://h", "": "", "::SECRET": Masked,
	} {
		if got := Host(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestErrorQuotesNothingFromOutside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("SECRET: %w", Answered("fal", 400, ": SECRET")), "fal answered 400"},
		{errors.Join(errors.New("SECRET"), Answered("fal", 500, ": SECRET")), "fal answered 500"},
		{&url.Error{Op: "Get", URL: "https://h/SECRET", Err: os.ErrDeadlineExceeded}, "Get https://h/…: i/o timeout"},
		{fmt.Errorf("a %w", errors.New("SECRET")), Unlogged},
		{&url.Error{Op: "Post", URL: "https://h/SECRET", Err: errors.New("SECRET")}, "Post https://h/…: " + Unlogged},
		{fmt.Errorf("SECRET: %w", Const("no result")), "no result"},
		{Errorf("unknown status %.40q of %s after %d attempts", "SECRET", Own("Acme"), 3), `unknown status "…" of Acme after 3 attempts`},
		{Errorf("read SECRET: %w", errors.New("SECRET")), "read SECRET: …"}, // the format is gaff's own
		{Errorf("%s was lost: %w", Own("Acme"), io.ErrUnexpectedEOF), "Acme was lost: unexpected EOF"},
		{fmt.Errorf("SECRET %w", json.Unmarshal([]byte("SECRET"), new(int))), "invalid JSON"},
		{fmt.Errorf("SECRET %w", x509.HostnameError{Host: "SECRET"}), "the certificate is for another host"},
		{nil, ""},
	} {
		if got := Error(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestPanicQuotesNothingFromOutside(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"SECRET", errors.New("SECRET"), struct{ s string }{"SECRET"}} {
		if got := Panic(value); got != Unlogged {
			t.Errorf("got %q", got)
		}
	}
}

func TestJSONBuildsNothingOfALargeDocument(t *testing.T) {
	const items = 200_000
	doc := []byte(`{"list":[` + strings.Repeat(`{"n":1},`, items) + `1],"a":"s"}`)
	places := []string{"json:/a", "json:/b/*/c"}
	if n := testing.AllocsPerRun(1, func() { JSON(doc, places) }); n > 1000 {
		t.Errorf("%.0f allocations for %d items, want at most 1,000", n, items)
	}
}

func TestMultipartFieldsOfOneLetterDoNotMultiplyTheBody(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("text", strings.Repeat("s", 10_000))
	for range 8 {
		_ = w.WriteField("auth", "s")
	}
	_ = w.Close()
	body := bytes.Clone(b.Bytes())
	if got := Body(w.FormDataContentType(), body, []string{"form:auth"}); len(got) > 2*len(body)+1024 {
		t.Errorf("%d bytes became %d", len(body), len(got))
	}
}

func TestErrorfWrapsWhatItFormats(t *testing.T) {
	t.Parallel()
	err := Errorf("job %s: %w", "j-1", Const("no such work"))
	if !errors.Is(err, Const("no such work")) || err.Error() != "job j-1: no such work" {
		t.Errorf("got %v", err)
	}
}
