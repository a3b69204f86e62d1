package destination_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/client"
	"gaff/destination"
)

func TestRetryAfterHoldsTheWholeDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var busy atomic.Bool
		busy.Store(true)
		w.answers(func(string, client.Envelope) (int, http.Header, error) {
			if busy.Load() {
				return 429, http.Header{"Retry-After": {"600"}}, nil
			}
			return 200, nil, nil
		})
		d := w.add(destination.Spec{Name: "app"})
		first := w.emit("1", `{}`)
		synctest.Wait()
		for i := range 20 {
			w.emit(fmt.Sprint("more", i), `{}`)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 1 {
			t.Errorf("%d requests while it asked to be left alone", n)
		}
		if h := d.Health(); h.Circuit != destination.CircuitClosed || h.RetryAt.IsZero() || h.Failed != 1 {
			t.Errorf("health %+v", h)
		}
		busy.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 22 {
			t.Errorf("%d requests afterwards", n)
		}
		if _, attempts := w.delivery(first); len(attempts) != 2 {
			t.Errorf("%d attempts", len(attempts))
		}
	})
}

func TestTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var down atomic.Bool
		down.Store(true)
		w.answers(func(string, client.Envelope) (int, http.Header, error) {
			if down.Load() {
				return 0, nil, errors.New("connection refused")
			}
			return 200, nil, nil
		})
		d := w.add(destination.Spec{Name: "app", Concurrency: 4})
		var ids []string
		for i := range 100 {
			ids = append(ids, w.emit(fmt.Sprint(i), `{}`))
		}
		synctest.Wait()
		opened := len(w.tries("app", ""))
		if h := d.Health(); h.Circuit != destination.CircuitOpen || opened > 5+4 || h.LastError == "" {
			t.Fatalf("after %d tries: %+v", opened, h)
		}
		// An hour of being down cost the crowd nothing: a probe now and then.
		time.Sleep(time.Hour)
		synctest.Wait()
		probes := len(w.tries("app", "")) - opened
		if probes < 10 || probes > 25 {
			t.Errorf("%d probes in an hour, some 15 are due", probes)
		}
		attempts := 0
		for _, id := range ids {
			_, as := w.delivery(id)
			attempts = max(attempts, len(as))
		}
		if attempts > 2 {
			t.Errorf("one delivery lost %d attempts", attempts)
		}
		down.Store(false)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if h := d.Health(); h.Circuit != destination.CircuitClosed || h.Failures != 0 {
			t.Errorf("afterwards: %+v", h)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, id := range ids {
			if del, _ := w.delivery(id); del.State != gaff.StateSucceeded {
				t.Fatalf("%s is %s", id, del.State)
			}
		}
	})
}

// One event that the receiver always rejects does not stop the others.
func TestOnePoisonousEventOpensNoCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ string, e client.Envelope) (int, http.Header, error) {
			if e.Event.WebhookID == "poison" {
				return 500, nil, nil
			}
			return 200, nil, nil
		})
		d := w.add(destination.Spec{Name: "app"})
		w.emit("poison", `{}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		if h := d.Health(); h.Circuit != destination.CircuitClosed || h.Failures < 6 {
			t.Errorf("after an hour of the poison alone: %+v", h)
		}
		w.emit("good", `{}`)
		synctest.Wait()
		if n := len(w.tries("app", "good")); n != 1 {
			t.Errorf("%d tries of the good one", n)
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.add(destination.Spec{Name: "app"})
		d.Pause(destination.StatePaused, "deploy")
		id := w.emit("1", `{}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 0 || d.Health().Reason != "deploy" {
			t.Errorf("%d requests while paused, %+v", n, d.Health())
		}
		d.Resume()
		w.Wake("app")
		synctest.Wait()
		if del, as := w.delivery(id); del.State != gaff.StateSucceeded || len(as) != 1 {
			t.Errorf("resumed: %s, %d attempts", del.State, len(as))
		}
		// Gone: disabled until someone resumes, and nothing that waits is lost.
		w.answers(func(string, client.Envelope) (int, http.Header, error) { return 410, nil, nil })
		first := w.emit("2", `{}`)
		synctest.Wait()
		second := w.emit("3", `{}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 2 || d.Health().State != destination.StateDisabled {
			t.Errorf("%d requests after a 410, %+v", n, d.Health())
		}
		w.answers(nil)
		d.Resume()
		w.Wake("app")
		synctest.Wait()
		for _, id := range []string{first, second} {
			if del, _ := w.delivery(id); del.State != gaff.StateSucceeded {
				t.Errorf("%s is %s", id, del.State)
			}
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(destination.Spec{Name: "app", Rate: 2, Burst: 5})
		for i := range 45 {
			w.emit(fmt.Sprint(i), `{}`)
		}
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 5 {
			t.Errorf("%d at once, 5 may come together", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(w.tries("app", "")); n < 24 || n > 26 {
			t.Errorf("%d after ten seconds, want 25", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := len(w.tries("app", "")); n != 45 {
			t.Errorf("%d in the end", n)
		}
	})
}
