package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"gaff/internal/fault"
)

// NeedsSecret reports whether a scheme requires a key from the operator.
func NeedsSecret(s Scheme) bool {
	switch s.Name {
	case "aws-sns", "paypal", "adobe":
		return s.Kind != "code"
	}
	return s.Key.Source != "jwks"
}

// RequiredSettings lists the settings without which [New] fails, in any order.
func (s Scheme) RequiredSettings() (list []string) {
	var o Options
	var f fault.List
	switch s.Kind {
	case "signature":
		newSignature(s, o, &f)
	case "jwt":
		newJWT(s, o, &f)
	case "code":
		newCode(s, o, &f)
	}
	for _, fault := range f {
		if name, ok := strings.CutPrefix(fault.Path, "settings."); ok && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if s.Key.Source == "jwks-by-kid" {
		list = append(list, "client_id")
	}
	return list
}

// Summary returns in a few words how a scheme verifies.
func (s Scheme) Summary() string {
	var text string
	switch s.Kind {
	case "signature":
		a, _ := findAlgorithm(s.Algorithm)
		text = a.title
	case "token":
		text = "shared token"
	case "basic":
		text = "HTTP basic"
	case "jwt":
		text = "JSON Web Token, " + strings.Join(s.Algs, " ")
	default:
		text = "code `" + s.Name + "`"
	}
	if s.Tolerance != nil {
		past, _ := s.Tolerance.window()
		text += fmt.Sprintf(", %d s", int(past.Seconds()))
	}
	return text
}

// CanSign reports whether a verifier of the scheme can sign, because its key is shared.
func (s Scheme) CanSign() bool {
	switch s.Kind {
	case "signature":
		a, ok := findAlgorithm(s.Algorithm)
		return ok && a.symmetric() && len(s.Signature) > 0 && s.Signature[0].In != "body"
	case "token":
		return s.Token != nil && s.Token.In != "body"
	case "basic":
		return true
	case "jwt":
		return s.JWT != nil && s.JWT.In == "header" && len(s.Algs) > 0 && strings.HasPrefix(s.Algs[0], "HS")
	}
	switch s.Name {
	case "standard-webhooks", "twilio", "hook0", "contentful", "plivo", "braintree", "lark", "adyen", "msgraph", "dropbox-sign", "websub":
		return true
	}
	return false
}

// HasTime reports whether requests have a timestamp, to which a tolerance applies.
func (s Scheme) HasTime() bool {
	switch s.Kind {
	case "signature":
		return s.Timestamp != nil
	case "code":
		return !undated[s.Name]
	}
	return s.Kind == "jwt"
}

// SecretPlaces lists the places of requests that contain the sender's secret in plain text, in the
// form of [gaff.Source.Secrets]. A signature over the body is not secret: it is valid for that body
// only. A token or a signature that does not cover the body is valid for any, so it is secret.
func (s Scheme) SecretPlaces() []string {
	var places []string
	var add func(l *Location)
	add = func(l *Location) {
		for ; l != nil; l = l.Or {
			switch l.In {
			case "json":
				places = append(places, "json:"+l.Pointer)
			case "body":
				places = append(places, "body")
			case "header", "query", "form":
				places = append(places, l.In+":"+l.Name)
			}
			add(l.And)
		}
	}
	switch {
	case s.Kind == "signature" && s.CoversBody != nil && !*s.CoversBody:
		for i := range s.Signature {
			add(&s.Signature[i].Location)
		}
	case s.Kind == "token" && s.Token != nil:
		add(&s.Token.Location)
	case s.Kind == "basic":
		places = append(places, "header:Authorization")
	case s.Kind == "jwt" && s.JWT != nil && s.BodyHash == nil && !s.JWT.Detached && s.JWT.In != "body":
		add(&s.JWT.Location)
	case s.Kind == "code" && s.Name == "msgraph":
		places = append(places, "json:/value/*/clientState")
	}
	return places
}

// codeHeaders are the headers that schemes of kind code read.
var codeHeaders = map[string][]string{
	"twilio":     {twilioHeader},
	"aws-sns":    {"X-Amz-Sns-Message-Type", "X-Amz-Sns-Message-Id", "X-Amz-Sns-Topic-Arn"},
	"paypal":     {"Paypal-Transmission-Id", "Paypal-Transmission-Time", "Paypal-Transmission-Sig", "Paypal-Cert-Url", "Paypal-Auth-Algo"},
	"hook0":      {hook0Header},
	"contentful": {contentfulTime, contentfulSigned, contentfulSig},
	"plivo":      {plivoHeader, plivoNonce},
	"travis":     {"Signature"},
	"lark":       {"X-Lark-Signature", "X-Lark-Request-Timestamp", "X-Lark-Request-Nonce"},
	"websub":     {websubHeader},
	"adobe": {
		"X-Adobe-Digital-Signature-1", "X-Adobe-Digital-Signature-2", "X-Adobe-Public-Key1-Path", "X-Adobe-Public-Key2-Path",
	},
	"standard-webhooks": {
		"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Svix-Id", "Svix-Timestamp", "Svix-Signature",
	},
}

// HeaderNames returns the headers that a verifier of the scheme reads and those among more
// places, in canonical form, sorted.
func (s Scheme) HeaderNames(more ...*Location) []string {
	names := map[string]bool{}
	add := func(name string) {
		if name != "" {
			names[http.CanonicalHeaderKey(name)] = true
		}
	}
	place := func(l *Location) {
		for ; l != nil; l = l.Or {
			if l.In == "header" {
				add(l.Name)
			}
			for and := l.And; and != nil; and = and.And {
				if and.In == "header" {
					add(and.Name)
				}
			}
		}
	}
	for i := range s.Signature {
		place(&s.Signature[i].Location)
	}
	for _, l := range more {
		place(l)
	}
	place(s.ID)
	if s.Timestamp != nil {
		place(&s.Timestamp.Location)
	}
	if s.Token != nil {
		place(&s.Token.Location)
	}
	if s.JWT != nil {
		place(&s.JWT.Location)
	}
	for name := range s.RequireHeaders {
		add(name)
	}
	for part := range strings.SplitSeq(s.Signed, "{header:") {
		if name, _, ok := strings.Cut(part, "}"); ok {
			add(name)
		}
	}
	if s.Kind == "code" {
		for _, name := range codeHeaders[s.Name] {
			add(name)
		}
		for _, name := range []string{"id", "timestamp", "signature"} {
			if s.HeaderPrefix != "" {
				add(s.HeaderPrefix + name)
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
