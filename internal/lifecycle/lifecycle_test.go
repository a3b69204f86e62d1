package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// journal records what the services do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) service(name string) Service {
	return Service{
		Name:  name,
		Start: func(context.Context) error { j.add("start " + name); return nil },
		Run:   func(ctx context.Context) error { <-ctx.Done(); j.add("end " + name); return nil },
		Stop:  func(context.Context) error { j.add("stop " + name); return nil },
	}
}

func (j *journal) check(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("order of services (-want +got):\n%s", diff)
	}
}

var quiet = slog.New(slog.DiscardHandler)

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := Run(ctx, quiet, j.service("a"), Service{Name: "empty"}, j.service("b")); err != nil {
			t.Errorf("Run: %v", err)
		}
		j.check(t, "start a", "start b", "end b", "stop b", "end a", "stop a")
	})
}

func TestFailingStartStopsTheStarted(t *testing.T) {
	t.Parallel()
	j := &journal{}
	broken := j.service("broken")
	errBroken := errors.New("broken")
	broken.Start = func(context.Context) error { return errBroken }
	if err := Run(t.Context(), quiet, j.service("a"), broken, j.service("b")); !errors.Is(err, errBroken) {
		t.Errorf("Run: %v, want %v", err, errBroken)
	}
	j.check(t, "start a", "end a", "stop a")
}

func TestFailingRunStopsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		errBroken := errors.New("broken")
		broken := j.service("broken")
		broken.Run = func(context.Context) error { time.Sleep(time.Minute); return errBroken }
		if err := Run(t.Context(), quiet, j.service("a"), broken, j.service("b")); err != errBroken {
			t.Errorf("Run: %v, want %v", err, errBroken)
		}
		j.check(t, "start a", "start broken", "start b", "end b", "stop b", "stop broken", "end a", "stop a")
	})
}

func TestRunMayEndEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if err := Run(ctx, quiet, Background("short", func(context.Context) {})); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("all services stopped after %s, want 1h", took)
		}
	})
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := make(chan struct{})
		hanging := Service{Name: "hanging", Patience: 3 * time.Second, Run: func(context.Context) error { <-cancelled; return nil }}
		time.AfterFunc(time.Minute, cancel)
		began := time.Now()
		err := Run(ctx, quiet, j.service("a"), hanging)
		if err == nil || !strings.Contains(err.Error(), "hanging: still running 3s after") {
			t.Errorf("Run: %v, want an error that names the service", err)
		}
		if took := time.Since(began); took != time.Minute+3*time.Second {
			t.Errorf("Run took %s, want 1m3s", took)
		}
		close(cancelled)
		j.check(t, "start a", "end a", "stop a")
	})
}

func TestStopKeepsToItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		slow := Service{Name: "slow", Patience: 2 * time.Second, Stop: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		err := Run(ctx, quiet, slow)
		if err == nil {
			t.Error("Run returned nil, want the error of Stop")
		}
	})
}

func TestErrorsOfTheStopAreJoined(t *testing.T) {
	t.Parallel()
	errA, errB := errors.New("a"), errors.New("b")
	stop := func(err error) Service {
		return Service{Name: err.Error(), Stop: func(context.Context) error { return err }}
	}
	errStart := errors.New("start")
	err := Run(t.Context(), quiet, stop(errA), stop(errB), Service{Start: func(context.Context) error { return errStart }})
	for _, want := range []error{errA, errB, errStart} {
		if !errors.Is(err, want) {
			t.Errorf("Run: %v, want it to join %v", err, want)
		}
	}
}

func TestNothingStartsAfterTheEnd(t *testing.T) {
	t.Parallel()
	j := &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	last := Service{Name: "last", Start: func(context.Context) error { cancel(); return nil }}
	if err := Run(ctx, quiet, last, j.service("b")); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want %v", err, context.Canceled)
	}
	j.check(t)
}
