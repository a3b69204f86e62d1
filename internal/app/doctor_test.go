package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gaff/internal/config"
)

// diagnosed returns the findings of Doctor with the settings of an environment, by the check.
func diagnosed(t *testing.T, environ ...string) map[string]Finding {
	t.Helper()
	cfg, err := config.Load(config.LoadOptions{Dir: t.TempDir(), Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = t.TempDir()
	byCheck := map[string]Finding{}
	for _, f := range Doctor(t.Context(), cfg) {
		byCheck[f.Check] = f
	}
	return byCheck
}

// answering serves one answer to every request.
func answering(t *testing.T, status int, body string, header ...string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestDoctorChecksThePublicURL(t *testing.T) {
	t.Parallel()
	late := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for name, c := range map[string]struct{ base, check, state, text string }{
		"unset":         {"", "public URL", FindingWarning, "is not set"},
		"unreachable":   {"http://127.0.0.1:1", "public URL", FindingFault, "refused"},
		"another page":  {answering(t, http.StatusOK, "<html>"), "public URL", FindingFault, "not gaff's answer"},
		"not passed on": {answering(t, http.StatusNotFound, ""), "public URL", FindingFault, "404"},
		"gaff":          {answering(t, http.StatusOK, `{"status":"ok"}`), "public URL", FindingOK, "answers"},
		"clock":         {answering(t, http.StatusOK, `{"status":"ok"}`, "Date", late), "clock", FindingFault, "differs by 1h0m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := diagnosed(t, "WEBHOOK_BASE_URL="+c.base)[c.check]
			if f.State != c.state || !strings.Contains(f.Text, c.text) {
				t.Errorf("%s = %s: %s; want %s with %q", c.check, f.State, f.Text, c.state, c.text)
			}
			if (f.State == FindingOK) != (f.Advice == "") {
				t.Errorf("advice %q in state %s", f.Advice, f.State)
			}
		})
	}
}

func TestDoctorChecksProviderKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		state  string
	}{
		"accepted": {http.StatusNotFound, FindingOK},
		"rejected": {http.StatusUnauthorized, FindingFault},
		"broken":   {http.StatusInternalServerError, FindingFault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := diagnosed(t, "FAL_KEY=k", "GAFF_FAL_QUEUE_URL="+answering(t, c.status, `{"detail":"x"}`))["provider fal"]
			if f.State != c.state {
				t.Errorf("state %s (%s), want %s", f.State, f.Text, c.state)
			}
		})
	}
	if f := diagnosed(t)["provider fal"]; f.State != FindingOK || !strings.Contains(f.Text, "no key") {
		t.Errorf("without a key: %+v", f)
	}
}
