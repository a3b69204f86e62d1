package ui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"gaff/internal/access"
)

// SSO logs users in at an identity provider. See sso.Provider.
type SSO interface {
	Begin(ctx context.Context, next string) (address, cookie string, err error)
	Finish(ctx context.Context, cookie string, query url.Values) (u access.SSOUser, next string, err error)
	LogoutURL(ctx context.Context, idToken string) string
}

// ssoAge is how long a login at the identity provider may take.
const ssoAge = 10 * time.Minute

// ssoCookie returns the cookie that binds a login to the browser that began it. An empty value
// removes it. The provider's redirect is a navigation from another site, with which browsers send
// lax cookies.
func ssoCookie(r *http.Request, value string) *http.Cookie {
	cookie := &http.Cookie{
		Name: access.SessionCookie(r) + "_oidc", Value: value, Path: "/", MaxAge: int(ssoAge.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: access.OverTLS(r),
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	return cookie
}

// beginSSO sends the browser to the identity provider.
func (c *console) beginSSO(w http.ResponseWriter, r *http.Request) {
	if c.o.SSO == nil {
		c.renderLogin(w, r, http.StatusNotFound, c.loginView(r, "This gateway has no identity provider (GAFF_OIDC_ISSUER)."))
		return
	}
	if !c.o.Guard.AllowSSO(r) {
		c.entered(w, r, access.Session{}, "", access.ErrTooMany, "")
		return
	}
	address, cookie, err := c.o.SSO.Begin(r.Context(), localPath(r.FormValue("next")))
	if err != nil {
		c.ssoFailed(w, r, err)
		return
	}
	http.SetCookie(w, ssoCookie(r, cookie))
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// finishSSO opens a session for a browser that the identity provider sent back.
func (c *console) finishSSO(w http.ResponseWriter, r *http.Request) {
	if c.o.SSO == nil {
		c.beginSSO(w, r)
		return
	}
	if !c.o.Guard.AllowSSO(r) {
		c.entered(w, r, access.Session{}, "", access.ErrTooMany, "")
		return
	}
	var value string
	if cookie, err := r.Cookie(ssoCookie(r, "").Name); err == nil {
		value = cookie.Value
	}
	user, next, err := c.o.SSO.Finish(r.Context(), value, r.URL.Query())
	if err != nil {
		c.ssoFailed(w, r, err)
		return
	}
	http.SetCookie(w, ssoCookie(r, "")) // it is for one login
	s, secret, err := c.o.Guard.LoginSSO(r, user)
	switch {
	case errors.Is(err, access.ErrNoRole):
		c.renderLogin(w, r, http.StatusForbidden, c.loginView(r, "The identity provider knows you as "+visible(clip(user.Name, 80))+
			", but none of your groups has a role in gaff. Ask an administrator of this gateway (GAFF_OIDC_ROLES)."))
	case err != nil:
		c.ssoFailed(w, r, err)
	default:
		setSession(w, r, s, secret)
		http.Redirect(w, r, localPath(next), http.StatusSeeOther)
	}
}

// ssoFailed shows why a login at the identity provider failed, with the ways to log in.
func (c *console) ssoFailed(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*access.SSOError](err); ok {
		c.o.Guard.FailedSSO(r, e)
		c.renderLogin(w, r, http.StatusForbidden, c.loginView(r, "The login at the identity provider failed: "+visible(e.Why)+". Log in again."))
		return
	}
	c.o.Log.Warn("login at the identity provider", "error", err)
	text := "The identity provider does not answer. Retry in a moment."
	if c.o.Guard.TokenLogin() {
		text = "The identity provider does not answer. Retry in a moment, or log in with a token."
	}
	w.Header().Set("Retry-After", "10")
	c.renderLogin(w, r, http.StatusServiceUnavailable, c.loginView(r, text))
}
