package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gaff"
	"gaff/jobs"
)

func (s *suite) charged(id, project, user, currency string, state jobs.ChargeState, amount jobs.Micros, created time.Time) {
	s.Helper()
	err := s.st.Write(s.ctx, func(tx jobs.Tx) error {
		return tx.InsertJob(s.ctx, &jobs.Job{
			ID: id, Provider: "p", Model: "m", ProjectID: project, UserID: user, CreatedAt: created,
			Charge: jobs.Charge{Amount: amount, Currency: currency, State: state},
		})
	})
	if err != nil {
		s.Fatal(err)
	}
}

// Sums of charges are exact, and never mix currencies.
func testCosts(s *suite) {
	day := time.Date(2026, 11, 28, 23, 30, 0, 0, time.UTC)
	s.charged("a", "p1", "u1", "USD", jobs.ChargeBilled, 100_001, day)
	s.charged("b", "p1", "u2", "USD", jobs.ChargeEstimated, 200_002, day.Add(time.Hour))
	s.charged("c", "p2", "u1", "USD", jobs.ChargeReserved, 50_000, day.Add(time.Hour))
	s.charged("d", "p1", "u1", "credit", jobs.ChargeBilled, 7_000_000, day)
	s.charged("e", "p1", "u1", "", jobs.ChargeNone, 0, day)
	for name, c := range map[string]struct {
		f    jobs.CostFilter
		want []jobs.CostSum
	}{
		"in all":  {jobs.CostFilter{}, []jobs.CostSum{{Currency: "credit", Charged: 7_000_000, Jobs: 1}, {Currency: "USD", Charged: 300_003, Estimated: 200_002, Reserved: 50_000, Jobs: 3}}},
		"project": {jobs.CostFilter{By: "project", Since: day.Add(time.Minute)}, []jobs.CostSum{{Key: "p1", Currency: "USD", Charged: 200_002, Estimated: 200_002, Jobs: 1}, {Key: "p2", Currency: "USD", Reserved: 50_000, Jobs: 1}}},
		"user":    {jobs.CostFilter{By: "user", ProjectID: "p1", Until: day.Add(time.Minute)}, []jobs.CostSum{{Key: "u1", Currency: "credit", Charged: 7_000_000, Jobs: 1}, {Key: "u1", Currency: "USD", Charged: 100_001, Jobs: 1}}},
		"daily": {jobs.CostFilter{By: "project", Daily: true}, []jobs.CostSum{
			{Key: "p1", Day: "2026-11-28", Currency: "credit", Charged: 7_000_000, Jobs: 1}, {Key: "p1", Day: "2026-11-28", Currency: "USD", Charged: 100_001, Jobs: 1},
			{Key: "p1", Day: "2026-11-29", Currency: "USD", Charged: 200_002, Estimated: 200_002, Jobs: 1}, {Key: "p2", Day: "2026-11-29", Currency: "USD", Reserved: 50_000, Jobs: 1},
		}},
		"day": {jobs.CostFilter{By: "day", UserID: "u2"}, []jobs.CostSum{{Key: "2026-11-29", Currency: "USD", Charged: 200_002, Estimated: 200_002, Jobs: 1}}},
	} {
		got, err := s.st.Costs(s.ctx, c.f)
		if err != nil || !slices.Equal(got.Sums, c.want) || got.More {
			s.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
	j, err := s.st.Job(s.ctx, "b")
	if want := (jobs.Charge{Amount: 200_002, Currency: "USD", State: jobs.ChargeEstimated}); err != nil || j.Charge != want {
		s.Errorf("the job has %+v, %v; want %+v", j.Charge, err, want)
	}
}

func testBudgets(s *suite) {
	now := time.Now()
	b := jobs.Budget{Name: "film", ProjectID: "p1", Period: "day", Currency: "USD", Limit: 1_000_000, Warn: 500_000}
	save := func(b jobs.Budget) error {
		return s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.SaveBudget(s.ctx, &b) })
	}
	if err := save(b); err != nil {
		s.Fatal(err)
	}
	b.Limit = 2_000_000
	if err := save(b); err != nil {
		s.Fatal(err)
	}
	list, err := s.st.Budgets(s.ctx)
	if err != nil || len(list) != 1 || list[0].Limit != 2_000_000 || list[0].ProjectID != "p1" || list[0].CreatedAt.IsZero() {
		s.Fatalf("got %+v, %v", list, err)
	}
	s.charged("a", "p1", "u1", "USD", jobs.ChargeReserved, 300_000, now)
	s.charged("b", "p2", "u1", "USD", jobs.ChargeBilled, 100_000, now)
	s.charged("c", "p1", "u1", "EUR", jobs.ChargeBilled, 100_000, now)
	s.charged("d", "p1", "u1", "USD", jobs.ChargeBilled, 50_000, now.Add(-48*time.Hour))
	if spent, err := s.st.Spent(s.ctx, list[0], now); err != nil || spent != 300_000 {
		s.Errorf("spent %d, %v; want 300000", spent, err)
	}
	remove := func() error {
		return s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.RemoveBudget(s.ctx, "film") })
	}
	if err := remove(); err != nil {
		s.Fatal(err)
	}
	if err := remove(); !errors.Is(err, gaff.ErrNotFound) {
		s.Errorf("removed twice: %v", err)
	}
}

// Transactions that lock the budgets see each other's charges, so that no two get the same room.
func testBudgetLock(s *suite) {
	const limit, each, submits = 1_000_000, 30_000, 200
	b := jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: limit}
	now := time.Now()
	if err := s.st.Write(s.ctx, func(tx jobs.Tx) error { return tx.SaveBudget(s.ctx, &b) }); err != nil {
		s.Fatal(err)
	}
	full := errors.New("full")
	var wg sync.WaitGroup
	for i := range submits {
		wg.Go(func() {
			err := s.st.Write(context.WithoutCancel(s.ctx), func(tx jobs.Tx) error {
				if err := tx.LockBudgets(s.ctx); err != nil {
					return err
				}
				spent, err := tx.Spent(s.ctx, b, now)
				if err != nil {
					return err
				}
				if spent+each > limit {
					return full
				}
				return tx.InsertJob(s.ctx, &jobs.Job{
					ID: fmt.Sprint("job_", i), Provider: "p", Charge: jobs.Charge{Amount: each, Currency: "USD", State: jobs.ChargeReserved},
				})
			})
			if err != nil && !errors.Is(err, full) {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	spent, err := s.st.Spent(s.ctx, b, now)
	if want := jobs.Micros(limit / each * each); err != nil || spent != want {
		s.Errorf("admitted %s, %v; want %s", spent, err, want)
	}
}

// The sum of a period follows each change of a charge, and starts with the jobs that exist.
func testBudgetSums(s *suite) {
	now := time.Now()
	write := func(fn func(tx jobs.Tx) error) {
		s.Helper()
		if err := s.st.Write(s.ctx, fn); err != nil {
			s.Fatal(err)
		}
	}
	spent := func(step string, b jobs.Budget, want jobs.Micros) {
		s.Helper()
		if got, err := s.st.Spent(s.ctx, b, now); err != nil || got != want {
			s.Errorf("%s: budget %s has %s, %v; want %s", step, b.Name, got, err, want)
		}
	}
	save := func(b jobs.Budget) {
		s.Helper()
		write(func(tx jobs.Tx) error { return tx.SaveBudget(s.ctx, &b) })
	}
	change := func(id string, fn func(j *jobs.Job)) {
		s.Helper()
		write(func(tx jobs.Tx) error {
			j, err := tx.Job(s.ctx, id)
			if err != nil {
				return err
			}
			fn(j)
			return tx.SaveJob(s.ctx, j)
		})
	}
	all := jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 1}
	film := jobs.Budget{Name: "film", ProjectID: "film", Period: "month", Currency: "USD", Limit: 1}
	s.charged("a", "", "u1", "USD", jobs.ChargeReserved, 100, now)
	save(all)
	save(film)
	spent("saved later", all, 100)
	change("a", func(j *jobs.Job) { j.ProjectID = "film" }) // learned later
	spent("project", film, 100)
	change("a", func(j *jobs.Job) {
		j.Status, j.Charge = jobs.JobCompleted, jobs.Charge{Amount: 250, Currency: "USD", State: jobs.ChargeBilled}
	})
	spent("billed", all, 250)
	s.charged("b", "film", "u1", "USD", jobs.ChargeReserved, 40, now)
	change("b", func(j *jobs.Job) { j.Status, j.Charge = jobs.JobFailed, jobs.Charge{} })
	spent("failed at no cost", film, 250)
	s.charged("c", "film", "u1", "USD", jobs.ChargeReserved, 7, now)
	write(func(tx jobs.Tx) error { return tx.RemoveJob(s.ctx, "c") })
	spent("came to nothing", film, 250)
	film.UserID = "u2"
	save(film)
	spent("for another user", film, 0)
	write(func(tx jobs.Tx) error { // in one transaction
		j := &jobs.Job{ID: "d", Provider: "p", ProjectID: "film", UserID: "u2", Charge: jobs.Charge{Amount: 9, Currency: "USD", State: jobs.ChargeReserved}}
		if err := tx.InsertJob(s.ctx, j); err != nil {
			return err
		}
		if got, err := tx.Spent(s.ctx, film, now); err != nil || got != 9 {
			s.Errorf("before the commit: %s, %v; want 9", got, err)
		}
		film.Limit = 2
		if err := tx.SaveBudget(s.ctx, &film); err != nil {
			return err
		}
		j.Charge.Amount = 11
		return tx.SaveJob(s.ctx, j)
	})
	spent("in one transaction", film, 11)
	spent("in one transaction", all, 261)
}

// A budget that is saved while charges are written has all of them.
func testBudgetSavedUnderLoad(s *suite) {
	b := jobs.Budget{Name: "all", Period: "month", Currency: "USD", Limit: 1}
	var wg sync.WaitGroup
	for i := range 120 {
		wg.Go(func() {
			err := s.st.Write(context.WithoutCancel(s.ctx), func(tx jobs.Tx) error {
				if i%40 == 20 {
					b := b
					return tx.SaveBudget(s.ctx, &b)
				}
				return tx.InsertJob(s.ctx, &jobs.Job{ID: fmt.Sprint("job_", i), Provider: "p", Charge: jobs.Charge{Amount: 1, Currency: "USD", State: jobs.ChargeReserved}})
			})
			if err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := s.st.Spent(s.ctx, b, time.Now()); err != nil || got != 117 {
		s.Errorf("%d, %v; want 117", got, err)
	}
}

// Sums beyond the limit are the smallest ones, of any day.
func testCostLimit(s *suite) {
	day := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for n, amount := range []jobs.Micros{1, 3, 2} {
		s.charged(fmt.Sprint("job_", n), fmt.Sprint("p", n), "", "USD", jobs.ChargeBilled, amount, day.AddDate(0, 0, n))
	}
	for limit, want := range map[int][]string{0: {"p0", "p1", "p2"}, 3: {"p0", "p1", "p2"}, 2: {"p1", "p2"}} {
		got, err := s.st.Costs(s.ctx, jobs.CostFilter{By: "project", Daily: true, Limit: limit})
		s.must(err)
		var keys []string
		for _, c := range got.Sums {
			keys = append(keys, c.Key)
		}
		s.equal(fmt.Sprintf("projects with limit %d", limit), keys, want)
		s.equal(fmt.Sprintf("more than limit %d", limit), got.More, limit == 2)
	}
}
