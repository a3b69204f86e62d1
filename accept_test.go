package gaff_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func TestEmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var worked atomic.Int32
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.Handle(gaff.InternalSource, "tick", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
				worked.Add(1)
				return nil
			}))
			b.Handle("*", "*", gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
				t.Errorf("a handler of every source was given %s:%s", ev.Source, ev.Type)
				return nil
			}))
		})
		ctx := context.Background()
		ev := gaff.Event{Type: "tick", Data: json.RawMessage(`{}`), DedupeKey: "tick-1"}
		id, err := b.Emit(ctx, ev, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.Emit(ctx, ev, time.Time{}); err != nil || again != id {
			t.Errorf("emitted again: %s, %v, want %s", again, err, id)
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if worked.Load() != 0 {
			t.Error("it was processed before its time")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if worked.Load() != 1 {
			t.Errorf("it was processed %d times", worked.Load())
		}
		if _, err := b.Emit(ctx, gaff.Event{Type: "tick", Data: json.RawMessage(`{}`), Hop: gaff.MaxHops + 1}, time.Time{}); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("an event at the end of a loop: %v", err)
		}
	})
}
