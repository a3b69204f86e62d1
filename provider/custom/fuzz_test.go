package custom_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"gaff"
	"gaff/provider/custom"
	"gaff/sender"
	"gaff/verify"
)

// Any authentic body is read as valid JSON or rejected.
func FuzzBodies(f *testing.F) {
	f.Add("form:payload", "application/x-www-form-urlencoded", []byte("payload=%7B%7D"))
	f.Add("form", "multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n"))
	f.Add("form", "multipart/form-data", []byte("--x\r\nContent-Disposition: form-data; name=a[]; filename=b.json\r\nContent-Transfer-Encoding: base64\r\n\r\ne30=\r\n--x--\r\n"))
	f.Add("form", "application/x-www-form-urlencoded; charset=Shift_JIS", []byte("_charset_=x&a=%83e%"))
	f.Add("any", "text/plain", []byte("\xff"))
	f.Add("", "application/json", []byte(`{"events":[{"id":1},{"id":[]},3]}`))
	parsers := map[string]gaff.Parser{}
	for _, content := range []string{"", "form", "form:payload", "any"} {
		for _, items := range []string{"-", "", "/events", "/events/*/list"} {
			scheme := sender.Description{Scheme: verify.Scheme{Content: content}}
			if items != "-" {
				scheme.Batch = &sender.Batch{Items: sender.Pointers{items}, ID: sender.Pointers{"/id", "/n"}, Type: sender.Pointers{"/t"}}
			}
			src, err := custom.Source(custom.Options{Name: "it", Scheme: scheme, Verifier: trusting{}, Jobs: &sender.Jobs{
				ID: sender.Pointers{"/id"}, Status: sender.Pointers{"/s"}, Words: map[string]string{"a": "completed"},
			}})
			if err != nil {
				f.Fatal(err)
			}
			parsers[content+items] = src.Parser
		}
	}
	f.Fuzz(func(t *testing.T, content, kind string, body []byte) {
		for _, items := range []string{"-", "", "/events", "/events/*/list"} {
			p := parsers[content+items]
			if p == nil {
				return
			}
			env, err := p.Parse(&gaff.Request{Header: http.Header{"Content-Type": {kind}}, Body: body}, gaff.Verification{})
			if err != nil {
				continue
			}
			data := env.Data
			if data == nil {
				data = body
			}
			if !env.Split && !json.Valid(data) {
				t.Errorf("read as %q", data)
			}
			for _, item := range env.Batch {
				if !json.Valid(item.Data) {
					t.Errorf("an item is %q", item.Data)
				}
			}
		}
	})
}
