package media

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"gaff/jobs"
)

type providerKey struct{}

// ofProvider returns a context for the requests for a file, with the provider of its job.
func ofProvider(ctx context.Context, m *jobs.Media) context.Context {
	provider, _, _ := strings.Cut(m.Position, ":")
	return context.WithValue(ctx, providerKey{}, provider)
}

// withHeaders adds the headers of a file's provider to each request. A redirect to another host is
// a request of its own, and gets the headers for that host.
type withHeaders struct {
	next    http.RoundTripper
	headers func(provider, address string) http.Header
}

func (t *withHeaders) RoundTrip(req *http.Request) (*http.Response, error) {
	provider, _ := req.Context().Value(providerKey{}).(string)
	if h := t.headers(provider, req.URL.String()); len(h) > 0 {
		req = req.Clone(req.Context())
		maps.Copy(req.Header, h)
	}
	return t.next.RoundTrip(req)
}
