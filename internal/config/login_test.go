package config

import (
	"strings"
	"testing"
	"time"
)

func TestLoginSettings(t *testing.T) {
	t.Parallel()
	complete := Login{
		TokenLogin: true, SessionAge: time.Hour, SessionIdle: time.Hour, OIDCSessionAge: time.Hour,
		OIDCIssuer: "https://id.example", OIDCClientID: "gaff", OIDCRoles: []string{"a=admin"}, OIDCGroupsClaim: "groups", OIDCScopes: []string{"openid"},
	}
	for name, c := range map[string]struct {
		change func(*Login)
		fault  string // empty: no fault
	}{
		"complete":               {func(*Login) {}, ""},
		"without token login":    {func(l *Login) { l.TokenLogin = false }, ""},
		"no way in":              {func(l *Login) { l.OIDCIssuer, l.TokenLogin = "", false }, "GAFF_TOKEN_LOGIN"},
		"no client":              {func(l *Login) { l.OIDCClientID = "" }, "GAFF_OIDC_CLIENT_ID"},
		"no roles":               {func(l *Login) { l.OIDCRoles = nil }, "GAFF_OIDC_ROLES"},
		"an unknown role":        {func(l *Login) { l.OIDCRoles = []string{"a=root"} }, "unknown role"},
		"a role without effect":  {func(l *Login) { l.OIDCRoles = []string{"*=viewer", "a=admin"} }, "no effect"},
		"an issuer with a query": {func(l *Login) { l.OIDCIssuer += "?x=1" }, "GAFF_OIDC_ISSUER"},
		"a short session":        {func(l *Login) { l.SessionIdle = time.Minute }, "GAFF_SESSION_IDLE"},
		"a bad pointer":          {func(l *Login) { l.OIDCGroupsClaim = "/a~" }, "GAFF_OIDC_GROUPS_CLAIM"},
		"scopes with a space":    {func(l *Login) { l.OIDCScopes = []string{"openid email"} }, "GAFF_OIDC_SCOPES"},
	} {
		cfg := Default()
		cfg.Login = complete
		c.change(&cfg.Login)
		err := cfg.Validate()
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}

func TestProviderWithoutTLSIsWarnedOf(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]int{"http://id.example": 1, "https://id.example": 0, "http://localhost:8080": 0, "http://127.0.0.1:8080": 0, "": 0} {
		cfg := Default()
		cfg.Login.OIDCIssuer = issuer
		if cfg.warnLogin(); len(cfg.Warnings) != want {
			t.Errorf("%s: %q", issuer, cfg.Warnings)
		}
	}
}
