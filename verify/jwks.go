package verify

import (
	"context"
	"net/http"
	"sync"
	"time"

	"gaff"
	"gaff/internal/httpx"
	"gaff/internal/redact"
)

// JWKSOptions tunes a [JWKS]. The zero value works.
type JWKSOptions struct {
	// Client fetches the document; nil means one with timeouts.
	Client *http.Client
	// MaxAge is how long a document may be used. Zero means 24 hours. After
	// half of it a newer one is fetched in the background.
	MaxAge time.Duration
	// MinRefresh is the minimum time between fetches that one client can cause by signatures
	// that match no key. Zero means 30 seconds.
	MinRefresh time.Duration
	// Backoff is the time between a failed fetch and the next one. Zero means 10 seconds.
	Backoff time.Duration
	// MaxBytes bounds the document. Zero means 1 MiB.
	MaxBytes int64
	// Now is the clock for the ages above; nil means time.Now.
	Now func() time.Time
}

// JWKS is a cache of the public keys at a URL. All requests share it; concurrent requests wait for
// one fetch.
//
// While the host is unreachable, the cached keys are used until they are MaxAge old. Without keys,
// errors wrap [gaff.ErrUnverifiable].
type JWKS struct {
	url string
	o   JWKSOptions

	mu      sync.Mutex
	keys    []publicKey
	fetched time.Time     // when keys was fetched
	tried   time.Time     // end of the last fetch, successful or not
	failure error         // of the last fetch; nil if it was successful
	running chan struct{} // closed when the running fetch ends; nil without one
	// renewal is when a signature that matches no key last caused a fetch, renewals when one of
	// each client did.
	renewal  time.Time
	renewals map[string]time.Time
}

// renewalPause is the minimum time between fetches that such signatures of all clients cause.
const renewalPause = 5 * time.Second

// NewJWKS returns a cache of the document at the address. It is fetched at first use.
func NewJWKS(address string, o JWKSOptions) *JWKS {
	if o.Client == nil {
		o.Client = DefaultClient()
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 24 * time.Hour
	}
	if o.MinRefresh <= 0 {
		o.MinRefresh = 30 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = 10 * time.Second
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &JWKS{url: address, o: o}
}

// current returns the keys. It fetches them if they are missing or too old.
func (j *JWKS) current(ctx context.Context) ([]publicKey, error) {
	j.mu.Lock()
	now := j.o.Now()
	age := now.Sub(j.fetched)
	if j.keys != nil && age < j.o.MaxAge {
		keys := j.keys
		if age >= j.o.MaxAge/2 && j.mayTry(now) {
			j.start(ctx)
		}
		j.mu.Unlock()
		return keys, nil
	}
	if j.running == nil && !j.mayTry(now) {
		err := j.failure
		j.mu.Unlock()
		return nil, err
	}
	return j.wait(ctx)
}

// renewed returns keys that are newer than seen, in which a request from an address has no key; nil
// without newer ones. An error means that the key cannot be known now: the host does not answer, or
// another client caused a fetch a moment ago.
func (j *JWKS) renewed(ctx context.Context, seen []publicKey, address string) ([]publicKey, error) {
	j.mu.Lock()
	if len(seen) > 0 && len(j.keys) > 0 && &seen[0] != &j.keys[0] {
		keys := j.keys // another request has just fetched them
		j.mu.Unlock()
		return keys, nil
	}
	if j.running == nil {
		if may, err := j.mayRenew(httpx.ClientAt(address)); !may {
			j.mu.Unlock()
			return nil, err
		}
	}
	keys, err := j.wait(ctx)
	if err == nil {
		j.mu.Lock()
		err = j.failure // of the fetch; the cached keys stay in use for other requests
		j.mu.Unlock()
	}
	if err != nil || len(keys) > 0 && len(seen) > 0 && &seen[0] == &keys[0] {
		return nil, err
	}
	return keys, nil
}

// mayRenew reports whether a client may cause a fetch. Each client may cause one per MinRefresh, so
// that no client can use up the sender's.
func (j *JWKS) mayRenew(client string) (bool, error) {
	now := j.o.Now()
	if j.failure != nil {
		return now.Sub(j.tried) >= j.o.Backoff, j.failure
	}
	if now.Sub(j.renewals[client]) < j.o.MinRefresh {
		return false, nil
	}
	if now.Sub(j.renewal) < renewalPause {
		return false, redact.Errorf("public keys at %s: %w: they were asked for a moment ago", redact.Own(j.url), gaff.ErrUnverifiable)
	}
	for name, at := range j.renewals {
		if now.Sub(at) >= j.o.MinRefresh {
			delete(j.renewals, name)
		}
	}
	if j.renewals == nil {
		j.renewals = map[string]time.Time{}
	}
	j.renewal, j.renewals[client] = now, now
	return true, nil
}

// mayTry reports whether Backoff has passed since the last failure, and no fetch is running.
func (j *JWKS) mayTry(now time.Time) bool {
	return j.running == nil && (j.failure == nil || now.Sub(j.tried) >= j.o.Backoff)
}

// start starts a fetch. It outlives its request, because others wait for it too.
func (j *JWKS) start(ctx context.Context) {
	done := make(chan struct{})
	j.running = done
	ctx = context.WithoutCancel(ctx)
	go func() {
		keys, err := j.fetch(ctx)
		j.mu.Lock()
		defer j.mu.Unlock()
		j.tried = j.o.Now()
		j.failure = err
		if err == nil {
			j.keys, j.fetched = keys, j.tried
		}
		j.running = nil
		close(done)
	}()
}

// wait waits for the running fetch, or starts one, and returns the cached keys. The caller holds
// the lock; wait releases it.
func (j *JWKS) wait(ctx context.Context) ([]publicKey, error) {
	if j.running == nil {
		j.start(ctx)
	}
	done := j.running
	j.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, redact.Errorf("public keys at %s: %w: %w", redact.Own(j.url), gaff.ErrUnverifiable, ctx.Err())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.keys != nil && j.o.Now().Sub(j.fetched) < j.o.MaxAge {
		return j.keys, nil
	}
	if j.failure != nil {
		return nil, j.failure
	}
	return nil, redact.Errorf("public keys at %s: %w", redact.Own(j.url), gaff.ErrUnverifiable)
}

func (j *JWKS) fetch(ctx context.Context) ([]publicKey, error) {
	doc, err := fetch(ctx, j.o.Client, j.url, j.o.MaxBytes)
	if err == nil {
		var keys []publicKey
		if keys, err = parseJWKS(doc); err == nil {
			return keys, nil
		}
	}
	return nil, redact.Errorf("public keys at %s: %w: %w", redact.Own(j.url), gaff.ErrUnverifiable, err)
}
