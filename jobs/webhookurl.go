package jobs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// WebhookURL is the address for the webhooks of one job; empty where the gateway has none
// that a provider can reach.
func (l *Service) WebhookURL(provider, jobID string) string {
	base := l.o.Address(provider)
	if base == "" {
		return ""
	}
	path, query, _ := strings.Cut(base, "?")
	path = strings.TrimRight(path, "/") + "/" + l.callbackTokens.make(jobID)
	if query != "" {
		path += "?" + query
	}
	return path
}

// CheckCallbackToken returns an error for the last part of a webhook address that gaff did not
// give out.
func (l *Service) CheckCallbackToken(handle string) error {
	if _, ok := l.callbackTokens.job(handle); !ok {
		return errors.New("the last part of the address is none that this gateway gave out")
	}
	return nil
}

// callbackTokens makes and reads the last part of a job's webhook address. It names the job and
// carries a MAC, so that gaff recognizes the URLs that it gave out: a provider's signature may cover neither path nor
// query.
type callbackTokens struct{ key []byte }

// macBytes of the MAC are written; 128 bits cannot be guessed.
const macBytes = 16

// maxJobID is how long an asker's own id may be; a handle has at most 256 bytes.
const maxJobID = 150

const handleLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func (h callbackTokens) make(jobID string) string {
	name := jobID
	if strings.Trim(name, handleLetters) != "" {
		name = "~" + base64.RawURLEncoding.EncodeToString([]byte(jobID))
	}
	return name + "." + base64.RawURLEncoding.EncodeToString(h.mac(jobID))
}

func (h callbackTokens) mac(jobID string) []byte {
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "webhook address of job %s", jobID)
	return mac.Sum(nil)[:macBytes]
}

// job returns the id in a handle; ok is false for one that was not made here.
func (h callbackTokens) job(handle string) (jobID string, ok bool) {
	name, sum, ok := strings.Cut(handle, ".")
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
	return name, hmac.Equal(given, h.mac(name))
}
