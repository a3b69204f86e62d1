package gaff

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// maxDedupeKey bounds a dedupe key, in bytes.
const maxDedupeKey = 256

// The first parts of keys that do not come from a sender.
const (
	keyOfBody   = "sha256:"   // of an event without an id
	keyHashed   = "idsha256:" // of one that is too long, or no text
	keyMeasured = "idlen:"    // of an id that could be taken for something else
)

// dedupeKey is the sender's id, or the body's hash, joined with the status. Two pairs of id
// and status have two keys: an id that holds the separator, or begins as a key of another
// kind does, is written with its length. An id too long for an index is hashed.
func dedupeKey(env Envelope, body []byte) string {
	key := env.ID
	switch {
	case key == "":
		sum := sha256.Sum256(body)
		key = keyOfBody + hex.EncodeToString(sum[:])
	case strings.Contains(key, "\n"), strings.HasPrefix(key, keyOfBody), strings.HasPrefix(key, keyHashed), strings.HasPrefix(key, keyMeasured):
		key = keyMeasured + strconv.Itoa(len(key)) + ":" + key
	}
	if env.Status != "" {
		key += "\n" + env.Status
	}
	if len(key) > maxDedupeKey {
		sum := sha256.Sum256([]byte(key))
		return keyHashed + hex.EncodeToString(sum[:])
	}
	return key
}

// signedKey is the second key of the nth event of a request. Senders sign one body for events
// of several types, which a header distinguishes.
func signedKey(proof Verification, env Envelope, n int) string {
	if proof.Signed == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(proof.Signed + " " + strconv.Itoa(n) + " " + env.Type))
	return hex.EncodeToString(sum[:])
}
