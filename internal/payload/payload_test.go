package payload

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/htmlindex"

	"gaff/internal/fuzzseed"
)

func encoded(t testing.TB, label, text string) string {
	t.Helper()
	enc, err := htmlindex.Get(label)
	if err != nil {
		t.Fatal(err)
	}
	out, err := enc.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTextDecodesMarksAndCharsets(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	wide := func(order, text string) string {
		var b strings.Builder
		for _, r := range text {
			for _, at := range order {
				b.WriteByte(byte(r >> (8 * (at - '0'))))
			}
		}
		return b.String()
	}
	for name, c := range map[string]struct{ kind, body, want string }{
		"plain":                             {json, `{"a":"é"}`, `{"a":"é"}`},
		"UTF-8 mark":                        {json, "\ufeff{}", "{}"},
		"two marks":                         {json, "\ufeff\ufeff{}", "{}"},
		"mark before a form":                {formType, "\ufeffa=1", "a=1"},
		"mark against the charset":          {json + "; charset=iso-8859-1", "\ufeff\"é\"", `"é"`},
		"UTF-16LE mark":                     {json, "\xff\xfe" + wide("01", `{"a":"é"}`), `{"a":"é"}`},
		"UTF-16BE mark":                     {json + "; charset=utf-16", "\xfe\xff" + wide("10", `{"a":"é"}`), `{"a":"é"}`},
		"UTF-32LE mark":                     {json, "\xff\xfe\x00\x00" + wide("0123", `{"a":"€"}`), `{"a":"€"}`},
		"UTF-32BE mark":                     {json, "\x00\x00\xfe\xff" + wide("3210", `{"a":"€"}`), `{"a":"€"}`},
		"UTF-16LE by its zeros":             {json, wide("01", `{"a":"é"}`), `{"a":"é"}`},
		"UTF-16BE by its zeros":             {json, wide("10", `[1]`), `[1]`},
		"UTF-32BE by its zeros":             {json, wide("3210", `[1]`), `[1]`},
		"utf-16le":                          {"text/plain; charset=utf-16le", wide("01", "né"), "né"},
		"utf-16 that is big-endian":         {"text/plain; charset=utf-16", wide("10", "né"), "né"},
		"utf-16 that is not":                {json + "; charset=utf-16", `{"a":"é"}`, `{"a":"é"}`},
		"a form in UTF-16":                  {formType + "; charset=utf-16le", wide("01", "a=é"), "a=é"},
		"iso-8859-1":                        {json + "; charset=ISO-8859-1", "\"\xe9\"", `"é"`},
		"quoted":                            {json + `; charset="Windows-1252"`, "\"\x80\"", `"€"`},
		"single quotes and spaces":          {json + `;v=1; Charset = 'latin1'`, "\"\xe9\"", `"é"`},
		"iso-8859-1 that is not":            {json + "; charset=ISO-8859-1", `"é"`, `"é"`},
		"shift_jis":                         {json + "; charset=shift_jis", encoded(t, "shift_jis", `"日本語テスト"`), `"日本語テスト"`},
		"cp932":                             {json + "; charset=cp932", encoded(t, "shift_jis", `"日本"`), `"日本"`},
		"iso-2022-jp":                       {json + "; charset=iso-2022-jp", encoded(t, "iso-2022-jp", `"日本"`), `"日本"`},
		"gb18030":                           {json + "; charset=gb18030", encoded(t, "gb18030", `"中文"`), `"中文"`},
		"gbk that happens to be UTF-8":      {json + "; charset=gbk", encoded(t, "gbk", `"耐"`), `"耐"`},
		"big5":                              {json + "; charset=big5", encoded(t, "big5", `"中文"`), `"中文"`},
		"euc-kr":                            {json + "; charset=euc-kr", encoded(t, "euc-kr", `"한글"`), `"한글"`},
		"koi8-r":                            {json + "; charset=koi8-r", encoded(t, "koi8-r", `"привет"`), `"привет"`},
		"ibm437 of another index":           {json + "; charset=IBM437", "\"\x82\"", `"é"`},
		"unknown":                           {json + "; charset=utf-8mb4", `"é"`, `"é"`},
		"unknown, not UTF-8":                {json + "; charset=x-mine", "\"\xe9\"", "\"\xe9\""},
		"none, not UTF-8":                   {json, "\"\xe9\"", "\"\xe9\""},
		"escapes of a form are left":        {formType + "; charset=iso-8859-1", "a=%E9\xe9", "a=%E9\xe9"},
		"bytes that only begin like a mark": {"application/octet-stream", "\xff\xfe\x01", "\xff\xfe\x01"},
		"bytes that begin with zeros":       {"video/mp4", "\x00\x00\x00\x20ftypisom", "\x00\x00\x00\x20ftypisom"},
		"empty":                             {json, "", ""},
		"nothing but a mark":                {json, "\ufeff", ""},
	} {
		if got := string(Text(c.kind, []byte(c.body))); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTextOfUsualBodiesCostsNothing(t *testing.T) {
	body := []byte(`{"a":"é"}`)
	for _, kind := range []string{"", "application/json", "application/json; charset=utf-8", `application/json; charset="UTF-8"`} {
		if n := testing.AllocsPerRun(100, func() { Text(kind, body) }); n != 0 {
			t.Errorf("%q: %v allocations", kind, n)
		}
	}
}

func TestFormOddities(t *testing.T) {
	t.Parallel()
	part := func(head, value string) string { return "--b\r\n" + head + "\r\n\r\n" + value + "\r\n" }
	const multi = "multipart/form-data; boundary=b"
	for name, c := range map[string]struct {
		kind, body string
		want       []string // name=text, with (file) before a file's
	}{
		"urlencoded":                {formType, "a=1+2&b=%C3%A9&&c", []string{"a=1 2", "b=é", "c="}},
		"no escapes":                {formType, "a=%zz%&b=1;c=2&d=100%", []string{"a=%zz%", "b=1;c=2", "d=100%"}},
		"names":                     {formType, "a[]=1&a[]=2&=x&a%5Bb%5D=3", []string{"a[]=1", "a[]=2", "=x", "a[b]=3"}},
		"a line's end":              {formType, "a=1\r\n", []string{"a=1"}},
		"charset":                   {formType + "; charset=Shift_JIS", "a=%93%FA%96%7B", []string{"a=日本"}},
		"_charset_":                 {formType, "_charset_=iso-8859-1&a=%E9", []string{"_charset_=iso-8859-1", "a=é"}},
		"an unknown field charset":  {formType, "charset=small&a=%C3%A9", []string{"charset=small", "a=é"}},
		"multipart":                 {multi, part(`Content-Disposition: form-data; name="a"`, "1") + "--b--\r\n", []string{"a=1"}},
		"a mark before it":          {multi, "\ufeff" + part(`Content-Disposition: form-data; name="a"`, "\ufeff{}") + "--b--\r\n", []string{"a={}"}},
		"lines that end in LF":      {multi, "--b\nContent-Disposition: form-data; name=a\n\n1\n--b--\n", []string{"a=1"}},
		"a quoted boundary":         {`multipart/form-data; boundary="b:1"`, "--b:1\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b:1--\r\n", []string{"a=1"}},
		"a boundary without quotes": {`multipart/form-data; boundary=----=_b/1`, "------=_b/1\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n------=_b/1--\r\n", []string{"a=1"}},
		"no boundary":               {`multipart/form-data`, "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n", []string{"a=1"}},
		"another boundary":          {`multipart/form-data; boundary=y`, "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n", []string{"a=1"}},
		"a name without quotes":     {multi, part(`Content-Disposition: form-data; name=a[]; filename=b[1].txt`, "1") + "--b--\r\n", []string{"(b[1].txt)a[]=1"}},
		"a name that is not ASCII":  {multi, part(`Content-Disposition: form-data; name="é"`, "1") + "--b--\r\n", []string{"é=1"}},
		"twice":                     {multi, part(`Content-Disposition: form-data; name=a`, "1") + part(`Content-Disposition: form-data; name=a`, "2") + "--b--\r\n", []string{"a=1", "a=2"}},
		"base64":                    {multi, part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: BASE64", "eyJh\r\nIjoxfQ") + "--b--\r\n", []string{`a={"a":1}`}},
		"quoted-printable":          {multi, part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable", "caf=C3=A9=\r\n!") + "--b--\r\n", []string{`a=café!`}},
		"a part's charset":          {multi, part("Content-Disposition: form-data; name=a\r\nContent-Type: text/plain; charset=windows-1252", "\x80") + "--b--\r\n", []string{`a=€`}},
		"a part in UTF-16":          {multi, part("Content-Disposition: form-data; name=a", "\xff\xfe\xe9\x00") + "--b--\r\n", []string{`a=é`}},
		"nested": {multi, part("Content-Disposition: form-data; name=files\r\nContent-Type: multipart/mixed; boundary=c",
			"--c\r\nContent-Disposition: file; filename=x.txt\r\n\r\n1\r\n--c\r\nContent-Disposition: file; filename=y.txt\r\n\r\n2\r\n--c--\r\n") + "--b--\r\n",
			[]string{"(x.txt)files=1", "(y.txt)files=2"}},
	} {
		fields, err := Form(c.kind, []byte(c.body))
		var got []string
		for _, f := range fields {
			text := f.Name + "=" + f.Text()
			if f.File {
				text = "(" + f.FileName + ")" + text
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if _, err := Form("application/json", nil); !errors.Is(err, ErrNoForm) {
		t.Errorf("JSON is a form: %v", err)
	}
	if _, err := Form(multi, []byte("nothing")); err == nil {
		t.Error("a form without parts is read")
	}
}

func gz(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodingsLeavesOutNoOps(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "", "identity": "", "NONE": "", "UTF-8": "", "utf8": "", "iso-8859-1": "", "binary": "", "aws-chunked": "", "base64": "",
		"gzip": "gzip", "X-GZip": "gzip", "aws-chunked, gzip": "gzip", "gzip,identity": "gzip", "deflate, gzip": "deflate gzip", "br": "br", " zstd ": "zstd",
	} {
		if got := strings.Join(Encodings([]string{value}), " "); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	const text = `{"a":"é"}`
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := io.WriteString(w, text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	headless := z.Bytes()[2 : z.Len()-4]
	for name, c := range map[string]struct {
		encodings []string
		body      []byte
	}{
		"gzip":                 {[]string{"gzip"}, gz(t, text)},
		"deflate":              {[]string{"deflate"}, z.Bytes()},
		"deflate without zlib": {[]string{"deflate"}, headless},
		"several":              {[]string{"deflate", "gzip"}, gz(t, z.String())},
		"members":              {[]string{"gzip"}, append(gz(t, text[:3]), gz(t, text[3:])...)},
		"unpacked on its way":  {[]string{"gzip"}, []byte(text)},
		"an encoding that is not read, unpacked on its way": {[]string{"br"}, []byte(text)},
	} {
		if got, err := Unpack(c.encodings, c.body, 100); string(got) != text || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	packed := gz(t, strings.Repeat("a", 101))
	if _, err := Unpack([]string{"gzip"}, packed, 100); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := Unpack([]string{"gzip"}, packed[:len(packed)-9], 200); err == nil {
		t.Error("a truncated body was unpacked")
	}
	if _, err := Unpack([]string{"zstd"}, []byte("\x28\xb5\x2f\xfd"), 100); !errors.Is(err, ErrEncoding) {
		t.Errorf("zstd: %v", err)
	}
	if _, err := Unpack([]string{"gzip", "gzip", "gzip", "gzip"}, packed, 100); err == nil {
		t.Errorf("four layers: %v", err)
	}
	if n := MaxUnpacked(len(packed), 1<<20); n < 101 || n > 1<<20 {
		t.Errorf("at most %d bytes", n)
	}
}

// Nothing that came in makes the readers fail, or grow beyond what they were given.
func FuzzPayload(f *testing.F) {
	form := "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b.json\"\r\nContent-Type: application/json; charset=utf-16\r\n\r\n{}\r\n--b--\r\n"
	f.Add("application/json; charset=utf-16", "gzip", []byte("\xff\xfe{\x00}\x00"))
	f.Add("multipart/form-data; boundary=b", "identity", []byte(form))
	for _, text := range fuzzseed.Vary("multipart/form-data; boundary=\"b\"; charset=gb18030", "application/x-www-form-urlencoded; charset=iso-2022-jp") {
		f.Add(text, "deflate, x-gzip", []byte("a=%1B%24B&b=%&_charset_=big5"))
	}
	for _, text := range fuzzseed.Vary(form, "a=%E9&b=%&charset=koi8-r", string(gz(f, form))) {
		f.Add("multipart/form-data; boundary=b", "gzip", []byte(text))
	}
	f.Fuzz(func(t *testing.T, kind, encoding string, body []byte) {
		if text := Text(kind, body); len(text) > 4*len(body) {
			t.Errorf("%d bytes became %d", len(body), len(text))
		}
		if fields, err := Form(kind, body); err == nil {
			for i := range fields {
				_ = fields[i].Text()
			}
		}
		if data, err := Unpack(Encodings([]string{encoding}), body, 1000); err == nil && len(data) > max(1000, len(body)) {
			t.Errorf("%d bytes, at most 1000", len(data))
		}
	})
}
