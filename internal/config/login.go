package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff/internal/jsonpointer"
	"gaff/internal/sso"
)

// Login says how people log in to the console, and for how long.
type Login struct {
	// ConsoleURL has no slash at its end.
	ConsoleURL  string        `env:"GAFF_CONSOLE_URL" help:"public base URL of the console; empty: WEBHOOK_BASE_URL, or the listen address if GAFF_ADMIN_ADDR is set"`
	TokenLogin  bool          `env:"GAFF_TOKEN_LOGIN" default:"true" help:"whether the admin token, API keys and login links open the console; false needs GAFF_OIDC_ISSUER"`
	SessionAge  time.Duration `env:"GAFF_SESSION_AGE" default:"30d" help:"how long a session of the console lasts at most"`
	SessionIdle time.Duration `env:"GAFF_SESSION_IDLE" default:"7d" help:"how long an unused session of the console lasts"`

	AuditReads bool `env:"GAFF_AUDIT_READS" default:"true" help:"whether the audit log has reads of payloads and secrets, counted by credential, operation and hour"`

	OIDCIssuer       string        `env:"GAFF_OIDC_ISSUER" help:"URL of an identity provider (OpenID Connect) that people log in to the console at; empty: none"`
	OIDCClientID     string        `env:"GAFF_OIDC_CLIENT_ID" help:"client id of gaff at the identity provider"`
	OIDCClientSecret Secret        `env:"GAFF_OIDC_CLIENT_SECRET" help:"client secret of gaff at the identity provider; empty for a public client"`
	OIDCScopes       []string      `env:"GAFF_OIDC_SCOPES" default:"openid,email,profile" help:"scopes that the identity provider is asked for, by commas"`
	OIDCGroupsClaim  string        `env:"GAFF_OIDC_GROUPS_CLAIM" default:"groups" help:"claim with the user's groups, or a JSON pointer such as /realm_access/roles"`
	OIDCRoles        []string      `env:"GAFF_OIDC_ROLES" help:"roles of groups: GROUP=ROLE or GROUP=ROLE:PROJECT, by commas; the first that matches counts, *=ROLE is for every user"`
	OIDCSessionAge   time.Duration `env:"GAFF_OIDC_SESSION_AGE" default:"12h" help:"how long a session lasts at most that the identity provider opened"`
}

// Mappings returns OIDCRoles as the type of sso.
func (l *Login) Mappings() []sso.Mapping {
	all, _ := sso.ParseMappings(l.OIDCRoles) // checked
	return all
}

// The shortest life of a session, and of an unused one, whose last use is known to the minute.
const (
	minSession = time.Minute
	minIdle    = 5 * time.Minute
)

func (l *Login) check(k *checker) {
	k.value(&l.ConsoleURL, checkBase(l.ConsoleURL))
	for _, d := range []*time.Duration{&l.SessionAge, &l.OIDCSessionAge} {
		if *d < minSession {
			k.value(d, errors.New("must be at least 1m"))
		}
	}
	if l.SessionIdle < minIdle {
		k.value(&l.SessionIdle, errors.New("must be at least 5m"))
	}
	_, err := sso.ParseMappings(l.OIDCRoles)
	k.value(&l.OIDCRoles, err)
	if l.OIDCIssuer == "" {
		if !l.TokenLogin {
			k.value(&l.TokenLogin, errors.New("needs GAFF_OIDC_ISSUER: nobody could log in to the console"))
		}
		return
	}
	k.value(&l.OIDCIssuer, checkBase(l.OIDCIssuer))
	if l.OIDCClientID == "" {
		k.value(&l.OIDCClientID, errors.New("must be set if GAFF_OIDC_ISSUER is"))
	}
	if len(l.OIDCRoles) == 0 {
		k.value(&l.OIDCRoles, errors.New("must be set if GAFF_OIDC_ISSUER is, such as admins=admin,*=viewer: without it no user has a role"))
	}
	switch {
	case l.OIDCGroupsClaim == "":
		k.value(&l.OIDCGroupsClaim, errors.New("must name a claim, such as groups"))
	case l.OIDCGroupsClaim[0] == '/':
		_, err := jsonpointer.Parse(l.OIDCGroupsClaim)
		k.value(&l.OIDCGroupsClaim, err)
	}
	if i := slices.IndexFunc(l.OIDCScopes, func(s string) bool { return strings.ContainsAny(s, " \t\"\\") }); i >= 0 {
		k.value(&l.OIDCScopes, fmt.Errorf("%.60q is not one scope; separate several by commas", l.OIDCScopes[i]))
	}
}

// warnLogin finds an identity provider whose answers can be read or forged on the way.
func (c *Config) warnLogin() {
	for _, s := range []struct{ name, value string }{{"GAFF_OIDC_ISSUER", c.Login.OIDCIssuer}, {"GAFF_CONSOLE_URL", c.Login.ConsoleURL}} {
		u, err := url.Parse(s.value)
		if err != nil || u.Scheme != "http" {
			continue
		}
		host := u.Hostname()
		if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.IsLoopback() {
			continue
		}
		c.Warnings = append(c.Warnings, s.name+": "+s.value+" is without TLS: tokens of logins can be read on the way; use https")
	}
}
