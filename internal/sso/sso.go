// Package sso logs users in to the console at an identity provider, by OpenID Connect: the
// authorization code flow with PKCE, state and nonce.
package sso

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"gaff"
	"gaff/internal/access"
)

// CallbackPath is the path of the console that the provider sends browsers back to, LogoutPath the
// one after a logout at the provider.
const (
	CallbackPath = "/login/oidc/callback"
	LogoutPath   = "/login"
)

const (
	// answerTime bounds each request to the provider, answerBytes its answer.
	answerTime  = 10 * time.Second
	answerBytes = 1 << 20
	// pause is how long after a failure the provider is not asked for its configuration again.
	pause = 5 * time.Second
	// maxExchanges bounds the logins that are finished at the same time.
	maxExchanges = 16
	// maxFlow bounds the cookie of a login that was begun, in bytes.
	maxFlow = 4096
)

// Options configure a [Provider]. Issuer, ClientID, BaseURL and Client are required.
type Options struct {
	Issuer, ClientID string
	// ClientSecret is empty for a public client.
	ClientSecret string
	// Scopes are requested beside openid.
	Scopes []string
	// GroupsClaim is the name of the claim with the user's groups, or a JSON pointer to it.
	GroupsClaim string
	Roles       []Mapping
	// BaseURL is the public URL of the console, without a slash at the end.
	BaseURL string
	// Client makes the requests to the provider.
	Client *http.Client
	Log    *slog.Logger // nil means slog.Default()
}

// Fingerprint identifies the settings that decide who may log in with which role. Sessions end if
// it changes.
func (o Options) Fingerprint() string {
	text, _ := json.Marshal([]any{o.Issuer, o.ClientID, o.GroupsClaim, o.Roles})
	return string(text)
}

// Provider is an identity provider. Its methods are safe for concurrent use.
type Provider struct {
	o         Options
	client    *http.Client
	exchanges chan struct{}

	// asking is held while the provider's configuration is fetched.
	asking sync.Mutex
	known  *discovered
	failed time.Time // of the last attempt
	fault  error
}

// discovered is the configuration that the provider publishes.
type discovered struct {
	provider *oidc.Provider
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	// logout is the URL that ends the provider's own session; empty if it has none.
	logout string
}

// New returns a provider. It makes no request: the provider may be down when the gateway starts.
func New(o Options) *Provider {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	client := *o.Client
	client.Timeout = answerTime
	client.Transport = bounded{o.Client.Transport}
	return &Provider{o: o, client: &client, exchanges: make(chan struct{}, maxExchanges)}
}

// flow is a login that was begun in a browser. The browser holds it in a cookie.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // of PKCE
	Next     string `json:"p"` // the page to open after the login
}

// Begin returns the provider's URL to send the browser to, and the value of the cookie that binds
// the login to the browser. Errors wrap gaff.ErrUnavailable.
func (p *Provider) Begin(ctx context.Context, next string) (address, cookie string, err error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", "", err
	}
	f := flow{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), next}
	text, err := json.Marshal(f)
	if err != nil {
		return "", "", err
	}
	if cookie = base64.RawURLEncoding.EncodeToString(text); len(cookie) > maxFlow/2 {
		f.Next = "/"
		text, _ = json.Marshal(f)
		cookie = base64.RawURLEncoding.EncodeToString(text)
	}
	return d.oauth.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), cookie, nil
}

// Finish returns the user whom the provider authenticated, and the page to open. query is that of
// the provider's redirect. Errors are an access.SSOError, or wrap gaff.ErrUnavailable.
func (p *Provider) Finish(ctx context.Context, cookie string, query url.Values) (u access.SSOUser, next string, err error) {
	f, err := readFlow(cookie)
	if err != nil {
		return u, "", err
	}
	if subtle.ConstantTimeCompare([]byte(f.State), []byte(query.Get("state"))) != 1 {
		return u, "", denied("it was not begun in this browser, or another login was begun after it")
	}
	if iss := query.Get("iss"); iss != "" && iss != p.o.Issuer {
		return u, "", denied("the answer is of another provider")
	}
	if code := query.Get("error"); code != "" {
		return u, "", denied("the provider answered " + word(code))
	}
	select {
	case p.exchanges <- struct{}{}:
		defer func() { <-p.exchanges }()
	default:
		return u, "", fmt.Errorf("%w: too many logins are being finished; log in again in a moment", gaff.ErrUnavailable)
	}
	d, err := p.discover(ctx)
	if err != nil {
		return u, "", err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), 3*answerTime)
	defer cancel()
	if u, err = p.identify(ctx, d, f, query.Get("code")); err != nil {
		if e, ok := errors.AsType[*access.SSOError](err); ok {
			e.Asked = true
		}
		return u, "", err
	}
	return u, f.Next, nil
}

func readFlow(cookie string) (f flow, err error) {
	if cookie == "" || len(cookie) > maxFlow {
		return f, denied("it was not begun in this browser, or more than ten minutes ago")
	}
	text, err := base64.RawURLEncoding.DecodeString(cookie)
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil || f.State == "" || f.Nonce == "" || f.Verifier == "" {
		return f, denied("its cookie cannot be read")
	}
	return f, nil
}

// identify exchanges the code for tokens, checks them and returns the user.
func (p *Provider) identify(ctx context.Context, d *discovered, f flow, code string) (u access.SSOUser, err error) {
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		if rejected, ok := errors.AsType[*oauth2.RetrieveError](err); ok && rejected.Response.StatusCode < http.StatusInternalServerError {
			return u, denied("the provider rejected the login: " + word(rejected.ErrorCode))
		}
		return u, p.unavailable(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return u, denied("the provider sent no ID token")
	}
	id, err := d.verifier.Verify(ctx, raw)
	if _, down := errors.AsType[*url.Error](err); down {
		return u, p.unavailable(err) // its keys cannot be fetched
	}
	if err != nil {
		p.o.Log.Warn("ID token rejected", "issuer", p.o.Issuer, "error", err)
		return u, denied("the provider's ID token is not valid; the gateway's log says why")
	}
	var claims claims
	if err := id.Claims(&claims.all); err != nil {
		return u, denied("the provider's ID token cannot be read")
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1:
		return u, denied("the provider's ID token is of another login")
	case !claims.authorized(p.o.ClientID, id.Audience):
		return u, denied("the provider's ID token is for another application")
	case !claims.has(p.o.GroupsClaim) && d.provider.UserInfoEndpoint() != "":
		if err := p.addUserInfo(ctx, d, token, id, &claims); err != nil {
			return u, err
		}
	}
	u = access.SSOUser{Subject: id.Subject, Name: claims.name(id.Subject), IDToken: raw}
	if !printable(id.Subject, maxSubject) {
		return u, denied("the provider's ID token has an unusable subject")
	}
	u.Role, u.Scope = roleOf(p.o.Roles, claims.groups(p.o.GroupsClaim))
	return u, nil
}

// addUserInfo adds the claims that the provider gives only at its userinfo endpoint.
func (p *Provider) addUserInfo(ctx context.Context, d *discovered, token *oauth2.Token, id *oidc.IDToken, c *claims) error {
	if id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil {
		return denied("the provider's access token does not belong to its ID token")
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return p.unavailable(err)
	}
	var more map[string]any
	if err := info.Claims(&more); err != nil || info.Subject != id.Subject {
		return denied("the provider's user information is of another user")
	}
	for name, value := range more {
		if _, ok := c.all[name]; !ok {
			c.all[name] = value
		}
	}
	return nil
}

// LogoutURL returns the provider's URL that ends its own session of the user; empty if the provider
// has none or does not answer.
func (p *Provider) LogoutURL(ctx context.Context, idToken string) string {
	d, err := p.discover(ctx)
	if err != nil || d.logout == "" {
		return ""
	}
	u, err := url.Parse(d.logout)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.o.ClientID)
	q.Set("post_logout_redirect_uri", p.o.BaseURL+LogoutPath)
	if idToken != "" {
		q.Set("id_token_hint", idToken)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// discover returns the provider's configuration, which is fetched once. After a failure it is not
// fetched for a while.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	if time.Since(p.failed) < pause {
		return nil, p.fault
	}
	// A browser that gives up must not fail the login of others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	d, err := p.fetch(ctx)
	if err != nil {
		p.failed, p.fault = time.Now(), p.unavailable(err)
		return nil, p.fault
	}
	p.known = d
	return d, nil
}

func (p *Provider) fetch(ctx context.Context) (*discovered, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.o.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Logout string   `json:"end_session_endpoint"`
		Auth   []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, err
	}
	d := &discovered{provider: provider, verifier: provider.Verifier(&oidc.Config{ClientID: p.o.ClientID}), logout: more.Logout}
	d.oauth = oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: p.o.BaseURL + CallbackPath,
		Scopes: scopes(p.o.Scopes),
	}
	d.oauth.Endpoint.AuthStyle = authStyle(more.Auth, p.o.ClientSecret)
	return d, nil
}

// authStyle returns how the client shows its secret. The library would otherwise try both ways,
// and a code works once.
func authStyle(methods []string, secret string) oauth2.AuthStyle {
	if secret == "" {
		return oauth2.AuthStyleInParams
	}
	basic := len(methods) == 0 // the default of OpenID Connect
	for _, m := range methods {
		basic = basic || m == "client_secret_basic"
	}
	if basic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

func scopes(wanted []string) []string {
	all := []string{oidc.ScopeOpenID}
	for _, s := range wanted {
		if s = strings.TrimSpace(s); s != "" && s != oidc.ScopeOpenID {
			all = append(all, s)
		}
	}
	return all
}

// unavailable logs why the provider cannot be used, and returns an error for the user.
func (p *Provider) unavailable(err error) error {
	p.o.Log.Warn("identity provider", "issuer", p.o.Issuer, "error", err)
	return fmt.Errorf("%w: the identity provider %s does not answer as it should; the gateway's log says why", gaff.ErrUnavailable, p.o.Issuer)
}

func denied(why string) error { return &access.SSOError{Why: why} }

// word returns a provider's error code, which is a word; other texts are not shown.
func word(code string) string {
	if code == "" || len(code) > 60 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "an error"
	}
	return code
}

// bounded limits the size of answers, which the libraries read whole.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(r)
	if err == nil {
		res.Body = limitedBody{io.LimitReader(res.Body, answerBytes), res.Body}
	}
	return res, err
}

type limitedBody struct {
	io.Reader
	io.Closer
}
