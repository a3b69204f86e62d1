// Package redact masks secrets in shown and logged text. It is the one place that masks headers,
// URLs and bodies, and that decides which part of an error is logged.
//
// A place names where a source's requests have the sender's secret: "header:NAME",
// "query:NAME", "form:NAME", "json:/POINTER" (with "*" for each item of a list), or "body"
// for the whole body. Sources list their places; names that match [SecretName] are masked in
// every request.
package redact

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Masked replaces a secret.
const Masked = "[masked]"

// SecretName reports whether a header or parameter of this name may hold a secret in plain text,
// such as a token.
func SecretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range [...]string{"authorization", "cookie", "token", "secret", "password", "api-key", "apikey"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// shownSecret matches more names than [SecretName]. It masks only shown text; the stored request
// is complete.
func shownSecret(name string) bool {
	name = strings.ToLower(name)
	return SecretName(name) || strings.HasSuffix(name, "key") && !strings.Contains(name, "idempotency")
}

// named reports whether places contain a name of a kind, such as a header. Names are compared
// case-insensitively.
func named(places []string, kind, name string) bool {
	return slices.ContainsFunc(places, func(p string) bool {
		k, n, _ := strings.Cut(p, ":")
		return k == kind && strings.EqualFold(n, name)
	})
}

func has(places []string, kinds ...string) bool {
	return slices.ContainsFunc(places, func(p string) bool {
		kind, _, _ := strings.Cut(p, ":")
		return slices.Contains(kinds, kind)
	})
}

// InBody reports whether a place is in the body.
func InBody(place string) bool { return has([]string{place}, "json", "form", "body") }

// Header masks the secrets in headers, and those of the query in headers with which proxies and
// browsers repeat a URL (X-Original-Url, Referer). Signatures stay: a captured request needs them
// to be verified again, and they are useless for another request.
func Header(header http.Header, places []string) http.Header {
	shown := make(http.Header, len(header))
	for name, values := range Headers(header, places) {
		shown[name] = values
	}
	return shown
}

// Headers returns what [Header] does, one header after the other.
func Headers(header http.Header, places []string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		inQuery := has(places, "query")
		for name, values := range header {
			switch {
			case shownSecret(name) || named(places, "header", name):
				values = []string{Masked}
			case inQuery:
				values = slices.Clone(values)
				for i := range values {
					values[i] = URL(values[i], places)
				}
			}
			if !yield(name, values) {
				return
			}
		}
	}
}

// Signature shortens a signature header to its beginning, which is enough to recognize it. Other
// headers stay unchanged.
func Signature(name, value string) string {
	if strings.Contains(strings.ToLower(name), "signature") && len(value) > 16 {
		return value[:8] + "…" + Masked
	}
	return value
}

// URL masks a password and the values of secret parameters: some senders put their token there.
func URL(address string, places []string) string {
	address, fragment, hasFragment := strings.Cut(address, "#")
	base, query, ok := strings.Cut(address, "?")
	if ok {
		base += "?" + parameters(query, func(name string) bool { return shownSecret(name) || named(places, "query", name) })
	}
	if scheme, rest, ok := strings.Cut(base, "://"); ok {
		end := len(rest)
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			end = i
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			user, _, _ := strings.Cut(rest[:at], ":")
			base = scheme + "://" + user + ":" + Masked + rest[at:]
		}
	}
	if hasFragment {
		base += "#" + fragment
	}
	return base
}

// Address masks, in a URL that gaff sends to, a password, and parameters whose names suggest a
// secret or a signature.
func Address(address string) string {
	var places []string
	if u, err := url.Parse(address); err == nil {
		for name := range u.Query() {
			if low := strings.ToLower(name); strings.Contains(low, "key") || strings.Contains(low, "sig") || strings.Contains(low, "code") {
				places = append(places, "query:"+name)
			}
		}
	}
	return URL(address, places)
}

// Query masks the values of all parameters of a URL, for requests to unknown sources: each may be a
// secret.
func Query(address string) string {
	base, query, ok := strings.Cut(address, "?")
	if !ok || query == "" {
		return address
	}
	return base + "?" + parameters(query, func(string) bool { return true })
}

// parameters masks parameters of a query or form, and leaves the others unchanged.
func parameters(query string, secret func(name string) bool) string {
	params := strings.Split(query, "&")
	for i, param := range params {
		first, _, _ := strings.Cut(param, "=")
		for piece := range strings.SplitSeq(param, ";") { // some senders separate parameters with it
			name, _, _ := strings.Cut(piece, "=")
			if plain, err := url.QueryUnescape(name); err != nil || secret(plain) {
				params[i] = first + "=" + Masked
				break
			}
		}
	}
	return strings.Join(params, "&")
}

// Host returns the scheme and host of a URL, and "…" for the rest. In URLs of callbacks and
// destinations the path is often the secret.
func Host(address string) string {
	if address == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return Masked
	}
	if u.Path == "" && u.RawQuery == "" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/…"
}

// Body masks the secrets in a body. A body that cannot be parsed is masked entirely if the source
// has a secret in it. contentType is the request's header.
func Body(contentType string, body []byte, places []string) []byte {
	switch {
	case len(body) == 0 || !slices.ContainsFunc(places, InBody):
		return body
	case has(places, "body"):
		return []byte(Masked)
	}
	kind, params, _ := mime.ParseMediaType(contentType)
	switch form := has(places, "form"); {
	case form && json.Valid(body):
		return JSON(body, places)
	case form && has(places, "json"): // the JSON may be in a field
		return []byte(Masked)
	case form && kind == "application/x-www-form-urlencoded" && utf8.Valid(body):
		return []byte(parameters(string(body), func(name string) bool { return named(places, "form", name) }))
	case form && kind == "multipart/form-data":
		return multipartForm(body, params["boundary"], places)
	case form:
		return []byte(Masked)
	}
	return JSON(body, places)
}

// maxHidden bounds the fields of a multipart form that are masked one by one. Each costs a pass over
// the body; a body with more is masked entirely.
const maxHidden = 8

// multipartForm masks fields of a multipart form.
func multipartForm(body []byte, boundary string, places []string) []byte {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	whole, hidden := len(body), 0
	for range 1000 {
		part, err := parts.NextRawPart()
		switch {
		case err == io.EOF: // errors that wrap it mean: no part, or truncated
			return body
		case err != nil:
			return []byte(Masked)
		}
		if !named(places, "form", part.FormName()) {
			continue
		}
		var value bytes.Buffer
		if _, err := value.ReadFrom(part); err != nil {
			return []byte(Masked)
		}
		if value.Len() > 0 {
			// A one-letter value occurs everywhere, and each replacement would grow the body.
			hidden++
			grown := bytes.Count(body, value.Bytes()) * max(len(Masked)-value.Len(), 0)
			if hidden > maxHidden || len(body)+grown > 2*whole+1024 {
				return []byte(Masked)
			}
			body = bytes.ReplaceAll(body, value.Bytes(), []byte(Masked))
		}
	}
	return []byte(Masked)
}
