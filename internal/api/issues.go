package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/alert"
	"gaff/internal/issue"
	"gaff/internal/wire"
)

// Alerts are what the API needs of a monitor; a *watch.Monitor implements it.
type Alerts interface {
	Alerts(ctx context.Context) ([]alert.Alert, error)
	Channels() []alert.ChannelInfo
	Test(ctx context.Context, channel string) ([]alert.Tested, error)
}

type issuesInput struct {
	wire.Page
	wire.IssueQuery
}

func (s *server) listIssues(ctx context.Context, in *issuesInput) (wire.List[wire.Issue], error) {
	page, err := s.o.Store.Issues(ctx, in.Filter(in.After()))
	return wire.NewList(page, wire.NewIssue), err
}

func (s *server) getIssue(ctx context.Context, in *idInput) (none wire.Issue, err error) {
	i, err := s.o.Store.Issue(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewIssue(*i), nil
}

// setIssue returns the handler that puts an issue into a state.
func (s *server) setIssue(to issue.State) func(context.Context, *idInput) (wire.Issue, error) {
	return func(ctx context.Context, in *idInput) (none wire.Issue, err error) {
		i, err := s.o.Store.SetIssueState(ctx, in.ID, to, noteOf(ctx).who.String())
		if err != nil {
			return none, err
		}
		return wire.NewIssue(*i), nil
	}
}

// retryIssue starts a bulk action over an issue: a retry of dead deliveries, or a rescue of
// rejected requests.
func (s *server) retryIssue(ctx context.Context, in *idInput) (none wire.Bulk, err error) {
	i, err := s.o.Store.Issue(ctx, in.ID)
	if err != nil {
		return none, err
	}
	action := "retry"
	if i.Kind == issue.Rejection {
		action = "rescue"
	}
	return s.startBulk(ctx, &bulkInput{Body: wire.BulkRequest{Action: action, Issue: i.ID}})
}

// ofIssue lists the dead deliveries, or the rescuable requests, of an issue.
func (s *server) ofIssue(ctx context.Context, ask wire.BulkRequest) (ids []string, more bool, err error) {
	if ask.Source+ask.Type+ask.Status+ask.Query+ask.Since+ask.Until != "" {
		return nil, false, huma.Error400BadRequest("issue: cannot be combined with other filters")
	}
	i, err := s.o.Store.Issue(ctx, ask.Issue)
	switch {
	case err != nil:
		return nil, false, err
	case ask.Action == "retry" && i.Kind == issue.Delivery:
		ids, err = s.o.Store.IssueDeliveries(ctx, i.ID, maxBulk+1)
		return ids[:min(len(ids), maxBulk)], len(ids) > maxBulk, err
	case ask.Action == "rescue" && i.Kind == issue.Rejection:
		return s.rescuable(ctx, wire.BulkRequest{Source: i.Source}, func(r gaff.Rejection) bool {
			return issue.OfRejection(r.Source, r.Status, r.Reason).ID() == i.ID
		})
	}
	return nil, false, huma.Error400BadRequest("issue: " + i.ID + " is of kind " + i.Kind.String() + ": want action retry for deliveries, rescue for rejections")
}

func (s *server) alerts() (Alerts, error) {
	if s.o.Alerts == nil {
		return nil, huma.Error404NotFound("this gateway raises no alerts")
	}
	return s.o.Alerts, nil
}

type alertsInput struct {
	wire.Page
	wire.AlertQuery
}

func (s *server) listAlerts(ctx context.Context, in *alertsInput) (none wire.List[wire.Alert], err error) {
	m, err := s.alerts()
	if err != nil {
		return none, err
	}
	all, err := m.Alerts(ctx)
	var chosen []alert.Alert
	for _, a := range all {
		if in.Active == "" || a.Active == (in.Active == "true") {
			chosen = append(chosen, a)
		}
	}
	return cutList(in.Page, chosen, err, func(a alert.Alert) string { return a.Kind + " " + a.Cause }, wire.NewAlert)
}

func (s *server) listAlertChannels(_ context.Context, in *wire.Page) (none wire.List[wire.AlertChannel], err error) {
	m, err := s.alerts()
	if err != nil {
		return none, err
	}
	return cutList(*in, m.Channels(), nil, func(c alert.ChannelInfo) string { return c.Name }, func(c alert.ChannelInfo) wire.AlertChannel {
		return wire.AlertChannel(c)
	})
}

type alertTestInput struct{ Body wire.AlertTest }

func (s *server) testAlerts(ctx context.Context, in *alertTestInput) (none wire.AlertTests, err error) {
	m, err := s.alerts()
	if err != nil {
		return none, err
	}
	all, err := m.Test(ctx, in.Body.Channel)
	if err != nil {
		return none, err
	}
	return wire.NewAlertTests(all), nil
}
