package sharedkey_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/sharedkey"
)

// settings is a database of one setting.
type settings struct{ text string }

func (s *settings) Setting(context.Context, string) (string, error)            { return s.text, nil }
func (s *settings) SetSetting(_ context.Context, _, value string) error        { s.text = value; return nil }
func (s *settings) write(_ context.Context, fn func(sharedkey.Tx) error) error { return fn(s) }

func open(t *testing.T, s *settings, announce time.Duration) *sharedkey.Keys {
	t.Helper()
	k, err := sharedkey.Open(context.Background(), sharedkey.Options{
		Name: "key", Write: s.write, Announce: announce, Fresh: func() string { return fmt.Sprint("key-", len(s.text)) },
		Check: func(string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewKeyIsKnownToOtherNodesBeforeItSigns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &settings{text: "old"} // as the first version stored it
		one, other := open(t, s, 30*time.Second), open(t, s, 30*time.Second)
		_, err := one.Rotate(context.Background(), false)
		must(t, err)
		must(t, other.Refresh(context.Background()))
		for _, k := range []*sharedkey.Keys{one, other} {
			if k.Signing() != "old" || !slices.Equal(k.All(), []string{"old", "key-3"}) {
				t.Errorf("at once: %s signs, of %v", k.Signing(), k.All())
			}
		}
		time.Sleep(30 * time.Second)
		for _, k := range []*sharedkey.Keys{one, other, open(t, s, 0)} {
			if k.Signing() != "key-3" || !slices.Equal(k.All(), []string{"key-3", "old"}) {
				t.Errorf("later: %s signs, of %v", k.Signing(), k.All())
			}
		}
	})
}

func TestFormerKeysAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := open(t, &settings{}, 30*time.Second)
		first := k.Signing()
		for range 2 { // the first key still signs
			_, err := k.Rotate(context.Background(), true)
			must(t, err)
		}
		if len(k.All()) != 3 || k.Signing() != first {
			t.Errorf("before a new key signs: %v", k.All())
		}
		time.Sleep(time.Minute)
		_, err := k.Rotate(context.Background(), true)
		must(t, err)
		if len(k.All()) != 2 || slices.Contains(k.All(), first) {
			t.Errorf("after: %v", k.All())
		}
	})
}

func TestDamagedKeyIsAnError(t *testing.T) {
	t.Parallel()
	s := &settings{text: "good bad@17"}
	_, err := sharedkey.Open(t.Context(), sharedkey.Options{Name: "key", Write: s.write, Check: func(text string) error {
		if text == "bad" {
			return errors.New("no key")
		}
		return nil
	}})
	if err == nil {
		t.Error("no error")
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	k := open(t, &settings{}, 0)
	for range sharedkey.MaxKeys - 1 {
		_, err := k.Rotate(context.Background(), false)
		must(t, err)
	}
	if _, err := k.Rotate(context.Background(), false); !errors.Is(err, sharedkey.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := k.Rotate(context.Background(), true); err != nil || len(k.All()) != 2 {
		t.Errorf("with drop: %v %v", k.All(), err)
	}
}
