package api

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/wire"
)

// Rescuer verifies a rejected request again and stores it if it is authentic; a *gaff.Gateway
// implements it.
type Rescuer interface {
	Rescue(ctx context.Context, rejectionID string) (gaff.Rescued, error)
}

// errNoRescue is returned if the gateway is not a Rescuer.
var errNoRescue = huma.Error404NotFound("this gateway rescues nothing")

type rejectionsInput struct {
	wire.Page
	wire.RejectionQuery
}

func (s *server) listRejections(ctx context.Context, in *rejectionsInput) (wire.List[wire.Rejection], error) {
	f, err := in.Filter(in.After())
	if err != nil {
		return wire.List[wire.Rejection]{}, err
	}
	page, err := s.store(ctx).Rejections(ctx, f)
	return wire.NewList(page, wire.NewRejection), err
}

func (s *server) getRejection(ctx context.Context, in *idInput) (none wire.Rejection, err error) {
	r, err := s.store(ctx).Rejection(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewRejection(*r), nil
}

func (s *server) rescueRejection(ctx context.Context, in *idInput) (none wire.Rescued, err error) {
	rescuer, ok := s.o.Gateway.(Rescuer)
	if !ok {
		return none, errNoRescue
	}
	if err := reachable(ctx, in.ID, s.store(ctx).Rejection); err != nil {
		return none, err
	}
	out, err := rescuer.Rescue(ctx, in.ID)
	if errors.Is(err, gaff.ErrUnverifiable) {
		return none, huma.Error503ServiceUnavailable(err.Error())
	}
	return wire.Rescued(out), err
}
