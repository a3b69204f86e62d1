package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/config"
)

func TestProfilesAreOffByDefault(t *testing.T) {
	t.Parallel()
	p := &process{cfg: config.Default(), log: slog.New(slog.DiscardHandler)}
	if err := p.listenProfiles(t.Context()); err != nil || p.profiles != nil {
		t.Errorf("listener %v, error %v", p.profiles, err)
	}
	if err := p.serveProfiles(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProfilesAreServedOnTheirAddressUntilTheStop(t *testing.T) {
	t.Parallel()
	p := &process{cfg: config.Default(), log: slog.New(slog.DiscardHandler)}
	p.cfg.PprofAddr = "127.0.0.1:0"
	if err := p.listenProfiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.serveProfiles(ctx) }()
	resp, err := http.Get("http://" + p.profiles.Addr().String() + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "goroutine profile") {
		t.Errorf("%s %.80q %v", resp.Status, body, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := p.closeProfiles(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProfilesRejectForeignHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]int{
		"127.0.0.1:6060": http.StatusOK, "localhost": http.StatusOK, "[::1]:6060": http.StatusOK,
		"evil.example:6060": http.StatusForbidden, "10.0.0.1": http.StatusForbidden, "": http.StatusForbidden,
	} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil)
		r.Host = host
		w := httptest.NewRecorder()
		profileHandler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}
