package described

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"gaff"
	"gaff/sender"
	"gaff/verify"
)

// Signed is a webhook as the provider sends it, with its signature.
type Signed struct {
	// Secret verifies it: of the provider's documents, or of an endpoint that exists no more.
	Secret string `yaml:"secret"`
	// At is when it was sent, in Unix seconds; zero: the signature has no time.
	At int64 `yaml:"at"`
	// URL is the one that it was sent to, if the signature covers that.
	URL     string            `yaml:"url"`
	Headers map[string]string `yaml:"headers"`
	// Body is the exact body.
	Body string `yaml:"body"`
}

func (s *Signed) check() error {
	switch {
	case s.Secret == "":
		return errors.New("signed: secret is missing")
	case s.Body == "":
		return errors.New("signed: body is missing")
	}
	return nil
}

// request returns the webhook as it was received.
func (s *Signed) request() *gaff.Request {
	r := &gaff.Request{Method: http.MethodPost, URL: s.URL, Header: http.Header{}, Body: []byte(s.Body), ReceivedAt: time.Unix(s.At, 0)}
	if r.URL == "" {
		r.URL = playWebhook
	}
	for name, value := range s.Headers {
		r.Header.Set(name, value)
	}
	return r
}

// verification checks that the described verification accepts a signed webhook, and rejects the same
// one after a change. Without one in the examples it signs one itself, which cannot show that the
// provider signs in this way.
func (p *play) verification() {
	hook := p.d.Webhook
	if hook == nil || hook.Unsigned {
		if p.e.Signed != nil {
			p.find("signed webhook", errors.New("the examples have one; the description has no preset: or verify: for webhooks"))
		}
		return
	}
	scheme, ok := hook.scheme()
	if !ok {
		p.find("signed webhook", fmt.Errorf("no preset is named %q; gaff sources presets lists them", hook.Preset))
		return
	}
	var v *sender.Verifier
	var r *gaff.Request
	var err error
	step := "signed webhook"
	if p.e.Signed != nil {
		r = p.e.Signed.request()
		v, err = sender.New(scheme, verify.Options{Secrets: []string{p.e.Signed.Secret}})
	} else {
		step = "webhook signed by gaff itself (the examples have no signed:)"
		v, r, err = p.selfSigned(scheme)
		if v == nil && err == nil {
			return // only the provider can sign
		}
	}
	if err == nil {
		_, err = v.Verify(p.ctx, r)
	}
	if err != nil {
		p.find(step, fmt.Errorf("it is rejected: %w", err))
		return
	}
	p.find(step, nil)
	p.find(step+", changed", changed(p.ctx, v, r))
}

// scheme returns how webhooks are verified.
func (w *Webhook) scheme() (sender.Description, bool) {
	if w.Verify != nil {
		return *w.Verify, true
	}
	return sender.Preset(w.Preset)
}

// selfSigned returns a verifier with a secret of its own, and the webhook of the examples, signed; nil if
// only the provider can sign.
func (p *play) selfSigned(scheme sender.Description) (*sender.Verifier, *gaff.Request, error) {
	body, err := jsonOf(p.e.Webhook)
	if err != nil || !scheme.CanSign() {
		return nil, nil, err
	}
	const text = "0123456789abcdef0123456789abcdef"
	for _, secret := range []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(text)), text, "user:" + text} {
		var v *sender.Verifier
		if v, err = sender.New(scheme, verify.Options{Secrets: []string{secret}}); err != nil {
			continue
		}
		now := time.Now()
		r := &gaff.Request{Method: http.MethodPost, URL: playWebhook, Header: http.Header{}, Body: body, ReceivedAt: now}
		if err = v.Sign(r, now); err == nil {
			return v, r, nil
		}
	}
	return nil, nil, err
}

// changed returns an error if a changed copy of a webhook is accepted: one with another body, if the
// signature covers it, and one without its headers.
func changed(ctx context.Context, v *sender.Verifier, r *gaff.Request) error {
	accepts := func(change func(r *gaff.Request)) bool {
		c := *r
		c.Header, c.Body = maps.Clone(r.Header), slices.Clone(r.Body)
		change(&c)
		_, err := v.Verify(ctx, &c)
		return err == nil
	}
	if c, signs := v.Covers(); signs && (c.Body || c.Content) && accepts(func(r *gaff.Request) { changeBody(r.Body) }) {
		return errors.New("a changed body is accepted: the signature does not cover it")
	}
	if len(r.Header) > 0 && accepts(func(r *gaff.Request) { r.Header = http.Header{} }) {
		return errors.New("it is accepted without its headers")
	}
	return nil
}

// changeBody changes the last letter or digit of a body.
func changeBody(body []byte) {
	for i, c := range slices.Backward(body) {
		switch {
		case c == '0':
			body[i] = '1'
		case c >= '1' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			body[i] = '0'
		default:
			continue
		}
		return
	}
}
