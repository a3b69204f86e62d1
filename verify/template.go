package verify

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/textproto"
	"net/url"
	"sort"
	"strings"

	"gaff/internal/fault"

	"gaff"
)

type partKind int

const (
	partText partKind = iota
	partBody
	partBodyHash
	partTime
	partID
	partURL
	partURLPlain
	partMethod
	partKey
	partForm
	partPlace // a header, a JSON value, a field of a form or of the query
)

// partKinds are the kinds of the tokens without an argument.
var partKinds = map[string]partKind{
	"body": partBody, "ts": partTime, "id": partID, "url": partURL, "url_unescaped": partURLPlain, "method": partMethod,
	"key": partKey, "form_sorted": partForm,
}

// bodyDigest returns the hash and the encoding of {body_sha256_hex} and its like.
func bodyDigest(token string) (h crypto.Hash, encoding string, ok bool) {
	name, found := strings.CutPrefix(token, "body_")
	if !found {
		return 0, "", false
	}
	name, encoding, _ = strings.Cut(name, "_")
	h, ok = bodyHashes[name]
	return h, encoding, ok && (encoding == "hex" || encoding == "base64" || encoding == "base64url")
}

// bodyHashes are the digests that may be signed in place of a body.
var bodyHashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// sumBody appends the digest of a body to dst.
func sumBody(h crypto.Hash, dst, body []byte) []byte {
	switch h {
	case crypto.SHA384:
		sum := sha512.Sum384(body)
		return append(dst, sum[:]...)
	case crypto.SHA512:
		sum := sha512.Sum512(body)
		return append(dst, sum[:]...)
	default:
		sum := sha256.Sum256(body)
		return append(dst, sum[:]...)
	}
}

// part is a piece of the signed content.
type part struct {
	kind     partKind
	text     string
	at       place
	hash     crypto.Hash // of partBodyHash
	encoding string
}

// template is the parsed template of the signed content.
type template struct {
	parts []part
	// idEnd is the text between {id} and {ts} where they follow each other with one in
	// between; see checkID.
	idEnd string
}

// parseTemplate parses a template. It replaces {config:name} by the setting's value.
func parseTemplate(text, path string, settings map[string]string, set *pointers, f *fault.List) template {
	var t template
	literal := func(s string) {
		if n := len(t.parts); n > 0 && t.parts[n-1].kind == partText {
			t.parts[n-1].text += s
		} else if s != "" {
			t.parts = append(t.parts, part{kind: partText, text: s})
		}
	}
	if text == "" {
		f.Add(path, "missing; want the signed content, such as {body}")
	}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			f.Add(path, "a } without a { in %q", text)
			return t
		}
		literal(before)
		if !found {
			break
		}
		token, next, closed := strings.Cut(after, "}")
		if !closed {
			f.Add(path, "a { without a } in %q", text)
			return t
		}
		rest = next
		name, arg, hasArg := strings.Cut(token, ":")
		if kind, ok := partKinds[token]; ok {
			t.parts = append(t.parts, part{kind: kind})
			continue
		}
		if hash, encoding, ok := bodyDigest(token); ok {
			t.parts = append(t.parts, part{kind: partBodyHash, hash: hash, encoding: encoding})
			continue
		}
		switch {
		case token == "nl":
			literal("\n")
		case name == "header" && hasArg:
			if !IsHeaderName(arg) {
				f.Add(path, "{%s}: %q is not a header name", token, arg)
			}
			t.parts = append(t.parts, part{kind: partPlace, at: place{
				in: "header", name: textproto.CanonicalMIMEHeaderKey(arg), label: arg,
			}})
		case name == "json" && hasArg:
			i, err := set.add(arg)
			if err != nil {
				f.Add(path, "{%s}: %v", token, err)
			}
			t.parts = append(t.parts, part{kind: partPlace, at: place{in: "json", index: i, label: "body " + arg}})
		case (name == "form" || name == "query") && hasArg:
			if arg == "" {
				f.Add(path, "{%s}: the field's name is missing", token)
			}
			t.parts = append(t.parts, part{kind: partPlace, at: place{in: name, name: arg, label: name + " field " + arg, lines: true}})
		case name == "config" && hasArg:
			value := settings[arg]
			if value == "" {
				f.Add("settings."+arg, "missing; {%s} is part of the signed content", token)
			}
			literal(value)
		default:
			f.Add(path, "{%s} is not known; {body}, {ts}, {id}, {url}, {url_unescaped}, {method}, {key}, {nl}, {body_sha256_hex} "+
				"(also sha384, sha512, _base64, _base64url), {header:Name}, {json:/pointer}, {form:name}, {query:name}, {form_sorted} and {config:name} are", token)
		}
	}
	for i := 0; i+2 < len(t.parts); i++ {
		if t.parts[i].kind == partID && t.parts[i+1].kind == partText && t.parts[i+2].kind == partTime {
			t.idEnd = t.parts[i+1].text
		}
	}
	return t
}

func (t *template) has(kind partKind) bool {
	for _, p := range t.parts {
		if p.kind == kind {
			return true
		}
	}
	return false
}

// checkID rejects an id whose end could be read as the timestamp: "a.1767225600" under
// {id}.{ts}.{body} may be the id "a" with its timestamp, and the bytes sent as the
// timestamp the beginning of that request's body.
func (t *template) checkID(id, unit string) error {
	if t.idEnd == "" {
		return nil
	}
	if i := strings.LastIndex(id, t.idEnd); i >= 0 {
		if end := id[i+len(t.idEnd):]; len(end) >= 9 {
			if _, ok := parseTime(end, unit); ok {
				return fmt.Errorf("id %s: %w: its end reads like a timestamp", Printable(id), ErrAmbiguous)
			}
		}
	}
	return nil
}

// content has the values of a template for one request.
type content struct {
	r      *gaff.Request
	url    string
	id, ts string
	values [][]byte // of the pointer set
}

// writer receives the signed content in pieces.
type writer interface {
	text(s string)
	bytes(b []byte)
}

// write writes the signed content. With a key of nil, {key} is empty.
func (t *template) write(c *content, key []byte, w writer) error {
	for i := range t.parts {
		switch p := &t.parts[i]; p.kind {
		case partText:
			w.text(p.text)
		case partBody:
			w.bytes(c.r.Body)
		case partBodyHash:
			var sum [sha512.Size]byte
			var text [2 * sha512.Size]byte
			w.bytes(encode(p.encoding, text[:0], sumBody(p.hash, sum[:0], c.r.Body)))
		case partTime:
			w.text(c.ts)
		case partID:
			w.text(c.id)
		case partURL:
			w.text(c.url)
		case partURLPlain:
			w.text(urlUnescaper.Replace(c.url))
		case partMethod:
			w.text(c.r.Method)
		case partKey:
			w.bytes(key)
		case partForm:
			fields, err := url.ParseQuery(string(c.r.Body))
			if err != nil {
				return fmt.Errorf("body: %w: no form", ErrMalformed)
			}
			for _, pair := range sortedForm(fields) {
				w.text(pair)
			}
		case partPlace:
			text, err := p.at.text(c.r, c.values)
			if err != nil {
				return err
			}
			w.text(text)
		}
	}
	return nil
}

// urlUnescaper decodes only the escapes that HubSpot documents.
var urlUnescaper = strings.NewReplacer(func() (pairs []string) {
	for _, c := range ":/?@!$'()*,;" {
		upper := fmt.Sprintf("%%%02X", c)
		pairs = append(pairs, upper, string(c), strings.ToLower(upper), string(c))
	}
	return pairs
}()...)

// sortedForm returns each name joined with its value, sorted by name, then by value, in
// byte order.
func sortedForm(fields url.Values) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	var pairs []string
	for _, name := range names {
		values := append([]string(nil), fields[name]...)
		sort.Strings(values)
		for _, value := range values {
			pairs = append(pairs, name+value)
		}
	}
	return pairs
}
