package jobs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gaff/internal/sharedkey"
)

// WebhookURL is the address for the webhooks of one job; empty where the gateway has none
// that a provider can reach.
func (l *Service) WebhookURL(provider, jobID string) string {
	base := l.o.Address(provider)
	if base == "" || polled(l.provider(provider)) {
		return ""
	}
	path, query, _ := strings.Cut(base, "?")
	path = strings.TrimRight(path, "/") + "/" + l.callbackTokens.make(jobID)
	if query != "" {
		path += "?" + query
	}
	return path
}

// CheckCallbackToken returns an error for the last part of a webhook URL that gaff did not issue.
func (l *Service) CheckCallbackToken(token string) error {
	if _, ok := l.callbackTokens.job(token); !ok {
		return errors.New("the last part of the URL is not one that this gateway issued")
	}
	return nil
}

// callbackTokens makes and reads the last part of a job's webhook address. It names the job and
// carries a MAC, so that gaff recognizes the URLs that it gave out: a provider's signature may cover neither path nor
// query.
type callbackTokens struct{ keys *sharedkey.Keys }

// macBytes of the MAC are written; 128 bits cannot be guessed.
const macBytes = 16

// maxJobID bounds a caller's own id, in bytes; a token has at most 256.
const maxJobID = 150

const handleLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func (h callbackTokens) make(jobID string) string {
	name := jobID
	if strings.Trim(name, handleLetters) != "" {
		name = "~" + base64.RawURLEncoding.EncodeToString([]byte(jobID))
	}
	return name + "." + base64.RawURLEncoding.EncodeToString(callbackMAC(h.keys.Signing(), jobID))
}

// callbackMAC is the MAC of a job's token. The key is in hexadecimal digits.
func callbackMAC(key, jobID string) []byte {
	raw, _ := hex.DecodeString(key) // checkHex found no fault
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "webhook address of job %s", jobID)
	return mac.Sum(nil)[:macBytes]
}

// job returns the id in a token; ok is false for a token that was not made here.
func (h callbackTokens) job(token string) (jobID string, ok bool) {
	name, sum, ok := strings.Cut(token, ".")
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if !ok || err != nil || name == "" {
		return "", false
	}
	if encoded, is := strings.CutPrefix(name, "~"); is {
		plain, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			return "", false
		}
		name = string(plain)
	}
	return name, slices.ContainsFunc(h.keys.All(), func(key string) bool { return hmac.Equal(given, callbackMAC(key, name)) })
}
