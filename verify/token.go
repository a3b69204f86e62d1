package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// token is the kind token: a shared text that is compared.
type token struct {
	scheme Scheme
	at     place
	set    pointers
	tokens [][sha256.Size]byte
	plain  []string
	ids    []string
}

func newToken(s Scheme, o Options, f *fault.List) *token {
	v := &token{scheme: s}
	if s.Token == nil {
		f.Add("token", "missing; its place is wanted, such as in: header, name: X-Token")
	} else {
		v.at = newPlace(&s.Token.Location, "token", &v.set, f)
	}
	if s.Tolerance != nil {
		f.Add("tolerance", "kind token has no timestamp; remove it")
	}
	if len(o.Secrets) == 0 {
		f.Add("secrets", "missing; the token that the sender sends is wanted")
	}
	for i, text := range o.Secrets {
		key, err := decodeSecret(text, KeyFormat{})
		if err != nil {
			f.Add(fmt.Sprintf("secrets[%d]", i), "%v", err)
			continue
		}
		v.tokens = append(v.tokens, sha256.Sum256(key))
		v.plain = append(v.plain, text)
		v.ids = append(v.ids, fingerprint(key))
	}
	return v
}

func (v *token) describe() string { return "a shared token in " + v.at.label }

func (v *token) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "token"}
	values, err := v.set.findIn(r)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	text, err := v.at.text(r, values)
	if err != nil {
		return out, err
	}
	text, ok := cutWord(text, v.scheme.Token.Prefix)
	if !ok {
		return out, fmt.Errorf("%s: %w: it does not begin with %s", v.at.label, ErrMalformed, v.scheme.Token.Prefix)
	}
	if out.KeyID = v.match(text); out.KeyID == "" {
		return out, fmt.Errorf("%s: %w", v.at.label, ErrMismatch)
	}
	return out, nil
}

// match returns the name of the token that is equal to the text; empty if none is.
func (v *token) match(text string) string {
	sum := sha256.Sum256([]byte(text)) // digests have equal lengths
	for i := range v.tokens {
		if subtle.ConstantTimeCompare(sum[:], v.tokens[i][:]) == 1 {
			return v.ids[i]
		}
	}
	return ""
}

func (v *token) sign(r *gaff.Request, _ time.Time) error {
	return v.at.put(r, v.scheme.Token.Pointer, v.scheme.Token.Prefix+v.plain[0], false)
}

// basic is HTTP basic authentication.
type basic struct {
	users [][sha256.Size]byte
	ids   []string
	first string // user:password
}

func newBasic(s Scheme, o Options, f *fault.List) *basic {
	v := &basic{}
	if s.Tolerance != nil {
		f.Add("tolerance", "kind basic has no timestamp; remove it")
	}
	add := func(path, user, password string) {
		if user == "" || password == "" || strings.Contains(user, ":") {
			f.Add(path, "a user (without colon) and a password are wanted")
			return
		}
		text := user + ":" + password
		if v.first == "" {
			v.first = text
		}
		v.users = append(v.users, sha256.Sum256([]byte(text)))
		v.ids = append(v.ids, fingerprint([]byte(text)))
	}
	for i, text := range o.Secrets {
		user, password, _ := strings.Cut(text, ":")
		add(fmt.Sprintf("secrets[%d]", i), user, password)
	}
	for i, k := range o.Keys {
		if k.Kind != "basic" {
			f.Add(fmt.Sprintf("keys[%d]", i), "%s is not a user and password", k.Kind)
			continue
		}
		add(fmt.Sprintf("keys[%d]", i), k.Username, k.Password)
	}
	if len(o.Secrets)+len(o.Keys) == 0 {
		f.Add("secrets", "missing; user:password is wanted")
	}
	return v
}

func (v *basic) describe() string { return "user and password in Authorization (HTTP basic)" }

func (v *basic) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "basic"}
	text, err := headerText(r.Header, "Authorization", "Authorization")
	if err != nil {
		return out, err
	}
	text, ok := cutWord(text, "Basic ")
	if !ok {
		return out, fmt.Errorf("Authorization: %w: Basic is wanted", ErrMalformed)
	}
	pair, ok := decode("base64", text)
	user, _, colon := strings.Cut(string(pair), ":")
	if !ok || !colon {
		return out, fmt.Errorf("Authorization: %w: no user and password in base64", ErrMalformed)
	}
	sum := sha256.Sum256(pair)
	for i := range v.users {
		if subtle.ConstantTimeCompare(sum[:], v.users[i][:]) == 1 {
			out.KeyID, out.Subject = v.ids[i], user
			return out, nil
		}
	}
	return out, fmt.Errorf("Authorization: user or password: %w", ErrMismatch)
}

func (v *basic) sign(r *gaff.Request, _ time.Time) error {
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(v.first)))
	return nil
}
