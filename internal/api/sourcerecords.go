package api

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"gaff/internal/wire"
)

// maxSourceBody bounds the description of a source, in bytes.
const maxSourceBody = 128 << 10

// defaultPauseReason is the reason of a pause that names none.
const defaultPauseReason = "paused by an operator"

// sourceRecords returns what creates and changes sources, or an error without it.
func (s *server) sourceRecords() (SourceRecords, error) {
	if s.o.SourceRecords == nil {
		return nil, huma.Error404NotFound("this gateway creates no sources by the API")
	}
	return s.o.SourceRecords, nil
}

// changeSource calls the records and makes the source's document.
func (s *server) changeSource(ctx context.Context, name string, change func(SourceRecords) error) (none wire.Source, err error) {
	records, err := s.sourceRecords()
	if err != nil {
		return none, err
	}
	if err := change(records); err != nil {
		return none, err
	}
	return s.getSource(ctx, &nameInput{name})
}

type sourceInput struct{ Body wire.SourceSpec }

func (s *server) createSource(ctx context.Context, in *sourceInput) (none wire.NewSecretSource, err error) {
	var secret string
	doc, err := s.changeSource(ctx, in.Body.Name, func(r SourceRecords) error {
		secret, err = r.Create(ctx, in.Body)
		return err
	})
	if err != nil {
		return none, err
	}
	remark(ctx, in.Body.Name, map[string]any{"preset": in.Body.Preset})
	return wire.NewSecretSource{Source: doc, Secret: wire.Text(secret)}, nil
}

type sourcePatchInput struct {
	Name string `path:"name" maxLength:"64"`
	Body json.RawMessage
}

// describeSourcePatch describes a body that is validated after it is merged.
func describeSourcePatch(op *huma.Operation) {
	op.SkipValidateBody = true
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: "object", Description: "The members of create-source to change; null resets a member."}},
	}}
}

func (s *server) updateSource(ctx context.Context, in *sourcePatchInput) (wire.Source, error) {
	return s.changeSource(ctx, in.Name, func(r SourceRecords) error { return r.Update(ctx, in.Name, in.Body) })
}

func (s *server) deleteSource(ctx context.Context, in *nameInput) error {
	records, err := s.sourceRecords()
	if err != nil {
		return err
	}
	return records.Delete(ctx, in.Name)
}

type sourceRotateInput struct {
	Name string `path:"name" maxLength:"64"`
	Body *wire.SourceRotation
}

func (s *server) rotateSource(ctx context.Context, in *sourceRotateInput) (none wire.NewSecretSource, err error) {
	var rotation wire.SourceRotation
	if in.Body != nil {
		rotation = *in.Body
	}
	var secret string
	doc, err := s.changeSource(ctx, in.Name, func(r SourceRecords) error {
		secret, err = r.Rotate(ctx, in.Name, rotation)
		return err
	})
	return wire.NewSecretSource{Source: doc, Secret: wire.Text(secret)}, err
}

func (s *server) pauseSource(ctx context.Context, in *pauseInput) (wire.Source, error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return s.changeSource(ctx, in.Name, func(r SourceRecords) error {
		return r.SetPaused(ctx, in.Name, cmp.Or(reason, defaultPauseReason))
	})
}

func (s *server) resumeSource(ctx context.Context, in *nameInput) (wire.Source, error) {
	return s.changeSource(ctx, in.Name, func(r SourceRecords) error { return r.SetPaused(ctx, in.Name, "") })
}
