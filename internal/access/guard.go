package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/id"
)

// CookieName is the console's cookie.
const CookieName = "gaff_session"

const (
	// SessionAge is how long a session lasts at most, sessionIdle how long unused.
	SessionAge  = 30 * 24 * time.Hour
	sessionIdle = 7 * 24 * time.Hour
	// LinkAge is how long a one-time link can be used.
	LinkAge = time.Hour
	// touchEvery is how exact "last used" is.
	touchEvery = time.Minute
	// maxTouched bounds what is remembered to keep to it.
	maxTouched = 10_000
)

// Guard tells who asks, and opens and closes doors. Its methods may be called by many
// goroutines at once.
type Guard struct {
	store Store
	admin string // hash of the admin token
	local string // hash of the token of this machine's commands; empty if there is none
	log   *slog.Logger
	now   func() time.Time
	cross *http.CrossOriginProtection

	address  func(*http.Request) string
	hook     func(kind string)
	logins   limiter // wrong ones at the login page
	tokens   limiter // wrong ones at the API
	accepted accepted
	quiet    discardLog
	digest   digest

	mu      sync.Mutex
	touched map[string]time.Time
	writing chan struct{} // a place for each note that is being written
}

// GuardOptions are what a [Guard] needs. Store, and AdminToken or AdminHash, are required.
type GuardOptions struct {
	Store      Store
	AdminToken string
	// AdminHash is the [Hash] of an admin token that this process was not told; AdminToken
	// goes before it.
	AdminHash string
	// LocalToken is another admin token, of this run only, for the commands on the same
	// machine; empty: there is none.
	LocalToken string
	// Address returns the client's address behind trusted proxies; nil: the peer's.
	Address func(*http.Request) string
	// Denied is called for each wrong token, login and link with one of the Denied…
	// constants; nil: nothing is.
	Denied func(kind string)
	// Log receives faults; nil means slog.Default().
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// NewGuard makes a guard.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{
		store: o.Store, admin: Hash(o.AdminToken), log: o.Log, now: o.Now, cross: http.NewCrossOriginProtection(),
		touched: map[string]time.Time{}, writing: make(chan struct{}, 4), address: o.Address, hook: o.Denied,
	}
	if o.AdminToken == "" {
		g.admin = o.AdminHash
	}
	if o.LocalToken != "" {
		g.local = Hash(o.LocalToken)
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	return g
}

// Authorize tells who sent r: by a bearer token (the admin token or an API key), else by
// the console's cookie. A cookie is no proof of a wish to change something, so such a
// request must come from the console's own pages.
func (g *Guard) Authorize(r *http.Request) (Identity, bool) {
	if token := bearer(r); token != "" {
		return g.checked(r, DeniedToken, token)
	}
	cookie, err := r.Cookie(CookieName)
	if err != nil || cookie.Value == "" {
		return Identity{}, false
	}
	if err := g.cross.Check(r); err != nil {
		return Identity{}, false
	}
	s, err := g.store.SessionByHash(r.Context(), Hash(cookie.Value))
	if err != nil {
		return g.unknown(err)
	}
	if !g.open(s) {
		return Identity{}, false
	}
	g.touch(s.ID, g.Address(r))
	return Identity{Name: s.Name, As: s.As, Role: s.Role, Via: ViaSession, ID: s.ID, KeyID: s.KeyID()}, true
}

// open reports whether a session can still be used.
func (g *Guard) open(s *Session) bool {
	now := g.now()
	if !s.EndedAt.IsZero() || !now.Before(s.ExpiresAt) || now.Sub(s.LastUsedAt) > sessionIdle {
		return false
	}
	// The sessions of an admin token end when another one is set.
	fingerprint, byToken := strings.CutPrefix(s.Origin, tokenOrigin)
	return !byToken || g.admin != "" && fingerprint == g.admin[:fingerprintLen]
}

const (
	tokenOrigin    = "token:"
	fingerprintLen = 16
)

func (g *Guard) byToken(ctx context.Context, hash, address string) (Identity, bool) {
	// Hashes have one length, so that not even the token's can be measured.
	if g.admin != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(g.admin)) == 1 {
		return Identity{Name: "admin", Role: Admin, Via: ViaToken}, true
	}
	if g.local != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(g.local)) == 1 {
		return Identity{Name: "local", Role: Admin, Via: ViaToken}, true
	}
	k, err := g.store.KeyByHash(ctx, hash)
	if err != nil {
		return g.unknown(err)
	}
	if k.State(g.now()) != "active" {
		return Identity{}, false
	}
	g.touch(k.ID, address)
	return Identity{Name: k.Name, Role: k.Role, Via: ViaKey, ID: k.ID, KeyID: k.ID}, true
}

// unknown tells a stranger from a database that does not answer.
func (g *Guard) unknown(err error) (Identity, bool) {
	if errors.Is(err, gaff.ErrNotFound) {
		return Identity{}, false
	}
	if !errors.Is(err, context.Canceled) {
		g.log.Warn("cannot tell who asks", "error", err)
	}
	return Identity{Err: err}, false
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// ForeignPage reports whether a browser sent r for a page of another origin, another port
// of this machine included. Programs and addresses that a person typed are not foreign.
func ForeignPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := r.Header.Get("Origin")
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || u.Host != r.Host)
	}
	return true
}

// peer is the address that sent r, without the port.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// touch notes a use, once in a while and without holding anyone up.
func (g *Guard) touch(id, address string) {
	now := g.now()
	g.mu.Lock()
	due := now.Sub(g.touched[id]) >= touchEvery
	if due {
		if len(g.touched) >= maxTouched {
			clear(g.touched)
		}
		g.touched[id] = now
	}
	g.mu.Unlock()
	if !due {
		return
	}
	select {
	case g.writing <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-g.writing }()
		if err := g.store.Touch(context.Background(), id, address, now); err != nil && !errors.Is(err, gaff.ErrStopped) {
			g.log.Warn("note the use of a key", "id", id, "error", err)
		}
	}()
}

// Errors of logins.
var (
	// ErrDenied: the token or link is not known, was used up, revoked or is too old.
	ErrDenied = errors.New("refused")
	// ErrTooMany: too many wrong tokens came from the caller's address; retry in a minute.
	ErrTooMany = errors.New("too many wrong tokens came from this address; wait a minute")
)

// Login opens a session with the admin token or an API key. as is what the person typed as
// his name; it is shown beside the credential's name and replaces it nowhere. secret is the
// cookie's value.
func (g *Guard) Login(r *http.Request, token, as string) (s Session, secret string, err error) {
	who, ok := g.checked(r, DeniedLogin, strings.TrimSpace(token))
	switch {
	case !ok && who.Err != nil:
		return Session{}, "", who.Err
	case !ok:
		return Session{}, "", ErrDenied
	}
	s = Session{Name: who.Name, Role: who.Role, Origin: who.ID}
	if who.Via == ViaToken {
		s.Origin = tokenOrigin + g.admin[:fingerprintLen]
	}
	if strings.TrimSpace(as) != "" {
		if s.As, err = checkName("the name", as); err != nil {
			return Session{}, "", err
		}
	}
	return g.begin(r, s)
}

// Link finds an unused one-time link by its code, and leaves it unused.
func (g *Guard) Link(ctx context.Context, code string) (*Link, error) {
	return g.store.Link(ctx, Hash(code), g.now())
}

// LoginByLink opens a session with a one-time link's code. Codes cannot be guessed, so the
// number of attempts has no bound.
func (g *Guard) LoginByLink(r *http.Request, code string) (s Session, secret string, err error) {
	l, err := g.store.TakeLink(r.Context(), Hash(code), g.now())
	if errors.Is(err, gaff.ErrNotFound) {
		g.denied(DeniedLink, g.Address(r))
		return Session{}, "", ErrDenied
	}
	if err != nil {
		return Session{}, "", err
	}
	return g.begin(r, Session{Name: l.Name, Role: l.Role, Origin: l.Origin})
}

// begin opens a session, with the rights of its origin.
func (g *Guard) begin(r *http.Request, s Session) (Session, string, error) {
	now := g.now()
	if !strings.HasPrefix(s.Origin, tokenOrigin) {
		k, err := g.store.Key(r.Context(), s.Origin)
		if errors.Is(err, gaff.ErrNotFound) || err == nil && k.State(now) != "active" {
			return Session{}, "", ErrDenied
		}
		if err != nil {
			return Session{}, "", err
		}
		s.ExpiresAt = k.ExpiresAt // a session does not outlive its key
	}
	s.ID, s.CreatedAt, s.LastUsedAt = id.New(id.Session, now), now, now
	s.Address, s.Agent = g.Address(r), clip(r.UserAgent(), 200)
	if end := now.Add(SessionAge); s.ExpiresAt.IsZero() || s.ExpiresAt.After(end) {
		s.ExpiresAt = end
	}
	secret := newSecret()
	if err := g.store.AddSession(r.Context(), s, Hash(secret)); err != nil {
		return Session{}, "", err
	}
	g.Note(r.Context(), Entry{
		At: now, Actor: s.Name, As: s.As, KeyID: s.KeyID(), Role: s.Role, Via: ViaSession, ViaID: s.ID, Address: s.Address, Action: "login",
		Target: s.ID, Status: http.StatusOK,
	})
	return s, secret, nil
}

func clip(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// NewLink makes a one-time login with the rights of who asks, which must be the admin
// token or someone logged in with it, or a key. code is shown once.
func (g *Guard) NewLink(ctx context.Context, who Identity) (code string, expires time.Time, err error) {
	l := Link{Name: who.Name, Role: who.Role, Origin: who.ID, ExpiresAt: g.now().Add(LinkAge)}
	if who.Via == ViaToken {
		l.Origin = tokenOrigin + g.admin[:min(fingerprintLen, len(g.admin))]
	}
	if who.Via == ViaSession {
		return "", time.Time{}, fmt.Errorf("%w: a session cannot make login links; log in with the same token, or make a key", gaff.ErrInvalid)
	}
	code = newSecret()
	return code, l.ExpiresAt, g.store.AddLink(ctx, l, Hash(code))
}

// OwnerLink makes a one-time login as the owner of the admin token: for whoever can read
// what the gateway prints.
func (g *Guard) OwnerLink(ctx context.Context) (code string, err error) {
	code, _, err = g.NewLink(ctx, Identity{Name: "admin", Role: Admin, Via: ViaToken})
	return code, err
}

// KeyParams are what a new key is made of.
type KeyParams struct {
	Name string
	Role Role
	// ExpiresAt may be zero: the key does not expire.
	ExpiresAt time.Time
}

// CreateKey makes a key. secret is shown once and not kept.
func (g *Guard) CreateKey(ctx context.Context, by Identity, p KeyParams) (k Key, secret string, err error) {
	now := g.now()
	name, err := checkName("the key's name", p.Name)
	switch {
	case err != nil:
		return Key{}, "", err
	case p.Role <= NoRole || p.Role > Admin:
		return Key{}, "", fmt.Errorf("%w: a key needs a role: viewer, operator or admin", gaff.ErrInvalid)
	case !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(now):
		return Key{}, "", fmt.Errorf("%w: the key would have expired already at %s", gaff.ErrInvalid, p.ExpiresAt.UTC().Format(time.RFC3339))
	}
	secret = newSecret()
	k = Key{
		ID: id.New(id.APIKey, now), Name: name, Role: p.Role, Hint: secret[len(secret)-4:], CreatedBy: by.String(), MadeBy: by.KeyID, CreatedAt: now,
		ExpiresAt: p.ExpiresAt,
	}
	if err := g.store.AddKey(ctx, k, Hash(secret)); err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// RevokeKey ends a key and the sessions that were opened with it.
func (g *Guard) RevokeKey(ctx context.Context, keyID string) error {
	return g.store.RevokeKey(ctx, keyID, g.now())
}

// RevokeMade ends the keys that a key made, and those that these made, with their sessions.
// It returns the ids of those that were not revoked before.
func (g *Guard) RevokeMade(ctx context.Context, keyID string) ([]string, error) {
	return g.store.RevokeMade(ctx, keyID, g.now())
}

// EndSession ends a session.
func (g *Guard) EndSession(ctx context.Context, sessionID string) error {
	return g.store.EndSession(ctx, sessionID, g.now())
}

// Keys and Sessions list what there is.
func (g *Guard) Keys(ctx context.Context) ([]Key, error) { return g.store.Keys(ctx) }

// Sessions lists the open ones.
func (g *Guard) Sessions(ctx context.Context) ([]Session, error) {
	all, err := g.store.Sessions(ctx, g.now())
	open := all[:0]
	for _, s := range all {
		if g.open(&s) {
			open = append(open, s)
		}
	}
	return open, err
}

// Audit reads the audit log.
func (g *Guard) Audit(ctx context.Context, f AuditFilter) (gaff.Page[Entry], error) {
	return g.store.Audit(ctx, f)
}
