package verify

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"gaff"
)

func formRequest(form url.Values, header ...string) *gaff.Request {
	r := &gaff.Request{
		Method: "POST", URL: "https://a.test/hook", Body: []byte(form.Encode()), ReceivedAt: noon,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func signSHA1(t *testing.T, text string) string {
	t.Helper()
	sum := sha1.Sum([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, testRSA, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

func TestTravis(t *testing.T) {
	t.Parallel()
	v := preset(t, "travis", Options{Secrets: []string{rsaKey(t).pem}})
	payload := `{"id":1,"type":"push","text":"é +"}`
	good := signSHA1(t, payload)
	for name, c := range map[string]struct {
		form url.Values
		sig  string
		ok   bool
	}{
		"right":         {url.Values{"payload": {payload}}, good, true},
		"other fields":  {url.Values{"payload": {payload}, "x": {"y"}}, good, true},
		"changed":       {url.Values{"payload": {payload + " "}}, good, false},
		"two payloads":  {url.Values{"payload": {payload, "{}"}}, good, false},
		"none":          {url.Values{}, good, false},
		"not base64":    {url.Values{"payload": {payload}}, "!", false},
		"no signature":  {url.Values{"payload": {payload}}, "", false},
		"of other text": {url.Values{"payload": {payload}}, signSHA1(t, "{}"), false},
	} {
		out, err := v.Verify(t.Context(), formRequest(c.form, "Signature", c.sig))
		if (err == nil) != c.ok || err == nil && out.KeyID == "" {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	r := formRequest(url.Values{"payload": {payload}}, "Signature", good)
	r.Header.Set("Content-Type", "application/json")
	if _, err := v.Verify(t.Context(), r); err == nil {
		t.Error("a body that is no form by its type")
	}
}

func TestPaddleClassic(t *testing.T) {
	t.Parallel()
	v := preset(t, "paddle-classic", Options{Secrets: []string{rsaKey(t).pem}})
	// As PHP serialises a sorted array of texts; lengths are in bytes.
	serialised := `a:3:{s:10:"alert_name";s:4:"paid";s:4:"name";s:3:"Zoë";s:4:"size";s:0:"";}`
	serialised = strings.Replace(serialised, `s:3:"Zoë"`, `s:4:"Zoë"`, 1)
	form := func() url.Values {
		return url.Values{"size": {""}, "name": {"Zoë"}, "alert_name": {"paid"}, "p_signature": {signSHA1(t, serialised)}}
	}
	if _, err := v.Verify(t.Context(), formRequest(form())); err != nil {
		t.Errorf("right: %v", err)
	}
	for name, change := range map[string]func(url.Values){
		"changed":          func(f url.Values) { f.Set("name", "Zoe") },
		"a field more":     func(f url.Values) { f.Set("x", "y") },
		"a field less":     func(f url.Values) { f.Del("size") },
		"a field twice":    func(f url.Values) { f.Add("name", "b") },
		"no signature":     func(f url.Values) { f.Del("p_signature") },
		"two signatures":   func(f url.Values) { f.Add("p_signature", "AAAA") },
		"a border crossed": func(f url.Values) { f.Set("name", `Zoë";s:1:"x`) },
	} {
		f := form()
		change(f)
		if _, err := v.Verify(t.Context(), formRequest(f)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBraintreeSignatures(t *testing.T) {
	t.Parallel()
	v := preset(t, "braintree", Options{Secrets: []string{"priv"}, Settings: map[string]string{"public_key": "pub"}})
	r := &gaff.Request{Header: http.Header{}, Body: []byte("<notification><kind>check</kind></notification>")}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	signed, err := url.ParseQuery(string(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	good := signed.Get("bt_signature")
	for name, c := range map[string]struct {
		sig string
		ok  bool
	}{
		"right":                  {good, true},
		"among others":           {"other|00&" + good + "&x", true},
		"under another key":      {strings.Replace(good, "pub|", "bup|", 1), false},
		"the value alone":        {strings.TrimPrefix(good, "pub|"), false},
		"empty":                  {"", false},
		"wrong, beside the good": {"pub|00&" + good, true},
	} {
		out, err := v.Verify(t.Context(), formRequest(url.Values{"bt_payload": signed["bt_payload"], "bt_signature": {c.sig}}))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (out.Type != "check" || !strings.Contains(out.Content, "check")) {
			t.Errorf("%s: read as %+v", name, out)
		}
	}
}

// The answers to challenges are signatures that anyone can have made: none of them may be
// one of a webhook.
func TestChallengeAnswerSignsNoWebhook(t *testing.T) {
	t.Parallel()
	x, _ := Preset("x-twitter")
	h, err := NewHandshaker(x, HandshakeOptions{Secrets: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{
		"12345": 400, "null": 400, "true": 400, "-1": 400, "1e5": 400, "9b4507b3-9040-4669-9ca3-6b94edb50553": 200, "ZmY=": 200, "0123": 200,
	} {
		r := &gaff.Request{Method: "GET", URL: "https://a.test/x?crc_token=" + url.QueryEscape(token), Header: http.Header{}, ReceivedAt: noon}
		if got, _ := h.Handshake(t.Context(), r, gaff.Verification{}, ErrMissing); got.Status != want {
			t.Errorf("x-twitter: challenge %s is answered %d, want %d", token, got.Status, want)
		}
	}
	o := Options{Secrets: []string{"priv"}, Settings: map[string]string{"public_key": "pub"}}
	v := preset(t, "braintree", o)
	bt, _ := Preset("braintree")
	if h, err = NewHandshaker(bt, HandshakeOptions{Secrets: o.Secrets, Settings: o.Settings}); err != nil {
		t.Fatal(err)
	}
	const challenge = "abcdef0123456789abcdef01"
	answer, _ := h.Handshake(t.Context(), &gaff.Request{Method: "GET", URL: "https://a.test/bt?bt_challenge=" + challenge, Header: http.Header{}}, gaff.Verification{}, nil)
	if answer.Status != 200 {
		t.Fatalf("braintree's challenge is answered %d", answer.Status)
	}
	if _, err := v.Verify(t.Context(), formRequest(url.Values{"bt_payload": {challenge}, "bt_signature": {string(answer.Body)}})); !errors.Is(err, ErrMalformed) {
		t.Errorf("the answer to a challenge of braintree's signs a webhook: %v", err)
	}
	x.Content = "form"
	if _, err := NewHandshaker(x, HandshakeOptions{Secrets: []string{"s"}}); err == nil {
		t.Error("a challenge that signs any text is allowed beside bodies of any form")
	}
}

// Only regions of Amazon's have certificates of SNS: other names under amazonaws.com are
// customers' buckets and services.
func TestSNSHosts(t *testing.T) {
	t.Parallel()
	subscribe := hostPattern("sns.{aws_region}.amazonaws.com")
	for host, want := range map[string]bool{
		"sns.us-east-1.amazonaws.com": true, "sns.us-gov-west-1.amazonaws.com": true, "sns.ap-southeast-2.amazonaws.com": true,
		"sns.s3.amazonaws.com": false, "sns.s3-us-west-2.amazonaws.com": false, "sns.s3-website-eu-west-1.amazonaws.com": false,
		"sns.execute-api.amazonaws.com": false, "sns.lambda-url.us-east-1.amazonaws.com": false, "sns..amazonaws.com": false,
		"sns.us-east-1.amazonaws.com.evil.test": false, "xsns.us-east-1.amazonaws.com": false, "sns.us-east-1.s3.amazonaws.com": false,
		"sns.sns.amazonaws.com": false, "sns.elb-1.amazonaws.com": false,
	} {
		if got := snsCertURL.MatchString("https://" + host + "/SimpleNotificationService-1.pem"); got != want {
			t.Errorf("certificate from %s: %v, want %v", host, got, want)
		}
		if got := subscribe.MatchString(host); got != want {
			t.Errorf("subscription confirmed at %s: %v, want %v", host, got, want)
		}
	}
}

func TestLark(t *testing.T) {
	t.Parallel()
	v := preset(t, "lark", Options{Secrets: []string{"old", "encrypt-key"}})
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

// Senders that moved to the newer names of the headers may send either, and what came
// under both is judged by its own.
func TestSvixFamilies(t *testing.T) {
	t.Parallel()
	v := preset(t, "svix", Options{Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte("key"))}})
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

// A sample is read as what it was made for, for every preset that can sign.
func TestSamples(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		s, _ := Preset(name)
		if !s.CanSign() {
			continue
		}
		o := options(t, s)
		v, err := New(s, o)
		if err != nil {
			t.Fatal(err)
		}
		body, header, err := s.Sample("id-1", "made", map[string]any{"x/y": "z"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Header: header, Body: body, ReceivedAt: noon}
		if err := v.Sign(r, noon); err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
			continue
		}
		out, err := v.Verify(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, r.Body)
			continue
		}
		if s.Content == "" && s.EventType != nil && out.Type != "made" && name != "msgraph" {
			t.Errorf("%s: type %q", name, out.Type)
		}
	}
}

// A sender that signs fields of a form sends a form: a JSON document becomes one.
func TestJSONIsSignedAsTheForm(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gitea-form", "transloadit"} {
		s, _ := Preset(name)
		v := preset(t, name, Options{Secrets: []string{"a-secret-of-this-sender"}})
		sample, header, err := s.Sample("id-1", "made", nil)
		if err != nil || header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s: the sample is %s, %v", name, header.Get("Content-Type"), err)
		}
		for _, body := range []string{`{"assembly_id":"a","ok":"ASSEMBLY_COMPLETED"}`, string(sample)} {
			r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Body: []byte(body), ReceivedAt: noon}
			if err := v.Sign(r, noon); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			_, field, _ := strings.Cut(s.Content, ":")
			doc, err := formField(r, field)
			if err != nil || ValidJSON(doc) != nil {
				t.Errorf("%s: %s holds %q, %v", name, field, doc, err)
			}
			if _, err := v.Verify(t.Context(), r); err != nil {
				t.Errorf("%s: %v\n%s", name, err, r.Body)
			}
		}
	}
}

// Gitea sends indented JSON in its form, and signs the field's text.
func TestSignedFieldOfSeveralLines(t *testing.T) {
	t.Parallel()
	v := preset(t, "gitea-form", Options{Secrets: []string{"a-secret-of-this-sender"}})
	for _, doc := range []string{"{\n  \"ref\": \"main\"\n}", "{}\r\n"} {
		r := &gaff.Request{Body: []byte(url.Values{"payload": {doc}}.Encode()), ReceivedAt: noon, Header: http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "X-Gitea-Delivery": {"1"},
			"X-Gitea-Signature": {GenerateWebhookSignature([]byte(doc), "a-secret-of-this-sender")},
		}}
		if _, err := v.Verify(t.Context(), r); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

// A JSON part of a multipart form is a signed field even if it has a file's name.
func TestSignedPartWithAFileName(t *testing.T) {
	t.Parallel()
	v := preset(t, "transloadit", Options{Secrets: []string{"a-secret-of-this-sender"}})
	r := &gaff.Request{Method: "POST", URL: "https://a.test/hook", Body: []byte(`{"assembly_id":"a"}`), ReceivedAt: noon}
	if err := v.Sign(r, noon); err != nil {
		t.Fatal(err)
	}
	fields, _ := url.ParseQuery(string(r.Body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Body = []byte("--b\r\nContent-Disposition: form-data; name=\"transloadit\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n" +
		fields.Get("transloadit") + "\r\n--b\r\nContent-Disposition: form-data; name=\"signature\"\r\n\r\n" + fields.Get("signature") + "\r\n--b--\r\n")
	if _, err := v.Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}

// The hub names the method, out of those that the specification allows.
func TestWebSub(t *testing.T) {
	t.Parallel()
	v := preset(t, "websub", Options{Secrets: []string{"old", "hub secret"}})
	body := []byte("<feed/>")
	for _, tt := range []struct {
		method string
		hash   func() hash.Hash
		want   error
	}{
		{"sha1", sha1.New, nil}, {"sha256", sha256.New, nil}, {"sha384", sha512.New384, nil}, {"sha512", sha512.New, nil},
		{"md5", md5.New, ErrMalformed}, {"sha1", sha256.New, ErrMismatch}, {"SHA1", sha1.New, ErrMalformed}, {"", sha256.New, ErrMalformed},
	} {
		m := hmac.New(tt.hash, []byte("hub secret"))
		m.Write(body)
		r := &gaff.Request{Method: "POST", Body: body, ReceivedAt: noon, Header: http.Header{"X-Hub-Signature": {tt.method + "=" + hex.EncodeToString(m.Sum(nil))}}}
		if _, err := v.Verify(t.Context(), r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.method, err, tt.want)
		}
	}
	if _, err := v.Verify(t.Context(), &gaff.Request{Body: body, Header: http.Header{}}); !errors.Is(err, ErrMissing) {
		t.Errorf("unsigned: %v", err)
	}
}

// Discord's webhook events have the number that pings of interactions have.
func TestDiscordPings(t *testing.T) {
	t.Parallel()
	s, _ := Preset("discord")
	h, err := NewHandshaker(s, HandshakeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"type":1}`: 200, `{"type":1,"token":"t"}`: 200, `{"type":0,"version":1}`: 204,
		`{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}`: 0, `{"type":1,"event":null}`: 0, `{"type":2}`: 0,
	} {
		rep, ok := h.Handshake(t.Context(), &gaff.Request{Method: "POST", Body: []byte(body)}, gaff.Verification{}, nil)
		if ok != (want != 0) || rep.Status != want {
			t.Errorf("%s: %t %d, want %d", body, ok, rep.Status, want)
		}
	}
}

// catalogue names, for each sender whose way of signing is documented, the presets that
// stand for it.
const catalogue = `
standard-webhooks; svix; clerk resend brex liveblocks polar lithic increase dub supabase; openai; replicate; gitlab-signed; bigcommerce
fal; elevenlabs; heygen; assemblyai; deepgram; mux; cloudinary; cloudflare-stream cloudflare-notifications; livekit; sanity; lastframe
github; gitlab; bitbucket; gitea forgejo gogs; jira; linear; vercel vercel-drain; netlify; circleci; buildkite buildkite-token; travis
terraform; heroku; npm-hooks; docker-hub; sentry; pagerduty; launchdarkly; grafana; cursor; qstash; nango; hookdeck; plane; calcom
stripe; paypal; adyen adyen-platform; square; paddle paddle-classic; lemonsqueezy; coinbase-commerce; coinbase-cdp; chargebee; recurly
razorpay; paystack; flutterwave; checkout; braintree; mollie mollie-classic; gocardless; wise; revolut; plaid; cashfree; worldpay; zoho; qonto
shopify; woocommerce; easypost; commercelayer fourthwall oracle-cx
slack; discord; twilio; sendgrid; mailgun; mandrill mailchimp; postmark; meta; x-twitter; line; telegram; viber; lark; msteams; webex; zoom
intercom; zendesk; front front-app; helpscout; customerio; klaviyo; knock; courier; telnyx; plivo; vonage messagebird; sendbird segment podium
notion; asana; trello; monday; clickup; airtable; typeform; tally; calendly; hubspot hubspot-v1 hubspot-v2; figma; contentful; strapi; webflow
dropbox; dropbox-sign; box; docusign; persona; xero; quickbooks; close
workos; okta; fusionauth; logto; kinde; turnkey; fireblocks; gohighlevel gohighlevel-rsa
aws-sns; eventgrid; cloudevents; gcp-pubsub; google-push; msgraph; websub; twitch; strava; nylas; adobe
`

// Of the catalogue's senders, nothing is missing silently.
func TestCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	entries := strings.FieldsFunc(catalogue, func(r rune) bool { return r == ';' || r == '\n' })
	if len(entries) != 140 {
		t.Errorf("%d senders; the catalogue has 140 whose scheme is known", len(entries))
	}
	for _, entry := range entries {
		for _, name := range strings.Fields(entry) {
			if _, ok := Preset(name); !ok {
				t.Errorf("no preset %s", name)
			}
		}
	}
}
