package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/excerpt"
	"gaff/internal/wire"
)

// note collects the audit log entry of a request: who changed what.
type note struct {
	who            Identity
	action, target string
	// reads is the operation if it shows a payload or a secret.
	reads  string
	detail any
	w      http.ResponseWriter
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

// record writes a change into the audit log, also one that failed or was not allowed, and a read of
// a payload or secret. Requests of unknown callers are not recorded.
func (s *server) record(r *http.Request, n *note, status int) {
	if s.o.Guard == nil || n.who.Role == NoRole {
		return
	}
	read := n.action == "" || r.Method == http.MethodGet || r.Method == http.MethodHead
	if read && (n.reads == "" || status >= http.StatusBadRequest) {
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
	if read {
		e.Action = n.reads
		s.o.Guard.NoteRead(r.Context(), e)
		return
	}
	if n.detail != nil {
		if text, err := json.Marshal(n.detail); err == nil {
			e.Detail = text
		}
	}
	s.o.Guard.Note(r.Context(), e)
}

// sensitive are the operations whose answers have payloads, files or secrets. The audit log has who
// used them.
var sensitive = map[string]bool{
	"get-event": true, "get-event-body": true, "get-event-test": true, "get-delivery": true, "list-webhook-logs": true, "get-webhook-log": true, "get-rejection": true,
	"get-job": true, "list-jobs": true, "get-run": true, "get-run-step": true, "get-media-file": true, "stream-changes": true,
	"get-scheduled-event": true, "list-scheduled-events": true, "pull": true, "stream-pulled": true, "listen": true, "list-callback-secrets": true, "get-source-key": true, "export-audit": true,
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
	f, err := in.Filter(in.After())
	if err != nil {
		return none, err
	}
	page, err := g.Audit(ctx, f)
	return wire.NewList(page, wire.NewAuditEntry), err
}

// exportPage is how many entries are read at once.
const exportPage = 500

func describeExport(_ huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: "string"}
	op.Description += " JSON Lines: one AuditEntry a line, newest first, until the oldest or since."
	op.Parameters = []*huma.Param{
		queryParam("since", "Only entries at or after: a time, or a duration ago such as 7d.", text),
		queryParam("until", "Only entries before; written like since.", text),
		queryParam("actor", "Only by this person or key.", text),
		queryParam("action", "Only this operation.", text),
		queryParam("target", "Only on this id or name.", text),
	}
	op.Responses = map[string]*huma.Response{"200": response("The entries", "application/jsonl", text)}
	op.Errors = append(op.Errors, http.StatusBadRequest)
}

// exportAudit sends the audit log as JSON Lines.
func (s *server) exportAudit(w http.ResponseWriter, r *http.Request) {
	g, err := s.accessGuard()
	if err != nil {
		s.reject(w, r, err)
		return
	}
	q := r.URL.Query()
	known := []string{"since", "until", "actor", "action", "target"}
	for name := range q {
		if !slices.Contains(known, name) {
			s.reject(w, r, wire.Invalid(fmt.Sprintf("unknown parameter %.60q: want %s", name, strings.Join(known, ", "))))
			return
		}
	}
	f, err := wire.AuditQuery{
		Actor: q.Get("actor"), Action: q.Get("action"), Target: q.Get("target"), Since: q.Get("since"), Until: q.Get("until"),
	}.Filter(gaff.Cursor{Limit: exportPage})
	if err != nil {
		s.reject(w, r, err)
		return
	}
	page, err := g.Audit(r.Context(), f)
	if err != nil {
		s.reject(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	rc := http.NewResponseController(w)
	for {
		_ = rc.SetWriteDeadline(time.Now().Add(streamWrite)) // a recorder in a test has none
		for _, e := range page.Items {
			if err := wire.Write(w, wire.NewAuditEntry(e)); err != nil {
				return
			}
		}
		if page.Next == "" {
			return
		}
		f.After = page.Next
		if page, err = g.Audit(r.Context(), f); err != nil {
			s.o.Log.Warn("export of the audit log interrupted", "error", err)
			panic(http.ErrAbortHandler) // so that it does not look complete
		}
	}
}
