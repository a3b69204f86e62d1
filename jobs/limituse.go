package jobs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gaff/internal/sorting"
)

// LimitUse is how much of a limit is in use, over all nodes.
type LimitUse struct {
	LimitKey
	Limit
	// UnderWay is how many jobs count for the limit, Waiting how many wait in the queue.
	UnderWay, Waiting int
	// Next is when the rate allows the next submit; zero: now.
	Next time.Time
}

// Full reports whether the limit has no room now.
func (u *LimitUse) Full(now time.Time) bool {
	return u.Concurrency > 0 && u.UnderWay >= u.Concurrency || u.Rate > 0 && u.Next.After(now)
}

// LimitUse returns the limits that are in use, and those of the configuration that are for one name, by
// scope, the fullest first.
func (l *Service) LimitUse(ctx context.Context) (list []LimitUse, err error) {
	if l.o.Limit == nil {
		return nil, nil
	}
	used, err := l.o.Store.LimitUse(ctx)
	if err != nil {
		return nil, err
	}
	known := map[LimitKey]bool{}
	for _, u := range used {
		known[u.LimitKey] = true
	}
	for _, key := range l.o.Limited {
		if !known[key] {
			used = append(used, LimitUse{LimitKey: key})
		}
	}
	for _, u := range used {
		if u.Limit = l.o.Limit(u.Scope, u.Name); u.Limit != (Limit{}) {
			list = append(list, u)
		}
	}
	now := time.Now()
	sorting.By(list, func(a, b LimitUse) int {
		return cmp.Or(
			cmp.Compare(slices.Index(LimitScopes, a.Scope), slices.Index(LimitScopes, b.Scope)), -compareBool(a.Full(now), b.Full(now)),
			-cmp.Compare(a.share(), b.share()), cmp.Compare(a.Name, b.Name),
		)
	})
	return list, nil
}

// share is the used part of the concurrency.
func (u *LimitUse) share() float64 {
	if u.Concurrency == 0 {
		return 0
	}
	return float64(u.UnderWay) / float64(u.Concurrency)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
