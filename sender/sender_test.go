package sender

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/verify"
)

// The events of Increase all have the type "event"; their category names the change.
func TestIncreaseCategory(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef"
	r := standardRequest(t, key)
	r.Body = []byte(`{"id":"event_1","category":"transaction.created","type":"event"}`)
	ts := r.Header.Get("Webhook-Timestamp")
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte("msg_1." + ts + "." + string(r.Body)))
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	out, err := preset(t, "increase", verify.Options{Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(key))}}).Verify(t.Context(), r)
	if err != nil || out.Type != "transaction.created" {
		t.Errorf("%q, %v", out.Type, err)
	}
}

// A sender that repeats signed content under another id gets no other event: for each preset whose
// signature does not cover the id, the signed content identifies it.
func TestSignedIdentifiesEvents(t *testing.T) {
	t.Parallel()
	need := map[string]bool{}
	for _, name := range Presets() {
		s, _ := Preset(name)
		v, err := New(s, options(t, s.Scheme))
		if err != nil {
			t.Fatal(err)
		}
		need[name] = reportsSigned(v)
		if !s.CanSign() || !reportsSigned(v) {
			continue
		}
		body, header, err := s.Sample("id-1", "made", map[string]any{"a": "b"})
		if err != nil {
			t.Fatal(err)
		}
		r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Header: header, Body: body, ReceivedAt: noon}
		if err := v.Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		first, err := v.Verify(t.Context(), r)
		if err != nil || first.Signed == "" {
			t.Errorf("%s: signed %q, %v", name, first.Signed, err)
			continue
		}
		if s.ID != nil && s.ID.In == "header" {
			r.Header.Set(s.ID.Name, "another")
		}
		again, err := v.Verify(t.Context(), r)
		if err != nil || again.Signed != first.Signed || s.ID != nil && s.ID.In == "header" && again.ID == first.ID {
			t.Errorf("%s: under another id signed %q (id %q), first %q (id %q), %v", name, again.Signed, again.ID, first.Signed, first.ID, err)
		}
	}
	for name, want := range map[string]bool{
		"github": true, "razorpay": true, "shopify": true, "bitbucket": true, "zendesk": true, "braintree": true, "paypal": true, "twilio": true, "plivo": true,
		"box": true, "coinbase-cdp": true, "qstash": true, "stripe": false, "standard-webhooks": false, "svix": false, "fal": false, "replicate": false, "twitch": false,
		"slack": false, "aws-sns": false, "mailgun": false, "dropbox": false, "hubspot": false, "mandrill": false, "chargebee": false, "meta": false, "adobe": false,
	} {
		if need[name] != want {
			t.Errorf("%s: a repetition may pass for another event: %v, want %v", name, need[name], want)
		}
	}
}

// Ids that differ in what no text can say are two ids; signed content is read as senders do.
func TestIDsAreExact(t *testing.T) {
	t.Parallel()
	s := hmacScheme("{body}", "")
	s.ID = &verify.Location{In: "json", Pointer: "/id", And: &verify.Location{In: "json", Pointer: "/n"}}
	s.Distinct = []verify.Location{{In: "json", Pointer: "/x"}, {In: "json", Pointer: "/y"}}
	v, err := New(s, verify.Options{Secrets: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, body := range []string{
		`{"id":"b\ud83d"}`, `{"id":"b\ud83e"}`, `{"id":"b\ufffd"}`, `{"id":"b\udc00"}`, `{"id":"b\ud83d\ude00"}`, "{\"id\":\"b\xff\"}", "{\"id\":\"b\xfe\"}",
		`{"id":"b\u0000"}`, `{"id":"b"}`, `{"id":"a.b","n":"c"}`, `{"id":"a","n":"b.c"}`, `{"id":"a","n":"b"}`,
		`{"id":"a","x":"1\n2","y":"3"}`, `{"id":"a","x":"1","y":"2\n3"}`, `{"id":"a","x":"1","y":"2"}`,
	} {
		r := &gaff.Request{Body: []byte(body), Header: http.Header{"X-Sig": {verify.GenerateWebhookSignature([]byte(body), "s")}}}
		out, err := v.Verify(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		key := out.ID + "|" + out.Status
		if other, known := seen[key]; known {
			t.Errorf("%s and %s are one id, %q", body, other, key)
		}
		seen[key] = body
	}
	for _, c := range []struct {
		a, b []string
	}{{[]string{"a.b", "c"}, []string{"a", "b.c"}}, {[]string{"a", "", "b"}, []string{"a", "b", ""}}, {[]string{"a.b"}, []string{"a", "b"}}} {
		if verify.JoinID(c.a) == verify.JoinID(c.b) {
			t.Errorf("%q and %q are one id, %q", c.a, c.b, verify.JoinID(c.a))
		}
	}
	if got := verify.JoinID([]string{"a", "b", ""}); got != "a.b" {
		t.Errorf("an id without anything ambiguous is %q", got)
	}
}

func TestLark(t *testing.T) {
	t.Parallel()
	v := preset(t, "lark", verify.Options{Secrets: []string{"old", "encrypt-key"}})
	seal := func(key, text string) string {
		sum := sha256.Sum256([]byte(key))
		block, err := aes.NewCipher(sum[:])
		if err != nil {
			t.Fatal(err)
		}
		pad := aes.BlockSize - len(text)%aes.BlockSize
		plain := append([]byte(text), strings.Repeat(string(rune(pad)), pad)...)
		out := make([]byte, aes.BlockSize+len(plain))
		copy(out, "0123456789abcdef")
		cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], plain)
		return `{"encrypt":"` + base64.StdEncoding.EncodeToString(out) + `"}`
	}
	request := func(body string) *gaff.Request {
		ts := strconv.FormatInt(noon.Unix(), 10)
		sum := sha256.Sum256([]byte(ts + "nonce" + "encrypt-key" + body))
		return &gaff.Request{Method: "POST", Body: []byte(body), ReceivedAt: noon, Header: http.Header{
			"X-Lark-Signature": {hex.EncodeToString(sum[:])}, "X-Lark-Request-Timestamp": {ts}, "X-Lark-Request-Nonce": {"nonce"},
		}}
	}
	event := `{"header":{"event_id":"e1","event_type":"im.message"},"event":{}}`
	out, err := v.Verify(t.Context(), request(seal("encrypt-key", event)))
	if err != nil || out.Content != event || out.ID != "e1" || out.Type != "im.message" {
		t.Errorf("sealed: %+v, %v", out, err)
	}
	out, err = v.Verify(t.Context(), request(event))
	if err != nil || out.Content != "" || out.ID != "e1" {
		t.Errorf("open: %+v, %v", out, err)
	}
	for name, body := range map[string]string{
		"under another key": seal("another", event), "no base64": `{"encrypt":"!"}`, "half a block": `{"encrypt":"AAAA"}`, "a number": `{"encrypt":1}`,
		"no JSON inside": seal("encrypt-key", "text"),
	} {
		if out, err := v.Verify(t.Context(), request(body)); err != nil || out.Content != "" {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	r := request(event)
	r.Body = []byte(event + " ")
	if _, err := v.Verify(t.Context(), r); err == nil {
		t.Error("changed: accepted")
	}
}

// Senders that moved to the newer names of the headers may send either, and the other
// under both is judged by its own.
func TestSvixFamilies(t *testing.T) {
	t.Parallel()
	v := preset(t, "svix", verify.Options{Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte("key"))}})
	r := &gaff.Request{Method: "POST", Body: []byte(`{"type":"t"}`), ReceivedAt: noon, Header: http.Header{}}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	renamed := http.Header{}
	for name, values := range r.Header {
		renamed[strings.Replace(name, "Svix-", "Webhook-", 1)] = values
	}
	id := r.Header.Get("Svix-Id")
	r.Header = renamed
	out, err := v.Verify(t.Context(), r)
	if err != nil || out.ID != id || out.Type != "t" {
		t.Errorf("newer names: %+v, %v", out, err)
	}
	r.Header = renamed.Clone()
	r.Header.Set("Svix-Signature", "v1,AAAA")
	r.Header.Set("Svix-Id", id)
	r.Header.Set("Svix-Timestamp", renamed.Get("Webhook-Timestamp"))
	if _, err := v.Verify(t.Context(), r); err == nil {
		t.Error("a wrong svix-signature beside a good webhook-signature: accepted")
	}
}

// reportsSigned reports whether what v's signature covers does not identify an event.
func reportsSigned(v *Verifier) bool {
	c, signs := v.Covers()
	d := v.Description()
	return signs && !d.identifies(c)
}

func TestDescriptionCheckPaths(t *testing.T) {
	t.Parallel()
	d := Description{
		Scheme: verify.Scheme{
			Kind: "token", Token: &verify.Token{Location: verify.Location{In: "header"}}, ID: &verify.Location{In: "nowhere"}, Content: "xml",
		},
		EventType: &verify.Location{In: "json", Pointer: "x: y"},
		Challenge: Challenges{{Method: "PUT"}},
		Ack:       &Ack{Status: 500},
	}
	var paths []string
	for _, f := range d.Check(verify.Options{Secrets: []string{" s"}, Settings: map[string]string{"jwks_url": "https://keys.test"}}) {
		paths = append(paths, f.Path)
	}
	want := []string{"token.name", "secrets[0]", "settings.jwks_url", "id.in", "event_type.pointer", "challenge.method", "content", "ack.status"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
