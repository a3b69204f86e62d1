package alert

import (
	"fmt"
	"path"
	"strings"
	"time"

	"gaff"
)

// Quiet are times at which a channel gets no message.
type Quiet struct {
	zone  *time.Location
	spans []span
}

// span is a part of the day, in minutes, or a whole day of the week.
type span struct {
	from, until int
	day         time.Weekday
	whole       bool
}

var days = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// ParseQuiet reads times such as "22:00-07:00" (each day) and "sat" (the whole day), in a time
// zone such as "Europe/Berlin"; an empty one is UTC.
func ParseQuiet(times []string, zone string) (*Quiet, error) {
	q := &Quiet{zone: time.UTC}
	if zone != "" {
		var err error
		if q.zone, err = time.LoadLocation(zone); err != nil {
			return nil, fmt.Errorf("unknown time zone %.60q: write one such as Europe/Berlin", zone)
		}
	}
	for _, text := range times {
		if day, ok := days[strings.ToLower(text)]; ok {
			q.spans = append(q.spans, span{day: day, whole: true})
			continue
		}
		from, until, ok := strings.Cut(text, "-")
		a, errA := minuteOf(from)
		b, errB := minuteOf(until)
		if !ok || errA != nil || errB != nil || a == b {
			return nil, fmt.Errorf("%.40q is not a quiet time: write one such as 22:00-07:00, or a day such as sat", text)
		}
		q.spans = append(q.spans, span{from: a, until: b})
	}
	return q, nil
}

func minuteOf(text string) (int, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(text))
	return t.Hour()*60 + t.Minute(), err
}

// At reports whether a time is quiet. The nil Quiet never is.
func (q *Quiet) At(at time.Time) bool {
	if q == nil {
		return false
	}
	at = at.In(q.zone)
	minute := at.Hour()*60 + at.Minute()
	for _, s := range q.spans {
		switch {
		case s.whole:
			if at.Weekday() == s.day {
				return true
			}
		case s.from < s.until:
			if minute >= s.from && minute < s.until {
				return true
			}
		case minute >= s.from || minute < s.until: // past midnight
			return true
		}
	}
	return false
}

// Kinds are the kinds of alerts.
var Kinds = []string{
	gaff.EventDeliveryDead, gaff.EventDestinationFailing, gaff.EventDestinationDisabled, gaff.EventSourceSilent,
	gaff.EventRejectionsRising, gaff.EventJobOverdue, gaff.EventRunWaiting, gaff.EventDiskLow,
	gaff.EventSchemaViolation,
}

// ParseWants reads patterns of kinds, such as "disk.low" or "destination.*", with or without
// "gaff:" before them. Without patterns all kinds are wanted.
func ParseWants(patterns []string) (wants func(kind string) bool, err error) {
	chosen := map[string]bool{}
	for _, text := range patterns {
		pattern := strings.TrimPrefix(text, "gaff:")
		known := false
		for _, kind := range Kinds {
			if ok, err := path.Match(pattern, kind); err == nil && ok {
				chosen[kind], known = true, true
			}
		}
		if !known {
			return nil, fmt.Errorf("no alert is of the kind %.60q; the kinds are %s", text, strings.Join(Kinds, ", "))
		}
	}
	return func(kind string) bool { return len(patterns) == 0 || chosen[kind] }, nil
}
