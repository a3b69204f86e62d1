package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"gaff"
)

const (
	browserPrefix = "gaffb_"
	// BrowserTokenAge is how long a browser token lasts if nothing else was asked for,
	// MaxBrowserTokenAge how long it lasts at most.
	BrowserTokenAge    = 15 * time.Minute
	MaxBrowserTokenAge = 24 * time.Hour
	// maxBrowserToken bounds a token, in bytes, before anything of it is decoded.
	maxBrowserToken = 4096
)

// browserClaims are the claims of a browser token. It is a JWT (RFC 7519) signed with HS256.
type browserClaims struct {
	jwt.Claims
	// Origin is the credential that created the token, as of a [Session]: the token ends with it.
	Origin string `json:"origin"`
	Scope  Scope  `json:"scope"`
}

// CreateBrowserToken returns a token that may only read, and only what scope reaches: one project,
// job or run. It is for pages in a browser, whose users see it. It lasts for age (0: 15 minutes),
// no longer than the credential that created it, and is not stored.
func (g *Guard) CreateBrowserToken(ctx context.Context, by Identity, scope Scope, age time.Duration) (token string, expires time.Time, err error) {
	if age == 0 {
		age = BrowserTokenAge
	}
	switch {
	case len(g.browserKey) == 0:
		return "", time.Time{}, fmt.Errorf("%w: this gateway has no key for browser tokens", gaff.ErrConflict)
	case by.Via != ViaKey && by.Via != ViaToken:
		return "", time.Time{}, fmt.Errorf("%w: a %s cannot create browser tokens; use an API key or the admin token", gaff.ErrInvalid, by.Via)
	case age < time.Second || age > MaxBrowserTokenAge:
		return "", time.Time{}, fmt.Errorf("%w: a browser token lasts from 1s to %s, not %s", gaff.ErrInvalid, MaxBrowserTokenAge, age)
	}
	// A token calls no operation that its creator may not call.
	scope.Operations = by.Scope.Operations
	if err := scope.check(); err != nil {
		return "", time.Time{}, err
	}
	now := g.now()
	expires = now.Add(age).Truncate(time.Second)
	origin := by.KeyID
	if by.Via == ViaToken {
		origin = g.adminOrigin()
	} else if k, err := g.store.Key(ctx, by.KeyID); err != nil {
		return "", time.Time{}, err
	} else if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(expires) {
		expires = k.ExpiresAt.Truncate(time.Second)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: g.browserKey}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a browser token: %w", err)
	}
	text, err := jwt.Signed(signer).Claims(browserClaims{
		Claims: jwt.Claims{Subject: by.Name, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires)}, Origin: origin, Scope: scope,
	}).Serialize()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a browser token: %w", err)
	}
	if token = browserPrefix + text; len(token) > maxBrowserToken {
		return "", time.Time{}, fmt.Errorf("%w: the scope is too long for a browser token: %d bytes, at most %d; name fewer operations or a shorter id",
			gaff.ErrInvalid, len(token), maxBrowserToken)
	}
	return token, expires, nil
}

// HasBrowserToken reports whether a request has a browser token, valid or not.
func HasBrowserToken(r *http.Request) bool { return strings.HasPrefix(bearer(r), browserPrefix) }

// byBrowserToken identifies the bearer of a browser token, if it is one of this gateway, has not
// expired and was created by a credential that is still valid.
func (g *Guard) byBrowserToken(ctx context.Context, token string) (Identity, bool) {
	text, ok := strings.CutPrefix(token, browserPrefix)
	if !ok || len(g.browserKey) == 0 || len(token) > maxBrowserToken {
		return Identity{}, false
	}
	signed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return Identity{}, false
	}
	var c browserClaims
	if err := signed.Claims(g.browserKey, &c); err != nil || c.Expiry == nil || !c.Scope.Limited() {
		return Identity{}, false
	}
	if !g.now().Before(c.Expiry.Time()) {
		return Identity{}, false
	}
	who := Identity{Name: c.Subject, Role: Viewer, Via: ViaBrowser, Scope: c.Scope}
	if strings.HasPrefix(c.Origin, tokenOrigin) {
		return who, c.Origin == g.adminOrigin()
	}
	k, err := g.store.Key(ctx, c.Origin)
	if err != nil {
		return g.unknown(err)
	}
	who.ID, who.KeyID, who.Rate = k.ID, k.ID, k.Rate
	return who, k.State(g.now()) == "active"
}

// adminOrigin names the admin token as the origin of a session or browser token.
func (g *Guard) adminOrigin() string {
	return tokenOrigin + g.admin[:min(fingerprintLen, len(g.admin))]
}

// EncodeScope returns the stored form of a scope; empty for one that limits nothing.
func EncodeScope(s Scope) (string, error) {
	if s.IsZero() {
		return "", nil
	}
	text, err := json.Marshal(s)
	return string(text), err
}

// DecodeScope is the reverse of [EncodeScope]. A text that it cannot read is an error, so that a
// damaged scope never widens.
func DecodeScope(text string) (s Scope, err error) {
	if text == "" {
		return Scope{}, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Scope{}, fmt.Errorf("read the scope of a credential: %w", err)
	}
	if s.IsZero() {
		return Scope{}, errors.New("read the scope of a credential: it limits nothing")
	}
	return s, nil
}
