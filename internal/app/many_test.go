package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff"
	"gaff/internal/config"
)

// manySources is a gateway with n sources of different presets besides "one".
func manySources(t testing.TB, n int) *limiter {
	t.Helper()
	cfg := configured("one", config.Source{Preset: "github", Secrets: []config.Secret{"k"}})
	for i := range n {
		cfg.Sources[fmt.Sprintf("s%d", i)] = config.Source{Preset: []string{"stripe", "github", "dropbox", "shopify"}[i%4], Secrets: []config.Secret{"k"}}
	}
	return newLimiter(t, cfg)
}

// What a request costs does not grow with the number of sources that it is not for.
func TestAllocationsWithManySources(t *testing.T) {
	measure := func(n int) float64 {
		h := manySources(t, n).IngestHandler()
		return testing.AllocsPerRun(200, func() {
			r := httptest.NewRequest(http.MethodGet, gaff.PathPrefix+"one", nil) // refused before anything is kept
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	if few, many := measure(1), measure(1000); many > few+5 {
		t.Errorf("%v allocations with one more source, %v with a thousand", few, many)
	}
}

func BenchmarkManySources(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := manySources(b, n)
			body := `{"a":"` + strings.Repeat("x", 1000) + `"}`
			sig := "sha256=" + hexHMAC("k", body)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				rec := g.do(http.MethodPost, gaff.PathPrefix+"one", []byte(body), [][2]string{{"X-Hub-Signature-256", sig}, {"X-GitHub-Delivery", fmt.Sprint(i)}})
				if rec.Code != http.StatusOK {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}
