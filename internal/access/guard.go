package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// CookieName is the console's cookie on a connection without TLS.
const CookieName = "gaff_session"

// SessionCookie returns the name of the console's cookie for the sender of r. Over TLS it has the
// prefix by which browsers accept it only from this very host, and only over TLS: a page of a
// neighboring domain cannot set it.
func SessionCookie(r *http.Request) string {
	if OverTLS(r) {
		return "__Host-" + CookieName
	}
	return CookieName
}

// OverTLS reports whether the sender of r uses HTTPS, by the connection or by the header of a
// proxy. A client that forges the header only affects its own cookie.
func OverTLS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https")
}

const (
	// LinkAge bounds the life of a one-time link.
	LinkAge = time.Hour
	// touchEvery is the precision of "last used".
	touchEvery = time.Minute
	// maxTouched bounds the credentials remembered for touchEvery.
	maxTouched = 10_000
)

// Guard authenticates callers, and manages keys, sessions and links. Its methods are safe for
// concurrent use.
type Guard struct {
	store Store
	admin string // hash of the admin token
	local string // hash of the token of local commands, or empty
	// browserKey signs browser tokens; empty: browser tokens are off.
	browserKey []byte
	// sso is the origin of sessions that the identity provider opened; empty without one.
	sso      string
	sessions SessionRules
	log      *slog.Logger
	now      func() time.Time
	cross    *http.CrossOriginProtection

	address  func(*http.Request) string
	hook     func(kind string)
	logins   limiter // wrong ones at the login page
	tokens   limiter // wrong ones at the API
	accepted accepted
	rates    rates
	quiet    discardLog
	digest   digest
	reads    digest
	noReads  bool
	audited  func(Entry)

	mu      sync.Mutex
	touched map[string]time.Time
	writing chan struct{} // a place for each note that is being written
}

// GuardOptions configure a [Guard]. Store, and AdminToken or AdminHash, are required.
type GuardOptions struct {
	Store      Store
	AdminToken string
	// AdminHash is the [Hash] of an admin token that this process does not know. AdminToken takes
	// precedence.
	AdminHash string
	// LocalToken is an additional admin token for local commands, valid for this run only. It may
	// be empty.
	LocalToken string
	// BrowserKey signs the tokens of [Guard.CreateBrowserToken], 32 bytes or more. It is equal on
	// all nodes. Empty: the guard has no such tokens.
	BrowserKey []byte
	// Address returns the client's address behind trusted proxies; nil means the peer's address.
	Address func(*http.Request) string
	// Denied, if not nil, is called for each wrong token, login and link with one of the
	// Denied… constants.
	Denied func(kind string)
	// SSO identifies the identity provider and its settings: sessions of another value have ended.
	// Empty: there is no identity provider.
	SSO string
	// Sessions bounds the sessions of the console.
	Sessions SessionRules
	// NoReads keeps reads of payloads and secrets out of the audit log.
	NoReads bool
	// Audited, if not nil, is called for each entry of the audit log. It must not block.
	Audited func(Entry)
	// Log receives errors; nil means slog.Default().
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// NewGuard returns a guard.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{
		store: o.Store, admin: Hash(o.AdminToken), log: o.Log, now: o.Now, cross: http.NewCrossOriginProtection(),
		touched: map[string]time.Time{}, writing: make(chan struct{}, 4), address: o.Address, hook: o.Denied, browserKey: o.BrowserKey,
		sessions: o.Sessions.orDefault(), noReads: o.NoReads, audited: o.Audited,
	}
	if o.SSO != "" {
		g.sso = ssoOrigin + Hash(o.SSO)[:fingerprintLen]
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

// Authorize is [Guard.AuthorizeScoped] for callers that do not enforce scopes, such as the
// console: it rejects credentials that have one.
func (g *Guard) Authorize(r *http.Request) (Identity, bool) {
	who, ok := g.AuthorizeScoped(r)
	if ok && !who.Scope.IsZero() {
		return Identity{}, false
	}
	return who, ok
}

// Scoped is a guard whose Authorize accepts credentials with a scope. Its user must enforce
// Identity.Scope.
type Scoped struct{ *Guard }

// Authorize is [Guard.AuthorizeScoped].
func (s Scoped) Authorize(r *http.Request) (Identity, bool) { return s.AuthorizeScoped(r) }

// AuthorizeScoped identifies the sender of r by its bearer token (the admin token, an API key or
// a browser token), else by the console's cookie. Browsers send cookies with requests of any page,
// so a change with a cookie must come from the console's own pages.
func (g *Guard) AuthorizeScoped(r *http.Request) (Identity, bool) {
	if token := bearer(r); token != "" {
		return g.checked(r, DeniedToken, token)
	}
	cookie, err := r.Cookie(SessionCookie(r))
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
	return Identity{Name: s.Name, As: s.As, Role: s.Role, Via: ViaSession, ID: s.ID, KeyID: s.KeyID(), Subject: s.Subject, Scope: s.Scope, Rate: s.Rate}, true
}

// open reports whether a session can still be used.
func (g *Guard) open(s *Session) bool {
	now := g.now()
	if !s.EndedAt.IsZero() || !now.Before(s.ExpiresAt) || now.Sub(s.LastUsedAt) > g.sessions.Idle {
		return false
	}
	// A setting that was shortened counts for open sessions, too.
	if now.Sub(s.CreatedAt) > g.sessions.age(s) {
		return false
	}
	if strings.HasPrefix(s.Origin, ssoOrigin) {
		return s.Origin == g.sso
	}
	if g.sessions.NoTokens {
		return false
	}
	// Sessions of an admin token end when the token changes.
	fingerprint, byToken := strings.CutPrefix(s.Origin, tokenOrigin)
	return !byToken || g.admin != "" && fingerprint == g.admin[:fingerprintLen]
}

const (
	tokenOrigin    = "token:"
	fingerprintLen = 16
)

func (g *Guard) byToken(ctx context.Context, hash, address string) (Identity, bool) {
	// Hashes have one length, so timing does not reveal the token's length.
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
	return Identity{Name: k.Name, Role: k.Role, Via: ViaKey, ID: k.ID, KeyID: k.ID, Scope: k.Scope, Rate: k.Rate}, true
}

// unknown distinguishes an unknown credential from a database that does not answer.
func (g *Guard) unknown(err error) (Identity, bool) {
	if errors.Is(err, gaff.ErrNotFound) {
		return Identity{}, false
	}
	if !errors.Is(err, context.Canceled) {
		g.log.Warn("cannot check a credential", "error", err)
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

// ForeignPage reports whether a browser sent r for a page of another origin, including another
// port of this machine. Programs and typed URLs are not foreign.
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

// touch records a use in the background, at most once per touchEvery.
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
			g.log.Warn("record the last use of a credential", "id", id, "error", err)
		}
	}()
}

// Errors of logins.
var (
	// ErrDenied means that the token or link is unknown, used, revoked or expired.
	ErrDenied = errors.New("refused")
	// ErrTooMany means that the caller's address sent too many wrong tokens; retry in a minute.
	ErrTooMany = errors.New("too many wrong tokens came from this address; wait a minute")
)

// Login opens a session with the admin token or an API key. as is the name typed at login; it is
// shown beside the credential's name and never replaces it. secret is the cookie's value.
func (g *Guard) Login(r *http.Request, token, as string) (s Session, secret string, err error) {
	if g.sessions.NoTokens {
		return Session{}, "", errNoTokens
	}
	who, ok := g.checked(r, DeniedLogin, strings.TrimSpace(token))
	switch {
	case !ok && who.Err != nil:
		return Session{}, "", who.Err
	case !ok:
		return Session{}, "", ErrDenied
	}
	if err := noLogin(who); err != nil {
		return Session{}, "", err
	}
	s = Session{Name: who.Name, Role: who.Role, Origin: who.ID}
	if who.Via == ViaToken {
		s.Origin = g.adminOrigin()
	}
	if strings.TrimSpace(as) != "" {
		if s.As, err = checkName("the name", as); err != nil {
			return Session{}, "", err
		}
	}
	return g.begin(r, s)
}

// noLogin returns an error for a credential that cannot open the console: its pages need more
// than single operations.
func noLogin(who Identity) error {
	if len(who.Scope.Operations) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is limited to single operations, and the console's pages need others; log in with another key", gaff.ErrInvalid, who.Name)
}

// Link returns an unused one-time link by its code, without consuming it.
func (g *Guard) Link(ctx context.Context, code string) (*Link, error) {
	if g.sessions.NoTokens {
		return nil, errNoTokens
	}
	return g.store.Link(ctx, Hash(code), g.now())
}

// LoginByLink opens a session with a one-time link's code. Codes cannot be guessed, so attempts
// are not limited.
func (g *Guard) LoginByLink(r *http.Request, code string) (s Session, secret string, err error) {
	if g.sessions.NoTokens {
		return Session{}, "", errNoTokens
	}
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

// begin opens a session with the role of its origin.
func (g *Guard) begin(r *http.Request, s Session) (Session, string, error) {
	now := g.now()
	if s.KeyID() != "" {
		k, err := g.store.Key(r.Context(), s.Origin)
		if errors.Is(err, gaff.ErrNotFound) || err == nil && k.State(now) != "active" {
			return Session{}, "", ErrDenied
		}
		if err != nil {
			return Session{}, "", err
		}
		s.ExpiresAt = k.ExpiresAt // a session does not outlive its key
		s.Scope = k.Scope
		if err := noLogin(Identity{Name: k.Name, Scope: k.Scope}); err != nil {
			return Session{}, "", err
		}
	}
	s.ID, s.CreatedAt, s.LastUsedAt = id.New(id.Session, now), now, now
	s.Address, s.Agent = g.Address(r), strings.ToValidUTF8(excerpt.Prefix(r.UserAgent(), 200), "\uFFFD")
	if end := now.Add(g.sessions.age(&s)); s.ExpiresAt.IsZero() || s.ExpiresAt.After(end) {
		s.ExpiresAt = end
	}
	secret := newSecret()
	if err := g.store.AddSession(r.Context(), s, Hash(secret)); err != nil {
		return Session{}, "", err
	}
	g.Note(r.Context(), Entry{
		At: now, Actor: s.Name, As: s.As, KeyID: s.KeyID(), Role: s.Role, Via: ViaSession, ViaID: s.ID, Address: s.Address, Action: "login",
		Target: s.ID, Status: http.StatusOK, Detail: s.detail(),
	})
	return s, secret, nil
}

// NewLink creates a one-time login link with the role of the caller, which must be the admin
// token or a key, not a session. code is shown once.
func (g *Guard) NewLink(ctx context.Context, who Identity) (code string, expires time.Time, err error) {
	l := Link{Name: who.Name, Role: who.Role, Origin: who.ID, ExpiresAt: g.now().Add(LinkAge)}
	if who.Via == ViaToken {
		l.Origin = g.adminOrigin()
	}
	if g.sessions.NoTokens {
		return "", time.Time{}, errNoTokens
	}
	if err := noLogin(who); err != nil {
		return "", time.Time{}, err
	}
	if who.Via == ViaSession {
		return "", time.Time{}, fmt.Errorf("%w: a session cannot create login links; use the token that opened it, or create a key", gaff.ErrInvalid)
	}
	code = newSecret()
	return code, l.ExpiresAt, g.store.AddLink(ctx, l, Hash(code))
}

// OwnerLink creates a one-time login link with the rights of the admin token. The gateway prints
// it at start.
func (g *Guard) OwnerLink(ctx context.Context) (code string, err error) {
	code, _, err = g.NewLink(ctx, Identity{Name: "admin", Role: Admin, Via: ViaToken})
	return code, err
}

// KeyParams are the fields of a new key.
type KeyParams struct {
	Name string
	Role Role
	// ExpiresAt is zero for a key that does not expire.
	ExpiresAt time.Time
	// Scope limits the key; the zero value does not.
	Scope Scope
	// Rate is how many requests a second it may make; 0 means no limit.
	Rate int
}

// CreateKey creates a key, with no more than the creator's scope. secret is shown once and not stored.
func (g *Guard) CreateKey(ctx context.Context, by Identity, p KeyParams) (k Key, secret string, err error) {
	now := g.now()
	name, err := checkName("the key's name", p.Name)
	switch {
	case err != nil:
		return Key{}, "", err
	case p.Role <= NoRole || p.Role > Admin:
		return Key{}, "", fmt.Errorf("%w: a key needs a role: viewer, operator or admin", gaff.ErrInvalid)
	case p.Scope.Job != "" || p.Scope.Run != "":
		return Key{}, "", fmt.Errorf("%w: a key is limited to a project or source; a browser token can be limited to a job or run", gaff.ErrInvalid)
	case !p.Scope.within(by.Scope):
		return Key{}, "", fmt.Errorf("%w: a credential limited to %s cannot create a key that reaches more", gaff.ErrInvalid, by.Scope)
	case p.Rate < 0 || p.Rate > maxRate:
		return Key{}, "", fmt.Errorf("%w: the rate %d is not 1 to %d requests a second, or 0 for no limit", gaff.ErrInvalid, p.Rate, maxRate)
	case by.Rate > 0 && (p.Rate == 0 || p.Rate > by.Rate):
		return Key{}, "", fmt.Errorf("%w: a credential with %d requests a second cannot create a key with more", gaff.ErrInvalid, by.Rate)
	case !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(now):
		return Key{}, "", fmt.Errorf("%w: the expiry %s is in the past", gaff.ErrInvalid, p.ExpiresAt.UTC().Format(time.RFC3339))
	}
	secret = newSecret()
	k = Key{
		ID: id.New(id.APIKey, now), Name: name, Role: p.Role, Hint: secret[len(secret)-4:], CreatedBy: by.String(), MadeBy: by.KeyID, CreatedAt: now,
		ExpiresAt: p.ExpiresAt, Scope: p.Scope, Rate: p.Rate,
	}
	if err := k.Scope.check(); err != nil {
		return Key{}, "", err
	}
	if err := g.store.AddKey(ctx, k, Hash(secret)); err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// RevokeKey revokes a key and ends the sessions that it opened.
func (g *Guard) RevokeKey(ctx context.Context, keyID string) error {
	return g.store.RevokeKey(ctx, keyID, g.now())
}

// RevokeMade revokes the keys that a key created, directly or through others, with their
// sessions. It returns the ids of those that were not revoked before.
func (g *Guard) RevokeMade(ctx context.Context, keyID string) ([]string, error) {
	return g.store.RevokeMade(ctx, keyID, g.now())
}

// EndSession ends a session.
func (g *Guard) EndSession(ctx context.Context, sessionID string) error {
	return g.store.EndSession(ctx, sessionID, g.now())
}

// Keys returns all keys, newest first.
func (g *Guard) Keys(ctx context.Context) ([]Key, error) { return g.store.Keys(ctx) }

// Sessions returns the open sessions, newest first.
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
