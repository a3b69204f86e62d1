package gafftest

import (
	"net/http/httptest"
	"testing"
	"time"

	"gaff/internal/standin"
)

// Fal plays fal on this machine: queue, status, results, files and signed webhooks.
type Fal struct {
	// URL is its queue's.
	URL string
}

// falKey is the key that the played fal accepts.
const falKey = "gafftest:key"

// NewFal starts a Fal that ends with the test. Its jobs take some ten milliseconds.
func NewFal(t testing.TB) *Fal {
	t.Helper()
	fal := standin.NewFal(standin.Options{Key: falKey, Queue: 10 * time.Millisecond, Work: 10 * time.Millisecond})
	srv := httptest.NewServer(fal)
	t.Cleanup(func() {
		fal.Close()
		srv.Close()
	})
	return &Fal{srv.URL}
}

// Settings are those of a gateway that uses it, by the names of the environment variables.
func (f *Fal) Settings() map[string]string {
	return map[string]string{
		"FAL_KEY": falKey, "GAFF_FAL_QUEUE_URL": f.URL, "GAFF_FAL_JWKS_URL": f.URL + standin.JWKSPath, "GAFF_FAL_RUN_URL": f.URL + standin.RunPath,
		"GAFF_ALLOW_ADDRESSES": "127.0.0.0/8,::1/128",
	}
}
