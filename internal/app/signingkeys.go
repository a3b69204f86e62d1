package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/sharedkey"
	"gaff/internal/wire"
)

// followEvery is the time between two looks for keys that another node rotated. A new key signs after
// jobs.AnnounceKeys, which is longer.
const followEvery = 10 * time.Second

// The names of gaff's own keys.
const (
	keyOfLinks     = "links"
	keyOfWebhooks  = "webhooks"
	keyOfCallbacks = "callbacks"
)

// keyNames are in the order of the list.
var keyNames = []string{keyOfLinks, keyOfWebhooks, keyOfCallbacks}

// ownKeys returns a key of gaff's own; nil if this gateway does not have it.
func (p *process) ownKeys(name string) *sharedkey.Keys {
	switch {
	case name == keyOfLinks && p.files.Server != nil:
		return p.files.Keys()
	case name == keyOfWebhooks:
		return p.jobs.WebhookKeys()
	case name == keyOfCallbacks:
		return p.jobs.CallbackKeys()
	}
	return nil
}

// followKeys reads the keys again, until ctx ends.
func (p *process) followKeys(ctx context.Context) {
	if p.cfg.DatabaseURL == "" {
		return // this process alone changes them
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(followEvery):
		}
		for _, name := range keyNames {
			k := p.ownKeys(name)
			if k == nil {
				continue
			}
			if err := k.Refresh(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
				p.log.Warn("signing keys", "key", name, "error", err)
			}
		}
	}
}

func (p *process) signingKeys() (list []wire.SigningKey) {
	for _, name := range keyNames {
		if k := p.ownKeys(name); k != nil {
			list = append(list, wire.SigningKey{Name: name, Accepted: len(k.All())})
		}
	}
	return list
}

func (p *process) rotateSigningKey(ctx context.Context, name string, drop bool) (doc wire.SigningKey, err error) {
	k := p.ownKeys(name)
	switch {
	case k == nil && name == keyOfCallbacks:
		return doc, fmt.Errorf("%w: GAFF_CALLBACK_SECRET has the secrets of callbacks: change it there, the new one in front", gaff.ErrConflict)
	case k == nil:
		return doc, fmt.Errorf("%w: no key %q: want links, webhooks or callbacks", gaff.ErrNotFound, excerpt.Text(name, 60))
	}
	from, err := k.Rotate(ctx, drop)
	if errors.Is(err, sharedkey.ErrFull) {
		err = fmt.Errorf("%w: %w", gaff.ErrConflict, err)
	}
	if err != nil {
		return doc, err
	}
	p.log.InfoContext(ctx, "a signing key was rotated", "key", name, "accepted", len(k.All()), "signs_from", from)
	return wire.SigningKey{Name: name, Accepted: len(k.All()), SignsFrom: wire.Time{Time: from}}, nil
}
