package jobs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A provider that asks for a pause before the next submit (429 with Retry-After) gets none from any
// node until it is over: the time is a setting in the database.

// maxRest is the longest pause that is obeyed at once.
const maxRest = time.Hour

func restSetting(provider string) string { return "rest:" + provider }

// restUntil returns when a provider may be sent the next submit; zero if now.
func restUntil(ctx context.Context, tx Tx, provider string) (time.Time, error) {
	text, err := tx.Setting(ctx, restSetting(provider))
	if err != nil || text == "" {
		return time.Time{}, err
	}
	us, _ := strconv.ParseInt(text, 10, 64) // written by rest
	until := time.UnixMicro(us)
	if !until.After(tx.Now()) || until.After(tx.Now().Add(maxRest)) {
		return time.Time{}, nil
	}
	return until, nil
}

// rest stores that a provider asked for a pause, unless it asked for a longer one.
func rest(ctx context.Context, tx Tx, provider string, after time.Duration) error {
	if after <= 0 {
		return nil
	}
	until := tx.Now().Add(min(after, maxRest))
	if known, err := restUntil(ctx, tx, provider); err != nil || known.After(until) {
		return err
	}
	return tx.SetSetting(ctx, restSetting(provider), strconv.FormatInt(until.UnixMicro(), 10))
}

// restingError says that a submit was not sent, since its provider asked for a pause.
type restingError struct {
	provider string
	left     time.Duration
}

func (e *restingError) Error() string {
	return fmt.Sprintf("%s asked to wait; nothing is sent to it for %s", e.provider, e.left.Round(time.Second))
}

// resting returns a restingError while a job's provider rests. A job with another candidate moves to
// it if the pause is long.
func (l *Service) resting(ctx context.Context, tx Tx, j *Job, begun time.Time) error {
	until, err := restUntil(ctx, tx, j.Provider)
	if err != nil || until.IsZero() {
		return err
	}
	left := until.Sub(tx.Now())
	next, err := l.impatient(ctx, tx, j, begun, left)
	if err != nil {
		return err
	}
	asked := &restingError{j.Provider, left}
	if next {
		j.Submit = SubmitRejected
		if err := l.fail(ctx, tx, j, asked.Error(), "not_accepted", ""); err != nil {
			return err
		}
		return nil
	}
	return asked
}

// asResting returns the pause of a restingError.
func asResting(err error) (left time.Duration, ok bool) {
	e, ok := errors.AsType[*restingError](err)
	if !ok {
		return 0, false
	}
	// Spread the jobs that wait, so that they do not come at the same moment.
	return e.left + jitter(time.Second), true
}

// laterOf returns the later one of two times.
func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
