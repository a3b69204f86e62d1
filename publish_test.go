package gaff_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func newPublisher(t *testing.T) *gaff.Gateway {
	t.Helper()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return gw
}

func TestScheduledEventIsHandledAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gw := newPublisher(t)
		handled := make(chan time.Time, 8)
		gw.Handle(gaff.PublishedSource, "reminder", gaff.HandlerFunc(func(context.Context, *gaff.Event) error {
			handled <- time.Now()
			return nil
		}))
		if err := gw.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, delay := range []time.Duration{90 * time.Second, time.Hour} {
			_, err := gw.Publish(t.Context(), []gaff.Publication{{Type: "reminder", Data: json.RawMessage(`{}`), RunAt: began.Add(delay)}})
			if err != nil {
				t.Fatal(err)
			}
			if took := (<-handled).Sub(began); took < delay || took > delay+time.Second {
				t.Errorf("handled after %s, want %s", took, delay)
			}
		}
		if err := gw.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlerDelayIsFromReceipt(t *testing.T) {
	t.Parallel()
	gw := newPublisher(t)
	gw.HandleWith("*", "*", gaff.HandlerFunc(func(context.Context, *gaff.Event) error { return nil }), gaff.HandleOptions{Name: "late", Delay: time.Minute})
	at := time.Now()
	if ds := gw.Route(&gaff.Event{Source: "shop", Type: "a", ReceivedAt: at}); len(ds) != 1 || !ds[0].RunAt.Equal(at.Add(time.Minute)) {
		t.Errorf("routed %+v", ds)
	}
}

func TestPublishAfterStopFails(t *testing.T) {
	t.Parallel()
	gw := newPublisher(t)
	if err := gw.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := gw.Publish(t.Context(), []gaff.Publication{{Type: "a"}}); !errors.Is(err, gaff.ErrStopped) {
		t.Error(err)
	}
}
