package sqlstore

import (
	"context"
	"fmt"

	"gaff"
)

// probe is a commit that shows whether the store can store anything. It answers all checks that
// arrive meanwhile: if a disk hangs, a check every second must not fill the queue.
type probe struct {
	done chan struct{}
	err  error
}

// Ready returns nil once a commit has reached the disk, or the reason why none does, within the
// context's time.
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
