package api

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"gaff/internal/access"
)

// slots bounds the open streams: in all, and those of one credential, so that one key
// cannot hold the streams of all others. The zero value is ready.
type slots struct {
	mu    sync.Mutex
	total int
	by    map[string]int
}

// take reserves a place until release is called; release is nil and why a text for the
// caller if none is free.
func (s *slots) take(who Identity) (release func(), why string) {
	owner := who.Caller()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.by[owner] >= maxStreamsEach:
		return nil, fmt.Sprintf("%d streams of this credential are open already; close some, or retry later", maxStreamsEach)
	case s.total >= maxStreams:
		return nil, fmt.Sprintf("%d streams are open already; close some, or retry later", maxStreams)
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.total++
	s.by[owner]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.by[owner]--; s.by[owner] == 0 {
			delete(s.by, owner)
		}
	}, ""
}

// openStream reserves a place for the stream of r, or answers r.
func (s *server) openStream(w http.ResponseWriter, r *http.Request) (release func(), ok bool) {
	var who Identity
	if n := noteOf(r.Context()); n != nil {
		who = n.who
	}
	release, why := s.streams.take(who)
	if release == nil {
		w.Header().Set("Retry-After", strconv.Itoa(streamRetry))
		rejectWith(w, r, http.StatusServiceUnavailable, why)
		return nil, false
	}
	return release, true
}

// tokenOnly rejects the console's cookie for operations that change something by GET: a browser sends
// the cookie also if a page of another origin opens the URL.
func tokenOnly(w http.ResponseWriter, r *http.Request) bool {
	if n := noteOf(r.Context()); n != nil && n.who.Via == access.ViaSession {
		rejectWith(w, r, http.StatusForbidden, "the console's session cannot be used here; send a token: Authorization: Bearer …")
		return false
	}
	return true
}
