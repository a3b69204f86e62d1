package sso_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/sso"
	"gaff/internal/ssotest"
)

const base = "https://gaff.example"

func newProvider(t *testing.T, idp *ssotest.Provider, roles ...string) *sso.Provider {
	t.Helper()
	mappings, err := sso.ParseMappings(roles)
	if err != nil {
		t.Fatal(err)
	}
	return sso.New(sso.Options{
		Issuer: idp.URL, ClientID: ssotest.ClientID, ClientSecret: ssotest.ClientSecret, Scopes: []string{"openid", "email"}, GroupsClaim: "groups",
		Roles: mappings, BaseURL: base, Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler),
	})
}

// authorized begins a login and returns its cookie, and the query of the provider's redirect.
func authorized(t *testing.T, p *sso.Provider) (cookie string, query url.Values) {
	t.Helper()
	address, cookie, err := p.Begin(t.Context(), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	if got := back.Scheme + "://" + back.Host + back.Path; got != base+sso.CallbackPath {
		t.Fatalf("redirect to %s, want %s", got, base+sso.CallbackPath)
	}
	return cookie, back.Query()
}

func login(t *testing.T, p *sso.Provider) (access.SSOUser, error) {
	t.Helper()
	cookie, query := authorized(t, p)
	u, next, err := p.Finish(t.Context(), cookie, query)
	if err == nil && next != "/jobs" {
		t.Errorf("next is %q", next)
	}
	return u, err
}

func TestLoginReturnsUserWithRoleOfGroup(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "admins=admin", "cn=studio,ou=x=operator:film", "*=viewer")
	for name, c := range map[string]struct {
		claims map[string]any
		user   string
		role   access.Role
		scope  access.Scope
	}{
		"email":            {map[string]any{"sub": "u1", "email": "a@b.example", "email_verified": true, "groups": []string{"x", "admins"}}, "a@b.example", access.Admin, access.Scope{}},
		"unverified email": {map[string]any{"sub": "u1", "email": "a@b.example", "email_verified": false, "groups": "admins"}, "oidc:u1", access.Admin, access.Scope{}},
		"project":          {map[string]any{"sub": "u1", "groups": []string{"cn=studio,ou=x"}}, "oidc:u1", access.Operator, access.Scope{Project: "film"}},
		"any user":         {map[string]any{"sub": "admin", "groups": []any{1, nil}}, "oidc:admin", access.Viewer, access.Scope{}},
	} {
		idp.User(c.claims)
		u, err := login(t, p)
		if err != nil || u.Name != c.user || u.Role != c.role || u.Scope.String() != c.scope.String() || u.Subject != c.claims["sub"] {
			t.Errorf("%s: %+v %v", name, u, err)
		}
	}
}

func TestLoginWithoutMatchingGroupHasNoRole(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "admins=admin")
	for _, groups := range []any{[]string{"Admins", "*"}, "*", map[string]any{"admins": true}, nil} {
		idp.User(map[string]any{"sub": "u", "groups": groups})
		if u, err := login(t, p); err != nil || u.Role != access.NoRole {
			t.Errorf("%v: %+v %v", groups, u, err)
		}
	}
}

func TestGroupsComeFromUserInfoIfIDTokenHasNone(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "admins=admin")
	idp.User(map[string]any{"sub": "u"})
	idp.Info(map[string]any{"sub": "u", "groups": []string{"admins"}})
	if u, err := login(t, p); err != nil || u.Role != access.Admin {
		t.Errorf("%+v %v", u, err)
	}
	idp.Info(map[string]any{"sub": "another", "groups": []string{"admins"}})
	if u, err := login(t, p); !errors.Is(err, access.ErrDenied) {
		t.Errorf("user information of another user: %+v %v", u, err)
	}
}

func TestGroupsClaimMayBeAPointer(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	idp.User(map[string]any{"sub": "u", "realm_access": map[string]any{"roles": []string{"admins"}}})
	mappings, _ := sso.ParseMappings([]string{"admins=admin"})
	p := sso.New(sso.Options{
		Issuer: idp.URL, ClientID: ssotest.ClientID, ClientSecret: ssotest.ClientSecret, GroupsClaim: "/realm_access/roles",
		Roles: mappings, BaseURL: base, Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler),
	})
	if u, err := login(t, p); err != nil || u.Role != access.Admin {
		t.Errorf("%+v %v", u, err)
	}
}

func TestForgedIDTokensAreRejected(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "*=admin")
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	idp.User(map[string]any{"sub": "u"})
	if _, err := login(t, p); err != nil {
		t.Fatalf("a good token: %v", err)
	}
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	for name, c := range map[string]struct {
		alter func(map[string]any)
		sign  *jose.SigningKey
	}{
		"another issuer":         {alter: set("iss", "https://evil.example")},
		"another audience":       {alter: set("aud", "other")},
		"another party":          {alter: set("azp", "other")},
		"several audiences":      {alter: set("aud", []string{ssotest.ClientID, "other"})},
		"expired":                {alter: set("exp", time.Now().Add(-time.Second).Unix())},
		"no expiry":              {alter: func(c map[string]any) { delete(c, "exp") }},
		"not valid yet":          {alter: set("nbf", time.Now().Add(time.Hour).Unix())},
		"another nonce":          {alter: set("nonce", "x")},
		"no nonce":               {alter: func(c map[string]any) { delete(c, "nonce") }},
		"no subject":             {alter: set("sub", "")},
		"subject with a line":    {alter: set("sub", "a\nb")},
		"long subject":           {alter: set("sub", strings.Repeat("x", 256))},
		"signed by another":      {sign: &jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: foreign, KeyID: "one"}}},
		"signed with the secret": {sign: &jose.SigningKey{Algorithm: jose.HS256, Key: []byte(ssotest.ClientSecret + "................")}},
	} {
		idp.Alter(c.alter)
		idp.Sign(c.sign)
		if u, err := login(t, p); !errors.Is(err, access.ErrDenied) {
			t.Errorf("%s: %+v %v", name, u, err)
		}
	}
}

func TestLoginIsBoundToBrowserAndState(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "*=admin")
	cookie, query := authorized(t, p)
	otherCookie, _ := authorized(t, p)
	with := func(name, value string) url.Values {
		q := url.Values{"code": query["code"], "state": query["state"], "iss": query["iss"]}
		q.Set(name, value)
		return q
	}
	for name, c := range map[string]struct {
		cookie string
		query  url.Values
	}{
		"no cookie":        {"", query},
		"broken cookie":    {"e30", query},
		"another browser":  {otherCookie, query},
		"another state":    {cookie, with("state", "x")},
		"no state":         {cookie, with("state", "")},
		"another provider": {cookie, with("iss", "https://evil.example")},
		"an error":         {cookie, with("error", "access_denied")},
	} {
		_, _, err := p.Finish(t.Context(), c.cookie, c.query)
		if e, ok := errors.AsType[*access.SSOError](err); !ok || e.Asked {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := p.Finish(t.Context(), cookie, query); err != nil {
		t.Errorf("the right browser: %v", err)
	}
	if _, _, err := p.Finish(t.Context(), cookie, query); !errors.Is(err, access.ErrDenied) {
		t.Errorf("the same code twice: %v", err)
	}
}

func TestCodeOfAnotherLoginIsRejected(t *testing.T) {
	t.Parallel()
	p := newProvider(t, ssotest.New(t), "*=admin")
	_, stolen := authorized(t, p)
	cookie, query := authorized(t, p)
	query.Set("code", stolen.Get("code"))
	_, _, err := p.Finish(t.Context(), cookie, query)
	if e, ok := errors.AsType[*access.SSOError](err); !ok || !e.Asked {
		t.Errorf("%v, want PKCE to reject it at the provider", err)
	}
}

func TestProviderThatIsDownIsUnavailable(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "*=admin")
	idp.Down(true)
	if _, _, err := p.Begin(t.Context(), "/"); !errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("begin: %v", err)
	}
	late := newProvider(t, ssotest.New(t), "*=admin")
	if _, _, err := late.Begin(t.Context(), "/"); err != nil {
		t.Errorf("another one: %v", err)
	}
}

func TestProviderThatGoesDownDuringLoginIsUnavailable(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "*=admin")
	cookie, query := authorized(t, p)
	idp.Down(true)
	if _, _, err := p.Finish(t.Context(), cookie, query); !errors.Is(err, gaff.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestLogoutURLNamesClientAndToken(t *testing.T) {
	t.Parallel()
	idp := ssotest.New(t)
	p := newProvider(t, idp, "*=admin")
	u, err := url.Parse(p.LogoutURL(t.Context(), "a.b.c"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"tenant": {"1"}, "client_id": {ssotest.ClientID}, "id_token_hint": {"a.b.c"}, "post_logout_redirect_uri": {base + "/login"}}
	if u.Path != "/logout" || u.RawQuery != want.Encode() {
		t.Errorf("%s, want %s", u, want.Encode())
	}
}

func TestMappingsAreChecked(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"a=admin": true, "cn=x,dc=y=viewer": true, "a=operator:film": true, "*=viewer": true, " a = viewer ": true,
		"a": false, "=admin": false, "a=root": false, "a=": false, "a=none": false, "a=viewer:": false, "": false,
	} {
		if _, err := sso.ParseMapping(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := sso.ParseMappings([]string{"*=viewer", "a=admin"}); err == nil {
		t.Error("a role after that of every user has no effect, and was accepted")
	}
}
