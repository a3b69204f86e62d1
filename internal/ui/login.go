package ui

import (
	"errors"
	"net/http"
	"strings"

	"gaff"
	"gaff/internal/access"
)

func (c *console) loginPage(w http.ResponseWriter, r *http.Request) {
	c.renderLogin(w, r, http.StatusOK, c.loginView(r, ""))
}

func (c *console) loginView(r *http.Request, fault string) loginView {
	return loginView{
		Next: localPath(r.FormValue("next")), Fault: fault, Name: clip(r.PostFormValue("name"), 80), Theme: themeOf(r),
		CSS: c.assets.url("app.css"), JS: c.assets.url("login.js"), Icon: c.assets.url("icon.svg"), SSO: c.o.SSO != nil, Tokens: c.o.Guard.TokenLogin(),
	}
}

func (c *console) renderLogin(w http.ResponseWriter, r *http.Request, status int, v loginView) {
	var b strings.Builder
	if err := loginPage(v).Render(r.Context(), &b); err != nil {
		c.o.Log.Error("login page", "error", err)
	}
	c.html(w, r, status, []byte(b.String()))
}

func (c *console) login(w http.ResponseWriter, r *http.Request) {
	s, secret, err := c.o.Guard.Login(r, r.PostFormValue("token"), r.PostFormValue("name"))
	c.entered(w, r, s, secret, err, "This token is not known, or was revoked or has expired.")
}

const linkGone = "This link was used before or has expired. Log in with a token, or create a new link: gaff keys link."

// linkPage asks whether to log in with a one-time link. Opening the link changes nothing: mail
// scanners and previews open links, and a page of another site could open one to log a browser
// in as another user.
func (c *console) linkPage(w http.ResponseWriter, r *http.Request) {
	link, err := c.o.Guard.Link(r.Context(), r.PathValue("code"))
	if err != nil {
		if errors.Is(err, gaff.ErrNotFound) {
			err = access.ErrDenied
		}
		c.entered(w, r, access.Session{}, "", err, linkGone)
		return
	}
	v := c.loginView(r, "")
	v.Code, v.Who, v.Role = r.PathValue("code"), link.Name, link.Role.String()
	c.renderLogin(w, r, http.StatusOK, v)
}

// loginByLink logs in with a one-time link, which it consumes.
func (c *console) loginByLink(w http.ResponseWriter, r *http.Request) {
	s, secret, err := c.o.Guard.LoginByLink(r, r.PathValue("code"))
	c.entered(w, r, s, secret, err, linkGone)
}

// entered sets the cookie of a session that was opened, or shows why none was.
func (c *console) entered(w http.ResponseWriter, r *http.Request, s access.Session, secret string, err error, refused string) {
	switch {
	case err == nil:
		setSession(w, r, s, secret)
		http.Redirect(w, r, localPath(r.FormValue("next")), http.StatusSeeOther)
	case errors.Is(err, access.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		c.renderLogin(w, r, http.StatusTooManyRequests, c.loginView(r, "Too many logins from your address failed. Wait a minute, then log in again."))
	case errors.Is(err, access.ErrDenied):
		c.renderLogin(w, r, http.StatusUnauthorized, c.loginView(r, refused))
	case errors.Is(err, gaff.ErrInvalid):
		c.renderLogin(w, r, http.StatusForbidden, c.loginView(r, visible(err.Error())))
	default:
		c.o.Log.Warn("login", "error", err)
		c.renderLogin(w, r, http.StatusServiceUnavailable, c.loginView(r, visible(err.Error())))
	}
}

func setSession(w http.ResponseWriter, r *http.Request, s access.Session, secret string) {
	http.SetCookie(w, &http.Cookie{
		Name: access.SessionCookie(r), Value: secret, Path: "/", MaxAge: int(s.ExpiresAt.Sub(s.CreatedAt).Seconds()), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: access.OverTLS(r),
	})
}

// logout ends the session, and then that of the identity provider if it opened this one.
func (c *console) logout(w http.ResponseWriter, r *http.Request) {
	var provider string
	who, ok := c.o.Guard.AuthorizeScoped(r)
	if ok && who.Via == access.ViaSession {
		if c.o.SSO != nil && who.Subject != "" {
			provider = c.o.SSO.LogoutURL(r.Context(), c.o.Guard.IDToken(r))
		}
		if err := c.o.Guard.EndSession(r.Context(), who.ID); err != nil {
			c.o.Log.Warn("logout", "error", err)
		} else {
			c.o.Guard.Note(r.Context(), access.Entry{
				Actor: who.Name, KeyID: who.KeyID, As: who.As, Role: who.Role, Via: who.Via, ViaID: who.ID, Address: c.o.Guard.Address(r),
				Action: "logout", Target: who.ID, Status: http.StatusOK,
			})
		}
	}
	http.SetCookie(w, &http.Cookie{Name: access.SessionCookie(r), Path: "/", MaxAge: -1, HttpOnly: true, Secure: access.OverTLS(r)})
	if provider != "" {
		// A redirect would be one of a form to another host, which the policy forbids.
		v := c.loginView(r, "")
		v.Leave = provider
		c.renderLogin(w, r, http.StatusOK, v)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// theme switches from the system setting to light, to dark, and back.
func (c *console) theme(w http.ResponseWriter, r *http.Request) {
	next := map[string]string{"": "light", "light": "dark", "dark": ""}[themeOf(r)]
	cookie := &http.Cookie{Name: themeCookie, Value: next, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if next == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, backTo(r), http.StatusSeeOther)
}
