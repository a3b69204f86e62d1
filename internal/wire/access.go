package wire

import (
	"time"

	"gaff"
	"gaff/internal/access"
)

// Key is an API key, without its secret.
type Key struct {
	ID           string `json:"id" example:"apk_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	Name         string `json:"name"`
	Role         string `json:"role" enum:"viewer,operator,admin"`
	State        string `json:"state" enum:"active,expired,revoked"`
	Hint         string `json:"hint" doc:"The last characters of the secret."`
	CreatedBy    string `json:"createdBy"`
	CreatedByID  Text   `json:"createdById" doc:"The key that created it; null for the admin token."`
	CreatedAt    Time   `json:"createdAt"`
	ExpiresAt    Time   `json:"expiresAt" doc:"Null for a key that does not expire."`
	LastUsedAt   Time   `json:"lastUsedAt" doc:"To the minute; null if it was never used."`
	LastUsedFrom Text   `json:"lastUsedFrom"`
	RevokedAt    Time   `json:"revokedAt"`
	Scope        *Scope `json:"scope" doc:"What the key is limited to; null for everything that its role allows."`
	Rate         int    `json:"rate" doc:"How many requests a second it may make; 0 for no limit."`
}

// Scope limits a credential to a part of the gateway.
type Scope struct {
	ProjectID   string   `json:"projectId,omitempty" maxLength:"1024" doc:"Only the jobs, files and runs of this project."`
	JobID       string   `json:"jobId,omitempty" doc:"Only this job and its files. Browser tokens only."`
	RunID       string   `json:"runId,omitempty" doc:"Only this run. Browser tokens only."`
	Source      string   `json:"source,omitempty" maxLength:"64" doc:"Only the events, deliveries and rejected requests of this source."`
	Destination string   `json:"destination,omitempty" maxLength:"64" doc:"Only this destination, and its deliveries by pull."`
	Operations  []string `json:"operations,omitempty" maxItems:"200" doc:"Only these operations, by operationId."`
}

// NewScope makes the document of a scope; nil for one that limits nothing.
func NewScope(s access.Scope) *Scope {
	if s.IsZero() {
		return nil
	}
	return &Scope{s.Project, s.Job, s.Run, s.Source, s.Destination, s.Operations}
}

// NewKey makes the document of a key.
func NewKey(k access.Key) Key {
	return Key{
		k.ID, k.Name, k.Role.String(), k.State(time.Now()), k.Hint, k.CreatedBy, Text(k.MadeBy), Time{k.CreatedAt}, Time{k.ExpiresAt},
		Time{k.LastUsedAt}, Text(k.LastUsedFrom), Time{k.RevokedAt}, NewScope(k.Scope), k.Rate,
	}
}

// KeyRequest creates a key.
type KeyRequest struct {
	Name      string   `json:"name" minLength:"1" maxLength:"80" doc:"Who or what uses it."`
	Role      string   `json:"role" enum:"viewer,operator,admin"`
	ExpiresAt string   `json:"expiresAt,omitempty" doc:"A time, or a duration from now such as 90d; empty for a key that does not expire."`
	Rate      int      `json:"rate,omitempty" minimum:"0" maximum:"10000" doc:"How many requests a second it may make on each node, with its sessions and browser tokens; 0 for no limit. More are answered 429 with Retry-After."`
	Scope     KeyScope `json:"scope,omitempty" doc:"What the key is limited to; empty for everything that its role allows."`
}

// KeyScope limits a new key.
type KeyScope struct {
	ProjectID   string   `json:"projectId,omitempty" maxLength:"1024" doc:"Only the jobs, files and runs of this project."`
	Source      string   `json:"source,omitempty" maxLength:"64" doc:"Only the events, deliveries and rejected requests of this source."`
	Destination string   `json:"destination,omitempty" maxLength:"64" doc:"Only this destination, and its deliveries by pull."`
	Operations  []string `json:"operations,omitempty" maxItems:"200" doc:"Only these operations, by operationId."`
}

// TokenRequest creates a browser token, for one of the three.
type TokenRequest struct {
	ProjectID string `json:"projectId,omitempty" maxLength:"1024" doc:"The jobs, files and runs of this project."`
	JobID     string `json:"jobId,omitempty" maxLength:"1024" doc:"This job and its files."`
	RunID     string `json:"runId,omitempty" maxLength:"128" doc:"This run."`
	ExpiresIn string `json:"expiresIn,omitempty" example:"15m" doc:"How long it lasts, 1s to 24h; 15m if empty."`
}

// BrowserToken is a token for pages in a browser.
type BrowserToken struct {
	Token     string `json:"token" doc:"Send it as Authorization: Bearer …. It is not stored."`
	ExpiresAt Time   `json:"expiresAt" doc:"It also ends with the credential that created it."`
}

// CreatedKey is a new key with its secret.
type CreatedKey struct {
	Key
	Secret string `json:"key" doc:"The secret. It is shown here once and not stored."`
}

// Session is a browser that is logged in to the console.
type Session struct {
	ID         string `json:"id"`
	Name       string `json:"name" doc:"The name of the key that opened it, admin, or the user at the identity provider."`
	As         Text   `json:"as" doc:"The name that the person typed; it is not verified."`
	KeyID      Text   `json:"keyId" doc:"The key that opened it; null for the admin token and the identity provider."`
	Subject    Text   `json:"subject" doc:"The user's id at the identity provider; null for logins with a token."`
	Scope      *Scope `json:"scope" doc:"What the session is limited to; null for everything that its role allows."`
	Role       string `json:"role" enum:"viewer,operator,admin"`
	Address    string `json:"address"`
	Agent      string `json:"agent" doc:"The browser's User-Agent."`
	CreatedAt  Time   `json:"createdAt"`
	ExpiresAt  Time   `json:"expiresAt"`
	LastUsedAt Time   `json:"lastUsedAt" doc:"To the minute."`
}

// NewSession makes the document of a session.
func NewSession(c access.Session) Session {
	return Session{c.ID, c.Name, Text(c.As), Text(c.KeyID()), Text(c.Subject), NewScope(c.Scope), c.Role.String(), c.Address, c.Agent, Time{c.CreatedAt}, Time{c.ExpiresAt}, Time{c.LastUsedAt}}
}

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	ID      string `json:"id"`
	At      Time   `json:"at"`
	Actor   string `json:"actor" doc:"The name of the key or of the admin token, or the user at the identity provider."`
	KeyID   Text   `json:"keyId" doc:"The key, also of a session that was opened with it; null for the admin token."`
	As      Text   `json:"as" doc:"The name that the person typed at the login; it is not verified."`
	Role    string `json:"role" enum:"none,viewer,operator,admin" doc:"None for a user of the identity provider who has no role."`
	Via     string `json:"via" enum:"token,key,session,browser token"`
	ViaID   Text   `json:"viaId" doc:"The key or session."`
	Address string `json:"address"`
	Action  string `json:"action" doc:"The operationId in this document; also login and logout."`
	Target  Text   `json:"target" doc:"The id or name that it was done to."`
	Status  int    `json:"status" doc:"The status of the answer; 2xx if it was done."`
	Times   int64  `json:"times" doc:"How many equal changes the line counts: more than 1 if a credential repeated itself too often to write each."`
	Detail  JSON   `json:"detail"`
}

// NewAuditEntry makes the document of a line of the audit log.
func NewAuditEntry(e access.Entry) AuditEntry {
	return AuditEntry{
		e.ID, Time{e.At}, e.Actor, Text(e.KeyID), Text(e.As), e.Role.String(), e.Via, Text(e.ViaID), e.Address, e.Action, Text(e.Target),
		e.Status, e.Times, JSON(e.Detail),
	}
}

// AuditQuery chooses lines of the audit log.
type AuditQuery struct {
	Actor  string `query:"actor" flag:"actor" doc:"Only by this person or key."`
	Action string `query:"action" flag:"action" doc:"Only this operation, such as retry-event or create-key."`
	Target string `query:"target" flag:"target" doc:"Only on this id or name."`
	Since  string `query:"since" flag:"since" doc:"At or after: a time, or a duration such as 24h for that long ago."`
	Until  string `query:"until" flag:"until" doc:"Before; written like since."`
}

// Filter returns the query as stores take it.
func (q AuditQuery) Filter(c gaff.Cursor) (f access.AuditFilter, err error) {
	f = access.AuditFilter{Actor: q.Actor, Action: q.Action, Target: q.Target, Cursor: c}
	f.Since, f.Until, err = period(q.Since, q.Until)
	return f, err
}

// Me is the caller of the API.
type Me struct {
	Name  string `json:"name"`
	As    Text   `json:"as" doc:"The name that was typed at the login; it is not verified."`
	Role  string `json:"role" enum:"viewer,operator,admin"`
	Via   string `json:"via" enum:"token,key,session,browser token"`
	ID    Text   `json:"id" doc:"The key or session; null for the admin token."`
	KeyID Text   `json:"keyId" doc:"The key, also of a session or token that was made with it; null for the admin token."`
	Scope *Scope `json:"scope" doc:"What the caller is limited to; null for everything that its role allows."`
}

// NewMe makes the document of a caller.
func NewMe(who access.Identity) Me {
	return Me{who.Name, Text(who.As), who.Role.String(), who.Via, Text(who.ID), Text(who.KeyID), NewScope(who.Scope)}
}

// LoginLink logs a browser in once.
type LoginLink struct {
	Path      string `json:"path" doc:"The path below the gateway's URL that logs a browser in once."`
	ExpiresAt Time   `json:"expiresAt"`
}
