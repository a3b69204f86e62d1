package gaff

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// goroutine returns the name of the caller's goroutine, such as "goroutine 7".
func goroutine() string {
	stack := make([]byte, 100)
	name, _, _ := bytes.Cut(stack[:runtime.Stack(stack, false)], []byte(" ["))
	return string(name)
}

func TestRunnerUsesItsGoroutineAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r runner
		var names []string
		failure := errors.New("failed")
		for _, call := range []func() error{
			func() error { return nil },
			func() error { return failure },
			func() error { panic("no such film") },
			func() error { return nil },
		} {
			err := <-r.start(func() error {
				names = append(names, goroutine())
				return call()
			})
			switch len(names) {
			case 2:
				if !errors.Is(err, failure) {
					t.Errorf("a call that failed ended with %v", err)
				}
			case 3:
				if !isA[*panicError](err) {
					t.Errorf("a call that panicked ended with %v", err)
				}
			default:
				if err != nil {
					t.Errorf("a call ended with %v", err)
				}
			}
		}
		for _, name := range names {
			if name != names[0] || name == goroutine() {
				t.Errorf("the test is %s, and the calls ran on %q", goroutine(), names)
			}
		}
		r.leave() // the goroutine ends, or the bubble fails
	})
}

func TestRunnerThatWasLeftCallsOnAnotherGoroutine(t *testing.T) {
	t.Parallel()
	for name, stays := range map[string]func(release chan struct{}){
		"never returns": func(release chan struct{}) { <-release },
		"ends":          func(chan struct{}) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r runner
				release := make(chan struct{})
				first := r.start(func() error {
					stays(release)
					return errors.New("late")
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				select {
				case err := <-first:
					t.Fatalf("the call ended with %v", err)
				case <-ctx.Done():
					r.leave()
				}
				for range 2 {
					if err := <-r.start(func() error { return nil }); err != nil {
						t.Errorf("a call after that ended with %v", err)
					}
				}
				close(release)
				synctest.Wait()
				if err := <-r.start(func() error { return nil }); err != nil {
					t.Errorf("a call after the late end ended with %v", err)
				}
				r.leave()
			})
		})
	}
}
