package access

import (
	"context"
	"net/http"
	"sync"
	"time"

	"gaff/internal/id"
)

const (
	// routineLines is how many routine lines one credential writes in digestEvery; the
	// others of that time become one line with their number.
	routineLines = 20
	digestEvery  = time.Minute
)

// routine reports whether a line is of a kind that any credential can make without end:
// what was refused or failed, and logins. What an operator or admin changed is not.
func (e *Entry) routine() bool {
	switch e.Action {
	case "login", "logout", "create-login-link":
		return true
	}
	return e.Status >= http.StatusBadRequest || e.Role <= Viewer
}

// digest counts the routine lines that are too many to be written. The zero value is ready.
type digest struct {
	mu sync.Mutex
	by map[string]*counters
}

type counters struct {
	written int
	rest    Entry // the last one that was not written, with their number
	timer   *time.Timer
}

// take counts a line and reports whether it is to be written. flush is called for its
// credential when the time is over.
func (d *digest) take(owner string, e Entry, flush func(owner string)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.by[owner]
	if t == nil {
		if d.by == nil {
			d.by = map[string]*counters{}
		}
		t = &counters{timer: time.AfterFunc(digestEvery, func() { flush(owner) })}
		d.by[owner] = t
	}
	if t.written < routineLines {
		t.written++
		return true
	}
	times := t.rest.Times + 1
	t.rest = e
	t.rest.Times = times
	return false
}

// end takes what was counted of a credential; ok is false if all lines were written.
func (d *digest) end(owner string) (e Entry, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.by[owner]
	if t == nil {
		return Entry{}, false
	}
	t.timer.Stop()
	delete(d.by, owner)
	return t.rest, t.rest.Times > 0
}

func (d *digest) owners() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for owner := range d.by {
		all = append(all, owner)
	}
	return all
}

// Note writes a line into the audit log. What it is about has happened already, so a
// failure is logged and not returned. Of routine lines that one credential makes very often
// the first of each minute are written, and one with the number of the others.
func (g *Guard) Note(ctx context.Context, e Entry) {
	if e.At.IsZero() {
		e.At = g.now()
	}
	owner := e.KeyID
	if owner == "" {
		owner = e.Actor
	}
	if e.routine() && !g.digest.take(owner, e, g.flush) {
		return
	}
	e.Times = 1
	g.write(context.WithoutCancel(ctx), e)
}

func (g *Guard) flush(owner string) {
	if e, ok := g.digest.end(owner); ok {
		e.Detail = nil // of one of them
		g.write(context.Background(), e)
	}
}

// Flush writes the lines that are still counted, before the store is closed.
func (g *Guard) Flush() {
	for _, owner := range g.digest.owners() {
		g.flush(owner)
	}
}

func (g *Guard) write(ctx context.Context, e Entry) {
	e.ID = id.New(id.Audit, e.At)
	if err := g.store.AddAudit(ctx, e); err != nil {
		g.log.Error("audit log", "actor", e.Actor, "key", e.KeyID, "action", e.Action, "target", e.Target, "status", e.Status, "error", err)
	}
}
