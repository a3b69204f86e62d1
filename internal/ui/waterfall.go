package ui

import (
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// waterfallView shows the parts of a job's life as bars on one time axis.
type waterfallView struct {
	From, To time.Time
	Bars     []waterfallBar
}

// waterfallBar is a part of a job's life. A bar without an end continues; one without a length is a
// moment.
type waterfallBar struct {
	Label, Class string
	From, To     time.Time
	Note         string
	// X and W are percent of the axis.
	X, W float64
}

// took describes the length of the bar.
func (b waterfallBar) took() string {
	if b.To.Equal(b.From) {
		return ""
	}
	return span(b.To.Sub(b.From))
}

// waterfall makes bars of the times that are known of a job.
func waterfall(v jobView, sent []forwarded, step runs.Step) waterfallView {
	var bars []waterfallBar
	add := func(label, class string, from, to time.Time, note string) {
		if from.IsZero() {
			return
		}
		if to.IsZero() {
			to = v.Now
		}
		if to.Before(from) {
			to = from
		}
		bars = append(bars, waterfallBar{Label: label, Class: class, From: from, To: to, Note: note})
	}
	if !step.StartedAt.IsZero() {
		add("Run step "+step.Name, "q", step.StartedAt, step.SettledAt, step.Status.String())
	}
	if !v.SentAt.IsZero() {
		add("Waiting to be sent", "q", v.CreatedAt, v.SentAt, "")
		accepted := v.SubmittedAt
		if accepted.IsZero() {
			accepted = v.SettledAt
		}
		add("Submit", "a", v.SentAt, accepted, v.Submit.String())
	}
	if began, known := workBegan(v.Log); !known {
		add("At the provider", "b", v.SubmittedAt, v.SettledAt, "")
	} else {
		add("Queue at the provider", "q", v.SubmittedAt, began, "")
		add("Running", "b", began, v.SettledAt, "")
	}
	for _, l := range slices.Backward(v.Events) {
		if l.Source != gaff.InternalSource {
			add("Webhook "+clip(l.Type, 40), "a", l.ReceivedAt, l.ProcessedAt, l.Status.String())
		}
	}
	if v.SettledBy == jobs.SettledByReconciliation {
		add("Found by polling", "c", v.SettledAt, v.SettledAt, plural(int64(v.Polls), "poll", "polls"))
	}
	stored := time.Time{}
	files := 0
	for _, m := range v.Media {
		if m.StoredAt.After(stored) {
			stored = m.StoredAt
		}
		if !m.StoredAt.IsZero() {
			files++
		}
	}
	if files > 0 {
		add("Files stored", "c", v.SettledAt, stored, plural(int64(files), "file", "files"))
	}
	for _, d := range sent {
		add("Forwarded to "+d.Handler, forwardClass(d.State), d.CreatedAt, d.FinishedAt, strings.TrimPrefix(d.Event.Type, "job.")+", "+d.State.String())
	}
	return scaled(bars)
}

func forwardClass(s gaff.State) string {
	if s == gaff.StateDead {
		return "bad"
	}
	return "a"
}

// workBegan returns when the provider first said that it works on a job, by the job's log.
func workBegan(log []jobs.LogEntry) (at time.Time, known bool) {
	for _, e := range log {
		if (e.What == "webhook" || e.What == "ask") && strings.HasPrefix(e.Text, jobs.JobProcessing.String()) {
			return e.At, true
		}
	}
	return time.Time{}, false
}

// scaled puts bars on one axis.
func scaled(bars []waterfallBar) waterfallView {
	v := waterfallView{Bars: bars}
	if len(bars) == 0 {
		return v
	}
	v.From, v.To = bars[0].From, bars[0].To
	for _, b := range bars {
		if b.From.Before(v.From) {
			v.From = b.From
		}
		if b.To.After(v.To) {
			v.To = b.To
		}
	}
	whole := float64(max(v.To.Sub(v.From), time.Millisecond))
	for i := range v.Bars {
		b := &v.Bars[i]
		b.X = float64(b.From.Sub(v.From)) / whole * 100
		b.W = max(float64(b.To.Sub(b.From))/whole*100, .4)
		b.X = min(b.X, 100-b.W)
	}
	return v
}
