package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
)

// twoNodes starts two gateways on one PostgreSQL database.
func twoNodes(t *testing.T) (a, b *gateway) {
	t.Helper()
	database := pgtest.URL(t)
	var nodes [2]*gateway
	for i := range nodes {
		dir := t.TempDir()
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if nodes[i], err = serve(dir, environment(dir, addr, "GAFF_LOG_LEVEL=error", "GAFF_DATABASE_URL="+database), addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nodes[i].kill)
	}
	return nodes[0], nodes[1]
}

// A change of a source by the API of one node is in force on the other within about a second.
func TestNodesFollowSources(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	answered := func(g *gateway, token, id string) int {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+"/api/v1/webhooks/app", strings.NewReader(`{"id":"`+id+`","type":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Sig", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	// follows waits until a node answers a request as the other one does since the change.
	follows := func(what string, g *gateway, token string, want int) {
		t.Helper()
		began := time.Now()
		eventually.True(t, what, func() bool { return answered(g, token, what) == want })
		t.Logf("%s: after %s", what, time.Since(began).Round(10*time.Millisecond))
	}
	if got := answered(b, "one", "before"); got != http.StatusNotFound {
		t.Fatalf("before it is created: %d", got)
	}
	a.call(t, "POST", "/api/v1/sources", `{"name":"app","secrets":["one"],"verify":{"kind":"token","token":{"in":"header","name":"X-Sig"},"id":{"in":"json","pointer":"/id"},"event_type":{"in":"json","pointer":"/type"}}}`, http.StatusCreated)
	follows("created", b, "one", http.StatusOK)
	b.call(t, "POST", "/api/v1/sources/app/rotate", `{"secret":"two","grace":"0s"}`, http.StatusOK)
	follows("rotated, the former secret", a, "one", http.StatusUnauthorized)
	follows("rotated, the new secret", a, "two", http.StatusOK)
	a.call(t, "POST", "/api/v1/sources/app/pause", `{"reason":"maintenance"}`, http.StatusOK)
	follows("paused", b, "two", http.StatusServiceUnavailable)
	b.call(t, "POST", "/api/v1/sources/app/resume", "", http.StatusOK)
	follows("resumed", a, "two", http.StatusOK)
	a.call(t, "PATCH", "/api/v1/sources/app", `{"schemas":{"*":{"required":["amount"]}},"onViolation":"refuse"}`, http.StatusOK)
	follows("with a schema", b, "two", http.StatusUnprocessableEntity)
	b.call(t, "DELETE", "/api/v1/sources/app", "", http.StatusOK, http.StatusNoContent)
	follows("deleted", a, "two", http.StatusNotFound)
}
