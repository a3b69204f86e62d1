package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/scoped"
	"gaff/internal/wire"
)

// LoginPath is the path of one-time links; the code follows.
const LoginPath = "/login/"

// accessGuard returns the guard of keys and sessions, or an error without one.
func (s *server) accessGuard() (*access.Guard, error) {
	if s.o.Guard == nil {
		return nil, huma.Error404NotFound("this gateway has one token and no keys")
	}
	return s.o.Guard, nil
}

func (s *server) getMe(ctx context.Context, _ *noInput) (wire.Me, error) {
	return wire.NewMe(noteOf(ctx).who), nil
}

func (s *server) listKeys(ctx context.Context, in *wire.Page) (none wire.List[wire.Key], err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	keys, err := g.Keys(ctx)
	return cutList(*in, keys, err, func(k access.Key) string { return k.ID }, wire.NewKey)
}

type keyInput struct{ Body wire.KeyRequest }

func (s *server) createKey(ctx context.Context, in *keyInput) (none wire.CreatedKey, err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	expires, err := wire.Until("expiresAt", in.Body.ExpiresAt)
	if err != nil {
		return none, err
	}
	role, _ := access.ParseRole(in.Body.Role)
	scope := access.Scope{Project: in.Body.Scope.ProjectID, Source: in.Body.Scope.Source, Destination: in.Body.Scope.Destination, Operations: in.Body.Scope.Operations}
	if err := s.checkScope(ctx, scope); err != nil {
		return none, err
	}
	k, secret, err := g.CreateKey(ctx, noteOf(ctx).who, access.KeyParams{Name: in.Body.Name, Role: role, ExpiresAt: expires, Scope: scope, Rate: in.Body.Rate})
	if err != nil {
		return none, err
	}
	remark(ctx, k.ID, map[string]any{"name": k.Name, "role": k.Role.String(), "expiresAt": wire.Time{Time: k.ExpiresAt}, "scope": k.Scope.String(), "rate": k.Rate})
	return wire.CreatedKey{Key: wire.NewKey(k), Secret: secret}, nil
}

// checkScope returns an error for an operation, source or destination that does not exist: a misspelled one
// would leave a key that can do nothing, and nobody would know why.
func (s *server) checkScope(ctx context.Context, scope access.Scope) error {
	for _, op := range scope.Operations {
		if !slices.ContainsFunc(s.routes(), func(r route) bool { return r.op.OperationID == op }) {
			return wire.Invalid(fmt.Sprintf("scope.operations: unknown operation %.60q: want an operationId of /api/openapi.json", op))
		}
	}
	if scope.Source != "" && scope.Source != gaff.PublishedSource && !slices.ContainsFunc(s.o.Gateway.Sources(), func(info gaff.SourceInfo) bool { return info.Name == scope.Source }) {
		return wire.Invalid(fmt.Sprintf("scope.source: unknown source %.60q; GET /api/v1/sources lists them", scope.Source))
	}
	if scope.Destination != "" {
		if m, err := s.destinations(); err != nil {
			return err
		} else if _, err := m.Get(ctx, scope.Destination); err != nil {
			return wire.Invalid(fmt.Sprintf("scope.destination: unknown destination %.60q; GET /api/v1/destinations lists them", scope.Destination))
		}
	}
	return nil
}

type tokenInput struct{ Body wire.TokenRequest }

func (s *server) createToken(ctx context.Context, in *tokenInput) (none wire.BrowserToken, err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	age, err := wire.Duration("expiresIn", in.Body.ExpiresIn, 0)
	if err != nil {
		return none, err
	}
	scope := access.Scope{Project: in.Body.ProjectID, Job: in.Body.JobID, Run: in.Body.RunID}
	if err := s.mayGrant(ctx, scope); err != nil {
		return none, err
	}
	token, expires, err := g.CreateBrowserToken(ctx, noteOf(ctx).who, scope, age)
	remark(ctx, scope.Project+scope.Job+scope.Run, map[string]any{"scope": scope.String(), "expiresAt": wire.Time{Time: expires}})
	return wire.BrowserToken{Token: token, ExpiresAt: wire.Time{Time: expires}}, err
}

// mayGrant returns an error unless a scope names one project, job or run that the caller reaches.
func (s *server) mayGrant(ctx context.Context, scope access.Scope) error {
	store := s.store(ctx)
	switch scope.Reach() { //nolint:exhaustive // no other part can be granted
	case access.ReachProject:
		if own := scopeOf(ctx); own.Limited() && own.Project != scope.Project {
			return scoped.Hidden("project", scope.Project)
		}
		return nil
	case access.ReachJob:
		_, err := store.Job(ctx, scope.Job)
		return err
	case access.ReachRun:
		_, err := store.Run(ctx, scope.Run)
		return err
	}
	return wire.Invalid("a token is for one project, job or run: set one of projectId, jobId and runId")
}

type revokeInput struct {
	ID   string `path:"id"`
	Made bool   `query:"made" doc:"Also the keys that it created, and those that these created: for a key that was stolen. It may be revoked already."`
}

func (s *server) revokeKey(ctx context.Context, in *revokeInput) error {
	g, err := s.accessGuard()
	if err != nil {
		return err
	}
	err = g.RevokeKey(ctx, in.ID)
	if in.Made && (err == nil || errors.Is(err, gaff.ErrConflict)) {
		var ended []string
		ended, err = g.RevokeMade(ctx, in.ID)
		remark(ctx, in.ID, map[string]any{"made": ended})
	}
	return err
}

func (s *server) listSessions(ctx context.Context, in *wire.Page) (none wire.List[wire.Session], err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	sessions, err := g.Sessions(ctx)
	return cutList(*in, sessions, err, func(s access.Session) string { return s.ID }, wire.NewSession)
}

func (s *server) endSession(ctx context.Context, in *idInput) error {
	g, err := s.accessGuard()
	if err != nil {
		return err
	}
	return g.EndSession(ctx, in.ID)
}

func (s *server) createLoginLink(ctx context.Context, _ *noInput) (none wire.LoginLink, err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	code, expires, err := g.NewLink(ctx, noteOf(ctx).who)
	return wire.LoginLink{Path: LoginPath + code, ExpiresAt: wire.Time{Time: expires}}, err
}
