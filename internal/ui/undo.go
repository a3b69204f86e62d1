package ui

import (
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// undoFor is how long a document is held, undoDocuments and undoBytes how much is held.
	undoFor       = 2 * time.Minute
	undoDocuments = 64
	undoBytes     = 8 << 20
)

// undoable holds documents that were deleted a moment ago, so that the deletion can be undone by
// who made it. It is the memory of one process: a restart loses it.
type undoable struct {
	mu   sync.Mutex
	held []heldDocument // oldest first
}

type heldDocument struct {
	token, owner string
	body         []byte
	at           time.Time
}

// hold returns the path of the button that undoes the deletion.
func (u *undoable) hold(owner string, body []byte, now time.Time) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	token := rand.Text()
	u.held = append(u.held, heldDocument{token, owner, slices.Clone(body), now})
	u.prune(now)
	return "/scheduled/" + token + "/restore"
}

// take returns a document, once, to the one who deleted it.
func (u *undoable) take(owner, token string, now time.Time) (body []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.prune(now)
	i := slices.IndexFunc(u.held, func(d heldDocument) bool { return d.token == token && d.owner == owner })
	if i < 0 {
		return nil, false
	}
	body = u.held[i].body
	u.held = slices.Delete(u.held, i, i+1)
	return body, true
}

// prune drops documents that are too old, and the oldest documents if there are too many.
func (u *undoable) prune(now time.Time) {
	size, keep := 0, len(u.held)
	for keep > 0 && len(u.held)-keep < undoDocuments {
		d := u.held[keep-1]
		if size += len(d.body); size > undoBytes || now.Sub(d.at) > undoFor {
			break
		}
		keep--
	}
	u.held = slices.Delete(u.held, 0, keep)
}

// owner names the credential of a request.
func (c *console) owner(r *http.Request) string {
	who, _ := c.o.Guard.AuthorizeScoped(r)
	return who.Via + " " + who.ID
}
