package gaff_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff"
)

// signed checks X-Sig, hex HMAC-SHA256 of the body, and reads the id from the text.
type signed struct{}

func mac(body string) string {
	m := hmac.New(sha256.New, []byte("s1"))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func (signed) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	if r.Header.Get("X-Sig") != mac(string(r.Body)) {
		return gaff.Verification{}, errors.New("X-Sig: does not match")
	}
	var body struct{ ID string }
	_ = json.Unmarshal(r.Text(), &body)
	return gaff.Verification{Scheme: "test", Subject: body.ID}, nil
}

func postSigned(t *testing.T, b *bench, source, body, over string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+source, strings.NewReader(body))
	req.Header.Set("X-Sig", mac(over))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	return rec
}

// What is verified and stored are the bytes as received; what is read is their text.
func TestBodiesAreReadAsTextAndStoredAsReceived(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "signed", Verifier: signed{}, Parser: plain{}, AcceptGzip: true})
	})
	text := func(id string) string { return `{"id":"` + id + `","type":"é"}` }
	utf16 := func(id string) string {
		b := []byte("\xff\xfe")
		for _, r := range text(id) {
			b = append(b, byte(r), byte(r>>8))
		}
		return string(b)
	}
	for name, c := range map[string]struct{ body, over, want, kind, encoding string }{
		"mark":                        {"\ufeff" + text("b1"), "\ufeff" + text("b1"), text("b1"), "application/json", ""},
		"charset":                     {"{\"id\":\"b2\",\"type\":\"\xe9\"}", "{\"id\":\"b2\",\"type\":\"\xe9\"}", text("b2"), "application/json; charset=iso-8859-1", ""},
		"signed, then compressed":     {zipped(t, text("b3")), text("b3"), text("b3"), "", "gzip"},
		"compressed, then signed":     {zipped(t, text("b4")), zipped(t, text("b4")), text("b4"), "", "x-gzip"},
		"unpacked on its way":         {text("b5"), text("b5"), text("b5"), "", "gzip"},
		"UTF-16, unpacked on its way": {utf16("b7"), utf16("b7"), text("b7"), "", "gzip"},
		"a mark, compressed":          {zipped(t, "\ufeff"+text("b6")), "\ufeff" + text("b6"), text("b6"), "", "gzip"},
	} {
		rec := postSigned(t, b, "signed", c.body, c.over, "Content-Type", c.kind, "Content-Encoding", c.encoding)
		var answer struct{ ID string }
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
			t.Errorf("%s: answered %d %s", name, rec.Code, rec.Body)
			continue
		}
		d := b.detail(t, answer.ID)
		if string(d.Data) != c.want {
			t.Errorf("%s: data %q, want %q", name, d.Data, c.want)
		}
		if !bytes.Equal(d.Request.Body, []byte(c.body)) {
			t.Errorf("%s: stored %q, want %q", name, d.Request.Body, c.body)
		}
		if d.Verification.Subject != d.WebhookID {
			t.Errorf("%s: the verifier read %q, want %q", name, d.Verification.Subject, d.WebhookID)
		}
	}
}

func TestUnpackedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{InFlightBytes: 64 << 10}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "small", Verifier: signed{}, Parser: plain{}, AcceptGzip: true, MaxBodyBytes: 2000})
		b.AddSource(gaff.Source{Name: "large", Verifier: signed{}, Parser: plain{}, AcceptGzip: true, MaxBodyBytes: 1 << 20})
	})
	bomb := zipped(t, strings.Repeat(" ", 100_000))
	if rec := postSigned(t, b, "small", bomb, bomb, "Content-Encoding", "gzip"); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("an authentic bomb is answered %d", rec.Code)
	}
	if rec := postSigned(t, b, "small", bomb, "another", "Content-Encoding", "gzip"); rec.Code != http.StatusUnauthorized {
		t.Errorf("a bomb that is not authentic is answered %d", rec.Code)
	}
	if rec := postSigned(t, b, "large", bomb, bomb, "Content-Encoding", "gzip"); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("what would not fit into limits.in_flight is answered %d", rec.Code)
	}
}

// A body that was refused because its source took no compressed ones is read once it does.
func TestRescueUnpacksBodies(t *testing.T) {
	t.Parallel()
	src := gaff.Source{Name: "signed", Verifier: signed{}, Parser: plain{}}
	b := newBench(t, gaff.Options{}, func(b *bench) { b.AddSource(src) })
	text := `{"id":"r1","type":"t"}`
	if rec := postSigned(t, b, "signed", zipped(t, text), zipped(t, text), "Content-Encoding", "gzip"); rec.Code != http.StatusBadRequest {
		t.Fatalf("answered %d", rec.Code)
	}
	rejected := b.rejections(t, gaff.RejectionFilter{}, 1)
	if len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "accept_gzip") {
		t.Fatalf("%+v", rejected)
	}
	src.AcceptGzip = true
	if err := b.UpdateSource(src); err != nil {
		t.Fatal(err)
	}
	out, err := b.Rescue(context.Background(), rejected[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := b.detail(t, out.EventID); string(d.Data) != text {
		t.Errorf("data %q, want %q", d.Data, text)
	}
}
