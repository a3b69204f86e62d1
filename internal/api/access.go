package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
)

// note collects what the audit log is told of a request: who changed what.
type note struct {
	who            Identity
	action, target string
	detail         any
	w              http.ResponseWriter
}

type noteKey struct{}

func noted(r *http.Request, w http.ResponseWriter) (*http.Request, *note) {
	n := &note{w: w}
	return r.WithContext(context.WithValue(r.Context(), noteKey{}, n)), n
}

// noteOf returns the request's note; nil outside a request.
func noteOf(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// callerOf names the credential that a call showed.
func callerOf(ctx context.Context) string {
	if n := noteOf(ctx); n != nil {
		return n.who.Caller()
	}
	return ""
}

// isViewer reports whether a call may only read: it is shown no address's path, and no bytes
// with a secret in them.
func isViewer(ctx context.Context) bool {
	n := noteOf(ctx)
	return n == nil || n.who.Role < Operator
}

// remark tells the audit log what an operation was done to, where the address does not,
// and more about it: an object that can be written as JSON, without secrets.
func remark(ctx context.Context, target string, detail any) {
	if n := noteOf(ctx); n != nil {
		n.target, n.detail = target, detail
	}
}

// unaudited leaves a call out of the audit log that changes nothing people set up, and comes
// often.
func unaudited(ctx context.Context) {
	if n := noteOf(ctx); n != nil {
		n.action = ""
	}
}

// lengthen gives a call that waits the time that it needs beyond the server's own bounds.
func lengthen(ctx context.Context, wait time.Duration) {
	n := noteOf(ctx)
	if n == nil || wait <= 0 {
		return
	}
	rc := http.NewResponseController(n.w)
	_ = rc.SetReadDeadline(time.Time{}) // a recorder in a test has none
	_ = rc.SetWriteDeadline(time.Now().Add(wait + heartbeat))
}

// record writes a change into the audit log, also one that failed or was not allowed. What
// strangers try is none.
func (s *server) record(r *http.Request, n *note, status int) {
	if s.o.Guard == nil || n.who.Role == NoRole || n.action == "" || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	for _, name := range [...]string{"id", "name"} {
		if n.target == "" {
			n.target = r.PathValue(name)
		}
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	e := access.Entry{
		Actor: n.who.Name, KeyID: n.who.KeyID, As: n.who.As, Role: n.who.Role, Via: n.who.Via, ViaID: n.who.ID, Address: s.o.Guard.Address(r),
		Action: n.action, Target: clipTarget(n.target), Status: status,
	}
	if n.detail != nil {
		if text, err := json.Marshal(n.detail); err == nil {
			e.Detail = text
		}
	}
	s.o.Guard.Note(r.Context(), e)
}

func clipTarget(text string) string {
	if len(text) > 1024 {
		return text[:1024]
	}
	return text
}

type keyDoc struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	Role         string  `json:"role" enum:"viewer,operator,admin"`
	State        string  `json:"state" enum:"active,expired,revoked"`
	Hint         string  `json:"hint" doc:"The end of the secret."`
	CreatedBy    string  `json:"createdBy"`
	CreatedByID  *string `json:"createdById" doc:"The key that it was made with; null for the admin token."`
	CreatedAt    *string `json:"createdAt" format:"date-time"`
	ExpiresAt    *string `json:"expiresAt" format:"date-time" doc:"Null for a key that does not expire."`
	LastUsedAt   *string `json:"lastUsedAt" format:"date-time" doc:"To the minute; null if it was never used."`
	LastUsedFrom *string `json:"lastUsedFrom"`
	RevokedAt    *string `json:"revokedAt" format:"date-time"`
}

func newKeyDoc(k access.Key) keyDoc {
	return keyDoc{
		k.ID, k.Name, k.Role.String(), k.State(time.Now()), k.Hint, k.CreatedBy, orNull(k.MadeBy), stamp(k.CreatedAt), stamp(k.ExpiresAt),
		stamp(k.LastUsedAt), orNull(k.LastUsedFrom), stamp(k.RevokedAt),
	}
}

type newKey struct {
	keyDoc
	Key string `json:"key" doc:"The secret. It is shown here once and not kept."`
}

type keyInput struct {
	Body struct {
		Name      string `json:"name" minLength:"1" maxLength:"80" doc:"Who or what uses it."`
		Role      string `json:"role" enum:"viewer,operator,admin"`
		ExpiresAt string `json:"expiresAt,omitempty" doc:"A time, or a duration from now such as 90d; empty: it does not expire."`
	}
}

type revokeInput struct {
	ID   string `path:"id"`
	Made bool   `query:"made" doc:"Also the keys that were made with it, and with those: for a key that was stolen. It may be revoked already."`
}

type keyOutput struct {
	Body newKey
}

type sessionDoc struct {
	ID         string  `json:"id"`
	Name       string  `json:"name" doc:"The name of the key that it was opened with, or admin."`
	As         *string `json:"as" doc:"What the person typed as a name; it is not verified."`
	KeyID      *string `json:"keyId" doc:"The key that it was opened with; null for the admin token."`
	Role       string  `json:"role" enum:"viewer,operator,admin"`
	Address    string  `json:"address"`
	Agent      string  `json:"agent" doc:"The browser, as it calls itself."`
	CreatedAt  *string `json:"createdAt" format:"date-time"`
	ExpiresAt  *string `json:"expiresAt" format:"date-time"`
	LastUsedAt *string `json:"lastUsedAt" format:"date-time" doc:"To the minute."`
}

func newSessionDoc(c access.Session) sessionDoc {
	return sessionDoc{c.ID, c.Name, orNull(c.As), orNull(c.KeyID()), c.Role.String(), c.Address, c.Agent, stamp(c.CreatedAt), stamp(c.ExpiresAt), stamp(c.LastUsedAt)}
}

type auditDoc struct {
	ID      string  `json:"id"`
	At      *string `json:"at" format:"date-time"`
	Actor   string  `json:"actor" doc:"The name of the key, or of the admin token."`
	KeyID   *string `json:"keyId" doc:"The key, also of a session that was opened with it; null for the admin token."`
	As      *string `json:"as" doc:"What the person typed as a name at the login; it is not verified."`
	Role    string  `json:"role" enum:"viewer,operator,admin"`
	Via     string  `json:"via" enum:"token,key,session"`
	ViaID   *string `json:"viaId" doc:"The key or session."`
	Address string  `json:"address"`
	Action  string  `json:"action" doc:"The operation, by its name in this document; login and logout."`
	Target  *string `json:"target" doc:"What it was done to."`
	Status  int     `json:"status" doc:"What was answered; 2xx: it was done."`
	Times   int64   `json:"times" doc:"How many alike the line counts: more than 1 if a credential repeated itself too often to write each."`
	Detail  rawJSON `json:"detail"`
}

func newAuditDoc(e access.Entry) auditDoc {
	return auditDoc{
		e.ID, stamp(e.At), e.Actor, orNull(e.KeyID), orNull(e.As), e.Role.String(), e.Via, orNull(e.ViaID), e.Address, e.Action, orNull(e.Target), e.Status, e.Times, rawJSON(e.Detail),
	}
}

type auditInput struct {
	Paging
	Actor  string `query:"actor"`
	Action string `query:"action"`
	Target string `query:"target"`
}

type meDoc struct {
	Name  string  `json:"name"`
	As    *string `json:"as" doc:"What was typed as a name at the login; it is not verified."`
	Role  string  `json:"role" enum:"viewer,operator,admin"`
	Via   string  `json:"via" enum:"token,key,session"`
	ID    *string `json:"id" doc:"The key or session; null for the admin token."`
	KeyID *string `json:"keyId" doc:"The key, also of a session that was opened with it; null for the admin token."`
}

type linkDoc struct {
	Path      string  `json:"path" doc:"Opened in a browser, below the gateway's address, it logs in once."`
	ExpiresAt *string `json:"expiresAt" format:"date-time"`
}

// ahead reads a time, or a duration as that long from now.
func ahead(name, text string) (time.Time, error) {
	t, err := moment(name, text)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	if _, perr := time.Parse(time.RFC3339Nano, text); perr != nil {
		now := time.Now()
		t = now.Add(now.Sub(t))
	}
	return t, nil
}

func (s *server) describeAccess(api huma.API) {
	guard := func() (*access.Guard, error) {
		if s.o.Guard == nil {
			return nil, huma.Error404NotFound("this gateway has one token and no keys")
		}
		return s.o.Guard, nil
	}
	huma.Register(api, operation(http.MethodGet, "/api/v1/me", "get-me", "Who asks, and what he may do", Viewer),
		func(ctx context.Context, _ *struct{}) (*output[meDoc], error) {
			who := noteOf(ctx).who
			return &output[meDoc]{meDoc{who.Name, orNull(who.As), who.Role.String(), who.Via, orNull(who.ID), orNull(who.KeyID)}}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/keys", "list-keys", "List API keys, newest first", Admin),
		func(ctx context.Context, in *Paging) (*output[list[keyDoc]], error) {
			g, err := guard()
			if err != nil {
				return nil, err
			}
			keys, err := g.Keys(ctx)
			return cutList(s, *in, keys, err, func(k access.Key) string { return k.ID }, newKeyDoc)
		})
	create := operation(http.MethodPost, "/api/v1/keys", "create-key", "Make an API key; its secret is in the answer, and nowhere else", Admin)
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, func(ctx context.Context, in *keyInput) (*keyOutput, error) {
		g, err := guard()
		if err != nil {
			return nil, err
		}
		expires, err := ahead("expiresAt", in.Body.ExpiresAt)
		if err != nil {
			return nil, err
		}
		role, _ := access.ParseRole(in.Body.Role)
		k, secret, err := g.CreateKey(ctx, noteOf(ctx).who, access.KeyParams{Name: in.Body.Name, Role: role, ExpiresAt: expires})
		if err != nil {
			return nil, s.failure(err)
		}
		remark(ctx, k.ID, map[string]any{"name": k.Name, "role": k.Role.String(), "expiresAt": stamp(k.ExpiresAt)})
		return &keyOutput{newKey{newKeyDoc(k), secret}}, nil
	})
	huma.Register(api, operation(http.MethodDelete, "/api/v1/keys/{id}", "revoke-key", "Revoke an API key, and end the sessions opened with it", Admin),
		func(ctx context.Context, in *revokeInput) (*struct{}, error) {
			g, err := guard()
			if err != nil {
				return nil, err
			}
			err = g.RevokeKey(ctx, in.ID)
			if in.Made && (err == nil || errors.Is(err, gaff.ErrConflict)) {
				var ended []string
				ended, err = g.RevokeMade(ctx, in.ID)
				remark(ctx, in.ID, map[string]any{"made": ended})
			}
			if err != nil {
				return nil, s.failure(err)
			}
			return nil, nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/sessions", "list-sessions", "List the browsers that are logged in to the console", Admin),
		func(ctx context.Context, in *Paging) (*output[list[sessionDoc]], error) {
			g, err := guard()
			if err != nil {
				return nil, err
			}
			sessions, err := g.Sessions(ctx)
			return cutList(s, *in, sessions, err, func(s access.Session) string { return s.ID }, newSessionDoc)
		})
	huma.Register(api, operation(http.MethodDelete, "/api/v1/sessions/{id}", "end-session", "Log a browser out", Admin),
		func(ctx context.Context, in *idInput) (*struct{}, error) {
			g, err := guard()
			if err != nil {
				return nil, err
			}
			if err := g.EndSession(ctx, in.ID); err != nil {
				return nil, s.failure(err)
			}
			return nil, nil
		})
	link := operation(http.MethodPost, "/api/v1/login-links", "create-login-link", "Make a link that logs a browser in to the console once, with the rights of who asks", Viewer)
	link.DefaultStatus = http.StatusCreated
	huma.Register(api, link, func(ctx context.Context, _ *struct{}) (*output[linkDoc], error) {
		g, err := guard()
		if err != nil {
			return nil, err
		}
		code, expires, err := g.NewLink(ctx, noteOf(ctx).who)
		if err != nil {
			return nil, s.failure(err)
		}
		return &output[linkDoc]{linkDoc{LoginPath + code, stamp(expires)}}, nil
	})
	huma.Register(api, operation(http.MethodGet, "/api/v1/audit", "list-audit", "List what people changed, newest first", Viewer),
		func(ctx context.Context, in *auditInput) (*output[list[auditDoc]], error) {
			g, err := guard()
			if err != nil {
				return nil, err
			}
			page, err := g.Audit(ctx, access.AuditFilter{Actor: in.Actor, Action: in.Action, Target: in.Target, Cursor: in.page()})
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, newAuditDoc), nil
		})
}

// LoginPath is where one-time links point to; the code follows.
const LoginPath = "/login/"
