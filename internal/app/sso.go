package app

import (
	"cmp"

	"gaff/internal/config"
	"gaff/internal/safehttp"
	"gaff/internal/sso"
)

// ssoOptions returns the identity provider of the settings, without what only a running gateway has.
func ssoOptions(login config.Login) sso.Options {
	return sso.Options{
		Issuer: login.OIDCIssuer, ClientID: login.OIDCClientID, ClientSecret: string(login.OIDCClientSecret), Scopes: login.OIDCScopes,
		GroupsClaim: login.OIDCGroupsClaim, Roles: login.Mappings(),
	}
}

// identityProvider returns the provider that people log in to the console at.
func (p *process) identityProvider() *sso.Provider {
	o := ssoOptions(p.cfg.Login)
	o.BaseURL, o.Log = p.consoleBase(), p.log
	o.Client = safehttp.New(safehttp.Options{Allow: prefixes(p.cfg.AllowAddresses), PerHost: 8})
	provider := sso.New(o)
	p.log.Info("people log in to the console at an identity provider", "issuer", o.Issuer, "redirect_url", o.BaseURL+sso.CallbackPath)
	return provider
}

// consoleBase returns the public URL of the console.
func (p *process) consoleBase() string {
	base := p.cfg.BaseURL
	if p.separate() {
		base = "" // that of the receiving paths
	}
	return cmp.Or(p.cfg.Login.ConsoleURL, base, p.console.url)
}
