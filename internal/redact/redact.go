// Package redact hides secrets in what is shown of stored requests.
package redact

import (
	"net/url"
	"strings"

	"gaff"
)

// Masked stands in place of a secret.
const Masked = "[masked]"

// Header hides what may be a secret of the sender's. Signatures stay: without them a
// captured request could not be verified again, and they are worth nothing without it.
func Header(header map[string][]string) map[string][]string {
	shown := make(map[string][]string, len(header))
	for name, values := range header {
		if secretName(name) {
			values = []string{Masked}
		}
		shown[name] = values
	}
	return shown
}

// URL hides the values of secret parameters; some senders carry their token there.
func URL(address string) string {
	base, query, ok := strings.Cut(address, "?")
	if !ok {
		return address
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		name, _, _ := strings.Cut(param, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || secretName(plain) {
			params[i] = name + "=" + Masked
		}
	}
	return base + "?" + strings.Join(params, "&")
}

// secretName is wider than what is kept back from rejections: what is shown can still be
// found in the stored request.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return gaff.SecretHeader(name) || strings.HasSuffix(name, "key") && !strings.Contains(name, "idempotency")
}
