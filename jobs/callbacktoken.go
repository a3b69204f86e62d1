package jobs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// callbackTokens makes and reads the last part of a job's webhook address. It names the job and
// carries a MAC, so that an address that gaff did not give out is told from one it did:
// fal's signature covers neither the path nor the query.
type callbackTokens struct{ key []byte }

// macBytes of the MAC are written; 128 bits cannot be guessed.
const macBytes = 16

// maxJobID is how long an asker's own id may be; a handle has at most 256 bytes.
const maxJobID = 150

func (h callbackTokens) make(jobID string) string {
	name := jobID
	if strings.Trim(name, handleLetters) != "" {
		name = "~" + base64.RawURLEncoding.EncodeToString([]byte(jobID))
	}
	return name + "." + base64.RawURLEncoding.EncodeToString(h.mac(jobID))
}

const handleLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

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
