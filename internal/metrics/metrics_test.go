package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/buildinfo"
)

func TestMetricsNameTheBuild(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	New(buildinfo.Info{Version: "v1.2.0", Commit: "c9a4632", Date: "2026-11-29T00:00:00Z"}).Handler().
		ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	want := `gaff_build_info{commit="c9a4632",date="2026-11-29T00:00:00Z",goversion="go`
	if !strings.Contains(rec.Body.String(), want) {
		t.Errorf("no %s in\n%s", want, rec.Body)
	}
}
