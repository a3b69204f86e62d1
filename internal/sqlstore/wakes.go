package sqlstore

// Wake returns a channel that receives when unclaimed deliveries of the queue become due.
func (s *Store) Wake(queue string) <-chan struct{} { return s.waker(queue) }

func (s *Store) waker(queue string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.wakes[queue]
	if c == nil {
		c = make(chan struct{}, 1)
		s.wakes[queue] = c
	}
	return c
}

func (s *Store) signalWake(queue string) {
	signal(s.waker(queue))
}

// Notified passes on that another process wrote: that deliveries of queues are due (of all known
// ones if the list is empty and not nil), and that something changed.
func (s *Store) Notified(queues []string, changed bool) {
	if queues != nil && len(queues) == 0 {
		s.mu.Lock()
		for queue := range s.wakes {
			queues = append(queues, queue)
		}
		s.mu.Unlock()
	}
	for _, queue := range queues {
		s.signalWake(queue)
	}
	if changed {
		s.signalChanged()
	}
}

// Changed returns a channel that is closed after the next commit that changes something.
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
