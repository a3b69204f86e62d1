package gaff

import (
	"fmt"
	"maps"
	"sync/atomic"
)

// sourceSet is read by every request and replaced as a whole.
type sourceSet struct {
	p atomic.Pointer[map[string]*Source]
}

func (s *sourceSet) all() map[string]*Source {
	if m := s.p.Load(); m != nil {
		return *m
	}
	return nil
}

func (s *sourceSet) get(name string) *Source { return s.all()[name] }

func (s *sourceSet) put(src *Source) {
	next := maps.Clone(s.all())
	if next == nil {
		next = map[string]*Source{}
	}
	next[src.Name] = src
	s.p.Store(&next)
}

// UpdateSource replaces the source of the same name for new requests; requests in progress
// finish with the old one. It is for new secrets of a running gateway, and may be called at
// any time.
func (g *Gateway) UpdateSource(s Source) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.sources.get(s.Name)
	switch {
	case old == nil:
		return fmt.Errorf("source %q: %w; sources are added before the start", s.Name, ErrNotFound)
	case s.Verifier == nil || s.Parser == nil:
		return fmt.Errorf("source %q: %w: it needs a Verifier and a Parser", s.Name, ErrInvalid)
	}
	g.ready(&s)
	if old.verified != nil && s.verified != nil && old.Guard.Rate == s.Guard.Rate && old.Guard.Burst == s.Guard.Burst {
		s.verified, s.unverified = old.verified, old.unverified // a reload must not reset the limit
	}
	if (old.DisabledReason == "") != (s.DisabledReason == "") {
		g.log.Info("source changed", "source", s.Name, "quiet", s.DisabledReason)
	}
	g.sources.put(&s)
	return nil
}

// ready sets defaults and the rate limits of a source.
func (g *Gateway) ready(s *Source) {
	if s.MaxBodyBytes <= 0 {
		s.MaxBodyBytes = defaultBodyLimit
	}
	if s.Guard.Rate > 0 {
		s.verified, s.unverified = newRateLimit(s.Guard.Rate, s.Guard.Burst), newClientLimits(s.Guard.Rate, s.Guard.Burst)
	}
}
