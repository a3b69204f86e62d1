package destination

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gaff"
)

// Store has the operations of a store that this package uses.
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
	// Configured are the destinations of the configuration; users cannot change them.
	Configured []Spec
	// Client makes the requests of all destinations.
	Client *http.Client
	// TLSClient makes the client of a destination with certificates of its own.
	TLSClient func(*tls.Config) *http.Client
	Lookup    Lookup
	BaseURL   string
	// Broker opens the broker of a destination of kind queue; nil: no brokers.
	Broker func(s Spec) (Publisher, error)
	// Files opens the folder or bucket of a destination of kind archive; nil: no archives.
	Files func(url string) (Files, error)
	// Shared is set if other processes work on the same store.
	Shared bool
}

// Kinds of records.
const (
	destinationKind  = "destination"
	subscriptionKind = "subscription"
)

// stored is the value of a record.
type stored struct {
	// Spec is nil for a destination of the configuration, of which only the state is stored.
	Spec   *Spec  `json:"spec,omitempty"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Managed is a destination with its state.
type Managed struct {
	Spec
	Origin    string
	Revision  int64
	UpdatedAt time.Time // zero for those of the configuration
	Health    Health
	Counts    gaff.QueueCounts
	// Archive is how far a destination of kind archive is; nil for others.
	Archive *Archived
}

// Origins of a destination.
const (
	OriginConfig = "config"
	OriginAPI    = "api"
)

// Manager has the destinations of a gateway: those of the configuration, and those that users
// create while it runs, on all nodes.
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
	archiver  *archiver // of kind archive
	origin    string
	revision  int64
	updatedAt time.Time
	state     stored
}

// NewManager makes a manager without destinations; see [Manager.Load].
func NewManager(o ManagerOptions) *Manager {
	m := &Manager{o: o, live: map[string]*live{}}
	m.pull.init()
	return m
}

// Load reads the destinations and attaches them; call it before the gateway starts. A mistake in
// the configuration is an error; a mistake in a stored destination is logged.
func (m *Manager) Load(ctx context.Context) error { return m.reload(ctx, true) }

// watchEvery is the safety net behind the store's signal, watchPace how often that is
// followed at most.
const (
	watchEvery = 5 * time.Second
	watchPace  = 500 * time.Millisecond
)

// Run applies the changes of other nodes, ends expired leases and removes unused subscriptions,
// until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	sweep, daily := time.NewTicker(time.Second), time.NewTicker(24*time.Hour)
	defer sweep.Stop()
	defer daily.Stop()
	var archives sync.WaitGroup
	defer archives.Wait()
	archives.Go(func() { m.archive(ctx) })
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
	if l.archiver != nil {
		_ = l.archiver.files.Close()
	}
}

// reload applies the changes in the store.
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
			continue // the state of a destination that was removed from the configuration
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

// apply attaches a destination, or changes the attached one; m.mu is held.
func (m *Manager) apply(spec Spec, st stored, origin string, r gaff.Record) error {
	old := m.live[spec.Name]
	if old != nil && old.revision == r.Revision && old.origin == origin {
		return nil
	}
	if old != nil && sameSpec(old.d.Spec(), spec) {
		// Only its state changed: its health stays.
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
	if spec.Kind == KindArchive {
		// It follows the log of events, so it has no deliveries.
		if l.archiver, err = m.newArchiver(d); err != nil {
			return err
		}
		if old != nil {
			m.o.Gateway.Detach(spec.Name)
			old.close()
		}
		m.live[spec.Name] = l
		return nil
	}
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
	o := Options{Client: m.o.Client, TLSClient: m.o.TLSClient, Lookup: m.o.Lookup, BaseURL: m.o.BaseURL, Log: m.o.Log, Disabled: m.disabled}
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

// disabled stores that a receiver answered 410 Gone.
func (m *Manager) disabled(name, reason string) {
	// The caller is a worker, which must not wait for the store.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := m.setKept(ctx, name, StateDisabled, reason); err != nil {
			m.o.Log.Warn("the disabled state of a destination could not be stored", "destination", name, "error", err)
		}
	}()
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
			continue // another node changed it
		}
		return err
	}
}
