//go:build !slim

package all_test

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func login() kgo.Opt {
	return kgo.SASL(scram.Auth{User: "gaff", Pass: "pass"}.AsSha256Mechanism())
}
