package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
)

type compactInput struct {
	Body struct {
		Full bool `json:"full,omitempty" doc:"Also compact a large database. Webhooks are answered 503 meanwhile, and their senders retry."`
	}
}

func (s *server) compact(ctx context.Context, in *compactInput) (none wire.Compacted, err error) {
	if s.o.Compact == nil {
		return none, huma.Error404NotFound("this gateway compacts no database")
	}
	lengthen(ctx, eraseTime)
	work, stop := context.WithTimeout(context.WithoutCancel(ctx), eraseTime)
	defer stop()
	before, after, note, err := s.o.Compact(work, in.Body.Full)
	if err != nil {
		return none, err
	}
	remark(ctx, "", map[string]int64{"before": before, "after": after})
	return wire.Compacted{Before: before, After: after, Note: wire.Text(note)}, nil
}
