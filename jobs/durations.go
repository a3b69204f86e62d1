package jobs

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"gaff"
	"gaff/internal/sorting"
)

const (
	// Of each model this many of the latest jobs count, more or less, and so many must
	// have been measured before anything is made of it.
	waitMemory = 32
	waitLeast  = 3
	// shortestWait keeps a webhook that came at once, a thousandth of the usual time, from
	// counting for as much as one that took a thousand times as long.
	shortestWait = time.Second
	// waitsEvery is the time between two hand-overs to the store. Between them so many
	// models are measured, and so many jobs of each: the rest would tell the same.
	waitsEvery   = 10 * time.Second
	maxMeasured  = 1000
	maxWaitTimes = waitMemory
)

// Durations is how long the jobs of a model take from submit to end.
type Durations struct {
	Provider, Model string
	// N is how many jobs were measured.
	N int64
	// Mean and Deviation are moving averages of the natural logarithm of their seconds,
	// and of how far each was from it: one job that took hours must not count for many.
	Mean, Deviation float64
}

func (w *Durations) add(took time.Duration) {
	x := math.Log(min(max(took, shortestWait), giveUpAfter).Seconds())
	w.N++
	gain := max(1/float64(w.N), 1.0/waitMemory)
	away := x - w.Mean
	w.Mean += gain * away
	if w.N > 1 {
		w.Deviation += gain * (math.Abs(away) - w.Deviation)
	}
}

// typical is about the median; few jobs take longer than overdue. Both are zero if too few jobs
// were measured.
func (w *Durations) typical() time.Duration { return w.longer(0) }

func (w *Durations) overdue() time.Duration { return max(w.longer(3), w.longer(0)*3/2) }

func (w *Durations) longer(deviations float64) time.Duration {
	if w.N < waitLeast {
		return 0
	}
	return time.Duration(min(math.Exp(w.Mean+deviations*w.Deviation), giveUpAfter.Seconds()) * float64(time.Second))
}

type durationKey struct{ provider, model string }

// durations measures in memory, so that the end of a job costs the database nothing, and hands
// over from time to time. Measurements of the seconds before a crash are lost.
type durations struct {
	mu    sync.Mutex
	known map[durationKey]Durations
	took  map[durationKey][]time.Duration
}

func (w *durations) of(j *Job) Durations {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[durationKey{j.Provider, j.Model}]
}

// measure takes note of a job that has ended. One whose webhook was lost took as long as
// nobody asked, which says nothing about the model.
func (w *durations) measure(j *Job) {
	took := j.SettledAt.Sub(j.SubmittedAt)
	if j.Status != JobCompleted || j.SubmittedAt.IsZero() || took <= 0 || j.SettledBy != SettledByWebhook && j.WebhookURL != "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(durationKey{j.Provider, j.Model}, took)
}

func (w *durations) put(k durationKey, took ...time.Duration) {
	if w.took == nil {
		w.took = map[durationKey][]time.Duration{}
	}
	list, known := w.took[k]
	if !known && len(w.took) >= maxMeasured {
		return
	}
	w.took[k] = append(list, took[:min(len(took), maxWaitTimes-len(list))]...)
}

// share adds the measurements to those of the store, and reads those of all nodes.
func (w *durations) share(ctx context.Context, st ServiceStore) error {
	w.mu.Lock()
	took := w.took
	w.took = nil
	w.mu.Unlock()
	err := w.add(ctx, st, took)
	if err != nil {
		w.mu.Lock()
		for k, list := range took {
			w.put(k, list...)
		}
		w.mu.Unlock()
		return err
	}
	all, err := st.Durations(ctx)
	if err != nil {
		return err
	}
	known := make(map[durationKey]Durations, len(all))
	for _, one := range all {
		known[durationKey{one.Provider, one.Model}] = one
	}
	w.mu.Lock()
	w.known = known
	w.mu.Unlock()
	return nil
}

func (w *durations) add(ctx context.Context, st Store, took map[durationKey][]time.Duration) error {
	if len(took) == 0 {
		return nil
	}
	// In one order, so that two nodes do not wait for each other's rows.
	keys := slices.Collect(maps.Keys(took))
	sorting.By(keys, func(a, b durationKey) int {
		return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.model, b.model))
	})
	return st.Write(ctx, func(tx Tx) error {
		for _, k := range keys {
			one, err := tx.Durations(ctx, k.provider, k.model)
			if err != nil {
				return err
			}
			for _, d := range took[k] {
				one.add(d)
			}
			if err := tx.SaveDurations(ctx, one); err != nil {
				return err
			}
		}
		return nil
	})
}

// saveDurations shares until ctx ends, and then once more.
func (l *Service) saveDurations(ctx context.Context) {
	tell := func(err error) {
		if err != nil && !errors.Is(err, gaff.ErrStopped) && !errors.Is(err, context.Canceled) {
			l.o.Log.Warn("how long jobs take is not kept for now", "error", err)
		}
	}
	for {
		tell(l.durations.share(ctx, l.o.Store))
		select {
		case <-time.After(waitsEvery):
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			tell(l.durations.share(last, l.o.Store))
			return
		}
	}
}

// Expected returns how long jobs of an unfinished job's model take, and when this one should
// finish, which may be in the past; zero if unknown.
func (l *Service) Expected(j *Job) (takes time.Duration, at time.Time) {
	w := l.durations.of(j)
	if takes = w.typical(); takes == 0 || j.Status.Settled() {
		return 0, time.Time{}
	}
	return takes, j.begun().Add(takes)
}
