// Package access says who may do what: roles, API keys, the console's sessions, one-time
// login links, and the audit log of what people changed.
//
// Secrets are kept as SHA-256 hashes. They hold 130 bits of chance, so a hash that is slow
// to compute would protect nothing more.
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

// Role is what someone may do. Each includes those before it.
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

// ParseRole is the reverse of [Role.String] for the roles that someone can have; ok is
// false for any other text.
func ParseRole(text string) (r Role, ok bool) {
	for i, name := range roleNames {
		if name == text && i > int(NoRole) {
			return Role(i), true
		}
	}
	return NoRole, false
}

// How someone proved who he is.
const (
	ViaToken   = "token"
	ViaKey     = "key"
	ViaSession = "session"
)

// Identity is who asks.
type Identity struct {
	// Name is a person's or a program's name as the audit log shows it.
	Name string
	Role Role
	// Via is one of the Via… constants, ID the key's or session's; empty for the admin token.
	Via, ID string
	// KeyID is the API key: that of Via [ViaKey], or the one that the session was opened
	// with. Empty for the admin token and its sessions.
	KeyID string
	// As is what the person typed at the login; it is not verified. Empty if nothing was typed.
	As string
	// Err is set beside a refusal when it could not be found out who asks (the database does
	// not answer); nil: it is known that he is nobody.
	Err error
}

// Caller names the credential that was shown, and not the person: idempotency keys and shares
// of what is bounded belong to it. The admin token and the token of this machine's commands
// are one caller.
func (i Identity) Caller() string {
	switch {
	case i.KeyID != "":
		return ViaKey + ":" + i.KeyID
	case i.Via == ViaToken || i.Via == ViaSession:
		return ViaToken
	}
	return i.Via + ":" + i.ID
}

// String names the credential, and beside it what the person typed at the login.
func (i Identity) String() string {
	if i.As == "" {
		return i.Name
	}
	return i.Name + " (as " + i.As + ")"
}

// Key is an API key, without its secret.
type Key struct {
	ID   string // apk_...
	Name string
	Role Role
	// Hint is the end of the secret, by which people tell keys apart.
	Hint      string
	CreatedBy string
	// MadeBy is the id of the key with which it was made; empty for the admin token.
	MadeBy    string
	CreatedAt time.Time
	// ExpiresAt is zero for a key that does not expire; LastUsedAt, to the minute, for one
	// that was never used; RevokedAt for one that was not revoked.
	ExpiresAt, LastUsedAt, RevokedAt time.Time
	LastUsedFrom                     string
}

// State says in a word whether a key works at a time: active, expired or revoked.
func (k *Key) State(now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return "expired"
	}
	return "active"
}

// Session is a browser that is logged in to the console.
type Session struct {
	ID string // ses_...
	// Name is the credential's that it was opened with, As what the person typed.
	Name, As string
	Role     Role
	// Origin is what it was opened with, and ends with: an API key's id, or the
	// fingerprint of the admin token.
	Origin string
	// Address and Agent are the browser's, at the login.
	Address, Agent                   string
	CreatedAt, ExpiresAt, LastUsedAt time.Time
	EndedAt                          time.Time // zero while it is open
}

// KeyID is the key that s was opened with; empty for the admin token.
func (s *Session) KeyID() string {
	if strings.HasPrefix(s.Origin, tokenOrigin) {
		return ""
	}
	return s.Origin
}

// Link is a one-time login.
type Link struct {
	Name, Origin string
	Role         Role
	ExpiresAt    time.Time
}

// Entry is one line of the audit log. It is never changed.
type Entry struct {
	ID string // aud_...
	At time.Time
	// Actor is the name of the credential, KeyID the API key's id (empty for the admin
	// token), As what the person typed at the login.
	Actor, KeyID, As string
	Role             Role
	// Via and ViaID are those of the actor's [Identity].
	Via, ViaID string
	Address    string
	// Action is the API's operation, such as "retry-event"; Target the id of what it was
	// done to, empty if there is no one thing.
	Action, Target string
	// Status is the HTTP status that was answered: 2xx for what was done.
	Status int
	// Times is how many alike the line counts: 1, but for those that come too often.
	Times int64
	// Detail is a JSON object with more; nil if there is none. Never a secret.
	Detail json.RawMessage
}

// AuditFilter chooses entries. Zero fields choose all.
type AuditFilter struct {
	Actor, Action, Target string
	gaff.Cursor
}

// Store keeps all of it. Secrets are known to it by their hash alone.
type Store interface {
	AddKey(ctx context.Context, k Key, hash string) error
	// Keys returns all keys, newest first, at most 1,000.
	Keys(ctx context.Context) ([]Key, error)
	Key(ctx context.Context, id string) (*Key, error)
	KeyByHash(ctx context.Context, hash string) (*Key, error)
	// RevokeKey ends a key and the sessions that were opened with it. ErrNotFound if there
	// is no such key, ErrConflict if it is revoked already.
	RevokeKey(ctx context.Context, id string, now time.Time) error
	// RevokeMade does so with all keys that a key made, directly or by others that it
	// made, and returns the ids of those that were not revoked before.
	RevokeMade(ctx context.Context, id string, now time.Time) ([]string, error)

	AddSession(ctx context.Context, s Session, hash string) error
	// Sessions returns those that are open at the time, newest first, at most 1,000.
	Sessions(ctx context.Context, now time.Time) ([]Session, error)
	// SessionByHash finds a session. It has ended when its key has.
	SessionByHash(ctx context.Context, hash string) (*Session, error)
	EndSession(ctx context.Context, id string, now time.Time) error

	AddLink(ctx context.Context, l Link, hash string) error
	// Link finds a link and leaves it unused. ErrNotFound as TakeLink.
	Link(ctx context.Context, hash string, now time.Time) (*Link, error)
	// TakeLink uses a link up. ErrNotFound if it is not known, was used, or is too old.
	TakeLink(ctx context.Context, hash string, now time.Time) (*Link, error)

	// Touch notes when and from where a key or session was used last.
	Touch(ctx context.Context, id, address string, now time.Time) error

	AddAudit(ctx context.Context, e Entry) error
	Audit(ctx context.Context, f AuditFilter) (gaff.Page[Entry], error)
}

// Hash is how a secret is kept.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// newSecret makes a secret that nobody guesses.
func newSecret() string { return secretPrefix + rand.Text() }

const (
	secretPrefix  = "gaff_"
	randomLetters = 26 // of rand.Text
)

const maxName = 80

// checkName makes a name fit to be shown in one line.
func checkName(what, name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", fmt.Errorf("%w: %s is missing: say who or what uses it", gaff.ErrInvalid, what)
	case utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name):
		return "", fmt.Errorf("%w: %s is longer than %d letters", gaff.ErrInvalid, what, maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%w: %s holds signs that cannot be seen", gaff.ErrInvalid, what)
	}
	return name, nil
}
