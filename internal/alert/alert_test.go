package alert_test

import (
	"slices"
	"testing"
	"time"

	"gaff"
	"gaff/internal/alert"
)

// world stores plans as a store does, over a made-up time.
type world struct {
	t       *testing.T
	rules   alert.Rules
	now     time.Time
	alerts  map[alert.Key]alert.Alert
	notices map[string]alert.Notice
}

func newWorld(t *testing.T, channels ...alert.Rule) *world {
	return &world{
		t: t, now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
		rules:  alert.Rules{Interval: time.Hour, Remind: 24 * time.Hour, Wait: 30 * time.Second, Channels: channels},
		alerts: map[alert.Key]alert.Alert{}, notices: map[string]alert.Notice{},
	}
}

// after lets time pass, and plans with the findings of that time. It returns the events' types and
// the messages, each as its channel and alerts.
func (w *world) after(d time.Duration, found ...alert.Finding) (events, messages []string) {
	w.now = w.now.Add(d)
	var alerts []alert.Alert
	for _, a := range w.alerts {
		alerts = append(alerts, a)
	}
	var notices []alert.Notice
	for _, n := range w.notices {
		notices = append(notices, n)
	}
	p := w.rules.Plan(alerts, notices, found, w.now)
	for _, a := range p.Alerts {
		w.alerts[a.Key] = a
	}
	for _, k := range p.Drop {
		delete(w.alerts, k)
	}
	for _, n := range p.Notices {
		w.notices[n.Channel+" "+n.Kind+" "+n.Cause] = n
	}
	for _, e := range p.Events {
		events = append(events, e.Type+" "+e.Alert.Cause)
	}
	for _, m := range p.Messages {
		text := m.Channel + ":"
		for _, a := range m.Alerts {
			if a.Active {
				text += " +" + a.Cause
			} else {
				text += " -" + a.Cause
			}
		}
		messages = append(messages, text)
	}
	return events, messages
}

func (w *world) wants(what string, got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func low(count int64, causes ...string) alert.Finding {
	f := alert.Finding{Kind: gaff.EventDiskLow}
	for _, c := range causes {
		f.Signals = append(f.Signals, alert.Signal{Cause: c, Title: c + " is low", Count: count})
	}
	return f
}

func TestEventAtOnceAndMessageAfterTheWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	events, messages := w.after(0, low(0, "a"))
	w.wants("event at once", events, "disk.low a")
	w.wants("message before the wait", messages)
	events, messages = w.after(10*time.Second, low(0, "a", "b"))
	w.wants("event of the second", events, "disk.low b")
	w.wants("message before the wait", messages)
	events, messages = w.after(20*time.Second, low(0, "a", "b"))
	w.wants("no event is repeated", events)
	w.wants("both in one message", messages, "mail: +a +b")
	_, messages = w.after(time.Minute, low(0, "a", "b"))
	w.wants("no message is repeated", messages)
}

func TestRecoveryIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	w.after(0, low(0, "a"))
	w.after(time.Minute, low(0, "a"))
	events, messages := w.after(time.Minute, low(0))
	w.wants("event of the end", events, "alert.resolved a")
	w.wants("message before the wait", messages)
	_, messages = w.after(30*time.Second, low(0))
	w.wants("message of the end", messages, "mail: -a")
	events, messages = w.after(time.Hour, low(0))
	w.wants("no event of the end is repeated", events)
	w.wants("no message of the end is repeated", messages)
}

func TestAlertThatEndsBeforeItsMessageIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	w.after(0, low(0, "a"))
	_, messages := w.after(time.Second, low(0))
	w.wants("message", messages)
	_, messages = w.after(time.Hour, low(0))
	w.wants("message later", messages)
}

func TestOneMessagePerCauseAndInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	var events, messages int
	for range 120 { // two hours of an alert that comes and goes each 30 seconds
		for _, f := range []alert.Finding{low(0, "a"), low(0)} {
			e, m := w.after(30*time.Second, f)
			for _, one := range e {
				if one == "disk.low a" {
					events++
				}
			}
			for _, one := range m {
				if one == "mail: +a" {
					messages++
				}
			}
		}
	}
	if events != 2 || messages > 2 {
		t.Errorf("%d events and %d messages in two hours, want 2 and at most 2", events, messages)
	}
}

func TestMoreFailuresAreRepeatedAfterTheInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	w.after(0, low(1, "a"))
	w.after(time.Minute, low(1, "a"))
	events, messages := w.after(2*time.Hour, low(1, "a"))
	w.wants("nothing new: events", events)
	w.wants("nothing new: messages", messages)
	events, messages = w.after(time.Minute, low(2, "a"))
	w.wants("more: events", events, "disk.low a")
	w.wants("more: messages", messages, "mail: +a")
	events, _ = w.after(time.Minute, low(3, "a"))
	w.wants("more within the interval", events)
	events, messages = w.after(24*time.Hour, low(3, "a"))
	w.wants("reminder: events", events, "disk.low a")
	w.wants("reminder: messages", messages, "mail: +a")
}

func TestQuietTimes(t *testing.T) {
	t.Parallel()
	quiet, err := alert.ParseQuiet([]string{"12:00-13:00"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, alert.Rule{Channel: "mail", Quiet: quiet.At})
	events, _ := w.after(0, low(0, "a", "b"))
	w.wants("events know no quiet", events, "disk.low a", "disk.low b")
	_, messages := w.after(50*time.Minute, low(0, "a"))
	w.wants("message while quiet", messages)
	_, messages = w.after(10*time.Minute, low(0, "a"))
	w.wants("message afterwards, about the rest", messages, "mail: +a")
}

func TestChannelsChooseKindsAndNotTheirOwnFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(
		t, alert.Rule{Channel: "hook", Destination: "app"},
		alert.Rule{Channel: "mail", Wants: func(kind string) bool { return kind == gaff.EventDestinationFailing }},
	)
	found := []alert.Finding{{Kind: gaff.EventDestinationFailing, Signals: []alert.Signal{{Cause: "app"}}}, low(0, "disk")}
	w.after(0, found...)
	_, messages := w.after(time.Minute, found...)
	w.wants("messages", messages, "hook: +disk", "mail: +app")
}

func TestAcknowledgedIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	found := func(count int64, muted bool) alert.Finding {
		return alert.Finding{Kind: gaff.EventDeliveryDead, Signals: []alert.Signal{{Cause: "iss_1", Count: count, Muted: muted}}}
	}
	w.after(0, found(1, false))
	w.after(time.Minute, found(1, false))
	events, messages := w.after(48*time.Hour, found(9, true))
	w.wants("events", events)
	w.wants("messages", messages)
	events, _ = w.after(time.Minute, alert.Finding{Kind: gaff.EventDeliveryDead})
	w.wants("its end is reported", events, "alert.resolved iss_1")
}

func TestUnknownEndKeepsTheAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t, alert.Rule{Channel: "mail"})
	failing := alert.Finding{Kind: gaff.EventDestinationFailing, Signals: []alert.Signal{{Cause: "app"}}}
	w.after(0, failing)
	w.after(time.Minute, failing)
	end := alert.Unknown
	other := alert.Finding{Kind: gaff.EventDestinationFailing, End: func(*alert.Alert) alert.End { return end }}
	events, _ := w.after(time.Hour, other) // of another node, which sends nothing to it
	w.wants("events", events)
	w.after(time.Hour) // a check that failed reports nothing
	end = alert.Ended
	events, _ = w.after(time.Minute, other)
	w.wants("its end", events, "destination.recovered app")

	w.after(0, failing)
	end = alert.Gone
	events, messages := w.after(2*time.Hour, other)
	w.wants("events of removed causes", events)
	w.wants("messages about removed causes", messages)
	if len(w.alerts) != 0 {
		t.Errorf("removed causes are still stored: %+v", w.alerts)
	}
}

func TestParseQuiet(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		tm, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	for _, c := range []struct {
		times []string
		zone  string
		at    string
		quiet bool
	}{
		{[]string{"22:00-07:00"}, "", "2026-11-29 23:00", true},
		{[]string{"22:00-07:00"}, "", "2026-11-29 06:59", true},
		{[]string{"22:00-07:00"}, "", "2026-11-29 07:00", false},
		{[]string{"22:00-07:00"}, "Europe/Berlin", "2026-11-29 21:30", true},
		{[]string{"sat", "Sun"}, "", "2026-11-29 12:00", true}, // a Sunday
		{[]string{"sat", "sun"}, "", "2026-11-30 12:00", false},
		{nil, "", "2026-11-29 12:00", false},
	} {
		q, err := alert.ParseQuiet(c.times, c.zone)
		if err != nil {
			t.Fatalf("%v: %v", c.times, err)
		}
		if got := q.At(at(c.at)); got != c.quiet {
			t.Errorf("%v %s at %s: quiet is %v, want %v", c.times, c.zone, c.at, got, c.quiet)
		}
	}
	for _, bad := range []string{"22:00", "25:00-07:00", "someday", "07:00-07:00", ""} {
		if _, err := alert.ParseQuiet([]string{bad}, ""); err == nil {
			t.Errorf("%q is taken for a quiet time", bad)
		}
	}
	if _, err := alert.ParseQuiet(nil, "Europe/Nowhere"); err == nil {
		t.Error("an unknown time zone is taken")
	}
}
