package api

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
	"gaff/jobs"
)

func (s *server) listProjects(ctx context.Context, in *struct{ wire.Page }) (wire.List[wire.Project], error) {
	page, err := s.store(ctx).Projects(ctx, in.After())
	return wire.NewList(page, wire.NewProject), err
}

func (s *server) getProject(ctx context.Context, in *anyIDInput) (none wire.Project, err error) {
	p, err := s.store(ctx).Project(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewProject(*p), nil
}

type projectInput struct{ Body wire.ProjectUpdate }

func (s *server) saveProject(ctx context.Context, in *projectInput) (none wire.Project, err error) {
	ws, err := s.workflows()
	if err != nil {
		return none, err
	}
	p := &jobs.Project{ID: in.Body.ID, Name: in.Body.Name, Owner: in.Body.Owner, PublicMedia: in.Body.PublicMedia}
	if in.Body.Metadata != nil {
		if p.Metadata, err = json.Marshal(in.Body.Metadata); err != nil {
			return none, huma.Error400BadRequest("metadata: " + err.Error())
		}
	}
	remark(ctx, p.ID, nil)
	if err := ws.SaveProject(ctx, p); err != nil {
		return none, err
	}
	return s.getProject(ctx, &anyIDInput{ID: p.ID})
}
