package api

import (
	"context"
	"maps"
	"slices"

	"gaff"
	"gaff/internal/search"
	"gaff/internal/wire"
)

// maxHits is how many hits of each kind a page has.
const maxHits = 50

type searchInput struct {
	Query string `query:"q" required:"true" minLength:"1" maxLength:"256" doc:"An id, a name, or words of a prompt or model."`
	wire.Page
}

func (s *server) search(ctx context.Context, in *searchInput) (none wire.List[wire.SearchHit], err error) {
	found, err := search.Find(ctx, s.store(ctx), s.names(), in.Query, in.Cursor, min(in.Limit, maxHits))
	return wire.NewList(gaff.Page[search.Hit]{Items: found.Hits, Next: found.Rest}, wire.NewSearchHit), err
}

// names are the configured things that a search finds.
func (s *server) names() search.Names {
	names := search.Names{}
	for _, source := range s.o.Gateway.Sources() {
		names["source"] = append(names["source"], source.Name)
	}
	if s.o.Forwarding != nil {
		names["destination"] = slices.Sorted(maps.Keys(s.o.Forwarding.Healths()))
	}
	if s.o.Workflows != nil {
		for _, w := range s.o.Workflows.Workflows() {
			names["workflow"] = append(names["workflow"], w.Name)
		}
	}
	return names
}
