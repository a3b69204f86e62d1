package writer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"gaff"
)

// Tx is one transaction. Its methods are called in this order: Begin, then Next before each
// operation is run with the transaction, Finish, Commit, Committed. Rollback follows any error.
type Tx interface {
	// Begin opens the transaction.
	Begin() error
	// Read reads what operations are known to read.
	Read(reads []any) error
	// Next begins the next operation.
	Next()
	// Wrote reports whether the current operation has written anything.
	Wrote() bool
	// Broken returns why the database ended the transaction; nil while it is open.
	Broken() error
	// Finish writes the rows that the operations deferred.
	Finish() error
	// Commit commits. It reports whether the commit was sent, so that after an error the
	// outcome is unknown.
	Commit() (sent bool, err error)
	// Rollback undoes everything.
	Rollback(cause error)
	// Committed is called after the commit, and after Committed of the operations.
	Committed()
}

// maxAttempts is how often an operation is run if concurrent transactions get in its way.
const maxAttempts = 5

// brokenError is an error of the transaction, rather than of one operation in it: the
// database is unavailable, or undid the transaction because of another one.
type brokenError struct {
	err error
	// began is set if operations had begun, which may be why it broke.
	began bool
	// sent is set if the commit was sent, so that its outcome is unknown.
	sent bool
}

func (b *brokenError) Error() string { return b.err.Error() }
func (b *brokenError) Unwrap() error { return b.err }

// broke returns err's brokenError; nil if err belongs to one operation.
func broke(err error) *brokenError {
	b, _ := errors.AsType[*brokenError](err)
	return b
}

// simplify simplifies the operations that can be, and reports whether there was one.
func simplify[T any](batch []*Op[T], cause error) (some bool) {
	for _, o := range batch {
		if o.Simplify != nil && o.Simplify(cause) {
			some = true
		}
	}
	return some
}

// commit writes the batch in one transaction. If one operation fails after it wrote
// something, the transaction is rolled back and each half of the batch runs in one of its own,
// down to the failing operation: it does not affect the others, and costs few syncs of the disk.
func (s *session[T]) commit(batch []*Op[T]) {
	errs, err := s.transact(batch)
	b := broke(err)
	switch {
	case err == nil:
		for i, o := range batch {
			o.answer(errs[i])
		}
	case (b == nil || b.began || errors.Is(err, ErrCollision)) && simplify(batch, err):
		s.commit(batch)
	case b != nil && errors.Is(err, gaff.ErrUnavailable):
		for _, o := range batch {
			o.answer(b.err)
		}
	case errors.Is(err, ErrCollision):
		// Smaller transactions get in the way of others less.
		for _, o := range batch {
			o.answer(s.commitAlone(o))
		}
	case len(batch) == 1:
		batch[0].answer(err)
	default:
		half := len(batch) / 2
		s.commit(batch[:half])
		s.commit(batch[half:])
	}
}

// commitAlone runs one operation in a transaction of its own, and again if concurrent
// transactions get in its way.
func (s *session[T]) commitAlone(o *Op[T]) error {
	var errs []error
	err := ErrCollision
	for n := 0; n < maxAttempts && errors.Is(err, ErrCollision); n++ {
		errs, err = s.transact([]*Op[T]{o})
	}
	switch {
	case err == nil:
		return errs[0]
	case errors.Is(err, ErrCollision):
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
	}
	return err
}

// transact runs the operations in one transaction. errs are the operations' own errors, of
// those that failed before they wrote anything. err means that nothing was written or, if it
// is a brokenError that is ErrUnavailable, that the outcome is unknown.
//
// A connection that is lost before the commit was sent is replaced once, within the same time
// limit: a server or a firewall that drops idle connections costs no operation.
func (s *session[T]) transact(batch []*Op[T]) (errs []error, err error) {
	ctx, cancel := s.bounded()
	defer cancel()
	had := s.conn.Connected()
	if had {
		s.pingIdle(ctx)
	}
	if err := s.connect(ctx); err != nil {
		return nil, &brokenError{err: err}
	}
	errs, err = s.attempt(ctx, batch)
	if b := broke(err); b != nil && !b.sent && had && !s.conn.Connected() && ctx.Err() == nil && s.conn.Lost(b.err) {
		if err := s.connect(ctx); err != nil {
			return nil, &brokenError{err: err}
		}
		errs, err = s.attempt(ctx, batch)
	}
	return errs, err
}

// attempt runs the operations between begin and commit, once.
func (s *session[T]) attempt(ctx context.Context, batch []*Op[T]) (errs []error, err error) {
	defer func() {
		s.used = time.Now()
		s.recount()
	}()
	t := s.conn.NewTx(ctx, len(batch) > 1)
	defer func() {
		if err != nil {
			t.Rollback(err)
		}
	}()
	if err := t.Begin(); err != nil {
		return nil, &brokenError{err: err}
	}
	if errs, err = s.runAll(t, batch); err != nil {
		if broken := t.Broken(); broken != nil {
			err = &brokenError{err: broken, began: true}
		}
		return nil, err
	}
	if sent, err := t.Commit(); err != nil {
		return nil, &brokenError{err: err, sent: sent}
	}
	for i, o := range batch {
		if errs[i] == nil && o.Committed != nil {
			o.Committed()
		}
	}
	t.Committed()
	return errs, nil
}

// runAll runs the operations, and writes their deferred rows. An error means that the
// transaction must be rolled back; t.Broken reports whether the database caused that.
func (s *session[T]) runAll(t T, batch []*Op[T]) (errs []error, err error) {
	s.reads = s.reads[:0]
	for _, o := range batch {
		if o.Reads != nil {
			s.reads = append(s.reads, o.Reads)
		}
	}
	_, err = guarded(func() error { return t.Read(s.reads) })
	clear(s.reads) // they hold bodies
	if err != nil {
		return nil, err
	}
	errs = make([]error, len(batch))
	for i, o := range batch {
		t.Next()
		var panicked bool
		panicked, errs[i] = guarded(func() error { return o.Run(t) })
		if broken := t.Broken(); broken != nil { // perhaps by rows that others deferred
			return nil, broken
		}
		if errs[i] != nil && (panicked || t.Wrote()) {
			return nil, errs[i]
		}
	}
	_, err = guarded(t.Finish)
	return errs, err
}

// guarded turns a panic in fn into an error: the writer must survive every operation.
func guarded(fn func() error) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, fmt.Errorf("panic while writing: %v\n%s", p, debug.Stack())
		}
	}()
	return false, fn()
}
