package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"gaff/destination"
	"gaff/internal/redact"
	"gaff/internal/wire"
)

// destinations returns the manager, or an error without one.
func (s *server) destinations() (*destination.Manager, error) {
	if s.o.Forwarding == nil {
		return nil, huma.Error404NotFound("this gateway forwards nothing")
	}
	return s.o.Forwarding, nil
}

// managed calls the manager for a destination that the caller reaches, and makes its document.
func (s *server) managed(ctx context.Context, name string, call func(*destination.Manager) (destination.Managed, error)) (none wire.Destination, err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	if err := ownDestination(ctx, name); err != nil {
		return none, err
	}
	d, err := call(m)
	if err != nil {
		return none, err
	}
	return wire.NewDestination(d, isViewer(ctx)), nil
}

func (s *server) listDestinations(ctx context.Context, in *wire.Page) (none wire.List[wire.Destination], err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	all, err := m.List(ctx)
	return cutList(*in, all, err, func(d destination.Managed) string { return d.Name }, func(d destination.Managed) wire.Destination {
		return wire.NewDestination(d, isViewer(ctx))
	})
}

func (s *server) getDestination(ctx context.Context, in *nameInput) (wire.Destination, error) {
	return s.managed(ctx, in.Name, func(m *destination.Manager) (destination.Managed, error) { return m.Get(ctx, in.Name) })
}

type destinationInput struct{ Body destination.Spec }

func (s *server) createDestination(ctx context.Context, in *destinationInput) (none wire.NewSecretDestination, err error) {
	spec, secret := in.Body, ""
	if (spec.Kind == "" || spec.Kind == destination.KindHTTP) && spec.Format != destination.FormatOriginal && spec.Secrets == nil {
		secret = destination.NewSecret()
		spec.Secrets = []string{secret}
	}
	doc, err := s.managed(ctx, in.Body.Name, func(m *destination.Manager) (destination.Managed, error) {
		d, err := m.Create(ctx, spec)
		if err == nil {
			remark(ctx, d.Name, map[string]any{"kind": d.Kind, "url": redact.Address(d.URL), "events": d.Events})
		}
		return d, err
	})
	return wire.NewSecretDestination{Destination: doc, Secret: wire.Text(secret)}, err
}

type patchInput struct {
	Name string `path:"name" maxLength:"64"`
	Body json.RawMessage
}

// describeDestinationPatch describes a body that is validated after it is merged.
func describeDestinationPatch(op *huma.Operation) {
	op.SkipValidateBody = true
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: "object", Description: "The fields of create-destination to change; null resets a field to its default."}},
	}}
}

func (s *server) updateDestination(ctx context.Context, in *patchInput) (wire.Destination, error) {
	return s.managed(ctx, in.Name, func(m *destination.Manager) (destination.Managed, error) {
		return m.Update(ctx, in.Name, func(spec *destination.Spec) error { return destination.Merge(spec, in.Body) })
	})
}

func (s *server) deleteDestination(ctx context.Context, in *nameInput) error {
	m, err := s.destinations()
	if err != nil {
		return err
	}
	return m.Delete(ctx, in.Name)
}

type pauseInput struct {
	Name string `path:"name" maxLength:"64"`
	Body *wire.Pause
}

func (s *server) pauseDestination(ctx context.Context, in *pauseInput) (wire.Destination, error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return s.managed(ctx, in.Name, func(m *destination.Manager) (destination.Managed, error) {
		return m.SetState(ctx, in.Name, destination.StatePaused, reason)
	})
}

func (s *server) resumeDestination(ctx context.Context, in *nameInput) (wire.Destination, error) {
	return s.managed(ctx, in.Name, func(m *destination.Manager) (destination.Managed, error) {
		return m.SetState(ctx, in.Name, destination.StateActive, "")
	})
}

type rotateInput struct {
	Name string `path:"name" maxLength:"64"`
	Body *wire.Rotation
}

func (s *server) rotateDestination(ctx context.Context, in *rotateInput) (none wire.NewSecretDestination, err error) {
	var secret string
	doc, err := s.managed(ctx, in.Name, func(m *destination.Manager) (d destination.Managed, err error) {
		d, secret, err = m.Rotate(ctx, in.Name, in.Body == nil || !in.Body.Drop)
		return d, err
	})
	return wire.NewSecretDestination{Destination: doc, Secret: wire.Text(secret)}, err
}

func (s *server) testDestination(ctx context.Context, in *nameInput) (none wire.Exchange, err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	if err := ownDestination(ctx, in.Name); err != nil {
		return none, err
	}
	ex, err := m.Test(ctx, in.Name)
	if ex == nil && err == nil {
		err = fmt.Errorf("destination %s: nothing was sent", in.Name)
	}
	if ex == nil {
		return none, err
	}
	return wire.NewExchange(ex, err), nil
}
