package sender_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/sender"
	"gaff/verify"
)

// Fields of a form are read from either kind of form, and JSON past a byte order mark; the
// signature covers the bytes as received.
func TestPlacesInBodiesOfEveryKind(t *testing.T) {
	t.Parallel()
	form := verify.Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: "{ts}{id}", Encoding: "hex",
		Signature: verify.Signatures{{Location: verify.Location{In: "form", Name: "signature"}}},
		Timestamp: &verify.Timestamp{Location: verify.Location{In: "form", Name: "timestamp"}, Unit: "s"},
		ID:        &verify.Location{In: "form", Name: "token"},
	}
	json := verify.Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: "{json:/n}.{body}", Encoding: "hex",
		Signature: verify.Signatures{{Location: verify.Location{In: "header", Name: "X-Sig"}}},
		ID:        &verify.Location{In: "json", Pointer: "/id"},
	}
	field := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	sig := verify.GenerateWebhookSignature([]byte("1767225600tok"), "s1")
	for name, c := range map[string]struct {
		scheme           verify.Scheme
		kind, body, over string
		want             string // the id; empty: refused
	}{
		"urlencoded":           {form, "application/x-www-form-urlencoded", "timestamp=1767225600&token=tok&signature=" + sig, "", "tok"},
		"a mark before a form": {form, "application/x-www-form-urlencoded", "\ufefftimestamp=1767225600&token=tok&signature=" + sig, "", "tok"},
		"a bad escape beside":  {form, "application/x-www-form-urlencoded", "timestamp=1767225600&token=tok&subject=100%&signature=" + sig, "", "tok"},
		"multipart":            {form, "multipart/form-data; boundary=b", field("timestamp", "1767225600") + field("token", "tok") + field("signature", sig) + "--b--\r\n", "", "tok"},
		"multipart, twice":     {form, "multipart/form-data; boundary=b", field("timestamp", "1767225600") + field("token", "tok") + field("token", "x") + field("signature", sig) + "--b--\r\n", "", ""},
		"a signature as file":  {form, "multipart/form-data; boundary=b", field("timestamp", "1767225600") + field("token", "tok") + strings.Replace(field("signature", sig), `name="signature"`, `name="signature"; filename="x"`, 1) + "--b--\r\n", "", ""},
		"JSON":                 {json, "application/json", `{"n":1,"id":"a"}`, `1.{"n":1,"id":"a"}`, "a"},
		"a mark before JSON":   {json, "application/json", "\ufeff" + `{"n":1,"id":"a"}`, "1.\ufeff" + `{"n":1,"id":"a"}`, "a"},
		"the mark left out":    {json, "application/json", "\ufeff" + `{"n":1,"id":"a"}`, `1.{"n":1,"id":"a"}`, ""},
		"another charset":      {json, "application/json; charset=iso-8859-1", "{\"n\":1,\"id\":\"\xe9\"}", "1.{\"n\":1,\"id\":\"\xe9\"}", "é"},
	} {
		v, err := sender.New(sender.Description{Scheme: c.scheme}, verify.Options{Secrets: []string{"s1"}})
		if err != nil {
			t.Fatal(err)
		}
		r := &gaff.Request{
			Method: http.MethodPost, URL: "https://h.example.com/", Body: []byte(c.body), ReceivedAt: time.Unix(1767225600, 0),
			Header: http.Header{"Content-Type": {c.kind}, "X-Sig": {verify.GenerateWebhookSignature([]byte(c.over), "s1")}},
		}
		got, err := v.Verify(context.Background(), r)
		if (err == nil) != (c.want != "") || err == nil && got.ID != c.want {
			t.Errorf("%s: id %q, %v; want %q", name, got.ID, err, c.want)
		}
	}
}
