package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/config"
	"gaff/internal/jsonscan"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

const (
	sourceKind = "source"
	maxSources = 500
	// cancelBatch is how many deliveries of a deleted source are canceled in a transaction.
	cancelBatch = 200
	// maxSecretsOfSource bounds the secrets that a source has at once, former ones included.
	maxSecretsOfSource = 8
	defaultGrace       = 24 * time.Hour
	maxGrace           = 30 * 24 * time.Hour
	// effectsWorkers is how many events of a source with jobs are processed at once.
	effectsWorkers = 8
	// recordsPace is how often changes of records are followed at most; recordsCheck is how often
	// they are looked for without a notification, and expired secrets, too.
	recordsPace  = 500 * time.Millisecond
	recordsCheck = time.Second
)

// storedSource is the value of a source's record.
type storedSource struct {
	// Spec is nil for a source of the configuration, of which only the state is stored.
	Spec   *wire.SourceSpec `json:"spec,omitempty"`
	Paused string           `json:"paused,omitempty"` // why; empty: it is not
	Former []formerSecret   `json:"former,omitempty"`
}

type formerSecret struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until"`
}

// sourceRecords has the sources that users create while the gateway runs, on all nodes, and the
// state of the others.
type sourceRecords struct {
	store interface {
		gaff.Records
		CancelQueue(ctx context.Context, queue, why string, limit int) (int, error)
	}
	changed func() <-chan struct{}
	gateway *gaff.Gateway
	effects func(Source) gaff.Handler
	jobs    providers
	reload  *reloader
	log     *slog.Logger

	loading  sync.Mutex // of changes, which are applied in their order
	mu       sync.Mutex
	revision int64
	live     map[string]liveSource // those of records
	paused   map[string]string     // of all sources, why
	expires  time.Time             // of the former secret that ends first
}

// providers are those of the jobs that the webhooks of a source change; a *jobs.Service has them.
type providers interface {
	AddProvider(p jobs.Provider) error
	RemoveProvider(name string)
}

type liveSource struct {
	stored    storedSource
	built     *Source // nil for a source of the configuration
	revision  int64
	updatedAt time.Time
}

// pausedReason says why a source is paused; empty if it is not.
func (m *sourceRecords) pausedReason(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused[name]
}

// find returns a source that was created by the API.
func (m *sourceRecords) find(name string) (Source, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.live[name]; ok && l.built != nil {
		return *l.built, true
	}
	return Source{}, false
}

// State returns the stored state of a source.
func (m *sourceRecords) State(name string) wire.SourceState {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.live[name]
	state := wire.SourceState{Paused: m.paused[name], UpdatedAt: wire.Time{Time: l.updatedAt}}
	if l.built != nil {
		state.Spec = l.stored.Spec
	}
	for _, f := range l.stored.Former {
		if f.Until.After(time.Now()) {
			state.Former = append(state.Former, wire.NewFormerSecret(f.Secret, wire.Time{Time: f.Until}))
		}
	}
	return state
}

// managed reports whether the configuration or gaff itself defines a source of the name.
func (m *sourceRecords) managed(name string) bool {
	cfg := m.reload.config()
	_, configured := cfg.Sources[name]
	_, described := cfg.Described[name]
	return configured || described || ownSource(name)
}

// build makes a source of a record.
func (m *sourceRecords) build(st storedSource, now time.Time) (Source, error) {
	spec := *st.Spec
	spec.Secrets = slices.Clone(spec.Secrets)
	for _, f := range st.Former {
		if f.Until.After(now) {
			spec.Secrets = append(spec.Secrets, f.Secret)
		}
	}
	text, err := spec.File()
	if err != nil {
		return Source{}, err
	}
	set, err := config.ParseSource(spec.Name, text)
	if err != nil {
		return Source{}, fmt.Errorf("%w: %s", gaff.ErrInvalid, strings.TrimPrefix(err.Error(), "configuration: "))
	}
	src, err := describedSource(spec.Name, set, keys{}, "")
	if err != nil {
		return Source{}, fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	if src.DisabledReason != "" {
		src.DisabledReason = "it has no secret: enter the one that the sender shows"
	}
	cfg := m.reload.config()
	src.limitTo(set, cfg)
	src.Address = address(cfg, "", src.Name)
	return src, nil
}

// Load applies the changes in the store. A record that cannot be used is logged.
func (m *sourceRecords) Load(ctx context.Context) error {
	m.loading.Lock()
	defer m.loading.Unlock()
	revision, err := m.store.RecordsRevision(ctx, sourceKind)
	if err != nil {
		return err
	}
	m.mu.Lock()
	now := time.Now()
	due := !m.expires.IsZero() && !now.Before(m.expires)
	same := revision == m.revision && m.live != nil && !due
	m.mu.Unlock()
	if same {
		return nil
	}
	records, err := m.store.Records(ctx, sourceKind)
	if err != nil {
		return err
	}
	return m.apply(ctx, records, revision, now)
}

func (m *sourceRecords) apply(ctx context.Context, records []gaff.Record, revision int64, now time.Time) error {
	m.mu.Lock()
	old := m.live
	oldPaused := m.paused
	m.mu.Unlock()
	live, paused, expires := map[string]liveSource{}, map[string]string{}, time.Time{}
	for _, r := range records {
		var st storedSource
		if err := json.Unmarshal(r.Value, &st); err != nil {
			m.log.Error("a source cannot be read", "source", r.Name, "error", err)
			continue
		}
		l := liveSource{stored: st, revision: r.Revision, updatedAt: r.UpdatedAt}
		if st.Paused != "" {
			paused[r.Name] = st.Paused
		}
		if st.Spec != nil && !m.managed(r.Name) {
			for _, f := range st.Former {
				if f.Until.After(now) && (expires.IsZero() || f.Until.Before(expires)) {
					expires = f.Until
				}
			}
			if err := m.put(&l, old[r.Name], now); err != nil {
				m.log.Error("a source cannot be used", "source", r.Name, "error", err)
				continue
			}
		} else if st.Spec != nil {
			m.log.Warn("a source of the configuration hides one that was created under the same name", "source", r.Name)
		}
		live[r.Name] = l
	}
	for name, l := range old {
		if l.built != nil && live[name].built == nil {
			m.gateway.Detach("effects/" + name)
			m.gateway.RemoveSource(name)
			m.jobs.RemoveProvider(name)
		}
	}
	m.mu.Lock()
	m.live, m.paused, m.revision, m.expires = live, paused, revision, expires
	m.mu.Unlock()
	return m.pauseManaged(ctx, oldPaused, paused)
}

// put gives the gateway a source of a record, unless it has it already.
func (m *sourceRecords) put(l *liveSource, old liveSource, now time.Time) error {
	former := func(st storedSource) (n int) {
		for _, f := range st.Former {
			if f.Until.After(now) {
				n++
			}
		}
		return n
	}
	if old.built != nil && old.revision == l.revision && len(old.stored.Former) == former(l.stored) {
		l.built, l.stored = old.built, old.stored
		return nil
	}
	src, err := m.build(l.stored, now)
	if err != nil {
		return err
	}
	src.Paused = l.stored.Paused
	if err := m.gateway.PutSource(src.Source); err != nil {
		return err
	}
	l.built = &src
	l.stored.Former = slices.DeleteFunc(slices.Clone(l.stored.Former), func(f formerSecret) bool { return !f.Until.After(now) })
	if src.Interpreter == nil {
		m.gateway.Detach("effects/" + src.Name)
		m.jobs.RemoveProvider(src.Name)
		return nil
	}
	for _, p := range webhookOnly([]Source{src}) {
		if err := m.jobs.AddProvider(p); err != nil {
			return err
		}
	}
	return m.gateway.Attach(src.Name, "*", m.effects(src), gaff.HandleOptions{Name: "effects/" + src.Name, Workers: effectsWorkers})
}

// pauseManaged pauses and resumes sources of the configuration.
func (m *sourceRecords) pauseManaged(ctx context.Context, was, is map[string]string) error {
	var faults []error
	for _, info := range m.gateway.Sources() {
		if was[info.Name] != is[info.Name] && m.managed(info.Name) {
			faults = append(faults, m.reload.renewed(ctx, info.Name))
		}
	}
	return errors.Join(faults...)
}

// Run applies the changes of other nodes, and ends former secrets, until ctx ends.
func (m *sourceRecords) Run(ctx context.Context) {
	followRecords(ctx, m.changed, m.Load, func(err error) { m.log.Warn("sources could not be read", "error", err) })
}

// followRecords calls load after changes of the store, at most every recordsPace, and at least every
// recordsCheck, until ctx ends.
func followRecords(ctx context.Context, changed func() <-chan struct{}, load func(context.Context) error, failed func(error)) {
	check := time.NewTicker(recordsCheck)
	defer check.Stop()
	last := time.Now()
	for {
		changed := changed()
		select {
		case <-ctx.Done():
			return
		case <-check.C:
		case <-changed:
			if wait := time.Until(last.Add(recordsPace)); wait > 0 {
				select {
				case <-ctx.Done():
					return
				case <-time.After(wait):
				}
			}
		}
		last = time.Now()
		if err := load(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}

// Create stores a new source and opens its URL. secret is the one that was made for it; empty if the
// request set secrets, or the sender makes its own.
func (m *sourceRecords) Create(ctx context.Context, spec wire.SourceSpec) (secret string, err error) {
	m.mu.Lock()
	full := len(m.live) >= maxSources
	m.mu.Unlock()
	switch {
	case full:
		return "", fmt.Errorf("%w: there are %d sources already", gaff.ErrConflict, maxSources)
	case m.managed(spec.Name):
		return "", fmt.Errorf("%w: the configuration, or gaff itself, has a source %q", gaff.ErrConflict, spec.Name)
	case len(spec.Secrets) > maxSecretsOfSource:
		return "", fmt.Errorf("%w: secrets: more than %d", gaff.ErrInvalid, maxSecretsOfSource)
	}
	if spec.Secrets == nil {
		if secret, err = m.newSecret(spec); err != nil {
			return "", err
		}
		spec.Secrets = []string{}
		if secret != "" {
			spec.Secrets = []string{secret}
		}
	}
	st := storedSource{Spec: &spec}
	if _, err := m.build(st, time.Now()); err != nil {
		return "", err
	}
	return secret, m.write(ctx, spec.Name, st, gaff.NewRecord)
}

// newSecret makes a secret that fits the source's scheme; empty if the scheme needs none, or only
// the sender can make it.
func (m *sourceRecords) newSecret(spec wire.SourceSpec) (string, error) {
	spec.Secrets = []string{}
	text, err := spec.File()
	if err != nil {
		return "", err
	}
	set, err := config.ParseSource(spec.Name, text)
	if err != nil {
		return "", fmt.Errorf("%w: %s", gaff.ErrInvalid, strings.TrimPrefix(err.Error(), "configuration: "))
	}
	d, err := describe(set)
	if err != nil {
		return "", fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	if !verify.NeedsSecret(d.Scheme) {
		return "", nil
	}
	for _, secret := range []string{destination.NewSecret(), rand.Text() + rand.Text()} {
		v, err := sender.New(d, verify.Options{Secrets: []string{secret}, Settings: set.Settings})
		// A key that cannot sign is the public part of one that only the sender has.
		if err == nil && v.Sign(&gaff.Request{Method: "POST", URL: "https://gaff.invalid/", Body: []byte("{}")}, time.Now()) == nil {
			return secret, nil
		}
	}
	return "", nil
}

// Specs returns the sources that were created by the API, with their secrets.
func (m *sourceRecords) Specs() map[string]wire.SourceSpec {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]wire.SourceSpec{}
	for name, l := range m.live {
		if l.stored.Spec != nil && !m.managed(name) {
			all[name] = *l.stored.Spec
		}
	}
	return all
}

// CheckSpec returns the first mistake of a source that is to be stored.
func (m *sourceRecords) CheckSpec(spec wire.SourceSpec) error {
	switch {
	case m.managed(spec.Name):
		return fmt.Errorf("%w: the configuration, or gaff itself, has a source %q", gaff.ErrConflict, spec.Name)
	case len(spec.Secrets) > maxSecretsOfSource:
		return fmt.Errorf("%w: secrets: more than %d", gaff.ErrInvalid, maxSecretsOfSource)
	}
	_, err := m.build(storedSource{Spec: &spec}, time.Now())
	return err
}

// Put creates a source, or replaces the description of one.
func (m *sourceRecords) Put(ctx context.Context, spec wire.SourceSpec) error {
	_, err := m.store.Record(ctx, sourceKind, spec.Name)
	if errors.Is(err, gaff.ErrNotFound) {
		_, err = m.Create(ctx, spec)
		return err
	}
	if err != nil {
		return err
	}
	if err := m.CheckSpec(spec); err != nil {
		return err
	}
	return m.change(ctx, spec.Name, func(st *storedSource) error {
		st.Spec = &spec
		return nil
	})
}

func (m *sourceRecords) write(ctx context.Context, name string, st storedSource, revision int64) error {
	value, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if _, err := m.store.PutRecord(ctx, gaff.Record{Kind: sourceKind, Name: name, Value: value, Revision: revision}); err != nil {
		return err
	}
	return m.Load(ctx)
}

// change stores what change makes of a source that was created by the API.
func (m *sourceRecords) change(ctx context.Context, name string, change func(*storedSource) error) error {
	if m.managed(name) {
		return fmt.Errorf("%w: %s is managed by the configuration; change it there", gaff.ErrConflict, name)
	}
	r, err := m.store.Record(ctx, sourceKind, name)
	if err != nil {
		return err
	}
	var st storedSource
	if err := json.Unmarshal(r.Value, &st); err != nil || st.Spec == nil {
		return fmt.Errorf("source %.80q: %w", name, gaff.ErrNotFound)
	}
	if err := change(&st); err != nil {
		return err
	}
	if _, err := m.build(st, time.Now()); err != nil {
		return err
	}
	return m.write(ctx, name, st, r.Revision)
}

// Update applies a JSON merge patch to the description of a source.
func (m *sourceRecords) Update(ctx context.Context, name string, patch []byte) error {
	return m.change(ctx, name, func(st *storedSource) error {
		text, err := json.Marshal(st.Spec)
		if err != nil {
			return err
		}
		if text, err = destination.MergeJSON(text, patch); err != nil {
			return err
		}
		next := new(wire.SourceSpec)
		if err := jsonscan.Strict(text, next); err != nil {
			return fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
		}
		if err := replaceSchemas(next, patch); err != nil {
			return err
		}
		if next.Name != name {
			return fmt.Errorf("%w: name: cannot be changed, because events are stored under it", gaff.ErrInvalid)
		}
		if len(next.Secrets) > maxSecretsOfSource {
			return fmt.Errorf("%w: secrets: more than %d", gaff.ErrInvalid, maxSecretsOfSource)
		}
		if next.Secrets == nil {
			next.Secrets = []string{}
		}
		st.Spec = next
		return nil
	})
}

// SetPaused pauses a source, also one of the configuration; an empty reason resumes it.
func (m *sourceRecords) SetPaused(ctx context.Context, name, reason string) error {
	if !slices.ContainsFunc(m.gateway.Sources(), func(info gaff.SourceInfo) bool { return info.Name == name }) {
		return fmt.Errorf("source %.80q: %w", name, gaff.ErrNotFound)
	}
	r, err := m.store.Record(ctx, sourceKind, name)
	var st storedSource
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		r.Revision = gaff.NewRecord
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(r.Value, &st); err != nil {
			return err
		}
	}
	st.Paused = reason
	return m.write(ctx, name, st, r.Revision)
}

// Rotate gives a source a new secret in front of its others, which are accepted until the grace time
// ends. It returns the secret if it was made.
func (m *sourceRecords) Rotate(ctx context.Context, name string, in wire.SourceRotation) (made string, err error) {
	grace, err := graceOf(in.Grace)
	if err != nil {
		return "", err
	}
	err = m.change(ctx, name, func(st *storedSource) error {
		secret := in.Secret
		if secret == "" {
			if made, err = m.newSecret(*st.Spec); err != nil {
				return err
			}
			if secret = made; secret == "" {
				return fmt.Errorf("%w: secret: only the sender of %s can make its key; send the new one as secret", gaff.ErrInvalid, name)
			}
		}
		until := time.Now().Add(grace).UTC().Truncate(time.Second)
		var former []formerSecret
		for _, old := range st.Spec.Secrets {
			if grace > 0 && old != secret {
				former = append(former, formerSecret{old, until})
			}
		}
		for _, f := range st.Former {
			if f.Until.After(time.Now()) && f.Secret != secret && grace > 0 {
				former = append(former, f)
			}
		}
		st.Spec.Secrets, st.Former = []string{secret}, former[:min(len(former), maxSecretsOfSource-1)]
		return nil
	})
	return made, err
}

func graceOf(text string) (time.Duration, error) {
	grace, err := config.ParseDuration(cmp.Or(text, defaultGrace.String()))
	if err != nil || grace < 0 || grace > maxGrace {
		return 0, fmt.Errorf("%w: grace: %.40q: want a duration from 0s to 30d, such as 24h", gaff.ErrInvalid, text)
	}
	return grace, nil
}

// Delete removes a source. Its events stay.
func (m *sourceRecords) Delete(ctx context.Context, name string) error {
	if m.managed(name) {
		return fmt.Errorf("%w: %s is managed by the configuration; take it out there", gaff.ErrConflict, name)
	}
	if err := m.store.DeleteRecord(ctx, sourceKind, name); err != nil {
		return err
	}
	if err := m.Load(ctx); err != nil {
		return err
	}
	for {
		n, err := m.store.CancelQueue(ctx, "effects/"+name, "the source was deleted", cancelBatch)
		if err != nil || n < cancelBatch {
			return err
		}
	}
}
