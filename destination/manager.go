// Package forwarding keeps the destinations of a gateway: those of the configuration and
// those that people set up while it runs, on all nodes; and it hands out what applications
// fetch themselves.
package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
)

// Store is what this package needs of a store.
type Store interface {
	gaff.Records
	gaff.Follower
	gaff.Queue
	Changed() <-chan struct{}
	Delivery(ctx context.Context, id string) (*gaff.Delivery, []gaff.Attempt, error)
	CancelQueue(ctx context.Context, lane, why string, limit int) (int, error)
	QueueCounts(ctx context.Context, lane string) (gaff.QueueCounts, error)
}

// Gateway is what destinations are attached to; a *gaff.Gateway is one.
type Gateway interface {
	Attach(source, eventType string, h gaff.Handler, o gaff.HandleOptions) error
	Detach(name string)
	Wake(name string)
}

// ManagerOptions of a Manager. Store, Gateway and Log are required.
type ManagerOptions struct {
	Store   Store
	Gateway Gateway
	Log     *slog.Logger
	// Configured are the destinations of the configuration; they cannot be changed here.
	Configured []Spec
	// Client makes the requests of all destinations.
	Client  *http.Client
	Lookup  Lookup
	BaseURL string
	// Broker returns how to publish to a destination of kind queue; nil: there is none.
	Broker func(s Spec) (Publisher, error)
}

// Publisher hands messages to a broker.
type Publisher interface {
	Publish(ctx context.Context, m Message) error
	Close() error
}

// Kinds of the records that are kept.
const (
	destinationKind  = "destination"
	subscriptionKind = "subscription"
)

// Where a destination comes from.
const (
	OriginConfig = "config"
	OriginAPI    = "api"
)

// maxDestinations bounds how many there may be.
const maxDestinations = 500

// stored is the value of a record.
type stored struct {
	// Spec is nil for what the configuration defines: then only the state is kept.
	Spec   *Spec  `json:"spec,omitempty"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Managed is one as it stands.
type Managed struct {
	Spec
	Origin    string
	Revision  int64
	UpdatedAt time.Time // zero for those of the configuration
	Health    Health
	Counts    gaff.QueueCounts
}

// Manager keeps destinations.
type Manager struct {
	o ManagerOptions

	mu       sync.Mutex
	live     map[string]*live
	revision int64

	pull leases
}

type live struct {
	d         *Destination
	publisher Publisher
	origin    string
	revision  int64
	updatedAt time.Time
	state     stored
}

// New makes a manager. Load attaches what there is.
func NewManager(o ManagerOptions) *Manager {
	m := &Manager{o: o, live: map[string]*live{}}
	m.pull.init()
	return m
}

// Load reads the destinations and attaches them; call it before the gateway starts. What
// is wrong with one is an error for those of the configuration, and logged for the others.
func (m *Manager) Load(ctx context.Context) error { return m.reload(ctx, true) }

// watchEvery is the safety net behind the store's signal, watchPace how often that is
// followed at most.
const (
	watchEvery = 5 * time.Second
	watchPace  = 500 * time.Millisecond
)

// Run follows what other nodes change until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	sweep, daily := time.NewTicker(time.Second), time.NewTicker(24*time.Hour)
	defer sweep.Stop()
	defer daily.Stop()
	last := time.Now()
	for {
		changed := m.o.Store.Changed()
		select {
		case <-ctx.Done():
			m.close()
			return
		case <-changed:
			if wait := time.Until(last.Add(watchPace)); wait > 0 {
				select {
				case <-ctx.Done():
					m.close()
					return
				case <-time.After(wait):
				}
			}
		case <-sweep.C:
		case <-daily.C:
			m.remove(ctx, time.Now())
		}
		m.expire(ctx, time.Now())
		if now := time.Now(); now.Sub(last) >= watchPace {
			last = now
			if err := m.reload(ctx, false); err != nil && ctx.Err() == nil {
				m.o.Log.Warn("destinations could not be read", "error", err)
			}
		}
	}
}

func (m *Manager) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.live {
		l.close()
	}
}

func (l *live) close() {
	if l.publisher != nil {
		_ = l.publisher.Close()
	}
}

// reload takes over what changed in the store.
func (m *Manager) reload(ctx context.Context, first bool) error {
	revision, err := m.o.Store.RecordsRevision(ctx, destinationKind)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !first && revision == m.revision {
		return nil
	}
	records, err := m.o.Store.Records(ctx, destinationKind)
	if err != nil {
		return err
	}
	byName := map[string]gaff.Record{}
	for _, r := range records {
		byName[r.Name] = r
	}
	var faults []error
	wanted := map[string]bool{}
	for _, spec := range m.o.Configured {
		wanted[spec.Name] = true
		st := stored{State: StateActive}
		r, kept := byName[spec.Name]
		if kept {
			if err := json.Unmarshal(r.Value, &st); err != nil {
				faults = append(faults, fmt.Errorf("destination %s: %w", spec.Name, err))
			}
			if st.Spec != nil && first {
				m.o.Log.Warn("a destination of the configuration hides one that was set up under the same name", "destination", spec.Name)
			}
		}
		st.Spec = nil
		if err := m.apply(spec, st, OriginConfig, r); err != nil {
			faults = append(faults, fmt.Errorf("destination %s: %w", spec.Name, err))
		}
	}
	for _, r := range records {
		var st stored
		if wanted[r.Name] {
			continue
		}
		err := json.Unmarshal(r.Value, &st)
		if err == nil && st.Spec == nil {
			continue // was paused, and is not in the configuration any more
		}
		if err == nil {
			wanted[r.Name] = true
			err = m.apply(*st.Spec, st, OriginAPI, r)
		}
		if err != nil {
			m.o.Log.Error("a destination cannot be used", "destination", r.Name, "error", err)
		}
	}
	for name, l := range m.live {
		if !wanted[name] {
			m.o.Gateway.Detach(name)
			l.close()
			delete(m.live, name)
		}
	}
	m.revision = revision
	return errors.Join(faults...)
}

// apply attaches a destination, or changes the one that is there; m.mu is held.
func (m *Manager) apply(spec Spec, st stored, origin string, r gaff.Record) error {
	old := m.live[spec.Name]
	if old != nil && old.revision == r.Revision && old.origin == origin {
		return nil
	}
	if old != nil && sameSpec(old.d.Spec(), spec) {
		// Only its state changed: what is known of its health stays.
		old.revision, old.updatedAt, old.state, old.origin = r.Revision, r.UpdatedAt, st, origin
		m.setState(old)
		return nil
	}
	d, pub, err := m.build(spec)
	if err != nil {
		return err
	}
	l := &live{d: d, publisher: pub, origin: origin, revision: r.Revision, updatedAt: r.UpdatedAt, state: st}
	m.setState(l)
	if err := m.o.Gateway.Attach("", "", d, d.HandleOptions()); err != nil {
		l.close()
		return err
	}
	if old != nil {
		old.close()
	}
	m.live[spec.Name] = l
	return nil
}

func (m *Manager) setState(l *live) {
	if l.state.State == StateActive || l.state.State == "" {
		l.d.Resume()
	} else {
		l.d.Pause(l.state.State, l.state.Reason)
	}
	m.o.Gateway.Wake(l.d.Name)
}

func (m *Manager) build(spec Spec) (*Destination, Publisher, error) {
	o := Options{Client: m.o.Client, Lookup: m.o.Lookup, BaseURL: m.o.BaseURL, Log: m.o.Log, Disabled: m.disabled}
	if err := spec.Check(); err != nil {
		return nil, nil, err
	}
	var pub Publisher
	if spec.Kind == KindQueue && m.o.Broker != nil {
		var err error
		if pub, err = m.o.Broker(spec); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
		}
		o.Publish = pub.Publish
	}
	d, err := New(spec, o)
	if err != nil && pub != nil {
		_ = pub.Close()
	}
	return d, pub, err
}

func sameSpec(a, b Spec) bool {
	b, err := withDefaults(b)
	if err != nil {
		return false
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func withDefaults(s Spec) (Spec, error) { return s.WithDefaults(), s.Check() }

// disabled keeps that a receiver said it is gone.
func (m *Manager) disabled(name, reason string) {
	// Called by a worker that holds nothing of ours; the record is written beside it.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := m.setKept(ctx, name, StateDisabled, reason); err != nil {
			m.o.Log.Warn("a disabled destination could not be kept as such", "destination", name, "error", err)
		}
	}()
}

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
	return gaff.Delivery{Handler: name, Queue: name, MaxAttempts: l.d.Spec().MaxAttempts}, nil
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
	d.Counts, err = m.o.Store.QueueCounts(ctx, name)
	return d, err
}

// Create keeps a new destination and attaches it.
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

// Update replaces what a destination is, by the result of change.
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
		return Managed{}, fmt.Errorf("%w: name: a destination keeps its name, under which its deliveries are kept", gaff.ErrInvalid)
	}
	return m.put(ctx, *st.Spec, st, r.Revision)
}

func (m *Manager) put(ctx context.Context, s Spec, st stored, revision int64) (Managed, error) {
	// Whether it works is seen before it is kept.
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

// SetState pauses or resumes a destination, on all nodes and beyond a restart.
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
		// Also where nothing changed: it closes an open circuit.
		l.d.Resume()
		m.o.Gateway.Wake(name)
	}
	return m.Get(ctx, name)
}

func (m *Manager) setKept(ctx context.Context, name string, state State, reason string) error {
	for try := 0; ; try++ {
		r, err := m.o.Store.Record(ctx, destinationKind, name)
		if errors.Is(err, gaff.ErrNotFound) {
			r, err = gaff.Record{Kind: destinationKind, Name: name, Value: json.RawMessage(`{}`), Revision: gaff.NewRecord}, nil
		}
		if err != nil {
			return err
		}
		var st stored
		if err := json.Unmarshal(r.Value, &st); err != nil {
			return err
		}
		st.State, st.Reason = state, reason
		if r.Value, err = json.Marshal(st); err != nil {
			return err
		}
		_, err = m.o.Store.PutRecord(ctx, r)
		if errors.Is(err, gaff.ErrConflict) && try < 5 {
			continue // changed by another meanwhile
		}
		return err
	}
}

// cancelBatch is how many deliveries of a deleted destination are canceled at once, so that
// nobody else's writing waits long.
const cancelBatch = 200

// Delete removes a destination and cancels what waits for it.
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
			return fmt.Errorf("destination %s is deleted, but not all that waited for it is canceled: %w", name, err)
		}
		if n < cancelBatch {
			return nil
		}
	}
}

// Rotate puts a fresh secret in front of a destination's, and keeps the newest of the
// others beside it if keep is set: receivers that know either accept.
func (m *Manager) Rotate(ctx context.Context, name string, keep bool) (d Managed, secret string, err error) {
	secret = NewSecret()
	d, err = m.Update(ctx, name, func(s *Spec) error {
		if s.Kind != "" && s.Kind != KindHTTP {
			return fmt.Errorf("%w: only what is posted is signed", gaff.ErrConflict)
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

// Test sends an event of gaff's own making ("gaff:test") to a destination, now, past its
// filter, its gate and its retries, and tells what came of it.
func (m *Manager) Test(ctx context.Context, name string) (*Exchange, error) {
	l, err := m.get(name)
	if err != nil {
		return nil, err
	}
	if l.d.Spec().Kind != KindHTTP {
		return nil, fmt.Errorf("%w: only what is posted can be tested", gaff.ErrConflict)
	}
	return l.d.Probe(ctx)
}

// Merge applies a JSON merge patch (RFC 7396) to a spec.
func Merge(s *Spec, patch []byte) error {
	changes, err := decode(patch)
	if _, ok := changes.(map[string]any); err != nil || !ok {
		return fmt.Errorf("%w: the body is no JSON object", gaff.ErrInvalid)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	all, err := decode(text)
	if err != nil {
		return err
	}
	if text, err = json.Marshal(mergePatch(all, changes)); err != nil {
		return err
	}
	next, err := ReadSpec(text)
	if err == nil {
		*s = next
	}
	return err
}

// decode reads one JSON value, with numbers as they were written.
func decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// mergePatch is the function of RFC 7396, section 2. It changes target.
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(into, name)
		} else {
			into[name] = mergePatch(into[name], change)
		}
	}
	return into
}

// ReadSpec reads a spec strictly: a field that is not known is an error.
func ReadSpec(text []byte) (s Spec, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: %s", gaff.ErrInvalid, strings.TrimPrefix(err.Error(), "json: "))
	}
	return s, nil
}
