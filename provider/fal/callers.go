package fal

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"

	"gaff/internal/httpx"
	"gaff/jobs"
	"gaff/provider"
)

// exposed are the headers of an answer that pages may read.
const exposed = "x-fal-request-id, x-fal-billable-units, x-fal-error-type, x-fal-retryable, x-fal-request-timeout-type, " +
	"x-gaff-job-id, idempotency-replayed, retry-after"

// caller is who calls the proxy.
type caller struct {
	// id names the credential, or the page and its visitor.
	id string
	// page is the page's origin, if its visitor showed no token; else empty.
	page string
}

// caller says who calls, if it may. A page's visitor without a token may submit to the
// models that are named for it, and ask about what visitors of the page submitted.
func (p *Proxy) caller(r *http.Request, t *target) (caller, error) {
	id, err := p.o.Authorize(r)
	if err == nil {
		return caller{id: id}, nil
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(p.o.Origins, origin) || !t.queue || t.rewrite != "" {
		return caller{}, err
	}
	page := jobs.WithoutToken + origin + " "
	if id, _ := t.request(); id != "" {
		if by, ok := p.callerOf(r.Context(), id); !ok || !strings.HasPrefix(by, page) {
			return caller{}, err
		}
	} else if !p.open(strings.Join(t.parts, "/")) {
		return caller{}, err
	}
	return caller{id: page + p.address(r), page: origin}, nil
}

// open reports whether pages may submit to a model without a token.
func (p *Proxy) open(model string) bool {
	return slices.ContainsFunc(p.o.Models, func(pattern string) bool {
		if prefix, rest := strings.CutSuffix(pattern, "*"); rest && strings.HasPrefix(model, prefix) && !strings.ContainsAny(prefix, "*?[") {
			return true
		}
		match, err := path.Match(pattern, model)
		return err == nil && match
	})
}

func (p *Proxy) address(r *http.Request) string {
	if p.o.Address != nil {
		return p.o.Address(r)
	}
	return httpx.Peer(r)
}

// pageProject is the project of all jobs that a page's visitors submit without a token.
func pageProject(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return jobs.WithoutToken + host
}

// turnAway answers a caller that may not call.
func (p *Proxy) turnAway(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, provider.ErrNotAllowed):
		answerJSON(w, http.StatusForbidden, map[string]any{"detail": "this token may read, not submit: a token of gaff's with the role operator is needed"})
	case errors.Is(err, provider.ErrUnknownCaller):
		w.Header().Set("WWW-Authenticate", `Bearer realm="gaff"`)
		answerJSON(w, http.StatusUnauthorized, map[string]any{
			"detail": "a token of gaff's with the role operator is needed, as Authorization: Bearer … or Key …",
		})
	default:
		p.o.Log.Error("caller of the fal proxy cannot be looked up", "error", err)
		w.Header().Set("Retry-After", "5")
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"detail": "gaff cannot check the token at the moment; nothing was submitted"})
	}
}

// cors answers a browser's question whether a page of another origin may call, and lets
// the page read what it is answered. It reports whether there is no more to do.
func (p *Proxy) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(p.o.Origins, origin) {
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", exposed)
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT")
	h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
