package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// silent is provider a. Nothing is sent to it: no gateway hands it jobs.
type silent struct{ jobs.Provider }

func (silent) Name() string                 { return "a" }
func (silent) Account() string              { return "" }
func (silent) CanPoll(*jobs.Job) bool       { return false }
func (silent) Check(*jobs.Submission) error { return nil }
func (silent) Submit(context.Context, *jobs.Job, json.RawMessage, string) (jobs.Accepted, error) {
	return jobs.Accepted{}, nil
}

// A job whose limits have room is found behind any number of jobs of other users whose limits have none.
func testLongQueue(s *suite) {
	const waiting, batch = 10_000, 200 // a transaction may take four seconds
	for first := 0; first < waiting; first += batch {
		s.write(func(tx jobs.Tx) error {
			if err := tx.LockQueue(s.ctx); err != nil {
				return err
			}
			for i := range batch {
				n := fmt.Sprint(first + i)
				q := jobs.QueuedJob{JobID: "busy" + n, Provider: "a", Model: "m", UserID: "busy" + n}
				j := &jobs.Job{ID: q.JobID, Provider: "a", Model: "m", UserID: q.UserID, Submit: jobs.SubmitWaiting, CreatedAt: tx.Now()}
				if err := tx.InsertJob(s.ctx, j); err != nil {
					return err
				}
				if err := tx.JoinQueue(s.ctx, &q); err != nil {
					return err
				}
				if err := tx.SetPace(s.ctx, jobs.LimitKey{Scope: "user", Name: q.UserID}, tx.Now().Add(time.Hour)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.queueJob(jobs.QueuedJob{JobID: "free", UserID: "free", Priority: -1})
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: s.st, Logger: log})
	s.must(err)
	service, err := jobs.NewService(s.ctx, jobs.ServiceOptions{
		Store: s.st, Router: gw, Log: log, Providers: []jobs.Provider{silent{}},
		Limit: func(scope, name string) jobs.Limit {
			if scope == "user" && strings.HasPrefix(name, "busy") {
				return jobs.Limit{Rate: 0.0001}
			}
			return jobs.Limit{}
		},
	})
	s.must(err)
	ctx, stop := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); service.Run(ctx) }()
	defer func() { stop(); <-ended }()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		// Jobs that were released are before those that wait.
		n, err := s.st.JobPosition(s.ctx, "free")
		s.must(err)
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			s.Fatalf("the job behind the others is at %d, and was not released", n)
		}
	}
	if got := s.nextQueued(nil); len(got) != 10 {
		s.Errorf("jobs of full limits were released: %q wait", got)
	}
}
