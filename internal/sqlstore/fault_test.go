package sqlstore

import (
	"errors"
	"fmt"
	"testing"

	"gaff"
)

// A row that another node wrote first says nothing of the connection: the operations run again on it.
func TestRowOfAnotherNodeIsNoLostConnection(t *testing.T) {
	t.Parallel()
	s := &Store{opt: Options{Dialect: Dialect{Fault: func(err error) error { return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err) }}}}
	tx := &tx{s: s, ctx: t.Context(), db: &PostgreSQL{}, broken: errNotWritten}
	if err := tx.fault(fmt.Errorf("add: %w", errNotWritten)); !errors.Is(err, errNotWritten) || errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	if errors.Is(tx.broken, gaff.ErrUnavailable) {
		t.Errorf("the transaction failed by %v, so its connection is dropped", tx.broken)
	}
	if err := tx.fault(errors.New("reset by peer")); !errors.Is(err, gaff.ErrUnavailable) || !errors.Is(tx.broken, gaff.ErrUnavailable) {
		t.Errorf("a lost connection: %v, %v", err, tx.broken)
	}
}
