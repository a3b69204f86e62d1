package app

import (
	"context"
	"fmt"

	"gaff/internal/config"
	"gaff/internal/secretbox"
	"gaff/internal/wire"
)

// secrets counts the stored secrets by their keys.
func (p *process) secrets(ctx context.Context) (doc wire.Secrets, err error) {
	box, err := secretBox(p.reload.config())
	if err != nil {
		return doc, err
	}
	return p.countSecrets(ctx, box)
}

func (p *process) countSecrets(ctx context.Context, box *secretbox.Box) (doc wire.Secrets, err error) {
	c, err := p.store.CountSecrets(ctx, box)
	return wire.Secrets{Enabled: box != nil, Current: c.Current, Older: c.Older, Plain: c.Plain, Locked: c.Locked}, err
}

// rotateSecrets reads the keys of the configuration again, and encrypts the stored secrets with the
// first one.
func (p *process) rotateSecrets(ctx context.Context) (doc wire.Secrets, err error) {
	cfg := p.reload.config()
	if !cfg.Fixed {
		if cfg, err = cfg.Reload(); err != nil {
			return doc, fmt.Errorf("read the configuration: %w", err)
		}
	}
	box, err := secretBox(cfg)
	if err != nil {
		return doc, err
	}
	sealed, err := p.store.UseSecretKeys(ctx, box)
	if err != nil {
		return doc, err
	}
	p.reload.useSecretsKeys(cfg.SecretsKeys)
	p.log.InfoContext(ctx, "secrets in the database were encrypted with the first key", "secrets", sealed)
	doc, err = p.countSecrets(ctx, box)
	doc.Encrypted = sealed
	return doc, err
}

// config returns the configuration in force.
func (r *reloader) config() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg
}

// useSecretsKeys notes the keys in force.
func (r *reloader) useSecretsKeys(keys []config.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg := *r.cfg
	cfg.SecretsKeys = keys
	r.cfg = &cfg
}
