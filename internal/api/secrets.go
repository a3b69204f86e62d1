package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
)

// Secrets counts and encrypts the secrets in the database.
type Secrets struct {
	Count, Rotate func(ctx context.Context) (wire.Secrets, error)
	// SigningKeys lists gaff's own keys; RotateSigningKey makes a new one. With drop, the keys before the
	// one that signs now are no longer accepted. Its errors are gaff.ErrNotFound and gaff.ErrConflict.
	SigningKeys      func() []wire.SigningKey
	RotateSigningKey func(ctx context.Context, name string, drop bool) (wire.SigningKey, error)
}

func (s *server) getSecrets(ctx context.Context, _ *noInput) (none wire.Secrets, err error) {
	if s.o.Secrets.Count == nil {
		return none, huma.Error404NotFound("this gateway encrypts no secrets")
	}
	return s.o.Secrets.Count(ctx)
}

func (s *server) rotateSecrets(ctx context.Context, _ *noInput) (none wire.Secrets, err error) {
	if s.o.Secrets.Rotate == nil {
		return none, huma.Error404NotFound("this gateway encrypts no secrets")
	}
	doc, err := s.o.Secrets.Rotate(ctx)
	if err != nil {
		return none, huma.Error409Conflict(err.Error())
	}
	return doc, nil
}

func (s *server) listSigningKeys(context.Context, *noInput) (doc wire.SigningKeys, err error) {
	doc.Docs = []wire.SigningKey{}
	if s.o.Secrets.SigningKeys != nil {
		doc.Docs = s.o.Secrets.SigningKeys()
	}
	return doc, nil
}

type rotateKeyInput struct {
	Name string `path:"name" maxLength:"64"`
	Body wire.KeyRotation
}

func (s *server) rotateSigningKey(ctx context.Context, in *rotateKeyInput) (none wire.SigningKey, err error) {
	if s.o.Secrets.RotateSigningKey == nil {
		return none, huma.Error404NotFound("this gateway has no keys of its own")
	}
	return s.o.Secrets.RotateSigningKey(ctx, in.Name, in.Body.Drop)
}
