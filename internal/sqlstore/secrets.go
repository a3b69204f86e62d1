package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"gaff"
	"gaff/internal/secretbox"
)

// secretSettings are the settings that are encrypted, if a key is set; a name that ends with a space
// is the beginning of names.
var secretSettings = []string{
	"webhook_handle_key", "callback_secret", "browser_token_key", "media_link_key", eraseKeySetting, keptPrefix + "key of source ",
}

// secretKinds are the kinds of records that are encrypted.
var secretKinds = []string{"destination", "source", "replay"}

func isSecretSetting(name string) bool {
	for _, secret := range secretSettings {
		if name == secret || strings.HasSuffix(secret, " ") && strings.HasPrefix(name, secret) {
			return true
		}
	}
	return false
}

func isSecretKind(kind string) bool {
	for _, secret := range secretKinds {
		if kind == secret {
			return true
		}
	}
	return false
}

// seal encrypts a secret that is about to be stored, if a key is set.
func (s *Store) seal(secret bool, text string) (string, error) {
	if b := s.secrets.Load(); secret && b != nil {
		return b.Seal(text)
	}
	return text, nil
}

// unseal decrypts a stored text if it is encrypted.
func (s *Store) unseal(what, text string) (string, error) {
	if !secretbox.Encrypted(text) {
		return text, nil
	}
	b := s.secrets.Load()
	if b == nil {
		return "", fmt.Errorf("%s is encrypted: set GAFF_SECRETS_KEY", what)
	}
	plain, _, err := b.Open(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w; GAFF_SECRETS_KEY must have the key that it was encrypted with", what, err)
	}
	return plain, nil
}

// SecretCounts counts the stored secrets.
type SecretCounts struct {
	Current int // encrypted with the first key
	Older   int // encrypted with another key
	Plain   int
	// Locked are encrypted with a key that is not given; First is the name of one.
	Locked int
	First  string
}

// storedSecret is a row with a secret.
type storedSecret struct{ kind, name, text string }

func (r storedSecret) String() string { return strings.TrimSpace(r.kind + " " + r.name) }

// storedSecrets reads all secrets as they are stored.
func (s *Store) storedSecrets(ctx context.Context) (all []storedSecret, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	scan := func(rows *sql.Rows) (r storedSecret, err error) {
		var text []byte
		err = rows.Scan(&r.kind, &r.name, &text)
		r.text = string(text)
		return r, err
	}
	settings, err := collect(ctx, s.read, scan, `select '', name, value from setting order by name`)
	if err != nil {
		return nil, s.fault(ctx, "secrets", err)
	}
	for _, r := range settings {
		if isSecretSetting(r.name) {
			all = append(all, r)
		}
	}
	for _, kind := range secretKinds {
		records, err := collect(ctx, s.read, scan, `select kind, name, value from record where kind = $1 order by name`, kind)
		if err != nil {
			return nil, s.fault(ctx, "secrets", err)
		}
		all = append(all, records...)
	}
	return all, nil
}

// CountSecrets counts the stored secrets by how a box opens them; nil means that no key is set.
func (s *Store) CountSecrets(ctx context.Context, b *secretbox.Box) (c SecretCounts, err error) {
	all, err := s.storedSecrets(ctx)
	for _, r := range all {
		switch state(b, r.text) {
		case secretPlain:
			c.Plain++
		case secretCurrent:
			c.Current++
		case secretOlder:
			c.Older++
		default:
			if c.Locked++; c.First == "" {
				c.First = r.String()
			}
		}
	}
	return c, err
}

const (
	secretPlain = iota
	secretCurrent
	secretOlder
	secretLocked
)

func state(b *secretbox.Box, text string) int {
	if !secretbox.Encrypted(text) {
		return secretPlain
	}
	if b == nil {
		return secretLocked
	}
	switch _, current, err := b.Open(text); {
	case err != nil:
		return secretLocked
	case current:
		return secretCurrent
	}
	return secretOlder
}

// UseSecretKeys opens secrets with a box from now on, and encrypts those that its first key did not
// encrypt. It fails, and changes nothing, if the box does not open a secret. With a nil box
// (no key) encrypted secrets are an error. It can be called while the store is used.
func (s *Store) UseSecretKeys(ctx context.Context, b *secretbox.Box) (sealed int, err error) {
	c, err := s.CountSecrets(ctx, b)
	if err != nil {
		return 0, err
	}
	switch {
	case c.Locked > 0 && b == nil:
		return 0, fmt.Errorf("%d secrets in the database are encrypted, such as %s: set GAFF_SECRETS_KEY (or GAFF_SECRETS_KEY_FILE) to the key", c.Locked, c.First)
	case c.Locked > 0:
		return 0, fmt.Errorf("%d secrets in the database are encrypted with another key, such as %s: add that key to GAFF_SECRETS_KEY, behind the new one", c.Locked, c.First)
	}
	s.secrets.Store(b)
	if b == nil {
		return 0, nil
	}
	all, err := s.storedSecrets(ctx)
	for _, r := range all {
		if err != nil || state(b, r.text) == secretCurrent {
			continue
		}
		var changed bool
		if changed, err = s.reseal(ctx, b, r); changed {
			sealed++
		}
	}
	return sealed, err
}

// reseal encrypts a stored secret with the first key, unless it was changed meanwhile: then it was
// stored with that key.
func (s *Store) reseal(ctx context.Context, b *secretbox.Box, r storedSecret) (changed bool, err error) {
	plain, err := s.unseal(r.String(), r.text)
	if err != nil {
		return false, err
	}
	text, err := b.Seal(plain)
	if err != nil {
		return false, err
	}
	err = s.w.Do(ctx, &op{Run: func(t *tx) error {
		var n int64
		var err error
		if r.kind == "" {
			n, err = t.exec(`update setting set value = $2 where name = $1 and value = $3`, r.name, text, r.text)
		} else {
			n, err = t.exec(`update record set value = $3 where kind = $1 and name = $2 and value = $4`, r.kind, r.name, []byte(text), []byte(r.text))
		}
		changed = n > 0
		return err
	}})
	if err != nil {
		return false, fmt.Errorf("encrypt %s: %w", r, err)
	}
	return changed, nil
}

// openRecord decrypts a record that was read.
func (s *Store) openRecord(r *gaff.Record) error {
	text, err := s.unseal(r.Kind+" "+r.Name, string(r.Value))
	if err == nil {
		r.Value = []byte(text)
	}
	return err
}
