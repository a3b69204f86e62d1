package api

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/scoped"
	"gaff/internal/wire"
)

func (s *server) sources(ctx context.Context) ([]wire.Source, error) {
	counts, err := s.o.Store.Counts(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	docs := []wire.Source{}
	for _, info := range s.o.Gateway.Sources() {
		uses, err := s.o.Store.KeyUses(ctx, info.Name)
		if err != nil {
			return nil, err
		}
		doc := wire.NewSource(info, s.o.Address(info.Name), uses, counts.Sources)
		if s.o.SourceRecords != nil {
			doc = doc.WithState(s.o.SourceRecords.State(info.Name))
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func (s *server) listSources(ctx context.Context, in *wire.Page) (none wire.List[wire.Source], err error) {
	docs, err := s.sources(ctx)
	return cutList(*in, docs, err, func(d wire.Source) string { return d.Name }, func(d wire.Source) wire.Source { return d })
}

// cutList makes a page of rows that are few enough to be read at once; err is the error of reading
// them.
func cutList[R, D any](p wire.Page, rows []R, err error, key func(R) string, doc func(R) D) (none wire.List[D], _ error) {
	if err != nil {
		return none, err
	}
	page, err := wire.Cut(p, rows, key)
	return wire.NewList(page, doc), err
}

func (s *server) getSource(ctx context.Context, in *nameInput) (none wire.Source, err error) {
	docs, err := s.sources(ctx)
	if err != nil {
		return none, err
	}
	for _, doc := range docs {
		if doc.Name == in.Name && scopeOf(ctx).HasSource(in.Name) {
			return doc, nil
		}
	}
	return none, huma.Error404NotFound("source " + in.Name + ": not found; GET /api/v1/sources lists them")
}

type sampleInput struct {
	Name string `path:"name" maxLength:"64"`
	Body wire.SampleRequest
}

func (s *server) testSource(ctx context.Context, in *sampleInput) (none wire.SampleSent, err error) {
	if s.o.TestSource == nil {
		return none, huma.Error404NotFound("this gateway has no samples")
	}
	if !scopeOf(ctx).HasSource(in.Name) {
		return none, scoped.Hidden("source", in.Name)
	}
	sent, err := s.o.TestSource(ctx, in.Name, in.Body.Type)
	if err != nil {
		return none, err
	}
	remark(ctx, in.Name, map[string]any{"type": in.Body.Type, "event": sent.EventID, "answer": sent.Status})
	return sent, nil
}

func (s *server) reloadSources(ctx context.Context, _ *noInput) (none wire.Reloaded, err error) {
	if s.o.Reload == nil {
		return none, huma.Error501NotImplemented("this gateway has no configuration to read again")
	}
	changed, restart, err := s.o.Reload(ctx)
	if err != nil {
		return none, huma.Error409Conflict(fmt.Sprintf("the old configuration stays in force: %v", err))
	}
	return wire.NewReloaded(changed, restart), nil
}

// errNoKeys is returned by a gateway whose sources take no keys in handshakes.
var errNoKeys = huma.Error404NotFound("this gateway has no keys of handshakes")

func (s *server) getSourceKey(ctx context.Context, in *nameInput) (none wire.SourceKey, err error) {
	if s.o.HandedKey == nil {
		return none, errNoKeys
	}
	key, err := s.o.HandedKey(ctx, in.Name)
	if err == nil && key == "" {
		err = huma.Error404NotFound("source " + in.Name + ": no key was handed over")
	}
	return wire.SourceKey{Key: key}, err
}

type openKeyInput struct {
	Name string `path:"name"`
	Body wire.SourceKeyRequest
}

// openSourceKey lets a sender hand over its key. Without it anyone who knows the URL could be the
// first to do so.
func (s *server) openSourceKey(ctx context.Context, in *openKeyInput) (none wire.SourceKeyOpened, err error) {
	if s.o.OpenKey == nil {
		return none, errNoKeys
	}
	until, err := s.o.OpenKey(ctx, in.Name, time.Duration(in.Body.Seconds)*time.Second)
	return wire.SourceKeyOpened{Until: until.Format(time.RFC3339)}, err
}

func (s *server) removeSourceKey(ctx context.Context, in *nameInput) error {
	if s.o.RemoveKey == nil {
		return errNoKeys
	}
	return s.o.RemoveKey(ctx, in.Name)
}
