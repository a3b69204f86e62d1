// Package alert decides what to tell operators, when, and by which channel. From the findings of
// checks and the stored alerts it computes the rows to store and the messages to send: at most
// one message for each cause and interval, also with several nodes.
package alert

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"gaff"
	"gaff/internal/sorting"
)

// Key names an alert.
type Key struct {
	// Kind is the type of its event, such as gaff.EventDiskLow.
	Kind string
	// Cause is the subject of the alert: a destination, a source, an issue.
	Cause string
}

// Alert is something that needs an operator's attention, or did.
type Alert struct {
	Key
	Active bool
	// Title names the fault in one line, without parts that may quote a payload.
	Title string
	// Data is a JSON object with what else is known.
	Data json.RawMessage
	// Count is how often it happened, if that can be counted.
	Count int64
	// Since is when it became active, SeenAt when it was last observed to be.
	Since, SeenAt time.Time
	// EndedAt is zero while it is active.
	EndedAt time.Time
	// EmittedAt is when its last event was emitted; zero if none was. Emitted was Count then.
	EmittedAt time.Time
	Emitted   int64
	// UpdatedAt is when it was last stored.
	UpdatedAt time.Time
}

// announced reports whether an event was emitted since the alert became active.
func (a *Alert) announced() bool { return !a.EmittedAt.IsZero() && !a.EmittedAt.Before(a.Since) }

// Notice is what a channel was last sent about an alert.
type Notice struct {
	Channel string
	Key
	// Active is whether the alert was active.
	Active bool
	Count  int64
	// SentAt is when the channel last got the alert as active.
	SentAt time.Time
}

// Store stores alerts for all nodes.
type Store interface {
	// Alerts returns all alerts: the active ones first, then those that ended last.
	Alerts(ctx context.Context) ([]Alert, error)
	Notices(ctx context.Context) ([]Notice, error)
	// WriteAlerts runs fn in a transaction; no other node runs one at the same time.
	WriteAlerts(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction over alerts.
type Tx interface {
	Alerts() ([]Alert, error)
	Notices() ([]Notice, error)
	PutAlert(a Alert) error
	// DropAlert removes an alert and its notices.
	DropAlert(k Key) error
	PutNotice(n Notice) error
	// Emit stores an event and its deliveries.
	Emit(ctx context.Context, ev *gaff.Event, ds []gaff.Delivery) error
}

// Overdue are unfinished jobs or waiting runs that belong together.
type Overdue struct {
	// Of is the provider of jobs or the workflow of runs; Part the model, or the step.
	Of, Part string
	Count    int64
	Oldest   time.Time
	// ID is one of the oldest.
	ID string
}

// OverdueStore finds them.
type OverdueStore interface {
	// OverdueJobs returns the unfinished jobs that were created before a time, by provider and
	// model, the largest groups first.
	OverdueJobs(ctx context.Context, before time.Time, limit int) ([]Overdue, error)
	// WaitingRuns returns the steps that have waited for approval since before a time, by
	// workflow and step, the largest groups first.
	WaitingRuns(ctx context.Context, before time.Time, limit int) ([]Overdue, error)
}

// Signal is one thing that a check found wrong.
type Signal struct {
	Cause, Title string
	Data         map[string]any
	Count        int64
	// SeenAt is when it was last observed; zero means now.
	SeenAt time.Time
	// Muted is set if a person knows of it already: it is not repeated.
	Muted bool
}

// End is what became of an alert that a check did not find again.
type End int

const (
	// Ended: it is over.
	Ended End = iota
	// Unknown: this check cannot tell; the alert stays active.
	Unknown
	// Gone: its cause does not exist any more; nobody is notified.
	Gone
)

// Finding is the result of one check.
type Finding struct {
	Kind    string
	Signals []Signal
	// End judges the active alerts of the kind that have no signal. Nil: they ended.
	End func(a *Alert) End
}

// Rules say when to tell, and whom.
type Rules struct {
	// Interval is the least time between two messages about one cause.
	Interval time.Duration
	// Remind is when a message is repeated although nothing new happened; zero for never.
	Remind time.Duration
	// Wait is how long a channel waits for more alerts to send along.
	Wait     time.Duration
	Channels []Rule
}

// Rule says which alerts a channel gets.
type Rule struct {
	Channel string
	// Wants chooses kinds; nil chooses all.
	Wants func(kind string) bool
	// Quiet reports whether the channel gets nothing at a time; nil means never.
	Quiet func(at time.Time) bool
	// Destination is that of a channel that is one; its own failures are not sent to it.
	Destination string
}

// Message is what one channel is sent.
type Message struct {
	Channel string
	Alerts  []Alert
}

// Event is an operational event to emit.
type Event struct {
	Type  string
	Alert Alert
}

// Plan is what to store and to send.
type Plan struct {
	Alerts   []Alert
	Drop     []Key
	Events   []Event
	Notices  []Notice
	Messages []Message
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool {
	return len(p.Alerts)+len(p.Drop)+len(p.Events)+len(p.Notices)+len(p.Messages) == 0
}

// updateEvery is how often a changed title or count is stored if it causes no event.
const updateEvery = time.Minute

// current is an alert while it is planned.
type current struct {
	Alert
	muted   bool // a person knows of it
	seen    bool // a check found it now
	changed bool
}

// Plan computes what to do, from the stored alerts and the findings.
func (r Rules) Plan(stored []Alert, sent []Notice, found []Finding, now time.Time) Plan {
	var p Plan
	all := map[Key]*current{}
	for _, a := range stored {
		all[a.Key] = &current{Alert: a}
	}
	for _, f := range found {
		r.observe(&p, all, f, now)
	}
	keys := make([]Key, 0, len(all))
	for key := range all {
		keys = append(keys, key)
	}
	sorting.By(keys, func(a, b Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Cause, b.Cause)) })
	for _, key := range keys {
		if c := all[key]; c.changed {
			c.UpdatedAt = now
			p.Alerts = append(p.Alerts, c.Alert)
		}
	}
	notices := map[string]map[Key]Notice{}
	for _, n := range sent {
		if notices[n.Channel] == nil {
			notices[n.Channel] = map[Key]Notice{}
		}
		notices[n.Channel][n.Key] = n
	}
	for _, rule := range r.Channels {
		r.notify(&p, rule, keys, all, notices[rule.Channel], now)
	}
	return p
}

// observe applies what one check found.
func (r Rules) observe(p *Plan, all map[Key]*current, f Finding, now time.Time) {
	for _, s := range f.Signals {
		key := Key{f.Kind, s.Cause}
		c := all[key]
		if c == nil {
			c = &current{Alert: Alert{Key: key}}
			all[key] = c
		}
		if !c.Active {
			c.Active, c.Since, c.EndedAt, c.changed = true, now, time.Time{}, true
		}
		c.observe(s, now)
		if r.due(c.announced(), c.EmittedAt, c.Count > c.Emitted, c.muted, now) {
			c.EmittedAt, c.Emitted, c.changed = now, c.Count, true
			p.Events = append(p.Events, Event{f.Kind, c.Alert})
		}
	}
	for key, c := range all {
		if key.Kind != f.Kind || !c.Active || c.seen {
			continue
		}
		end := Ended
		if f.End != nil {
			end = f.End(&c.Alert)
		}
		switch end { //nolint:exhaustive // an unknown end changes nothing
		case Gone:
			p.Drop = append(p.Drop, key)
			delete(all, key)
		case Ended:
			c.Active, c.EndedAt, c.changed = false, now, true
			if c.announced() {
				p.Events = append(p.Events, Event{endType(f.Kind), c.Alert})
			}
		}
	}
}

// observe takes over a signal.
func (c *current) observe(s Signal, now time.Time) {
	at := s.SeenAt
	if at.IsZero() {
		at = now
	}
	data, err := json.Marshal(s.Data)
	if err != nil || len(s.Data) == 0 {
		data = json.RawMessage(`{}`)
	}
	if now.Sub(c.UpdatedAt) >= updateEvery && (s.Title != c.Title || s.Count != c.Count || at.Sub(c.SeenAt) >= updateEvery) {
		c.changed = true
	}
	c.seen, c.muted = true, s.Muted
	c.Title, c.Data, c.Count, c.SeenAt = s.Title, data, s.Count, at
}

// due reports whether to tell that an alert is active: it was not told yet, or something new
// happened, or a reminder is due; and the last time is an interval ago.
func (r Rules) due(told bool, last time.Time, grew, muted bool, now time.Time) bool {
	switch {
	case muted:
		return false
	case last.IsZero():
		return true
	case now.Sub(last) < r.Interval:
		return false
	}
	return !told || grew || r.Remind > 0 && now.Sub(last) >= r.Remind
}

// endType is the type of the event by which an alert of a kind ends.
func endType(kind string) string {
	if kind == gaff.EventDestinationFailing || kind == gaff.EventDestinationDisabled {
		return gaff.EventDestinationRecovered
	}
	return gaff.EventAlertResolved
}

// notify plans the message of one channel.
func (r Rules) notify(p *Plan, rule Rule, keys []Key, all map[Key]*current, sent map[Key]Notice, now time.Time) {
	if rule.Quiet != nil && rule.Quiet(now) {
		return
	}
	m := Message{Channel: rule.Channel}
	var notices []Notice
	ready := false
	for _, key := range keys {
		c := all[key]
		if c == nil || rule.Wants != nil && !rule.Wants(key.Kind) || rule.Destination != "" && rule.Destination == key.Cause {
			continue
		}
		n, known := sent[key]
		told := known && n.Active && !n.SentAt.Before(c.Since)
		switch {
		case c.Active && c.seen && r.due(told, n.SentAt, c.Count > n.Count, c.muted, now):
			n = Notice{Channel: rule.Channel, Key: key, Active: true, Count: c.Count, SentAt: now}
			ready = ready || now.Sub(c.Since) >= r.Wait
		case !c.Active && told:
			n.Active = false
			ready = ready || now.Sub(c.EndedAt) >= r.Wait
		default:
			continue
		}
		m.Alerts, notices = append(m.Alerts, c.Alert), append(notices, n)
	}
	if ready {
		p.Messages, p.Notices = append(p.Messages, m), append(p.Notices, notices...)
	}
}

// ChannelInfo describes a channel to people.
type ChannelInfo struct{ Name, About string }

// Tested is the result of a test message.
type Tested struct {
	Channel string
	Err     error
}
