package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/jobs"
	"gaff/provider"
	"gaff/provider/all"
	"gaff/sender"
)

// reloader gives a running gateway's sources new secrets, and what else the configuration
// says of them. No request is lost: those under way are finished by the old ones.
type reloader struct {
	store   gaff.Store
	gateway *gaff.Gateway
	// checkHandle judges the addresses that are for one job.
	jobs *jobs.Service
	log  *slog.Logger
	// workflows reads their folder again; nil without workflows.
	workflows func(context.Context) error

	// paused says why a source is paused; nil: none is.
	paused func(source string) string

	mu   sync.Mutex
	cfg  *config.Config // in force
	kept map[string]string
}

const storedKey = "key of source "

// sources builds the sources of the configuration in force, with the keys that senders
// handed over.
func (r *reloader) sources(ctx context.Context) ([]Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.build(ctx, r.cfg)
}

func (r *reloader) build(ctx context.Context, cfg *config.Config) ([]Source, error) {
	r.kept = map[string]string{}
	for name, set := range cfg.Sources {
		if len(set.Secrets) > 0 {
			continue
		}
		key, err := r.store.Kept(ctx, storedKey+name)
		if err != nil {
			return nil, fmt.Errorf("the key of source %s: %w", name, err)
		}
		if key != "" {
			r.kept[name] = key
		}
	}
	return buildSources(cfg, keys{kept: r.kept, keep: r.keep})
}

// keyWindow is the setting that says until when a source takes a key from its sender's
// unsigned handshake.
const keyWindow = "key window of source "

// maxKeyWindow is the longest time for which a source may take a key.
const maxKeyWindow = time.Hour

// openKey has a source take a key from its sender's handshake for a while, and returns its end.
func (r *reloader) openKey(ctx context.Context, source string, takes time.Duration) (until time.Time, err error) {
	src, known := r.cfg.Sources[source]
	if !known || len(src.Secrets) > 0 {
		return until, fmt.Errorf("%w: source %s: no source of the configuration without secrets has this name", gaff.ErrNotFound, source)
	}
	if takes <= 0 || takes > maxKeyWindow {
		return until, fmt.Errorf("%w: a key can be taken for 1 second to %s, not %s", gaff.ErrInvalid, maxKeyWindow, takes)
	}
	until = time.Now().Add(takes).UTC().Truncate(time.Second)
	if err := r.store.Unkeep(ctx, keyWindow+source); err != nil {
		return until, err
	}
	_, err = r.store.Keep(ctx, keyWindow+source, until.Format(time.RFC3339))
	return until, err
}

// keyIsOpen reports whether a source takes a key now.
func (r *reloader) keyIsOpen(ctx context.Context, source string) (bool, error) {
	text, err := r.store.Kept(ctx, keyWindow+source)
	if err != nil || text == "" {
		return false, err
	}
	until, err := time.Parse(time.RFC3339, text)
	return err == nil && time.Now().Before(until), err
}

// keep stores a key that a sender handed over while its source takes one, and gives it to
// the source.
func (r *reloader) keep(ctx context.Context, source, key string) (bool, error) {
	if open, err := r.keyIsOpen(ctx, source); err != nil || !open {
		return false, err
	}
	kept, err := r.store.Keep(ctx, storedKey+source, key)
	if err != nil || !kept {
		return false, err
	}
	if err := r.store.Unkeep(ctx, keyWindow+source); err != nil {
		r.log.Warn("the time in which a source takes a key could not be ended early", "source", source, "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(ctx, source); err != nil {
		r.log.Error("a key was kept, and is not in use before the next start", "source", source, "error", err)
	}
	return true, nil
}

// key returns the key that a source's sender handed over; empty if none is kept.
func (r *reloader) key(ctx context.Context, source string) (string, error) {
	return r.store.Kept(ctx, storedKey+source)
}

// forget drops the key that a source's sender handed over.
func (r *reloader) forget(ctx context.Context, source string) error {
	if err := r.store.Unkeep(ctx, storedKey+source); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renew(ctx, source)
}

// update replaces a source by its rebuilt version.
func (r *reloader) update(src Source) error {
	linkToJobs(r.cfg, &src.Source, r.jobs)
	if r.paused != nil {
		src.Paused = r.paused(src.Name)
	}
	return r.gateway.UpdateSource(src.Source)
}

// renewed rebuilds a source of the configuration, with its state.
func (r *reloader) renewed(ctx context.Context, source string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renew(ctx, source)
}

// renew gives a source its currently stored keys.
func (r *reloader) renew(ctx context.Context, source string) error {
	built, err := r.build(ctx, r.cfg)
	if err != nil {
		return err
	}
	for _, src := range built {
		if src.Name == source {
			return r.update(src)
		}
	}
	return fmt.Errorf("source %q: %w", source, gaff.ErrNotFound)
}

// reload reads the configuration again. If it has a fault, all stays as it was. changed
// are the sources that have something new, restart is what only a restart brings into
// force.
func (r *reloader) reload(ctx context.Context) (changed, restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Fixed {
		if r.workflows != nil {
			err = r.workflows(ctx)
		}
		return nil, nil, err
	}
	next, err := r.cfg.Reload()
	if err != nil {
		return nil, nil, err
	}
	old := r.cfg
	built, err := r.build(ctx, next)
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	for _, info := range r.gateway.Sources() {
		known[info.Name] = true
	}
	for _, src := range built {
		switch {
		case !known[src.Name]:
			restart = append(restart, "source "+src.Name+" is new")
		case same(old, next, src.Name):
		default:
			if err := r.update(src); err != nil {
				return changed, restart, err
			}
			changed = append(changed, src.Name)
		}
		delete(known, src.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		_, configured := old.Sources[name]
		if _, described := old.Described[name]; !configured && !described && !ownSource(name) {
			continue // it was created by the API
		}
		restart = append(restart, "source "+name+" is gone")
	}
	if !reflect.DeepEqual(old.Described, next.Described) {
		restart = append(restart, "providers changed")
	}
	if !reflect.DeepEqual(settingsOf(old), settingsOf(next)) {
		restart = append(restart, "settings other than the sources' changed")
	}
	r.cfg = next
	if r.workflows != nil {
		if err := r.workflows(ctx); err != nil {
			return changed, restart, err
		}
	}
	return changed, restart, nil
}

// same reports whether a source is as it was. One that is keeps its verifier, and with it
// the public keys that were fetched.
func same(old, next *config.Config, name string) bool {
	was, is := old.Sources[name], next.Sources[name]
	if !reflect.DeepEqual(was, is) || old.Limits.MaxBodyBytes != next.Limits.MaxBodyBytes {
		return false
	}
	if !reflect.DeepEqual(old.Described[name], next.Described[name]) {
		return false
	}
	if p, ok := all.Find(name); ok {
		was, is := old.ProviderValues(), next.ProviderValues()
		return !slices.ContainsFunc(p.Settings, func(s provider.Setting) bool {
			return s.OfSource() && !slices.Equal(was.List(s.Name), is.List(s.Name))
		})
	}
	return was.Preset != "" || was.Verify != nil || slices.Equal(old.WebhookSecrets, next.WebhookSecrets)
}

// settingsOf are the settings that a source's verifier does not depend on.
func settingsOf(cfg *config.Config) map[string]string {
	values := map[string]string{}
	ofSources := []string{"WEBHOOK_SECRET", "limits.max_body"}
	for _, s := range all.Settings() {
		if s.OfSource() {
			ofSources = append(ofSources, s.Name)
		}
	}
	for _, s := range cfg.Settings() {
		if !slices.Contains(ofSources, s.Name) && !isSourceSetting(s.Name) {
			values[s.Name] = s.Value
		}
	}
	return values
}

func isSourceSetting(name string) bool { return len(name) > 8 && name[:8] == "sources." }

// lookEvery is how soon a node knows of a key that another one was handed.
const lookEvery = 15 * time.Second

// look finds keys that were handed over to, or forgotten by, another node.
func (r *reloader) look(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, set := range r.cfg.Sources {
		scheme, _ := sender.Preset(set.Preset)
		if set.Verify != nil {
			scheme = *set.Verify
		}
		if len(set.Secrets) > 0 || !slices.ContainsFunc(scheme.Challenge, func(c sender.Challenge) bool { return c.Capture != nil }) {
			continue
		}
		key, err := r.store.Kept(ctx, storedKey+name)
		if err != nil || key == r.kept[name] {
			continue
		}
		if err := r.renew(ctx, name); err != nil {
			r.log.Error("the key that a sender handed over is not in use", "source", name, "error", err)
		}
	}
}

// run reloads at SIGHUP, and looks for keys that other nodes took, until ctx ends.
func (r *reloader) run(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			r.look(ctx)
			continue
		case <-hangup:
		}
		changed, restart, err := r.reload(ctx)
		switch {
		case errors.Is(err, context.Canceled):
		case err != nil:
			r.log.Error("configuration not reloaded; the old one stays in force", "error", err)
		default:
			r.log.Info("configuration reloaded", "changed", changed, "needsRestart", restart)
		}
	}
}
