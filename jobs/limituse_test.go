package jobs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"gaff/jobs"
)

func TestUseOfLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := map[jobs.LimitKey]jobs.Limit{
			{Scope: "project", Name: "film"}: {Concurrency: 2}, {Scope: "project", Name: "idle"}: {Concurrency: 5}, {Scope: "user", Name: "*"}: {Rate: 0.1},
		}
		p := newPair(t, func(o *jobs.ServiceOptions) {
			o.Limit = func(scope, name string) jobs.Limit {
				if l, ok := limits[jobs.LimitKey{Scope: scope, Name: name}]; ok {
					return l
				}
				return limits[jobs.LimitKey{Scope: scope, Name: "*"}]
			}
			o.Limited = []jobs.LimitKey{{Scope: "project", Name: "film"}, {Scope: "project", Name: "idle"}}
		})
		p.many(5, "film", "film", "")
		p.many(2, "anna", "", "anna")
		synctest.Wait()
		list, err := p.LimitUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		type row struct {
			key     jobs.LimitKey
			n, wait int
			full    bool
		}
		var got []row
		for _, u := range list {
			got = append(got, row{u.LimitKey, u.UnderWay, u.Waiting, u.Full(time.Now())})
		}
		want := []row{
			{jobs.LimitKey{Scope: "project", Name: "film"}, 2, 3, true}, {jobs.LimitKey{Scope: "project", Name: "idle"}, 0, 0, false},
			{jobs.LimitKey{Scope: "user", Name: "anna"}, 0, 1, true},
		}
		if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("the use is %+v, want %+v", got, want)
		}
	})
}
