package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// standard is Standard Webhooks: HMACs tagged v1 and Ed25519 signatures tagged v1a side
// by side, each checked with its own kind of key only.
type standard struct {
	v1, v1a *signature // nil without such keys
	prefix  string
}

func newStandard(s Scheme, o Options, f *fault.List) *standard {
	prefix := s.HeaderPrefix
	if prefix == "" {
		prefix = "webhook-"
	}
	if !IsHeaderName(prefix) {
		f.Add("header_prefix", "%q cannot begin a header name; webhook- or svix- is wanted", prefix)
	}
	base := Scheme{
		Kind: "signature", Signed: "{id}.{ts}.{body}", Encoding: "base64",
		Signature: Signatures{{
			Location: Location{In: "header", Name: prefix + "signature"},
			Format:   "list", ItemSep: " ", TagSep: ",", AcceptTags: []string{"v1"},
		}},
		Timestamp: &Timestamp{Location: Location{In: "header", Name: prefix + "timestamp"}},
		Tolerance: s.Tolerance,
		ID:        &Location{In: "header", Name: prefix + "id"},
	}
	v := &standard{prefix: prefix}
	var secrets []string
	keys := slices.Clone(o.Keys)
	for _, text := range o.Secrets {
		switch {
		case strings.HasPrefix(text, "whpk_"):
			keys = append(keys, Key{Kind: "ed25519_base64", Value: text})
		case strings.HasPrefix(text, "whsk_"):
			keys = append(keys, Key{Kind: "ed25519_seed_base64", Value: text})
		default:
			secrets = append(secrets, text)
		}
	}
	fetched := o.JWKS != nil || o.Settings["jwks_url"] != ""
	if len(secrets) > 0 || len(keys) == 0 && !fetched {
		hmac := base
		hmac.Algorithm = "hmac-sha256"
		hmac.Key = standardKey(s.Key)
		v.v1 = newSignature(hmac, Options{Secrets: secrets, Settings: o.Settings}, f)
	}
	if fetched && len(keys) > 0 {
		f.Add("settings.jwks_url", "not used beside public keys under secrets; remove one of the two")
	}
	if len(keys) > 0 || fetched {
		public := base
		public.Algorithm = "ed25519"
		public.Key = KeyFormat{Source: "base64"}
		if len(keys) == 0 {
			public.Key.Source = "jwks"
		}
		public.Signature = slices.Clone(base.Signature)
		public.Signature[0].AcceptTags = []string{"v1a"}
		v.v1a = newSignature(public, Options{Keys: keys, Settings: o.Settings, JWKS: o.JWKS, Client: o.Client}, f)
	}
	return v
}

// standardKey returns the format of secrets: the scheme's, or else the specification's.
func standardKey(f KeyFormat) KeyFormat {
	if f.Decode == "" && f.Or == nil {
		return KeyFormat{Decode: "base64", StripPrefix: []string{"v1,whsec_", "whsec_"}}
	}
	return f
}

func (v *standard) covers() Coverage {
	if v.v1 != nil {
		return v.v1.covers()
	}
	return v.v1a.covers()
}

func (v *standard) hashSigned() {
	for _, s := range []*signature{v.v1, v.v1a} {
		if s != nil {
			s.hashSigned()
		}
	}
}

func (v *standard) describe() string {
	tags := "v1 (HMAC-SHA256)"
	switch {
	case v.v1 == nil:
		tags = "v1a (Ed25519)"
	case v.v1a != nil:
		tags += " or v1a (Ed25519)"
	}
	return fmt.Sprintf("Standard Webhooks %s in %ssignature", tags, v.prefix)
}

func (v *standard) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if v.v1 == nil {
		return v.v1a.verify(ctx, r)
	}
	out, err := v.v1.verify(ctx, r)
	if err == nil || v.v1a == nil || errors.Is(err, ErrStale) || errors.Is(err, ErrAmbiguous) {
		return out, err
	}
	other, errOther := v.v1a.verify(ctx, r)
	if errOther == nil || errors.Is(err, ErrMissing) {
		return other, errOther
	}
	return out, err
}

func (v *standard) sign(r *gaff.Request, at time.Time) error {
	if v.v1 != nil {
		return v.v1.sign(r, at)
	}
	return v.v1a.sign(r, at)
}

// families is Standard Webhooks of senders that moved from svix- headers to webhook- ones. A
// request is verified by the headers that it has, one with both by the scheme's own.
type families struct{ *standard }

func (v families) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if len(r.Header[http.CanonicalHeaderKey(v.prefix+"signature")]) > 0 || len(r.Header["Webhook-Signature"]) == 0 {
		return v.standard.verify(ctx, r)
	}
	other := *r
	other.Header = r.Header.Clone()
	for _, name := range []string{"id", "timestamp", "signature"} {
		to := http.CanonicalHeaderKey(v.prefix + name)
		delete(other.Header, to)
		if values := r.Header[http.CanonicalHeaderKey("webhook-"+name)]; values != nil {
			other.Header[to] = values
		}
	}
	out, err := v.standard.verify(ctx, &other)
	if err == nil {
		out.ID = other.Header.Get(v.prefix + "id")
	}
	return out, err
}
