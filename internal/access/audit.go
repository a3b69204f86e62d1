package access

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"gaff/internal/id"
)

const (
	// routineLines is the number of routine entries that one credential writes in digestEvery;
	// further ones become one entry with their count.
	routineLines = 20
	digestEvery  = time.Minute
	// Reads of one kind by one credential are one entry in readEvery, after the first, with the
	// ids of the first readTargets rows.
	readEvery   = time.Hour
	readTargets = 20
	// maxReads bounds the kinds of reads that are counted at the same time.
	maxReads = 10_000
)

// routine reports whether any credential can cause an entry of this kind without limit: rejected
// and failed requests, and logins. Changes by operators and admins are not routine.
func (e *Entry) routine() bool {
	switch e.Action {
	case "login", "logout", "create-login-link":
		return true
	}
	return e.Status >= http.StatusBadRequest || e.Role <= Viewer
}

// digest counts entries of one kind beyond a number. The zero value is ready.
type digest struct {
	mu sync.Mutex
	by map[string]*counters
}

type counters struct {
	written int
	rest    Entry // the last one that was not written, with their number
	targets []string
	timer   *time.Timer
}

// take counts an entry and reports whether to write it: the first lines of them. It calls flush for
// the entry's credential after a time.
func (d *digest) take(owner string, lines int, after time.Duration, e Entry, flush func(owner string)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.by[owner]
	if t == nil {
		if len(d.by) >= maxReads {
			return true
		}
		if d.by == nil {
			d.by = map[string]*counters{}
		}
		t = &counters{timer: time.AfterFunc(after, func() { flush(owner) })}
		d.by[owner] = t
	}
	if t.written < lines {
		t.written++
		return true
	}
	if e.Target != "" && len(t.targets) < readTargets && !slices.Contains(t.targets, e.Target) {
		t.targets = append(t.targets, e.Target)
	}
	times := t.rest.Times + 1
	t.rest = e
	t.rest.Times = times
	return false
}

// end returns the counted entries of a credential, and the first targets; ok is false if all were
// written.
func (d *digest) end(owner string) (e Entry, targets []string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.by[owner]
	if t == nil {
		return Entry{}, nil, false
	}
	t.timer.Stop()
	delete(d.by, owner)
	return t.rest, t.targets, t.rest.Times > 0
}

func (d *digest) owners() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for owner := range d.by {
		all = append(all, owner)
	}
	return all
}

// Note writes an entry to the audit log. The action has already happened, so an error is logged
// and not returned. Of frequent routine entries of one credential it writes the first of each
// minute, and one with the count of the others.
func (g *Guard) Note(ctx context.Context, e Entry) {
	if e.At.IsZero() {
		e.At = g.now()
	}
	if e.routine() && !g.digest.take(e.owner(), routineLines, digestEvery, e, g.flush) {
		return
	}
	e.Times = 1
	g.write(context.WithoutCancel(ctx), e)
}

// owner identifies the credential of an entry.
func (e *Entry) owner() string {
	if e.KeyID != "" {
		return e.KeyID
	}
	return e.Actor
}

// NoteRead writes to the audit log that somebody read a payload or a secret. Of the reads of one
// credential by one operation it writes the first, and each hour one entry with the number of the
// others and some of their targets. So a program that polls costs no more than two entries an hour.
func (g *Guard) NoteRead(ctx context.Context, e Entry) {
	if g.noReads {
		return
	}
	if e.At.IsZero() {
		e.At = g.now()
	}
	if !g.reads.take(e.owner()+"\x00"+e.Action, 1, readEvery, e, g.flushReads) {
		return
	}
	e.Times = 1
	g.write(context.WithoutCancel(ctx), e)
}

func (g *Guard) flushReads(key string) {
	e, targets, ok := g.reads.end(key)
	if !ok {
		return
	}
	e.Target, e.Detail = "", nil
	if len(targets) == 1 {
		e.Target = targets[0]
	} else if text, err := json.Marshal(map[string]any{"targets": targets}); err == nil && len(targets) > 0 {
		e.Detail = text
	}
	g.write(context.Background(), e)
}

func (g *Guard) flush(owner string) {
	if e, _, ok := g.digest.end(owner); ok {
		e.Detail = nil // of one of them
		g.write(context.Background(), e)
	}
}

// Flush writes pending counts before the store is closed.
func (g *Guard) Flush() {
	for _, owner := range g.digest.owners() {
		g.flush(owner)
	}
	for _, key := range g.reads.owners() {
		g.flushReads(key)
	}
}

func (g *Guard) write(ctx context.Context, e Entry) {
	e.ID = id.New(id.Audit, e.At)
	if g.audited != nil {
		g.audited(e)
	}
	if err := g.store.AddAudit(ctx, e); err != nil {
		g.log.Error("audit log", "actor", e.Actor, "key", e.KeyID, "action", e.Action, "target", e.Target, "status", e.Status, "error", err)
	}
}
