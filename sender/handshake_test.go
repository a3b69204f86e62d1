package sender

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gaff"
	"gaff/verify"
)

// Intercom and Daily test an address before they send to it, without a signature.
func TestAddressTests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		preset, method, body string
		ok                   bool
	}{
		{"intercom", "HEAD", "", true},
		{"intercom", "POST", `{"topic":"ping"}`, false},
		{"daily", "POST", `{"test":"test"}`, true},
		{"daily", "POST", `{"test":"x","type":"meeting.started"}`, false},
	} {
		h, err := NewHandshaker(mustPreset(t, c.preset), HandshakeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rep, ok := h.Handshake(t.Context(), &gaff.Request{Method: c.method, Body: []byte(c.body)}, gaff.Verification{}, nil)
		if ok != c.ok || ok && rep.Status != 200 {
			t.Errorf("%s %s %s: %t %d", c.preset, c.method, c.body, ok, rep.Status)
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
		if got, _ := h.Handshake(t.Context(), r, gaff.Verification{}, verify.ErrMissing); got.Status != want {
			t.Errorf("x-twitter: challenge %s is answered %d, want %d", token, got.Status, want)
		}
	}
	o := verify.Options{Secrets: []string{"priv"}, Settings: map[string]string{"public_key": "pub"}}
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
	if _, err := v.Verify(t.Context(), formRequest(url.Values{"bt_payload": {challenge}, "bt_signature": {string(answer.Body)}})); !errors.Is(err, verify.ErrMalformed) {
		t.Errorf("the answer to a challenge of braintree's signs a webhook: %v", err)
	}
	x.Content = "form"
	if _, err := NewHandshaker(x, HandshakeOptions{Secrets: []string{"s"}}); err == nil {
		t.Error("a challenge that signs any text is allowed beside bodies of any form")
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

// For any request, a handshake is answered with a status that it describes or a refusal,
// never with what a browser could take for a page, and no HMAC is made of what could be a
// webhook's body.
func FuzzHandshake(f *testing.F) {
	f.Add("x-twitter", "GET", "crc_token=abc", "", "")
	f.Add("slack", "POST", "", `{"type":"url_verification","challenge":"c"}`, "")
	f.Add("zoom", "POST", "", `{"event":"endpoint.url_validation","payload":{"plainToken":"v0:1:{}"}}`, "")
	f.Add("asana", "POST", "", "", "a\r\nb")
	f.Add("meta", "GET", "hub.mode=subscribe&hub.challenge=%3Chtml%3E&hub.verify_token=W-1", "", "")
	hands := map[string]*Handshaker{}
	for _, name := range Presets() {
		s, _ := Preset(name)
		o := options(f, s.Scheme)
		o.Settings["verify_token"] = "W-1"
		h, err := NewHandshaker(s, HandshakeOptions{Secrets: o.Secrets, Settings: o.Settings})
		if err != nil {
			f.Fatal(err)
		}
		if h != nil {
			hands[name] = h
		}
	}
	f.Fuzz(func(t *testing.T, name, method, query, body, header string) {
		h := hands[name]
		if h == nil {
			return
		}
		r := &gaff.Request{Method: method, URL: "https://a.test/hook?" + query, Body: []byte(body), Header: http.Header{
			"X-Hook-Secret": {header}, "X-Okta-Verification-Challenge": {header}, "Webhook-Request-Origin": {header},
			"Twitch-Eventsub-Message-Type": {header},
		}}
		for _, refusal := range []error{nil, verify.ErrMismatch} {
			rep, ok := h.Handshake(t.Context(), r, gaff.Verification{}, refusal)
			if !ok {
				continue
			}
			if rep.Status < 200 || rep.Status > 599 || strings.Contains(rep.ContentType, "html") {
				t.Errorf("answered %+v", rep)
			}
			for name, values := range rep.Header {
				if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("header %q: %q", name, values)
				}
			}
			if rep.ContentType == "application/json" && verify.ValidJSON(rep.Body) != nil {
				t.Errorf("no JSON: %q", rep.Body)
			}
		}
	})
}

// A host that confirms a subscription is one of Amazon's regions: other names under
// amazonaws.com are customers' buckets and services.
func TestHostPatternOfRegions(t *testing.T) {
	t.Parallel()
	subscribe := hostPattern("sns.{aws_region}.amazonaws.com")
	for host, want := range map[string]bool{
		"sns.us-east-1.amazonaws.com": true, "sns.us-gov-west-1.amazonaws.com": true, "sns.s3.amazonaws.com": false,
		"sns.s3-us-west-2.amazonaws.com": false, "sns.lambda-url.us-east-1.amazonaws.com": false, "sns..amazonaws.com": false,
		"sns.us-east-1.amazonaws.com.evil.test": false, "xsns.us-east-1.amazonaws.com": false, "sns.us-east-1.s3.amazonaws.com": false,
	} {
		if got := subscribe.MatchString(host); got != want {
			t.Errorf("subscription confirmed at %s: %v, want %v", host, got, want)
		}
	}
}
