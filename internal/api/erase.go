package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/erase"
	"gaff/internal/wire"
)

// Eraser deletes data; an *erase.Service implements it.
type Eraser interface {
	Find(ctx context.Context, t erase.Target) (*erase.Found, error)
	Erase(ctx context.Context, t erase.Target, cancel bool, by string) (*erase.Erased, error)
}

// eraseTime bounds an erasure. One that takes longer can be repeated, and continues.
const eraseTime = time.Hour

func (s *server) erasureRoutes() []route {
	const about = "The answer counts the deleted rows and files. An interrupted erasure can be repeated."
	missing := fails(http.StatusNotFound)
	return []route{
		post("/api/v1/erasures", "erase", Admin, "Erase everything of a user, a project, a job or an event, or a file", s.erase, fails(http.StatusBadRequest), missing, says(about)),
		get("/api/v1/secrets", "get-secrets", Admin, "Count the secrets in the database by the keys that encrypt them", s.getSecrets),
		post("/api/v1/secrets/rotate", "rotate-secrets", Admin, "Read the keys again, and encrypt the secrets in the database with the first one", s.rotateSecrets),
		get("/api/v1/signing-keys", "list-signing-keys", Admin, "List the keys of gaff's own that sign links, webhook URLs and callbacks", s.listSigningKeys),
		post("/api/v1/signing-keys/{name}/rotate", "rotate-signing-key", Admin, "Sign with a new key; the former ones are still accepted", s.rotateSigningKey, missing),
		post("/api/v1/compact", "compact", Admin, "Give the free space of the database back, and remove deleted rows from it", s.compact),
		end("/api/v1/events/{id}", "erase-event", Admin, "Erase an event, and what gaff emitted because of it", s.eraseOne(erase.Event), says(about)),
		end("/api/v1/jobs/{id}", "erase-job", Admin, "Erase a job with its files and events", s.eraseOne(erase.Job), says(about)),
		end("/api/v1/media/{id}", "erase-media", Admin, "Delete a file and its copy; its job stays", s.eraseOne(erase.Media), says(about)),
		end("/api/v1/projects/{id}", "erase-project", Admin, "Erase a project with its jobs, files, runs and events", s.eraseOne(erase.Project), says(about)),
	}
}

type eraseInput struct {
	ID     string `path:"id" maxLength:"1024"`
	DryRun bool   `query:"dryRun" doc:"Only count."`
	Cancel bool   `query:"cancel" doc:"First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict."`
}

func (s *server) eraseOne(kind erase.Kind) func(context.Context, *eraseInput) (wire.Erasure, error) {
	return func(ctx context.Context, in *eraseInput) (wire.Erasure, error) {
		return s.eraseTarget(ctx, erase.Target{Kind: kind, ID: in.ID}, in.Cancel, in.DryRun)
	}
}

type erasureInput struct{ Body wire.ErasureRequest }

func (s *server) erase(ctx context.Context, in *erasureInput) (none wire.Erasure, err error) {
	t, err := in.Body.Target()
	if err != nil {
		return none, huma.Error400BadRequest(err.Error())
	}
	return s.eraseTarget(ctx, t, in.Body.Cancel, in.Body.DryRun)
}

// eraseTarget erases, or counts. The audit log has the pseudonym in place of the id.
func (s *server) eraseTarget(ctx context.Context, t erase.Target, cancel, dryRun bool) (none wire.Erasure, err error) {
	if s.o.Eraser == nil {
		return none, huma.Error404NotFound("this gateway erases nothing")
	}
	lengthen(ctx, eraseTime)
	if dryRun {
		unaudited(ctx)
		found, err := s.o.Eraser.Find(ctx, t)
		if err != nil {
			return none, err
		}
		return wire.NewErasure(t, found, true), nil
	}
	by := ""
	if n := noteOf(ctx); n != nil {
		by = n.who.String()
	}
	// The erasure continues if the caller goes away.
	work, stop := context.WithTimeout(context.WithoutCancel(ctx), eraseTime)
	defer stop()
	e, err := s.o.Eraser.Erase(work, t, cancel, by)
	if err != nil {
		return none, err
	}
	doc := wire.NewErasure(t, &e.Found, false)
	doc.Done(e)
	remark(ctx, e.Pseudonym, map[string]any{"kind": t.Kind, "erased": e.Counts})
	return doc, nil
}
