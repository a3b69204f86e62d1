package app

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/alert"
	"gaff/internal/config"
	"gaff/internal/safehttp"
	"gaff/internal/watch"
)

// chatTime bounds a request to a chat service.
const chatTime = 30 * time.Second

// addAlerts makes the monitor and its handler. It comes after the destinations.
func (p *process) addAlerts(context.Context) error {
	rules, channels, err := p.alertChannels()
	if err != nil {
		return err
	}
	a := p.cfg.Alerts
	p.monitor = watch.New(watch.Options{
		Store: p.store, Router: p.gateway, Log: p.log, Rules: rules, Channels: channels, BaseURL: p.cfg.BaseURL, Every: a.Every,
		Checks: []watch.Check{
			watch.DeadDeliveries(p.store), watch.FailingDestinations(p.destinations.Healths), watch.DisabledDestinations(p.destinations.Healths),
			watch.SilentSources(p.store), watch.RisingRejections(p.store, p.gateway.Sources, int64(a.Rejections)),
			watch.OverdueJobs(p.store, a.JobOverdue), watch.WaitingRuns(p.store, a.RunWaiting),
			watch.LowDisk(p.cfg.DataDir, nodeName(), uint64(a.DiskFree)), watch.SchemaViolations(&p.violations),
		},
	})
	p.monitor.Attach(p.gateway)
	return nil
}

// nodeName names this node in alerts.
func nodeName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "this node"
	}
	return name
}

// alertChannels makes the channels of the configuration, and the rules for them.
func (p *process) alertChannels() (rules alert.Rules, channels map[string]watch.Channel, err error) {
	allow, err := safehttp.Prefixes(p.cfg.AllowAddresses)
	if err != nil {
		return rules, nil, err
	}
	client := safehttp.New(safehttp.Options{Allow: allow, Timeout: chatTime})
	a := p.cfg.Alerts
	rules, channels = alert.Rules{Interval: a.Interval, Remind: a.Remind, Wait: a.Wait}, map[string]watch.Channel{}
	for _, name := range slices.Sorted(maps.Keys(a.Channels)) {
		c := a.Channels[name]
		rule := alert.Rule{Channel: name, Destination: c.Destination}
		if rule.Wants, err = alert.ParseWants(c.Events); err != nil {
			return rules, nil, fmt.Errorf("alerts.channels.%s: %w", name, err)
		}
		quiet, err := alert.ParseQuiet(c.Quiet, c.Timezone)
		if err != nil {
			return rules, nil, fmt.Errorf("alerts.channels.%s: %w", name, err)
		}
		rule.Quiet = quiet.At
		rules.Channels = append(rules.Channels, rule)
		switch {
		case c.Email != nil:
			channels[name] = c.Email.Mail().Channel()
		case c.Slack != "":
			channels[name] = watch.Posted(client, "Slack", string(c.Slack), alert.Text.Slack)
		case c.Discord != "":
			channels[name] = watch.Posted(client, "Discord", string(c.Discord), alert.Text.Discord)
		case c.Teams != "":
			channels[name] = watch.Posted(client, "Teams", string(c.Teams), alert.Text.Teams)
		default:
			channels[name] = destinationChannel(p.destinations, c)
		}
	}
	return rules, channels, nil
}

// destinationChannel is a channel that is a destination: it signs, retries and reports as for
// any other event.
func destinationChannel(m *destination.Manager, c config.AlertChannel) watch.Channel {
	return watch.Channel{
		About: "destination " + c.Destination, Destination: c.Destination,
		Deliver: func() (gaff.Delivery, error) { return m.DeliveryTo(c.Destination) },
		Test: func(ctx context.Context) error {
			_, err := m.Test(ctx, c.Destination)
			return err
		},
	}
}
