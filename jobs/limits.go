package jobs

import (
	"context"
	"fmt"
	"time"

	"gaff"
)

// Limit bounds the jobs of a provider, model, project or user, over all nodes. Zero fields bound
// nothing.
type Limit struct {
	// Concurrency is how many jobs may be under way: sent, or about to be, and not ended.
	Concurrency int
	// Rate is how many submits a second may be sent.
	Rate float64
}

// LimitScopes are what limits are for.
var LimitScopes = []string{"provider", "model", "project", "user"}

// LimitKey names what a limit counts, such as the project film-1.
type LimitKey struct{ Scope, Name string }

// limitKeys are the keys that a job counts for. A job without a project or user counts for none.
func limitKeys(provider, model, project, user string) [4]LimitKey {
	return [4]LimitKey{{"provider", provider}, {"model", model}, {"project", project}, {"user", user}}
}

// keyLimit is a limit that a job counts for.
type keyLimit struct {
	LimitKey
	Limit
}

// limitsOf returns the limits that a job counts for.
func (l *Service) limitsOf(j *Job) (list []keyLimit) {
	if l.o.Limit == nil {
		return nil
	}
	for _, key := range limitKeys(j.Provider, j.Model, j.ProjectID, j.UserID) {
		if key.Name == "" {
			continue
		}
		if limit := l.o.Limit(key.Scope, key.Name); limit != (Limit{}) {
			list = append(list, keyLimit{key, limit})
		}
	}
	return list
}

// counted reports whether one of the limits counts jobs that are under way.
func counted(limits []keyLimit) bool {
	for _, one := range limits {
		if one.Concurrency > 0 {
			return true
		}
	}
	return false
}

// LimitError says that a call cannot be made now: a limit has no room, and the call cannot wait.
type LimitError struct {
	Key   LimitKey
	Limit Limit
	// After is when there may be room.
	After time.Duration
}

func (e *LimitError) Error() string {
	if e.Limit.Concurrency > 0 {
		return fmt.Sprintf("%s %.80s has no room: %d jobs at once, and %g submits a second", e.Key.Scope, e.Key.Name, e.Limit.Concurrency, e.Limit.Rate)
	}
	return fmt.Sprintf("%s %.80s has no room: %g submits a second", e.Key.Scope, e.Key.Name, e.Limit.Rate)
}

// Unwrap returns gaff.ErrInvalid.
func (e *LimitError) Unwrap() error { return gaff.ErrInvalid }

// rooms know, within one transaction that holds the lock of the queue, how much room limits have.
type rooms struct {
	tx   Tx
	used map[LimitKey]int
	next map[LimitKey]time.Time
}

func newRooms(tx Tx) *rooms {
	return &rooms{tx, map[LimitKey]int{}, map[LimitKey]time.Time{}}
}

// look reads what limits count, each once, with at most two queries for each scope.
func (r *rooms) look(ctx context.Context, limits ...keyLimit) error {
	counted, paced := map[string][]string{}, map[string][]string{}
	for _, one := range limits {
		if _, known := r.used[one.LimitKey]; known {
			continue
		}
		r.used[one.LimitKey] = 0
		if one.Concurrency > 0 {
			counted[one.Scope] = append(counted[one.Scope], one.Name)
		}
		if one.Rate > 0 {
			paced[one.Scope] = append(paced[one.Scope], one.Name)
		}
	}
	for scope, names := range counted {
		used, err := r.tx.UnderWay(ctx, scope, names)
		if err != nil {
			return err
		}
		for name, n := range used {
			r.used[LimitKey{scope, name}] = n
		}
	}
	for scope, names := range paced {
		next, err := r.tx.Paces(ctx, scope, names)
		if err != nil {
			return err
		}
		for name, at := range next {
			r.next[LimitKey{scope, name}] = at
		}
	}
	return nil
}

// full returns the first limit that has no room, and when its rate has; nil if all have room.
func (r *rooms) full(ctx context.Context, limits []keyLimit) (full *keyLimit, at time.Time, err error) {
	if err := r.look(ctx, limits...); err != nil {
		return nil, at, err
	}
	for _, one := range limits {
		if one.Concurrency > 0 && r.used[one.LimitKey] >= one.Concurrency {
			return &one, time.Time{}, nil
		}
		if at := r.next[one.LimitKey]; one.Rate > 0 && at.After(r.tx.Now()) {
			return &one, at, nil
		}
	}
	return nil, at, nil
}

// take takes the room of a job that is submitted now.
func (r *rooms) take(ctx context.Context, limits []keyLimit) error {
	for _, one := range limits {
		r.used[one.LimitKey]++
		if one.Rate <= 0 {
			continue
		}
		next := r.next[one.LimitKey]
		if now := r.tx.Now(); next.Before(now) {
			next = now
		}
		r.next[one.LimitKey] = next.Add(time.Duration(float64(time.Second) / one.Rate))
		if err := r.tx.SetPace(ctx, one.LimitKey, r.next[one.LimitKey]); err != nil {
			return err
		}
	}
	return nil
}
