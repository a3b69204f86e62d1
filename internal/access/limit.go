package access

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"gaff/internal/httpx"
)

// Wrong tokens that one address may send per minute: at the login page, which people use, and at
// the API, where a program with an old key keeps retrying.
const (
	loginFailures = 20
	tokenFailures = 300
	// maxAddresses bounds the counted addresses; further ones are not counted.
	maxAddresses = 20_000
	// knownFor is how long a token that was correct is accepted from its address, however many
	// wrong ones arrive from there: clients that share the address cannot lock out its holder.
	knownFor = time.Hour
)

// Kinds of denials, as in metrics and the log.
const (
	DeniedLogin = "login"
	DeniedToken = "token"
	DeniedLink  = "link"
	DeniedSSO   = "oidc"
	DeniedRate  = "rate"
	DeniedRole  = "role"
	DeniedScope = "scope"
)

// limiter counts the failures of each address in the current minute. There is no limit for all
// addresses together: one client could use it up for everyone. The zero value is ready.
type limiter struct {
	mu     sync.Mutex
	minute int64
	from   map[string]int
}

func (l *limiter) allowed(address string, most int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	return l.from[httpx.ClientAt(address)] < most
}

func (l *limiter) failed(address string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	if owner := httpx.ClientAt(address); l.from[owner] > 0 || len(l.from) < maxAddresses {
		l.from[owner]++
	}
}

func (l *limiter) turn(now time.Time) {
	if minute := now.Unix() / 60; minute != l.minute || l.from == nil {
		l.minute, l.from = minute, map[string]int{}
	}
}

// accepted remembers correct tokens by address for knownFor. The zero value is ready.
type accepted struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (a *accepted) add(address, hash string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil || len(a.until) >= maxAddresses {
		a.until = map[string]time.Time{}
	}
	a.until[httpx.ClientAt(address)+" "+hash] = now.Add(knownFor)
}

func (a *accepted) has(address, hash string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[httpx.ClientAt(address)+" "+hash])
}

// made reports whether a token has the form of generated tokens. Those have 130 random bits and
// cannot be guessed, so they need no limit.
func made(token string) bool {
	random, ok := strings.CutPrefix(token, secretPrefix)
	return ok && len(random) == randomLetters
}

// discardLog allows one log line of a kind per minute, with the number of omitted ones.
// The zero value is ready.
type discardLog struct {
	mu   sync.Mutex
	last map[string]time.Time
	more map[string]int
}

func (q *discardLog) allow(kind string, now time.Time) (more int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last, q.more = map[string]time.Time{}, map[string]int{}
	}
	if last, seen := q.last[kind]; seen && now.Sub(last) < time.Minute {
		q.more[kind]++
		return 0, false
	}
	more, q.last[kind], q.more[kind] = q.more[kind], now, 0
	return more, true
}

// denied counts a wrong token, login or link, and logs some of them, without the token.
func (g *Guard) denied(kind, address string) {
	if g.hook != nil {
		g.hook(kind)
	}
	if more, ok := g.quiet.allow(kind, g.now()); ok {
		g.log.Warn("access denied", "kind", kind, "address", address, "alsoSince", more)
	}
}

// Refused counts a call that a known credential may not make, by one of the Denied… constants, and
// logs some of them.
func (g *Guard) Refused(kind string, who Identity, operation string) {
	if g.hook != nil {
		g.hook(kind)
	}
	if more, ok := g.quiet.allow(kind, g.now()); ok {
		g.log.Warn("access refused", "kind", kind, "actor", who.Name, "key", who.KeyID, "operation", operation, "alsoSince", more)
	}
}

// checked is byToken within the limit of wrong tokens per address.
func (g *Guard) checked(r *http.Request, kind, token string) (Identity, bool) {
	address, now, hash := g.Address(r), g.now(), Hash(token)
	wrong, most := &g.tokens, tokenFailures
	if kind == DeniedLogin {
		wrong, most = &g.logins, loginFailures
	}
	if kind == DeniedToken && strings.HasPrefix(token, browserPrefix) {
		// Signed tokens cannot be guessed, so wrong ones are counted and never limited.
		who, ok := g.byBrowserToken(r.Context(), token)
		if !ok && who.Err == nil {
			g.denied(kind, address)
		}
		return who, ok
	}
	if !wrong.allowed(address, most, now) && !made(token) && !g.accepted.has(address, hash, now) {
		g.denied(kind, address)
		return Identity{Err: ErrTooMany}, false
	}
	who, ok := g.byToken(r.Context(), hash, address)
	switch {
	case ok:
		g.accepted.add(address, hash, now)
	case who.Err == nil:
		wrong.failed(address, now)
		g.denied(kind, address)
		if !wrong.allowed(address, most, now) {
			who.Err = ErrTooMany
		}
	}
	return who, ok
}

// Address returns the client's address without the port; GuardOptions.Address resolves proxies.
func (g *Guard) Address(r *http.Request) string {
	if g.address != nil {
		return g.address(r)
	}
	return httpx.Peer(r)
}
