package e2e

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"gaff/internal/sso"
	"gaff/internal/ssotest"
)

// serveSSO starts the binary with an identity provider.
func serveSSO(t *testing.T, idp *ssotest.Provider, extra ...string) *gateway {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	idp.Redirect = "http://" + addr + sso.CallbackPath
	dir := t.TempDir()
	g, err := serve(dir, environment(dir, addr, append([]string{
		"WEBHOOK_BASE_URL=http://" + addr, "GAFF_OIDC_ISSUER=" + idp.URL, "GAFF_OIDC_CLIENT_ID=" + ssotest.ClientID,
		"GAFF_OIDC_CLIENT_SECRET=" + ssotest.ClientSecret, "GAFF_OIDC_ROLES=admins=admin,studio=operator", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8",
	}, extra...)...), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)
	return g
}

// browserOf is a browser without JavaScript.
func browserOf(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 30 * time.Second}
}

// open opens a page and returns its status, path and text.
func open(t *testing.T, c *http.Client, method, address string, form url.Values) (status int, path, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Request.URL.Path, string(body)
}

func TestSSOUserGetsRoleOfGroup(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	g := serveSSO(t, idp)
	idp.User(map[string]any{"sub": "u-7", "email": "anna@studio.example", "email_verified": true, "groups": []string{"studio"}})
	c := browserOf(t)
	if _, _, text := open(t, c, "GET", g.url+"/login", nil); !strings.Contains(text, "single sign-on") || !strings.Contains(text, "name=\"token\"") {
		t.Errorf("the login page does not offer both ways: %s", text)
	}
	if status, path, text := open(t, c, "GET", g.url+"/login/oidc?next=%2Faudit", nil); status != 200 || path != "/audit" || !strings.Contains(text, "anna@studio.example") {
		t.Fatalf("login: %d %s %s", status, path, text)
	}
	if status, _, text := open(t, c, "GET", g.url+"/keys", nil); status != 403 || !strings.Contains(text, "operator") {
		t.Errorf("a page for admins: %d %s", status, text)
	}
	var audit struct {
		Docs []struct {
			Actor, Action, Via, Role string
			Detail                   struct{ Subject string }
		}
	}
	if err := g.get("/api/v1/audit?action=login", &audit); err != nil {
		t.Fatal(err)
	}
	if len(audit.Docs) != 1 || audit.Docs[0].Actor != "anna@studio.example" || audit.Docs[0].Role != "operator" || audit.Docs[0].Detail.Subject != "u-7" {
		t.Errorf("audit log: %+v", audit.Docs)
	}
	_, _, text := open(t, c, "POST", g.url+"/logout", nil)
	if !strings.Contains(text, idp.URL+"/logout?") || !strings.Contains(text, "id_token_hint") {
		t.Errorf("the logout does not lead to the provider: %s", text)
	}
	if _, path, _ := open(t, c, "GET", g.url+"/audit", nil); path != "/login" {
		t.Errorf("after the logout: %s", path)
	}
}

func TestSSOUserWithoutRoleIsRefused(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	g := serveSSO(t, idp)
	idp.User(map[string]any{"sub": "guest", "groups": []string{"guests"}})
	c := browserOf(t)
	if status, _, text := open(t, c, "GET", g.url+"/login/oidc", nil); status != 403 || !strings.Contains(text, "none of your groups") || !strings.Contains(text, "oidc:guest") {
		t.Errorf("%d %s", status, text)
	}
	if _, path, _ := open(t, c, "GET", g.url+"/", nil); path != "/login" {
		t.Errorf("the console opened %s", path)
	}
	metrics := browserOf(t)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", g.url+"/metrics", nil)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := metrics.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); !strings.Contains(string(text), `kind="oidc"} 1`) {
		t.Error("the refused login is not counted")
	}
}

func TestSSOProviderDownLeavesTokenLogin(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	idp.Down(true)
	g := serveSSO(t, idp)
	c := browserOf(t)
	if status, _, text := open(t, c, "GET", g.url+"/login/oidc", nil); status != 503 || !strings.Contains(text, "does not answer") || !strings.Contains(text, "name=\"token\"") {
		t.Errorf("%d %s", status, text)
	}
	if status, path, _ := open(t, c, "POST", g.url+"/login", url.Values{"token": {adminToken}}); status != 200 || path != "/" {
		t.Errorf("login with a token: %d %s", status, path)
	}
}

func TestTokenLoginCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	g := serveSSO(t, idp, "GAFF_TOKEN_LOGIN=false")
	c := browserOf(t)
	if status, _, text := open(t, c, "GET", g.url+"/login", nil); status != 200 || strings.Contains(text, "name=\"token\"") {
		t.Errorf("the login page asks for a token: %d %s", status, text)
	}
	if status, path, text := open(t, c, "POST", g.url+"/login", url.Values{"token": {adminToken}}); status != 403 || path != "/login" || !strings.Contains(text, "GAFF_TOKEN_LOGIN") {
		t.Errorf("login with a token: %d %s %s", status, path, text)
	}
	if out, err := g.gaff("keys", "link"); err == nil {
		t.Errorf("a login link was made: %s", out)
	}
	if strings.Contains(g.log.String(), "This link logs you in") {
		t.Error("a login link was printed at start")
	}
	idp.User(map[string]any{"sub": "u", "groups": []string{"admins"}})
	if status, path, _ := open(t, c, "GET", g.url+"/login/oidc?next=%2Fkeys", nil); status != 200 || path != "/keys" {
		t.Errorf("login at the provider: %d %s", status, path)
	}
}
