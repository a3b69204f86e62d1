package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gaff"
)

// maxDestinations bounds how many there may be.
const maxDestinations = 500

// List returns the destinations by name.
func (m *Manager) List(ctx context.Context) ([]Managed, error) {
	m.mu.Lock()
	var names []string
	for name := range m.live {
		names = append(names, name)
	}
	m.mu.Unlock()
	slices.Sort(names)
	all := []Managed{}
	for _, name := range names {
		d, err := m.Get(ctx, name)
		if errors.Is(err, gaff.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// DeliveryTo returns the delivery of an event to a destination, past its filter.
func (m *Manager) DeliveryTo(name string) (gaff.Delivery, error) {
	l, err := m.get(name)
	if err != nil {
		return gaff.Delivery{}, err
	}
	if l.d.Kind == KindArchive {
		return gaff.Delivery{}, fmt.Errorf("%w: %s is an archive: it has each event once, and takes none again", gaff.ErrConflict, name)
	}
	return gaff.Delivery{Handler: name, Queue: name, MaxAttempts: l.d.Spec().MaxAttempts}, nil
}

// Target returns a destination, to which events of the past are replayed.
func (m *Manager) Target(name string) (*Destination, error) {
	l, err := m.get(name)
	if err != nil {
		return nil, err
	}
	return l.d, nil
}

// AdHoc returns a destination that is attached to no gateway, with the client and the lookup of the
// others.
func (m *Manager) AdHoc(s Spec) (*Destination, error) {
	if s.Kind != "" && s.Kind != KindHTTP {
		return nil, fmt.Errorf("%w: kind: want %s", gaff.ErrInvalid, KindHTTP)
	}
	d, _, err := m.build(s)
	return d, err
}

// Healths returns the health of all destinations, as this process sees it.
func (m *Manager) Healths() map[string]Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Health, len(m.live))
	for name, l := range m.live {
		all[name] = l.d.Health()
	}
	return all
}

func unknown(name string) error { return fmt.Errorf("destination %.80q: %w", name, gaff.ErrNotFound) }

func (m *Manager) get(name string) (*live, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.live[name]
	if l == nil {
		return nil, unknown(name)
	}
	return l, nil
}

// Get returns one destination.
func (m *Manager) Get(ctx context.Context, name string) (Managed, error) {
	m.mu.Lock()
	l := m.live[name]
	if l == nil {
		m.mu.Unlock()
		return Managed{}, unknown(name)
	}
	d := Managed{Spec: l.d.Spec(), Origin: l.origin, Revision: l.revision, UpdatedAt: l.updatedAt, Health: l.d.Health()}
	m.mu.Unlock()
	var err error
	if d.Kind == KindArchive {
		return d, m.describeArchive(ctx, &d)
	}
	d.Counts, err = m.o.Store.QueueCounts(ctx, name)
	return d, err
}

// Create stores a new destination and attaches it.
func (m *Manager) Create(ctx context.Context, s Spec) (Managed, error) {
	m.mu.Lock()
	full := len(m.live) >= maxDestinations
	known := m.live[s.Name] != nil
	m.mu.Unlock()
	if full {
		return Managed{}, fmt.Errorf("%w: there are %d destinations already", gaff.ErrConflict, maxDestinations)
	}
	if known {
		return Managed{}, fmt.Errorf("%w: there is a destination %q already", gaff.ErrConflict, s.Name)
	}
	return m.put(ctx, s, stored{Spec: &s, State: StateActive}, gaff.NewRecord)
}

// Update changes the spec of a destination.
func (m *Manager) Update(ctx context.Context, name string, change func(*Spec) error) (Managed, error) {
	l, err := m.get(name)
	if err != nil {
		return Managed{}, err
	}
	if l.origin == OriginConfig {
		return Managed{}, fmt.Errorf("%w: %s is defined in the configuration; change it there", gaff.ErrConflict, name)
	}
	r, err := m.o.Store.Record(ctx, destinationKind, name)
	if err != nil {
		return Managed{}, err
	}
	var st stored
	if err := json.Unmarshal(r.Value, &st); err != nil || st.Spec == nil {
		return Managed{}, fmt.Errorf("destination %s cannot be read: %w", name, err)
	}
	if err := change(st.Spec); err != nil {
		return Managed{}, err
	}
	if st.Spec.Name != name {
		return Managed{}, fmt.Errorf("%w: name: cannot be changed, because deliveries are stored under it", gaff.ErrInvalid)
	}
	return m.put(ctx, *st.Spec, st, r.Revision)
}

func (m *Manager) put(ctx context.Context, s Spec, st stored, revision int64) (Managed, error) {
	if s.Kind == KindArchive {
		// It writes files on this machine, or with the machine's rights to a bucket.
		return Managed{}, fmt.Errorf("%w: kind: archive is for destinations of gaff.yaml only", gaff.ErrInvalid)
	}
	// Build it before it is stored: a mistake must not be stored.
	_, pub, err := m.build(s)
	if pub != nil {
		_ = pub.Close()
	}
	if err != nil {
		return Managed{}, err
	}
	value, err := json.Marshal(st)
	if err != nil {
		return Managed{}, err
	}
	if _, err = m.o.Store.PutRecord(ctx, gaff.Record{Kind: destinationKind, Name: s.Name, Value: value, Revision: revision}); err != nil {
		return Managed{}, err
	}
	if err := m.reload(ctx, false); err != nil {
		return Managed{}, err
	}
	return m.Get(ctx, s.Name)
}

// SetState pauses or resumes a destination, on all nodes. The state survives a restart.
func (m *Manager) SetState(ctx context.Context, name string, state State, reason string) (Managed, error) {
	if _, err := m.get(name); err != nil {
		return Managed{}, err
	}
	if err := m.setKept(ctx, name, state, reason); err != nil {
		return Managed{}, err
	}
	if err := m.reload(ctx, false); err != nil {
		return Managed{}, err
	}
	if l, err := m.get(name); err == nil && state == StateActive {
		// Even if the state did not change: Resume closes an open circuit.
		l.d.Resume()
		m.o.Gateway.Wake(name)
	}
	return m.Get(ctx, name)
}

// cancelBatch is how many deliveries of a deleted destination are canceled in a transaction:
// other writes must not wait long.
const cancelBatch = 200

// Delete removes a destination and cancels its queued deliveries.
func (m *Manager) Delete(ctx context.Context, name string) error {
	l, err := m.get(name)
	if err != nil {
		return err
	}
	if l.origin == OriginConfig {
		return fmt.Errorf("%w: %s is defined in the configuration; take it out there", gaff.ErrConflict, name)
	}
	if err := m.o.Store.DeleteRecord(ctx, destinationKind, name); err != nil && !errors.Is(err, gaff.ErrNotFound) {
		return err
	}
	if err := m.reload(ctx, false); err != nil {
		return err
	}
	for {
		n, err := m.o.Store.CancelQueue(ctx, name, "the destination was deleted", cancelBatch)
		if err != nil {
			return fmt.Errorf("destination %s is deleted, but some of its deliveries are not canceled: %w", name, err)
		}
		if n < cancelBatch {
			return nil
		}
	}
}

// Rotate adds a new secret in front of a destination's. If keep is set, the previous one signs
// as well, so that receivers with either secret accept.
func (m *Manager) Rotate(ctx context.Context, name string, keep bool) (d Managed, secret string, err error) {
	secret = NewSecret()
	d, err = m.Update(ctx, name, func(s *Spec) error {
		if s.Kind != "" && s.Kind != KindHTTP {
			return fmt.Errorf("%w: only destinations of kind http sign", gaff.ErrConflict)
		}
		rest := s.Secrets[:min(len(s.Secrets), 1)]
		if !keep {
			rest = nil
		}
		s.Secrets = append([]string{secret}, rest...)
		return nil
	})
	return d, secret, err
}

// Test sends a test event ("gaff:test") to a destination now, without filter, limiter and
// retries, and returns the exchange.
func (m *Manager) Test(ctx context.Context, name string) (*Exchange, error) {
	l, err := m.get(name)
	if err != nil {
		return nil, err
	}
	if l.d.Spec().Kind != KindHTTP {
		return nil, fmt.Errorf("%w: only destinations of kind http can be tested", gaff.ErrConflict)
	}
	return l.d.Probe(ctx)
}
