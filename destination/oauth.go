package destination

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gaff/internal/redact"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth gets the bearer token of a destination's requests with OAuth2 client credentials (RFC 6749,
// section 4.4).
type OAuth struct {
	TokenURL     string `json:"tokenUrl" yaml:"token_url" ref:"true"`
	ClientID     string `json:"clientId" yaml:"client_id" ref:"true"`
	ClientSecret string `json:"clientSecret" yaml:"client_secret" secret:"value"`
	// Scopes and Audience are sent if they are set; Audience is not of the RFC, but some servers
	// need it.
	Scopes   []string `json:"scopes,omitempty" yaml:"scopes" list:"one"`
	Audience string   `json:"audience,omitempty" yaml:"audience"`
	// Auth is how the client identifies itself: header (HTTP Basic, the default) or body.
	Auth string `json:"auth,omitempty" yaml:"auth"`
}

// Ways in which a client identifies itself at a token endpoint.
const (
	OAuthHeader = "header"
	OAuthBody   = "body"
)

func (c *compiled) checkOAuth(fault func(string, string, ...any)) {
	o := c.OAuth
	if o == nil {
		return
	}
	if c.Kind != KindHTTP {
		fault("oauth", "is for destinations of kind http")
		return
	}
	u, err := url.Parse(o.TokenURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(o.TokenURL) > maxText {
		fault("oauth.tokenUrl", "must be a whole URL, such as https://login.example.com/oauth2/token")
	}
	if o.ClientID == "" || len(o.ClientID) > maxText {
		fault("oauth.clientId", "must be the id of the client at the token endpoint")
	}
	if o.ClientSecret == "" || len(o.ClientSecret) > 2*maxText {
		fault("oauth.clientSecret", "must be the secret of the client at the token endpoint")
	}
	if len(o.Scopes) > 64 || len(strings.Join(o.Scopes, " ")) > maxText {
		fault("oauth.scopes", "more than 64, or longer than %d bytes", maxText)
	}
	if o.Auth != "" && o.Auth != OAuthHeader && o.Auth != OAuthBody {
		fault("oauth.auth", "unknown %.40q: want header or body", o.Auth)
	}
	if _, set := c.header["Authorization"]; set {
		fault("oauth", "sets the header Authorization: remove that of headers")
	}
}

// tokens caches the token of a destination.
type tokens struct {
	config clientcredentials.Config
	client *http.Client
	// turn has one place: only one request for a token is made at a time.
	turn  chan struct{}
	token *oauth2.Token
}

// newTokens returns nil without OAuth.
func newTokens(o *OAuth, client *http.Client) *tokens {
	if o == nil {
		return nil
	}
	t := &tokens{client: client, turn: make(chan struct{}, 1), config: clientcredentials.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, TokenURL: o.TokenURL, Scopes: o.Scopes, AuthStyle: oauth2.AuthStyleInHeader,
	}}
	if o.Auth == OAuthBody {
		t.config.AuthStyle = oauth2.AuthStyleInParams
	}
	if o.Audience != "" {
		t.config.EndpointParams = url.Values{"audience": {o.Audience}}
	}
	return t
}

// get returns a token that is valid for some seconds more. It gets a new one if the cached one is
// rejected, the access token that a receiver answered with 401.
func (t *tokens) get(ctx context.Context, rejected string) (string, error) {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-t.turn }()
	if t.token.Valid() && t.token.AccessToken != rejected {
		return t.token.AccessToken, nil
	}
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		return "", t.explain(ctx, err)
	}
	t.token = token
	return token.AccessToken, nil
}

// explain returns an error without what the token endpoint may quote of the request.
func (t *tokens) explain(ctx context.Context, err error) error {
	host := redact.Host(t.config.TokenURL)
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok && answer.Response != nil {
		if answer.ErrorCode != "" {
			return redact.Errorf("get an OAuth2 token from %s: answered %d: %.100s", redact.Own(host), answer.Response.StatusCode, answer.ErrorCode)
		}
		return redact.Errorf("get an OAuth2 token from %s: answered %d", redact.Own(host), answer.Response.StatusCode)
	}
	return redact.Errorf("get an OAuth2 token from %s: %w", redact.Own(host), plain(ctx, err))
}

// send makes the request, with a token if the destination has OAuth. A request whose cached token
// the receiver rejects with 401 is repeated once with a new one.
func (d *Destination) send(ctx context.Context, cancel context.CancelFunc, out *outgoing) *Exchange {
	if d.tokens == nil {
		return d.exchange(ctx, cancel, out)
	}
	rejected := ""
	for {
		started := time.Now()
		token, err := d.tokens.get(ctx, rejected)
		if err != nil {
			ex := d.unsent(out, err)
			ex.DurationMs = float64(time.Since(started).Microseconds()) / 1000
			return ex
		}
		out.header.Set("Authorization", "Bearer "+token)
		ex := d.exchange(ctx, cancel, out)
		if rejected != "" || ex.Response == nil || ex.Response.Status != http.StatusUnauthorized || ctx.Err() != nil {
			return ex
		}
		rejected = token
	}
}

// ShownOAuth returns the OAuth settings without their secret; nil without OAuth.
func (s *Spec) ShownOAuth() *OAuth {
	if s.OAuth == nil {
		return nil
	}
	shown := *s.OAuth
	shown.ClientSecret, shown.TokenURL = redact.Masked, redact.Address(shown.TokenURL)
	return &shown
}
