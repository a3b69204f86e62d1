package access

import (
	"context"
	"net/http"
	"sync"
	"time"

	"gaff/internal/id"
)

const (
	// routineLines is the number of routine entries that one credential writes in digestEvery;
	// further ones become one entry with their count.
	routineLines = 20
	digestEvery  = time.Minute
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

// digest counts routine entries beyond routineLines. The zero value is ready.
type digest struct {
	mu sync.Mutex
	by map[string]*counters
}

type counters struct {
	written int
	rest    Entry // the last one that was not written, with their number
	timer   *time.Timer
}

// take counts an entry and reports whether to write it. It calls flush for the entry's
// credential after digestEvery.
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

// end returns the counted entries of a credential; ok is false if all were written.
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

// Note writes an entry to the audit log. The action has already happened, so an error is logged
// and not returned. Of frequent routine entries of one credential it writes the first of each
// minute, and one with the count of the others.
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

// Flush writes pending counts before the store is closed.
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
