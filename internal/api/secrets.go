package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
)

// Secrets counts and encrypts the secrets in the database.
type Secrets struct {
	Count, Rotate func(ctx context.Context) (wire.Secrets, error)
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
