package sqlstore

import (
	"context"
	"fmt"

	"gaff"
)

// probe is one commit that shows whether the store can keep anything, for all who ask
// meanwhile: while a disk hangs, checks that come every second must not fill the queue.
type probe struct {
	done chan struct{}
	err  error
}

// Ready returns nil once a commit has reached the disk, or why none does, within the context's
// time.
func (s *Store) Ready(ctx context.Context) error {
	s.mu.Lock()
	p := s.probe
	if p == nil {
		p = &probe{done: make(chan struct{})}
		s.probe = p
		go s.runProbe(p)
	}
	s.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%w: the disk or the database has not finished a commit yet: %w", gaff.ErrUnavailable, context.Cause(ctx))
	}
}

func (s *Store) runProbe(p *probe) {
	p.err = s.w.Do(context.Background(), s.db.probe(s))
	s.mu.Lock()
	s.probe = nil
	s.mu.Unlock()
	close(p.done)
}
