package workflow

import (
	"sync"
)

// locks serializes the changes of each run within the process. Between processes the run's
// revision does.
type locks struct {
	mu   sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	sync.Mutex
	users int
}

func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*heldLock{}
	}
	h := l.held[name]
	if h == nil {
		h = &heldLock{}
		l.held[name] = h
	}
	h.users++
	l.mu.Unlock()
	h.Lock()
	return func() {
		h.Unlock()
		l.mu.Lock()
		if h.users--; h.users == 0 {
			delete(l.held, name)
		}
		l.mu.Unlock()
	}
}
