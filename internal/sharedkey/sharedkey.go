// Package sharedkey has the keys that sign, which all nodes of a database share and which can be
// changed while they run.
package sharedkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Tx reads and writes settings of the database.
type Tx interface {
	Setting(ctx context.Context, name string) (string, error)
	SetSetting(ctx context.Context, name, value string) error
}

// Options of [Open]. All but Announce are required.
type Options struct {
	Name  string // of the setting
	Write func(ctx context.Context, fn func(Tx) error) error
	// Fresh makes a key: a text without spaces and "@".
	Fresh func() string
	// Check returns an error for a text that is not a key.
	Check func(text string) error
	// Announce is how long a new key is only accepted before it signs: other nodes read it meanwhile.
	Announce time.Duration
}

// Keys are a key that signs, and others that are accepted. Its methods may be called concurrently.
type Keys struct {
	o    Options
	keys atomic.Pointer[[]key]
}

// key is a text, and when it begins to sign. The setting has keys in the order of these times, as
// "text@time", and the first one as "text".
type key struct {
	text string
	from time.Time
}

// MaxKeys bounds the keys that are accepted at once.
const MaxKeys = 4

// Open reads the keys, or makes the first one.
func Open(ctx context.Context, o Options) (*Keys, error) {
	k := &Keys{o: o}
	err := k.change(ctx, func(keys []key) ([]key, error) {
		if len(keys) == 0 {
			keys = []key{{text: o.Fresh()}}
		}
		return keys, nil
	})
	return k, err
}

// Signing returns the key that signs.
func (k *Keys) Signing() string {
	keys := *k.keys.Load()
	return keys[signing(keys)].text
}

// All returns the keys that are accepted: the one that signs, then the newest.
func (k *Keys) All() []string {
	keys := *k.keys.Load()
	texts := []string{keys[signing(keys)].text}
	for _, c := range slices.Backward(keys) {
		if c.text != texts[0] {
			texts = append(texts, c.text)
		}
	}
	return texts
}

// signing returns the place of the newest key whose time has come.
func signing(keys []key) int {
	for i, c := range slices.Backward(keys) {
		if !c.from.After(time.Now()) {
			return i
		}
	}
	return 0
}

// Refresh reads the keys again: another node may have changed them.
func (k *Keys) Refresh(ctx context.Context) error {
	return k.change(ctx, func(keys []key) ([]key, error) {
		if len(keys) == 0 {
			return nil, fmt.Errorf("the setting %s is missing", k.o.Name)
		}
		return keys, nil
	})
}

// ErrFull is the error of a rotation while too many former keys are accepted.
var ErrFull = errors.New("too many former keys")

// Rotate makes a key, which signs soon. The former keys are still accepted; with drop, only the one
// that signs now is. It returns when the new key signs.
func (k *Keys) Rotate(ctx context.Context, drop bool) (from time.Time, err error) {
	err = k.change(ctx, func(keys []key) ([]key, error) {
		if drop {
			keys = keys[signing(keys):]
		}
		if len(keys) >= MaxKeys {
			return nil, fmt.Errorf("%w: %d keys are accepted: drop the former ones first", ErrFull, len(keys))
		}
		from = time.Now().Add(k.o.Announce).UTC().Truncate(time.Microsecond)
		return append(keys, key{k.o.Fresh(), from}), nil
	})
	return from, err
}

// change reads the setting, changes it in the same transaction, and uses the result.
func (k *Keys) change(ctx context.Context, fn func([]key) ([]key, error)) error {
	var keys []key
	err := k.o.Write(ctx, func(tx Tx) error {
		text, err := tx.Setting(ctx, k.o.Name)
		if err != nil {
			return err
		}
		if keys, err = fn(parse(text)); err != nil {
			return err
		}
		for _, c := range keys {
			if err := k.o.Check(c.text); err != nil {
				return fmt.Errorf("the setting is damaged: %w", err)
			}
		}
		if changed := format(keys); changed != text {
			return tx.SetSetting(ctx, k.o.Name, changed)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keys %s: %w", k.o.Name, err)
	}
	k.keys.Store(&keys)
	return nil
}

func parse(text string) (keys []key) {
	for word := range strings.FieldsSeq(text) {
		text, at, _ := strings.Cut(word, "@")
		c := key{text: text}
		if micros, err := strconv.ParseInt(at, 10, 64); err == nil {
			c.from = time.UnixMicro(micros)
		}
		keys = append(keys, c)
	}
	return keys
}

func format(keys []key) string {
	words := make([]string, len(keys))
	for i, c := range keys {
		words[i] = c.text
		if !c.from.IsZero() {
			words[i] += "@" + strconv.FormatInt(c.from.UnixMicro(), 10)
		}
	}
	return strings.Join(words, " ")
}
