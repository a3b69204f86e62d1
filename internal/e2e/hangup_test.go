package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gaff/internal/eventually"
	"gaff/verify"
)

// Secrets are exchanged while webhooks come in, again and again, by SIGHUP: none is
// refused, for the sender's secret is among those configured at every moment.
func TestHangupLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("gaff.yaml", "sources: {shop: {preset: github, secrets: [file:first, file:second]}}\n")
	write("first", "secret-0")
	write("second", "secret-0")
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()

	var secret atomic.Pointer[string]
	use := func(s string) { secret.Store(&s) }
	use("secret-0")
	stop := make(chan struct{})
	var sent atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf(`{"id":"%d-%d"}`, w, n)
				req, err := http.NewRequest(http.MethodPost, g.url+"/api/v1/webhooks/shop", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Hub-Signature-256", "sha256="+verify.GenerateWebhookSignature([]byte(body), *secret.Load()))
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if sent.Add(1); resp.StatusCode != http.StatusOK {
					t.Errorf("webhook %d-%d: %s", w, n, resp.Status)
					return
				}
			}
		})
	}
	const rounds = 10
	for i := 1; i <= rounds; i++ {
		// The new secret is known before the sender uses it.
		write("second", fmt.Sprint("secret-", i))
		reloaded(t, g, i*2-1)
		use(fmt.Sprint("secret-", i))
		before := sent.Load()
		if err := poll(eventually.Limit, func() error {
			if sent.Load() < before+20 && !t.Failed() {
				return fmt.Errorf("%d were sent", sent.Load())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		write("first", fmt.Sprint("secret-", i))
		reloaded(t, g, i*2)
	}
	close(stop)
	wg.Wait()
	// A fault leaves all as it was.
	write("second", "")
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := poll(eventually.Limit, func() error { return logged(g, "the old one stays in force", 1) }); err != nil {
		t.Error(err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
}

// reloaded sends SIGHUP and waits until so many were heeded.
func reloaded(t *testing.T, g *gateway, n int) {
	t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := poll(eventually.Limit, func() error { return logged(g, "configuration reloaded", n) }); err != nil {
		t.Fatal(err)
	}
}

func logged(g *gateway, text string, n int) error {
	if got := strings.Count(g.log.String(), text); got < n {
		return fmt.Errorf("%q was logged %d times, not %d", text, got, n)
	}
	return nil
}
