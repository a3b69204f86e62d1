// Package watch looks for what needs an operator's attention, emits operational events about
// it and sends messages by channels: email, Slack, Discord, Teams, destinations. Package alert
// decides what to send, and when.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/alert"
)

// HandlerName is the name of the handler that sends messages to channels.
const HandlerName = "alerts"

// Router names the deliveries that an event leads to; a *gaff.Gateway is one.
type Router interface {
	Route(ev *gaff.Event) []gaff.Delivery
}

// Options of a Monitor. Store, Router, Log and Rules are required.
type Options struct {
	Store  alert.Store
	Router Router
	Log    *slog.Logger
	Rules  alert.Rules
	Checks []Check
	// Channels are those of the rules, by name.
	Channels map[string]Channel
	// BaseURL is the gateway's public URL, for links to the console; may be empty.
	BaseURL string
	// Every is the time between two rounds of checks. Zero means 10 seconds.
	Every time.Duration
}

// Check looks for one kind of problem.
type Check struct {
	Kind string
	// Every is the least time between two checks; zero means each round.
	Every time.Duration
	Look  func(ctx context.Context, now time.Time) (alert.Finding, error)
}

// Channel is a way to tell people.
type Channel struct {
	// About describes the channel to people, without secrets.
	About string
	// Send sends a message. Nil for channels that are destinations.
	Send func(ctx context.Context, text alert.Text) error
	// Destination is the name of the destination that gets the messages; empty for others.
	Destination string
	// Deliver returns the delivery of a message to the destination.
	Deliver func() (gaff.Delivery, error)
	// Test sends a test event to the destination.
	Test func(ctx context.Context) error
}

// Monitor runs checks and sends messages.
type Monitor struct {
	o      Options
	looked map[string]time.Time
	found  map[string]alert.Finding // of checks that are not due in each round
}

// New returns a monitor. Attach adds its handler.
func New(o Options) *Monitor {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	return &Monitor{o: o, looked: map[string]time.Time{}, found: map[string]alert.Finding{}}
}

// Attach adds the handler that sends messages; call it before the gateway starts.
func (m *Monitor) Attach(gw *gaff.Gateway) {
	gw.HandleWith(gaff.InternalSource, gaff.EventAlertNotice, gaff.JSON(m.send), gaff.HandleOptions{
		Name: HandlerName, Workers: 2,
		Match: func(s *gaff.Subject) bool {
			var n notice
			return json.Unmarshal(s.Event.Data, &n) == nil && m.o.Channels[n.Channel].Destination == ""
		},
		Retry: &gaff.RetryPolicy{MaxAttempts: 10, First: 10 * time.Second, Factor: 3, Max: time.Hour, Timeout: time.Minute},
	})
}

// Run runs the checks until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	tick := time.NewTicker(m.o.Every)
	defer tick.Stop()
	for {
		if err := m.Round(ctx, time.Now()); err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
			m.o.Log.Warn("alerts could not be stored", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Round runs the checks that are due and stores what follows.
func (m *Monitor) Round(ctx context.Context, now time.Time) error {
	var found []alert.Finding
	for _, c := range m.o.Checks {
		if now.Sub(m.looked[c.Kind]) < c.Every {
			if f, ok := m.found[c.Kind]; ok {
				found = append(found, f)
			}
			continue
		}
		f, err := c.Look(ctx, now)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		delete(m.found, c.Kind)
		if err != nil {
			// Its alerts stay as they are.
			m.o.Log.Warn("a check for alerts failed", "check", c.Kind, "error", err)
			continue
		}
		f.Kind = c.Kind
		m.looked[c.Kind], m.found[c.Kind] = now, f
		found = append(found, f)
	}
	alerts, err := m.o.Store.Alerts(ctx)
	if err != nil {
		return err
	}
	notices, err := m.o.Store.Notices(ctx)
	if err != nil {
		return err
	}
	if p := m.o.Rules.Plan(alerts, notices, found, now); p.Empty() {
		return nil
	}
	return m.o.Store.WriteAlerts(ctx, func(tx alert.Tx) error {
		// Another node may have stored the same meanwhile.
		alerts, err := tx.Alerts()
		if err != nil {
			return err
		}
		notices, err := tx.Notices()
		if err != nil {
			return err
		}
		return m.store(ctx, tx, m.o.Rules.Plan(alerts, notices, found, now))
	})
}

// store writes a plan.
func (m *Monitor) store(ctx context.Context, tx alert.Tx, p alert.Plan) error {
	for _, a := range p.Alerts {
		if err := tx.PutAlert(a); err != nil {
			return err
		}
	}
	for _, k := range p.Drop {
		if err := tx.DropAlert(k); err != nil {
			return err
		}
	}
	for _, e := range p.Events {
		if err := m.emit(ctx, tx, e); err != nil {
			return err
		}
	}
	for _, n := range p.Notices {
		if err := tx.PutNotice(n); err != nil {
			return err
		}
	}
	for _, msg := range p.Messages {
		if err := m.notify(ctx, tx, msg); err != nil {
			return err
		}
	}
	return nil
}

// emit stores an operational event. An event about a destination is not sent to it: its
// failure must not feed itself.
func (m *Monitor) emit(ctx context.Context, tx alert.Tx, e alert.Event) error {
	data, err := eventData(&e.Alert, m.o.BaseURL)
	if err != nil {
		return err
	}
	ev := &gaff.Event{Source: gaff.InternalSource, Type: e.Type, Data: data}
	about := subject(&e.Alert)
	ds := slices.DeleteFunc(m.o.Router.Route(ev), func(d gaff.Delivery) bool { return about != "" && d.Handler == about })
	return tx.Emit(ctx, ev, ds)
}

// subject is the destination that an alert is about; empty for others.
func subject(a *alert.Alert) string {
	switch a.Kind {
	case gaff.EventDestinationFailing, gaff.EventDestinationDisabled:
		return a.Cause
	case gaff.EventDeliveryDead:
		var data struct{ Destination string }
		_ = json.Unmarshal(a.Data, &data) // what does not fit is not there
		return data.Destination
	}
	return ""
}

// eventData joins the item of an alert with what else is known.
func eventData(a *alert.Alert, base string) (json.RawMessage, error) {
	all := map[string]any{}
	if err := json.Unmarshal(a.Data, &all); err != nil {
		return nil, fmt.Errorf("data of the alert %s %s: %w", a.Kind, a.Cause, err)
	}
	item := alert.NewItem(a, base)
	text, err := json.Marshal(item)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	all["text"] = alert.NewText([]alert.Item{item}, "").Body()
	return json.Marshal(all)
}

// notice is the data of gaff.EventAlertNotice.
type notice struct {
	Channel string       `json:"channel"`
	Text    string       `json:"text"`
	Alerts  []alert.Item `json:"alerts"`
}

// notify stores the event that carries a message.
func (m *Monitor) notify(ctx context.Context, tx alert.Tx, msg alert.Message) error {
	n := notice{Channel: msg.Channel}
	for i := range msg.Alerts {
		n.Alerts = append(n.Alerts, alert.NewItem(&msg.Alerts[i], m.o.BaseURL))
	}
	text := alert.NewText(n.Alerts, m.gateway())
	n.Text = text.Subject + "\n" + text.Body()
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ev := &gaff.Event{Source: gaff.InternalSource, Type: gaff.EventAlertNotice, Data: data}
	ds := m.o.Router.Route(ev)
	if c := m.o.Channels[msg.Channel]; c.Destination != "" {
		d, err := c.Deliver()
		if err != nil {
			m.o.Log.Error("a message of alerts cannot be sent", "channel", msg.Channel, "error", err)
			return nil
		}
		ds = []gaff.Delivery{d}
	}
	return tx.Emit(ctx, ev, ds)
}

// gateway names this gateway in messages.
func (m *Monitor) gateway() string {
	_, host, ok := strings.Cut(m.o.BaseURL, "://")
	if !ok {
		return ""
	}
	return host
}

// send handles gaff.EventAlertNotice.
func (m *Monitor) send(ctx context.Context, _ *gaff.Event, n notice) error {
	c, ok := m.o.Channels[n.Channel]
	if !ok || c.Send == nil {
		return gaff.Discard(fmt.Errorf("unknown channel %.60q: it was removed from the configuration", n.Channel))
	}
	return c.Send(ctx, alert.NewText(n.Alerts, m.gateway()))
}

// Channels lists the channels, by name.
func (m *Monitor) Channels() []alert.ChannelInfo {
	var all []alert.ChannelInfo
	for _, r := range m.o.Rules.Channels {
		all = append(all, alert.ChannelInfo{Name: r.Channel, About: m.o.Channels[r.Channel].About})
	}
	return all
}

// Alerts returns the alerts: the active ones first.
func (m *Monitor) Alerts(ctx context.Context) ([]alert.Alert, error) { return m.o.Store.Alerts(ctx) }

// Test sends a test message to a channel, or to all if the name is empty, and waits for the
// outcome.
func (m *Monitor) Test(ctx context.Context, name string) ([]alert.Tested, error) {
	text := alert.NewText([]alert.Item{{
		Kind: "gaff:alert.test", Active: true, Title: "this is a test; there is nothing to do", Since: time.Now().UTC().Format(time.RFC3339),
	}}, m.gateway())
	var all []alert.Tested
	for _, r := range m.o.Rules.Channels {
		if name != "" && name != r.Channel {
			continue
		}
		c := m.o.Channels[r.Channel]
		var err error
		if c.Test != nil {
			err = c.Test(ctx)
		} else {
			err = c.Send(ctx, text)
		}
		all = append(all, alert.Tested{Channel: r.Channel, Err: err})
	}
	switch {
	case len(all) > 0:
		return all, nil
	case name != "":
		return nil, fmt.Errorf("channel %.60q: %w", name, gaff.ErrNotFound)
	}
	return nil, fmt.Errorf("%w: no channel is configured; add one under alerts.channels in gaff.yaml", gaff.ErrConflict)
}
