package sqlstore

// Wake tells that something became due in the lane that no worker of this process holds.
func (s *Store) Wake(lane string) <-chan struct{} { return s.waker(lane) }

func (s *Store) waker(lane string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.wakes[lane]
	if c == nil {
		c = make(chan struct{}, 1)
		s.wakes[lane] = c
	}
	return c
}

func (s *Store) signalWake(lane string) {
	signal(s.waker(lane))
}

// Notified tells that another process wrote: that deliveries wait in lanes (in all that are
// known here, if the list is empty and not nil), and that something changed.
func (s *Store) Notified(lanes []string, changed bool) {
	if lanes != nil && len(lanes) == 0 {
		s.mu.Lock()
		for lane := range s.wakes {
			lanes = append(lanes, lane)
		}
		s.mu.Unlock()
	}
	for _, lane := range lanes {
		s.signalWake(lane)
	}
	if changed {
		s.signalChanged()
	}
}

// Changed is closed after the next commit that changed something.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) signalChanged() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
