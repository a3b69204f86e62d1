//go:build acceptance

package e2e

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gaff/internal/browsertest"
	"gaff/internal/eventually"
	"gaff/internal/sso"
)

// startProvider starts oidc-provider, which is certified by the OpenID Foundation, and returns its URL.
func startProvider(t *testing.T, gateway string) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("node", "identity-provider.mjs", port, gateway+sso.CallbackPath, gateway+sso.LogoutPath)
	cmd.Dir = filepath.Join("..", "..", "tools", "js")
	var log logBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	issuer := "http://" + addr
	eventually.True(t, "the identity provider answers", func() bool {
		res, err := http.Get(issuer + "/.well-known/openid-configuration")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return issuer
}

// tab is a window of a real browser, which reaches this machine only.
type tab struct {
	*testing.T
	ctx context.Context
}

func openBrowser(t *testing.T) *tab {
	t.Helper()
	ctx, stop, err := browsertest.Start(chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &tab{t, ctx}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	for _, action := range actions {
		ctx, cancel := context.WithTimeout(b.ctx, eventually.Limit)
		err := chromedp.Do(ctx, action)
		cancel()
		if err != nil {
			b.Fatalf("%v; the page is:\n%s", err, b.text())
		}
	}
}

func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// shows waits for a text on the page.
func (b *tab) shows(text string) {
	b.Helper()
	deadline := time.Now().Add(eventually.Limit)
	for !strings.Contains(b.text(), text) {
		if time.Now().After(deadline) {
			b.Fatalf("the page does not show %q:\n%s", text, b.text())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// login logs in at the provider under a name.
func (b *tab) login(gateway, name string) {
	b.Helper()
	b.run(
		chromedp.Navigate(gateway+"/audit"), chromedp.WaitVisible(chromedp.CSS("#sso")), chromedp.Click(chromedp.CSS("#sso")),
		chromedp.WaitVisible(chromedp.CSS(`input[name=login]`)), chromedp.SendKeys(chromedp.CSS(`input[name=login]`), name),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), "any"), chromedp.Click(chromedp.CSS(`button[type=submit]`)),
	)
	b.shows("Authorize")
	b.run(chromedp.Click(chromedp.CSS(`button[type=submit]`)))
}

// A person logs in at a real provider with a real browser: the group's role, the session's end, the
// logout at both, and a user without a role.
func TestAcceptanceSSO(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + addr
	dir := t.TempDir()
	env := environment(dir, addr, "WEBHOOK_BASE_URL="+url, "GAFF_OIDC_ISSUER="+startProvider(t, url), "GAFF_OIDC_CLIENT_ID=gaff",
		"GAFF_OIDC_CLIENT_SECRET=a-client-secret-of-tests", "GAFF_OIDC_SCOPES=openid,email,groups", "GAFF_OIDC_ROLES=admins=admin,studio=operator:film",
		"GAFF_ALLOW_ADDRESSES=127.0.0.0/8")
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { g.kill() }()

	admin := openBrowser(t)
	admin.login(url, "admins-anna")
	admin.shows("admins-anna@studio.example")
	admin.run(chromedp.Navigate(url + "/keys"))
	admin.shows("admins-anna@studio.example")

	guest := openBrowser(t)
	guest.login(url, "guests-gus")
	guest.shows("none of your groups has a role")
	guest.run(chromedp.Navigate(url + "/jobs"))
	guest.shows("Log in with single sign-on")

	// The session ends when the settings that gave the role change.
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if g, err = serve(dir, append(env, "GAFF_OIDC_ROLES=admins=viewer", "GAFF_OIDC_SESSION_AGE=1m"), addr); err != nil {
		t.Fatal(err)
	}
	admin.run(chromedp.Navigate(url + "/keys"))
	admin.shows("Log in with single sign-on")
	// The provider's own session is still open, so it does not ask for the password again.
	admin.run(chromedp.Click(chromedp.CSS("#sso")))
	admin.shows("This needs the role admin; you are logged in as viewer.")

	// The session ends at its age.
	eventually.True(t, "the session ends", func() bool {
		time.Sleep(time.Second)
		admin.run(chromedp.Navigate(url + "/audit"))
		return strings.Contains(admin.text(), "Log in with single sign-on")
	})
	admin.run(chromedp.Click(chromedp.CSS("#sso")))
	admin.shows("admins-anna@studio.example")

	// The logout is also one at the provider, which asks for the password afterwards.
	admin.run(chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
	admin.shows("sign-out")
	admin.run(chromedp.Click(chromedp.CSS(`button[name=logout]`)))
	admin.shows("Log in with single sign-on")
	admin.login(url, "admins-anna")
	admin.shows("admins-anna@studio.example")
}
