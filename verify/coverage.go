package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/textproto"
	"strings"

	"gaff/internal/fault"
)

// Coverage is the part of a request that a signature covers.
type Coverage struct {
	// Body is set if each byte of the body is covered, Content if the text that the event is read
	// from is.
	Body, Content bool
	// form is set if all fields of a form are covered, url if the whole URL is.
	form, url bool
	// fields are covered single places, by placeName.
	fields map[string]bool
}

// coverer is a checker whose signature covers parts of the request. The others compare a secret.
type coverer interface{ covers() Coverage }

// signedHash returns the value of [gaff.Verification].Signed for a content.
func signedHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// placeName returns the name of a place of a template or [Location].
func placeName(in, name string) string {
	if in == "header" {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return in + ":" + name
}

func (c *Coverage) add(in, name string) {
	if c.fields == nil {
		c.fields = map[string]bool{}
	}
	c.fields[placeName(in, name)] = true
}

// Holds reports whether the text at a place and at its alternatives is covered.
func (c *Coverage) Holds(l *Location) bool {
	for ; l != nil; l = l.Or {
		covered := false
		switch l.In {
		case "json":
			covered = c.Content || c.fields[placeName("json", l.Pointer)]
		case "member":
			covered = c.Content
		case "body":
			covered = c.Body
		case "form":
			covered = c.Body || c.form
		case "query":
			covered = c.url
		}
		if !covered && !c.fields[placeName(l.In, l.Name)] || l.And != nil && !c.Holds(l.And) {
			return false
		}
	}
	return true
}

// covers returns what the template signs.
func (v *signature) covers() (c Coverage) {
	for _, p := range v.tmpl.parts {
		switch p.kind {
		case partBody, partBodyHash:
			c.Body = true
		case partForm:
			c.form = true
		case partURL, partURLPlain:
			c.url = true
		case partID:
			if l := v.scheme.ID; l != nil && l.Or == nil && l.And == nil {
				c.add(l.In, l.Name+l.Pointer)
			}
		case partPlace:
			name := p.at.name
			if p.at.in == "json" {
				name = strings.TrimPrefix(p.at.label, "body ")
			}
			c.add(p.at.in, name)
		case partText, partTime, partMethod, partKey:
		}
	}
	field, inField := strings.CutPrefix(v.scheme.Content, "form:")
	c.Content = c.Body || c.form || inField && c.fields[placeName("form", field)]
	return c
}

// partly reports whether a signature covers some of the content, but not all.
func (c *Coverage) partly() bool {
	for name := range c.fields {
		if !strings.HasPrefix(name, "header:") {
			return true
		}
	}
	return false
}

// checkCoverage rejects a scheme whose signature does not cover the body, unless covers_body is
// false.
func (s *Scheme) checkCoverage(check checker, f *fault.List) {
	signer, signs := check.(coverer)
	if len(*f) > 0 || s.Kind == "code" {
		return
	}
	if !signs {
		if s.CoversBody != nil && *s.CoversBody {
			f.Add("covers_body", "is true, and kind %s signs nothing", s.Kind)
		}
		return
	}
	c := signer.covers()
	switch says := s.CoversBody; {
	case says != nil && *says && !c.Content:
		f.Add("covers_body", "is true, and the signature does not cover the body")
	case says != nil && !*says && c.Content:
		f.Add("covers_body", "is false, and the signature covers the body; remove it")
	case says == nil && !c.Content && !c.partly():
		what := fmt.Sprintf("%q covers nothing of the body; {body} is wanted", s.Signed)
		if s.Kind == "jwt" {
			what = "nothing binds the token to the body; body_hash or jwt.detached is wanted"
		}
		f.Add("covers_body", "missing: %s. If the sender signs no more, write covers_body: false: its content is a hint then, and the object is to be fetched from the sender", what)
	}
}

// checkExtension rejects schemes that allow length extension: if {key} is before the end, a client
// with one signed body can sign that body with more bytes after it. The padding in between is not
// JSON, so JSON bodies are safe.
func (v *signature) checkExtension(f *fault.List) {
	if !v.alg.keyed || v.scheme.Content == "" {
		return
	}
	last := part{}
	for _, p := range v.tmpl.parts {
		if p.kind != partText {
			last = p
		}
	}
	form, _ := strings.CutPrefix(v.scheme.Content, "form:")
	switch {
	case last.kind == partBody, last.kind == partForm, last.kind == partPlace && last.at.in != "header" && (last.at.in != "form" || last.at.name != form):
		f.Add("signed", "%s with {key} before the end can be lengthened without the key, unless the body is JSON: with content: %s another description is wanted (a token, or {key} at the end if the sender signs so)",
			v.alg.name, v.scheme.Content)
	}
}
