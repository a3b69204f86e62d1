// Package access checks credentials: roles, API keys, the console's sessions, one-time login
// links, and the audit log of changes.
//
// Secrets are stored as SHA-256 hashes. They have 130 random bits, so a slow hash would not
// protect them better.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gaff"
)

// Role is a set of permissions. Each role includes the roles before it.
type Role int

// Viewers read; operators also retry, replay, send, submit and cancel; admins also delete
// and manage keys.
const (
	NoRole Role = iota
	Viewer
	Operator
	Admin
)

var roleNames = [...]string{"none", "viewer", "operator", "admin"}

// String returns the role's name in lower case.
func (r Role) String() string {
	if r < 0 || int(r) >= len(roleNames) {
		return "unknown"
	}
	return roleNames[r]
}

// ParseRole is the reverse of [Role.String]; ok is false for any other text.
func ParseRole(text string) (r Role, ok bool) {
	for i, name := range roleNames {
		if name == text && i > int(NoRole) {
			return Role(i), true
		}
	}
	return NoRole, false
}

// Kinds of credentials.
const (
	ViaToken   = "token"
	ViaKey     = "key"
	ViaSession = "session"
	ViaBrowser = "browser token"
)

// Identity is the authenticated caller.
type Identity struct {
	// Name is a person's or a program's name as the audit log shows it.
	Name string
	Role Role
	// Via is one of the Via… constants, ID the key's or session's; empty for the admin token.
	Via, ID string
	// KeyID is the id of the API key, or of the key that opened the session or created the browser
	// token. Empty for those of the admin token.
	KeyID string
	// Scope limits the credential further than its role.
	Scope Scope
	// Rate is how many requests a second the key may make; 0 means no limit. See [Guard.Take].
	Rate int
	// As is the name typed at login; it is not verified. Empty if none was typed.
	As string
	// Subject is the user's id at the identity provider; empty without a login there.
	Subject string
	// Err is set if the caller could not be identified because the database does not answer.
	// If it is nil, a rejected caller has no valid credential.
	Err error
}

// Caller names the credential, not the person: idempotency keys and shares of limits belong to
// it. The admin token and the token of local commands are one caller.
func (i Identity) Caller() string {
	switch {
	case i.Subject != "":
		return "oidc:" + i.Subject
	case i.KeyID != "":
		return ViaKey + ":" + i.KeyID
	case i.Via == ViaToken || i.Via == ViaSession || i.Via == ViaBrowser:
		return ViaToken
	}
	return i.Via + ":" + i.ID
}

// String returns the credential's name, with the name typed at login beside it.
func (i Identity) String() string {
	if i.As == "" {
		return i.Name
	}
	return i.Name + " (as " + i.As + ")"
}

// Key is an API key, without its secret.
type Key struct {
	ID    string // apk_...
	Name  string
	Role  Role
	Scope Scope
	// Rate is how many requests a second it may make; 0 means no limit.
	Rate int
	// Hint is the end of the secret, to distinguish keys.
	Hint      string
	CreatedBy string
	// MadeBy is the id of the key that created this key; empty for the admin token.
	MadeBy    string
	CreatedAt time.Time
	// ExpiresAt is zero for a key that does not expire; LastUsedAt, to the minute, for one
	// that was never used; RevokedAt for one that was not revoked.
	ExpiresAt, LastUsedAt, RevokedAt time.Time
	LastUsedFrom                     string
}

// State returns active, expired or revoked.
func (k *Key) State(now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return "expired"
	}
	return "active"
}

// Session is a session of the console.
type Session struct {
	ID string // ses_...
	// Name is the name of the credential that opened it, As the name typed at login.
	Name, As string
	Role     Role
	// Scope limits the session further than its role.
	Scope Scope
	// Rate is that of its key.
	Rate int
	// Origin is the credential that opened the session, which ends with it: an API key's id,
	// the fingerprint of the admin token, or that of the identity provider's settings.
	Origin string
	// Subject is the user's id at the identity provider, IDToken the provider's token of the
	// login, which a logout there needs. Both are empty without a login there.
	Subject, IDToken string
	// Address and Agent are the browser's, at login.
	Address, Agent                   string
	CreatedAt, ExpiresAt, LastUsedAt time.Time
	EndedAt                          time.Time // zero while it is open
}

// KeyID returns the id of the key that opened s; empty for the admin token and for a login at the
// identity provider.
func (s *Session) KeyID() string {
	if strings.HasPrefix(s.Origin, tokenOrigin) || strings.HasPrefix(s.Origin, ssoOrigin) {
		return ""
	}
	return s.Origin
}

// Link is a one-time login link.
type Link struct {
	Name, Origin string
	Role         Role
	ExpiresAt    time.Time
}

// Entry is an entry of the audit log. It never changes.
type Entry struct {
	ID string // aud_...
	At time.Time
	// Actor is the name of the credential, KeyID the API key's id (empty for the admin
	// token), As the name typed at login.
	Actor, KeyID, As string
	Role             Role
	// Via and ViaID are those of the actor's [Identity].
	Via, ViaID string
	Address    string
	// Action is the API's operation, such as "retry-event"; Target the id of the changed row,
	// empty if it has no single target.
	Action, Target string
	// Status is the HTTP status of the response: 2xx if the action succeeded.
	Status int
	// Times is the number of equal actions that the entry counts; usually 1.
	Times int64
	// Detail is a JSON object with more; or nil. Never a secret.
	Detail json.RawMessage
}

// AuditFilter selects entries. Zero fields match all.
type AuditFilter struct {
	Actor, Action, Target string
	// Since and Until bound the time of the entries: at or after Since, before Until.
	Since, Until time.Time
	gaff.Cursor
}

// Store stores keys, sessions, links and the audit log. It has only hashes of secrets.
type Store interface {
	AddKey(ctx context.Context, k Key, hash string) error
	// Keys returns all keys, newest first, at most 1,000.
	Keys(ctx context.Context) ([]Key, error)
	Key(ctx context.Context, id string) (*Key, error)
	KeyByHash(ctx context.Context, hash string) (*Key, error)
	// RevokeKey revokes a key and ends the sessions that it opened. It returns ErrNotFound for an
	// unknown key, ErrConflict for one that is already revoked.
	RevokeKey(ctx context.Context, id string, now time.Time) error
	// RevokeMade revokes all keys that a key created, directly or through others, and returns
	// the ids of those that were not revoked before.
	RevokeMade(ctx context.Context, id string, now time.Time) ([]string, error)

	AddSession(ctx context.Context, s Session, hash string) error
	PruneSessions(ctx context.Context, e EndedSessions) error
	// Sessions returns the sessions that are open at the time, newest first, at most 1,000.
	Sessions(ctx context.Context, now time.Time) ([]Session, error)
	// SessionByHash returns a session. A session ends with its key.
	SessionByHash(ctx context.Context, hash string) (*Session, error)
	EndSession(ctx context.Context, id string, now time.Time) error

	AddLink(ctx context.Context, l Link, hash string) error
	// Link returns a link without consuming it. It returns ErrNotFound as TakeLink does.
	Link(ctx context.Context, hash string, now time.Time) (*Link, error)
	// TakeLink consumes a link. It returns ErrNotFound for an unknown, used or expired link.
	TakeLink(ctx context.Context, hash string, now time.Time) (*Link, error)

	// Touch records when and from which address a key or session was last used.
	Touch(ctx context.Context, id, address string, now time.Time) error

	AddAudit(ctx context.Context, e Entry) error
	Audit(ctx context.Context, f AuditFilter) (gaff.Page[Entry], error)
}

// Hash returns the stored form of a secret.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// newSecret returns a random secret of 130 bits.
func newSecret() string { return secretPrefix + rand.Text() }

const (
	secretPrefix  = "gaff_"
	randomLetters = 26 // of rand.Text
)

const maxName = 80

// checkName returns a name trimmed and valid for one line.
func checkName(what, name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", fmt.Errorf("%w: %s is missing: name the user or program", gaff.ErrInvalid, what)
	case utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name):
		return "", fmt.Errorf("%w: %s is longer than %d characters", gaff.ErrInvalid, what, maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%w: %s contains invisible characters", gaff.ErrInvalid, what)
	}
	return name, nil
}
