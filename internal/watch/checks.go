package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/alert"
	"gaff/internal/disk"
	"gaff/internal/issue"
	"gaff/internal/stats"
)

// maxSignals bounds the causes of one kind.
const maxSignals = 200

// quietRejections is how long after its last rejection an issue is resolved.
const quietRejections = 7 * 24 * time.Hour

// DeadDeliveries signals the open issues of dead deliveries, after it resolved those that are
// over.
func DeadDeliveries(st issue.Store) Check {
	return Check{Kind: gaff.EventDeliveryDead, Look: func(ctx context.Context, now time.Time) (f alert.Finding, err error) {
		if _, err := st.ResolveIssues(ctx, now.Add(-quietRejections)); err != nil {
			return f, err
		}
		kind := issue.Delivery
		for _, state := range []issue.State{issue.Open, issue.Acknowledged} {
			page, err := st.Issues(ctx, issue.Filter{Kind: &kind, State: &state, Cursor: gaff.Cursor{Limit: maxSignals}})
			if err != nil {
				return f, err
			}
			for _, i := range page.Items {
				if i.Muted {
					continue
				}
				f.Signals = append(f.Signals, alert.Signal{
					Cause: i.ID, Title: i.Title(), Count: i.Count, SeenAt: i.LastAt, Muted: state == issue.Acknowledged,
					Data: map[string]any{
						"issueId": i.ID, "source": i.Source, "destination": i.Handler, "status": i.Status, "error": i.Error, "deliveryId": i.LastRef,
					},
				})
			}
		}
		return f, nil
	}}
}

// Health is that of all destinations, by name.
type Health func() map[string]destination.Health

const (
	// failingAfter is how many failures in a row make a destination a failing one, if its
	// circuit did not open before.
	failingAfter = 5
	// settleTime is how long other nodes may take to learn of a changed state.
	settleTime = time.Minute
)

// FailingDestinations signals the destinations that fail, as seen by this node. A success on any
// node ends the alert.
func FailingDestinations(health Health) Check {
	return Check{Kind: gaff.EventDestinationFailing, Look: func(context.Context, time.Time) (f alert.Finding, err error) {
		all := health()
		for name, h := range all {
			if h.State != destination.StateActive || h.Circuit == destination.CircuitClosed && h.Failures < failingAfter {
				continue
			}
			f.Signals = append(f.Signals, alert.Signal{
				Cause: name, Title: fmt.Sprintf("Destination %s fails: %s", name, h.LastCause), Count: int64(h.Failures), SeenAt: h.LastFailure,
				Data: map[string]any{"destination": name, "error": h.LastCause, "failures": h.Failures},
			})
		}
		f.End = func(a *alert.Alert) alert.End {
			h, known := all[a.Cause]
			switch {
			case !known, h.State != destination.StateActive:
				return alert.Gone
			case h.LastSuccess.After(a.SeenAt):
				return alert.Ended
			}
			return alert.Unknown
		}
		return f, nil
	}}
}

// DisabledDestinations signals the destinations whose receiver said that it is gone.
func DisabledDestinations(health Health) Check {
	return Check{Kind: gaff.EventDestinationDisabled, Look: func(_ context.Context, now time.Time) (f alert.Finding, err error) {
		all := health()
		for name, h := range all {
			if h.State != destination.StateDisabled {
				continue
			}
			f.Signals = append(f.Signals, alert.Signal{
				Cause: name, Title: fmt.Sprintf("Destination %s is disabled: %s", name, h.Reason), Data: map[string]any{"destination": name, "reason": h.Reason},
			})
		}
		f.End = func(a *alert.Alert) alert.End {
			switch _, known := all[a.Cause]; {
			case !known:
				return alert.Gone
			case now.Sub(a.Since) < settleTime: // this node may not have read the state yet
				return alert.Unknown
			}
			return alert.Ended
		}
		return f, nil
	}}
}

// SilentSources signals the sources that have sent nothing for longer than usual.
func SilentSources(st stats.Store) Check {
	return Check{Kind: gaff.EventSourceSilent, Every: time.Minute, Look: func(ctx context.Context, now time.Time) (f alert.Finding, err error) {
		silent, err := stats.Silent(ctx, st, now)
		for _, s := range silent[:min(len(silent), maxSignals)] {
			f.Signals = append(f.Signals, alert.Signal{
				Cause: s.Source, Title: fmt.Sprintf("Source %s has sent nothing since %s; its longest pause was %s", s.Source, s.Last.UTC().Format(time.RFC3339), s.Usual),
				Data: map[string]any{"source": s.Source, "lastReceivedAt": s.Last.UTC().Format(time.RFC3339), "usualSeconds": int64(s.Usual.Seconds())},
			})
		}
		return f, err
	}}
}

const (
	// risingSpan is the time in which rejections are compared with those of the day before.
	risingSpan   = 10 * time.Minute
	risingFactor = 3
	day          = 24 * time.Hour
)

// RisingRejections signals the known sources that rejected at least so many requests in the last
// ten minutes, and three times as many as usual.
func RisingRejections(st stats.Store, sources func() []gaff.SourceInfo, least int64) Check {
	return Check{Kind: gaff.EventRejectionsRising, Every: time.Minute, Look: func(ctx context.Context, now time.Time) (f alert.Finding, err error) {
		count := func(since, until time.Time, step time.Duration) (map[string]int64, error) {
			counts, err := st.Counted(ctx, stats.Span{Since: since, Until: until, Step: step})
			sums := map[string]int64{}
			for _, c := range counts {
				sums[c.Source] += c.Rejected
			}
			return sums, err
		}
		recent, err := count(now.Add(-risingSpan), now.Add(time.Minute), time.Minute)
		if err != nil {
			return f, err
		}
		whole, err := count(now.Truncate(time.Hour).Add(-day), now, time.Hour)
		if err != nil {
			return f, err
		}
		for _, s := range sources() {
			n := recent[s.Name]
			usual := float64(whole[s.Name]-n) * float64(risingSpan) / float64(day)
			if n < least || float64(n) < risingFactor*usual {
				continue
			}
			f.Signals = append(f.Signals, alert.Signal{
				Cause: s.Name, Title: fmt.Sprintf("Source %s rejects more requests than usual", s.Name), Count: n,
				Data: map[string]any{"source": s.Name, "rejected": n, "usual": usual, "seconds": int64(risingSpan.Seconds())},
			})
		}
		return f, nil
	}}
}

// OverdueJobs signals the models whose jobs have not finished within a time.
func OverdueJobs(st alert.OverdueStore, within time.Duration) Check {
	return Check{Kind: gaff.EventJobOverdue, Every: time.Minute, Look: func(ctx context.Context, now time.Time) (f alert.Finding, err error) {
		all, err := st.OverdueJobs(ctx, now.Add(-within), maxSignals)
		for _, o := range all {
			f.Signals = append(f.Signals, alert.Signal{
				Cause: o.Of + "/" + o.Part, Title: fmt.Sprintf("Jobs of %s %s have not finished within %s", o.Of, o.Part, within), Count: o.Count,
				Data: map[string]any{"provider": o.Of, "model": o.Part, "jobId": o.ID, "oldestAt": o.Oldest.UTC().Format(time.RFC3339)},
			})
		}
		return f, err
	}}
}

// WaitingRuns signals the steps that nobody has approved or rejected within a time.
func WaitingRuns(st alert.OverdueStore, within time.Duration) Check {
	return Check{Kind: gaff.EventRunWaiting, Every: time.Minute, Look: func(ctx context.Context, now time.Time) (f alert.Finding, err error) {
		all, err := st.WaitingRuns(ctx, now.Add(-within), maxSignals)
		for _, o := range all {
			f.Signals = append(f.Signals, alert.Signal{
				Cause: o.Of + "/" + o.Part, Title: fmt.Sprintf("Runs of workflow %s have waited for approval of step %s for more than %s", o.Of, o.Part, within), Count: o.Count,
				Data: map[string]any{"workflow": o.Of, "step": o.Part, "runId": o.ID, "oldestAt": o.Oldest.UTC().Format(time.RFC3339)},
			})
		}
		return f, err
	}}
}

const (
	// Without a configured limit a disk is low with less than a twentieth of it free, and
	// less than lowDisk.
	lowShare = 20
	lowDisk  = 5 << 30
	// goneAfter is how long a node may be away before its alerts are dropped.
	goneAfter = time.Hour
)

// LowDisk signals that the disk of a folder has less than least bytes free; zero for a limit
// that depends on its size. node names this one.
func LowDisk(dir, node string, least uint64) Check {
	return Check{Kind: gaff.EventDiskLow, Every: 30 * time.Second, Look: func(_ context.Context, now time.Time) (f alert.Finding, err error) {
		space, err := disk.Of(dir)
		if errors.Is(err, disk.ErrUnsupported) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
		limit := least
		if limit == 0 {
			limit = min(space.Total/lowShare, lowDisk)
		}
		if space.Free < limit {
			f.Signals = append(f.Signals, alert.Signal{
				Cause: node, Title: fmt.Sprintf("The disk of the data folder on %s has %s of %s free", node, size(space.Free), size(space.Total)),
				Data: map[string]any{"node": node, "freeBytes": space.Free, "totalBytes": space.Total},
			})
		}
		f.End = func(a *alert.Alert) alert.End {
			switch {
			case a.Cause != node && now.Sub(a.SeenAt) > goneAfter:
				return alert.Gone
			case a.Cause != node, space.Free < limit+limit/5: // so that it does not come and go
				return alert.Unknown
			}
			return alert.Ended
		}
		return f, nil
	}}
}

func size(bytes uint64) string {
	if bytes >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
