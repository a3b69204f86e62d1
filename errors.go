package gaff

import (
	"errors"
	"fmt"
	"time"

	"gaff/internal/redact"
)

// Errors that stores and verifiers return, to be asked for with errors.Is.
var (
	// ErrNotFound: there is no such row.
	ErrNotFound error = redact.Const("not found")
	// ErrLeaseLost: the delivery was finished or taken over by someone else.
	ErrLeaseLost error = redact.Const("lease lost")
	// ErrConflict: the row is not in a state in which this can be done.
	ErrConflict error = redact.Const("conflict")
	// ErrUnavailable: the store cannot keep anything just now (disk full, database
	// gone, too many waiting). Nothing was kept; trying again later is right.
	ErrUnavailable error = redact.Const("unavailable")
	// ErrUnverifiable: the check of a request cannot be made just now.
	ErrUnverifiable error = redact.Const("cannot be verified now")
	// ErrDamaged: the stored body is not the one that was received.
	ErrDamaged error = redact.Const("stored body damaged: its SHA-256 differs from that of the received body")
	// ErrInvalid: the request makes no sense, such as one with a broken cursor.
	ErrInvalid error = redact.Const("invalid")
	// ErrStopped: the gateway or store was stopped.
	ErrStopped error = redact.Const("stopped")
)

// AttemptError means that an attempt was made and failed, with the handlers' errors
// (not empty). Check for it before errors.Is(err, ErrNotFound) and the like: a handler that
// did not find something says nothing about the event.
type AttemptError struct{ Failures []error }

func (e *AttemptError) Error() string   { return errors.Join(e.Failures...).Error() }
func (e *AttemptError) Unwrap() []error { return e.Failures }

// Finished is returned by a handler that finished its delivery as succeeded in a
// transaction of its own (package jobs does), so that nobody finishes it again.
var Finished = errors.New("delivery finished by its handler")

type discardError struct{ err error }

func (e *discardError) Error() string { return e.err.Error() }
func (e *discardError) Unwrap() error { return e.err }

// Discard wraps an error with which a retry is useless: the delivery ends as dead at
// once. A nil err is taken as "discarded".
func Discard(err error) error {
	if err == nil {
		err = errors.New("discarded")
	}
	return &discardError{err}
}

// IsDiscarded reports whether an error is one of [Discard].
func IsDiscarded(err error) bool {
	_, ok := errors.AsType[*discardError](err)
	return ok
}

type retryAfterError struct {
	after time.Duration
	err   error
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// RetryAfter wraps a failure and sets when the next attempt is due, in place of the
// policy's backoff (a Retry-After that a service sent, for one). The attempt counts.
func RetryAfter(after time.Duration, err error) error {
	if err == nil {
		err = fmt.Errorf("retry after %s", after)
	}
	return &retryAfterError{max(after, 0), err}
}

type snoozeError struct{ for_ time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.for_) }

// Snooze puts a delivery off without counting an attempt: what it waits for has not
// happened yet. Less than a millisecond is taken as one.
func Snooze(d time.Duration) error { return &snoozeError{max(d, time.Millisecond)} }
