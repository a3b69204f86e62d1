package api

import (
	"context"
	"fmt"
	"strings"

	"gaff"
	"gaff/internal/wire"
)

type deliveriesInput struct {
	wire.Page
	wire.DeliveryQuery
}

func (s *server) listDeliveries(ctx context.Context, in *deliveriesInput) (wire.List[wire.Delivery], error) {
	page, err := s.store(ctx).Deliveries(ctx, in.Filter(in.After()))
	return wire.NewList(page, wire.NewDelivery), err
}

func (s *server) getDelivery(ctx context.Context, in *idInput) (none wire.Delivery, err error) {
	d, attempts, err := s.store(ctx).Delivery(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewDeliveryDetail(*d, attempts), nil
}

func (s *server) delivery(ctx context.Context, id string) (*gaff.Delivery, error) {
	d, _, err := s.store(ctx).Delivery(ctx, id)
	return d, err
}

func (s *server) retryDelivery(ctx context.Context, in *idInput) (none wire.Started, err error) {
	if !strings.HasPrefix(in.ID, "dlv_") { // the gateway accepts ids of events too
		return none, fmt.Errorf("delivery %s: %w", in.ID, gaff.ErrNotFound)
	}
	if err := reachable(ctx, in.ID, s.delivery); err != nil {
		return none, err
	}
	ids, err := s.o.Gateway.Retry(ctx, in.ID)
	return wire.NewStarted(ids), err
}

func (s *server) cancelDelivery(ctx context.Context, in *idInput) (none wire.Delivery, err error) {
	if err := reachable(ctx, in.ID, s.delivery); err != nil {
		return none, err
	}
	if err := s.o.Gateway.Cancel(ctx, in.ID); err != nil {
		return none, err
	}
	d, _, err := s.store(ctx).Delivery(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewDelivery(*d), nil
}
