package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gaff"
)

// SessionRules bound the sessions of the console. Zero durations mean the defaults.
type SessionRules struct {
	// Age is how long a session lasts at most, SSOAge one that the identity provider opened.
	Age, SSOAge time.Duration
	// Idle is how long a session lasts that is not used.
	Idle time.Duration
	// NoTokens turns off the login with tokens, keys and links.
	NoTokens bool
}

func (s SessionRules) orDefault() SessionRules {
	for _, d := range []struct {
		value  *time.Duration
		preset time.Duration
	}{{&s.Age, 30 * 24 * time.Hour}, {&s.SSOAge, 12 * time.Hour}, {&s.Idle, 7 * 24 * time.Hour}} {
		if *d.value <= 0 {
			*d.value = d.preset
		}
	}
	return s
}

// age returns how long a session lasts at most.
func (s SessionRules) age(c *Session) time.Duration {
	if strings.HasPrefix(c.Origin, ssoOrigin) {
		return s.SSOAge
	}
	return s.Age
}

// ssoOrigin begins the origin of sessions that the identity provider opened.
const ssoOrigin = "oidc:"

// errNoTokens is the error of logins that GAFF_TOKEN_LOGIN turns off.
var errNoTokens = fmt.Errorf("%w: logins with tokens and links are turned off; log in at the identity provider, or restart gaff with GAFF_TOKEN_LOGIN=true", gaff.ErrInvalid)

// TokenLogin reports whether a token or link can open the console.
func (g *Guard) TokenLogin() bool { return !g.sessions.NoTokens }

// SSOUser is a user whom the identity provider authenticated.
type SSOUser struct {
	// Subject is the user's id at the provider, Name the verified email address or the subject.
	Subject, Name string
	// Role is NoRole if no group of the user has a role.
	Role  Role
	Scope Scope
	// IDToken is the provider's token, for a logout there.
	IDToken string
}

// ErrNoRole means that the user is known to the identity provider, but has no role here.
var ErrNoRole = errors.New("no group of this user has a role")

// LoginSSO opens a session for a user whom the identity provider authenticated.
func (g *Guard) LoginSSO(r *http.Request, u SSOUser) (Session, string, error) {
	s := Session{Name: u.Name, Role: u.Role, Scope: u.Scope, Subject: u.Subject, IDToken: u.IDToken, Origin: g.sso}
	switch {
	case g.sso == "" || u.Subject == "":
		return Session{}, "", ErrDenied
	case u.Role == NoRole:
		address := g.Address(r)
		g.denied(DeniedSSO, address)
		g.Note(r.Context(), Entry{
			Actor: s.Name, Role: NoRole, Via: ViaSession, Address: address, Action: "login", Status: http.StatusForbidden, Detail: s.detail(),
		})
		return Session{}, "", ErrNoRole
	}
	return g.begin(r, s)
}

// SSOError says why a login at the identity provider failed. It wraps ErrDenied.
type SSOError struct {
	Why string
	// Asked is set if the provider was asked about this login.
	Asked bool
}

func (e *SSOError) Error() string { return ErrDenied.Error() + ": " + e.Why }
func (e *SSOError) Unwrap() error { return ErrDenied }

// AllowSSO reports whether the sender of r may finish a login at the identity provider: too many
// failed ones of an address are rejected for a minute.
func (g *Guard) AllowSSO(r *http.Request) bool {
	return g.logins.allowed(g.Address(r), loginFailures, g.now())
}

// FailedSSO counts a failed login at the identity provider. Only one that the provider was asked
// about counts for the limit of its address: any page can send a browser here with a wrong state.
func (g *Guard) FailedSSO(r *http.Request, e *SSOError) {
	address := g.Address(r)
	if e.Asked {
		g.logins.failed(address, g.now())
	}
	g.denied(DeniedSSO, address)
}

// IDToken returns the identity provider's token of the console's session of r; empty without one.
func (g *Guard) IDToken(r *http.Request) string {
	cookie, err := r.Cookie(SessionCookie(r))
	if err != nil || cookie.Value == "" {
		return ""
	}
	s, err := g.store.SessionByHash(r.Context(), Hash(cookie.Value))
	if err != nil {
		return ""
	}
	return s.IDToken
}

// EndedSessions says which sessions of the identity provider can no longer be used: all that expired
// before Now or ended, and those that were last used, opened or of an origin as the fields say.
type EndedSessions struct {
	Now, UnusedSince, OpenedBefore time.Time
	// Origin is that of sessions of the identity provider in force.
	Origin string
}

// PruneSessions removes expired sessions, and the identity provider's tokens of sessions that ended.
func (g *Guard) PruneSessions(ctx context.Context) error {
	now := g.now()
	return g.store.PruneSessions(ctx, EndedSessions{
		Now: now, UnusedSince: now.Add(-g.sessions.Idle), OpenedBefore: now.Add(-g.sessions.SSOAge), Origin: g.sso,
	})
}

// detail is that of a login's entry in the audit log; nil for a login with a token.
func (s *Session) detail() json.RawMessage {
	if s.Subject == "" {
		return nil
	}
	text, err := json.Marshal(map[string]string{"subject": s.Subject, "scope": s.Scope.String()})
	if err != nil {
		return nil
	}
	return text
}
