package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/jobs"
)

// deadStore takes the ledger's key, and nothing more.
type deadStore struct {
	jobs.ServiceStore
	down bool
}

func (s *deadStore) Write(context.Context, func(jobs.Tx) error) error {
	if !s.down {
		return nil
	}
	return fmt.Errorf("%w: gone", gaff.ErrUnavailable)
}

// What a provider said is kept for a while after the end of its context, and not for ever: a
// gateway that stops while its database is away must end.
func TestAnsweredGivesUpAfterItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := &deadStore{}
		l, err := jobs.NewService(context.Background(), jobs.ServiceOptions{Store: st, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		st.down = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := l.Answered(ctx, "job_1", jobs.Accepted{RequestID: "r"}, nil); !errors.Is(err, gaff.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		if took := time.Since(began); took < time.Minute || took > 75*time.Second {
			t.Errorf("gave up after %s, want shortly after the minute of its context", took)
		}
	})
}
