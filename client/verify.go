package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of a signed delivery (standardwebhooks.com).
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// DefaultTolerance is the longest difference between a delivery's timestamp and the receiver's
// clock.
const DefaultTolerance = 5 * time.Minute

// ErrInvalid is wrapped by every error of [Verify] about a delivery.
var ErrInvalid = errors.New("not authentic")

// Verify checks that a body was signed with one of the secrets (whsec_…) within
// [DefaultTolerance] of now. It returns the delivery's id.
func Verify(secrets []string, header http.Header, body []byte, now time.Time) (id string, err error) {
	id, at, signatures := header.Get(HeaderID), header.Get(HeaderTimestamp), header.Get(HeaderSignature)
	if id == "" || at == "" || signatures == "" {
		return "", fmt.Errorf("%w: %s, %s or %s is missing", ErrInvalid, HeaderID, HeaderTimestamp, HeaderSignature)
	}
	unix, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: %s %.40q is not a Unix time in seconds", ErrInvalid, HeaderTimestamp, at)
	}
	if d := now.Sub(time.Unix(unix, 0)); d > DefaultTolerance || d < -DefaultTolerance {
		return "", fmt.Errorf("%w: signed %s ago; at most %s is allowed", ErrInvalid, d.Round(time.Second), DefaultTolerance)
	}
	ok := false
	for _, secret := range secrets {
		want, err := Sign(secret, id, unix, body)
		if err != nil {
			return "", err
		}
		for sent := range strings.SplitSeq(signatures, " ") {
			ok = hmac.Equal([]byte(sent), []byte(want)) || ok
		}
	}
	if !ok {
		return "", fmt.Errorf("%w: no signature matches: the secret differs, or the body was changed", ErrInvalid)
	}
	return id, nil
}

// Sign returns the signature with one secret, "v1,…".
func Sign(secret, id string, unix int64, body []byte) (string, error) {
	key, err := Key(secret)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(unix, 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// NewSecret returns a new signing secret: "whsec_" and 32 random bytes in base64.
func NewSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its contract
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// Key decodes a secret: base64, with or without the prefix "whsec_".
func Key(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 16 {
		return nil, errors.New(`the secret is invalid: write "whsec_" and at least 16 bytes in base64, such as the output of: echo whsec_$(openssl rand -base64 24)`)
	}
	return key, nil
}
