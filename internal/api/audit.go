package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"gaff/internal/access"
	"gaff/internal/excerpt"
	"gaff/internal/wire"
)

// note collects the audit log entry of a request: who changed what.
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

// isViewer reports whether a caller may only read. Viewers see no path of a receiver, and no bytes
// with a secret in them.
func isViewer(ctx context.Context) bool {
	n := noteOf(ctx)
	return n == nil || n.who.Role < Operator
}

// remark sets the target of an operation in the audit log, if the path does not name it,
// and a detail: an object that can be written as JSON, without secrets.
func remark(ctx context.Context, target string, detail any) {
	if n := noteOf(ctx); n != nil {
		n.target, n.detail = target, detail
	}
}

// unaudited keeps a call out of the audit log that changes no setting and is frequent, such as a
// pull.
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

// record writes a change into the audit log, also one that failed or was not allowed. Requests of
// unknown callers are not recorded.
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
		Action: n.action, Target: excerpt.Prefix(n.target, 1024), Status: status,
	}
	if n.detail != nil {
		if text, err := json.Marshal(n.detail); err == nil {
			e.Detail = text
		}
	}
	s.o.Guard.Note(r.Context(), e)
}

type auditInput struct {
	wire.Page
	wire.AuditQuery
}

func (s *server) listAudit(ctx context.Context, in *auditInput) (none wire.List[wire.AuditEntry], err error) {
	g, err := s.accessGuard()
	if err != nil {
		return none, err
	}
	page, err := g.Audit(ctx, in.Filter(in.After()))
	return wire.NewList(page, wire.NewAuditEntry), err
}
