package destination_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/destination"
)

func TestListen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := fresh(t, destination.Spec{Name: "app", URL: "http://app"})
		before := n.emit("shop", "before")
		_, made, err := n.Subscribe(ctx, "anna@laptop", []string{"shop:*", "gaff:*"}, "", "")
		if err != nil || !made {
			t.Fatal(made, err)
		}
		if _, _, err := n.Subscribe(ctx, "ben@laptop", nil, `type != "c"`, destination.FromBeginning); err != nil {
			t.Fatal(err)
		}
		a, b, c, other, inner := n.emit("shop", "a"), n.emit("shop", "b"), n.emit("shop", "c"), n.emit("other", "a"), n.emit("gaff", "job.completed")
		listen := func(name, after string, limit int, wait time.Duration) (ids []string, cursor string) {
			t.Helper()
			h := must(n.Listen(ctx, name, after, limit, wait))(t)
			for _, ev := range h.Events {
				ids = append(ids, ev.ID)
			}
			return ids, h.Cursor
		}
		ids, cursor := listen("anna@laptop", "", 2, 0)
		if !slices.Equal(ids, []string{a, b}) {
			t.Errorf("anna heard %v", ids)
		}
		ids, _ = listen("anna@laptop", cursor, 10, 0)
		if !slices.Equal(ids, []string{c, inner}) {
			t.Errorf("then %v", ids)
		}
		// Not acknowledged: it comes again. Ben has his own place, and production its deliveries.
		ids, _ = listen("anna@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{a, b, c, inner}) {
			t.Errorf("again %v", ids)
		}
		ids, _ = listen("ben@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{before, a, b, other}) {
			t.Errorf("ben heard %v", ids)
		}
		must(n.Acknowledge(ctx, "anna@laptop", b))(t)
		must(n.Acknowledge(ctx, "anna@laptop", a))(t) // never back
		ids, _ = listen("anna@laptop", "", 10, 0)
		if !slices.Equal(ids, []string{c, inner}) {
			t.Errorf("after the acknowledgement %v", ids)
		}
		must(n.Acknowledge(ctx, "anna@laptop", inner))(t)
		// The lid is closed, and opened again.
		var missed []string
		for i := range 250 {
			missed = append(missed, n.emit("shop", fmt.Sprint("m", i)))
		}
		if _, made, err := n.Subscribe(ctx, "anna@laptop", []string{"shop:*"}, "", ""); made || err != nil {
			t.Fatal(made, err)
		}
		var heard []string
		for after := ""; len(heard) < 250; {
			ids, cursor := listen("anna@laptop", after, 100, 0)
			if len(ids) == 0 {
				break
			}
			heard, after = append(heard, ids...), cursor
		}
		if !slices.Equal(heard, missed) {
			t.Errorf("heard %d of %d afterwards", len(heard), len(missed))
		}
		must(n.Acknowledge(ctx, "anna@laptop", missed[249]))(t)
		go func() {
			time.Sleep(5 * time.Second)
			n.emit("shop", "late")
		}()
		started := time.Now()
		if ids, _ := listen("anna@laptop", "", 10, 30*time.Second); len(ids) != 1 || time.Since(started) > 6*time.Second {
			t.Errorf("waited %s for %v", time.Since(started), ids)
		}
		for name, bad := range map[string]func() error{
			"name":   func() error { _, _, err := n.Subscribe(ctx, "a b", nil, "", ""); return err },
			"filter": func() error { _, _, err := n.Subscribe(ctx, "x", nil, "==", ""); return err },
			"from":   func() error { _, _, err := n.Subscribe(ctx, "x", nil, "", "yesterday"); return err },
			"cursor": func() error { _, err := n.Acknowledge(ctx, "ben@laptop", "x"); return err },
			"wait":   func() error { _, err := n.Listen(ctx, "ben@laptop", "", 1, time.Hour); return err },
		} {
			if err := bad(); !errors.Is(err, gaff.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
