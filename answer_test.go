package gaff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

// command posts an event to the source cmd, and returns the answer's body.
func (b *bench) command(ctx context.Context, id, eventType string) string {
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/cmd", strings.NewReader(fmt.Sprintf(`{"id":%q,"type":%q}`, id, eventType)))
	b.IngestHandler().ServeHTTP(rec, r.WithContext(ctx))
	return rec.Body.String()
}

// answering adds the source cmd, whose senders wait three seconds for the handler "bot".
func answering(b *bench) {
	b.AddSource(gaff.Source{
		Name: "cmd", Verifier: open{}, Parser: plain{},
		Answer: &gaff.Answer{Handler: "bot", Wait: 3 * time.Second, Else: &gaff.Reply{Status: http.StatusOK, ContentType: "text/plain", Body: []byte("later")}},
	})
	b.Handle("cmd", "*", gaff.Named("bot", gaff.HandlerFunc(func(ctx context.Context, ev *gaff.Event) error {
		switch ev.Type {
		case "quick":
			if !gaff.AwaitsReply(ctx) || !gaff.Respond(ctx, "text/plain", []byte("done")) {
				return errors.New("no sender waits")
			}
			if gaff.Respond(ctx, "text/plain", []byte("twice")) {
				return errors.New("answered twice")
			}
		case "slow":
			time.Sleep(10 * time.Second)
			if gaff.Respond(ctx, "text/plain", []byte("done")) {
				return errors.New("a sender that has its answer was answered")
			}
		case "failing":
			return errors.New("no")
		case "large":
			if gaff.Respond(ctx, "text/plain", make([]byte, gaff.MaxAnswerBytes+1)) {
				return errors.New("too large, but answered")
			}
		}
		return nil
	})))
	b.Handle("cmd", "*", gaff.Named("other", gaff.HandlerFunc(func(ctx context.Context, _ *gaff.Event) error {
		if gaff.AwaitsReply(ctx) || gaff.Respond(ctx, "text/plain", []byte("other")) {
			return errors.New("another handler answers")
		}
		return nil
	})))
}

func TestSenderWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]struct {
		answer string
		took   time.Duration
	}{
		"quick": {"done", 0}, "slow": {"later", 3 * time.Second}, "failing": {"later", 0}, "silent": {"later", 0}, "large": {"later", 0},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, gaff.Options{}, answering)
				began := time.Now()
				if got := b.command(t.Context(), "1", kind); got != want.answer || time.Since(began).Round(time.Second) != want.took {
					t.Errorf("answered %q after %s, want %q after %s", got, time.Since(began), want.answer, want.took)
				}
				if got := b.command(t.Context(), "1", kind); got != "later" {
					t.Errorf("a repeat was answered %q", got)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if kind != "failing" {
					page, err := b.st.Events(t.Context(), gaff.EventFilter{Source: "cmd"})
					if err != nil || len(page.Items) != 1 || page.Items[0].Status != gaff.StatusSuccess {
						t.Errorf("%+v, %v", page.Items, err)
					}
				}
			})
		})
	}
}

func TestSenderWithoutAHandlerIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, func(b *bench) {
			b.AddSource(gaff.Source{Name: "cmd", Verifier: open{}, Parser: plain{}, Answer: &gaff.Answer{Handler: "bot", Wait: time.Hour}})
		})
		began := time.Now()
		if got := b.command(t.Context(), "1", "x"); !strings.Contains(got, `"success":true`) || time.Since(began) > time.Second {
			t.Errorf("answered %q after %s", got, time.Since(began))
		}
	})
}

func TestWaitingSendersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, answering)
		var waiting sync.WaitGroup
		for i := range 256 {
			waiting.Go(func() { b.command(t.Context(), fmt.Sprint("slow", i), "slow") })
		}
		synctest.Wait()
		began := time.Now()
		if got := b.command(t.Context(), "more", "quick"); got != "later" || time.Since(began) > time.Second {
			t.Errorf("the 257th was answered %q after %s", got, time.Since(began))
		}
		waiting.Wait()
		time.Sleep(time.Minute)
		if got := b.command(t.Context(), "after", "quick"); got != "done" {
			t.Errorf("when none waits answered %q", got)
		}
	})
}

func TestSenderThatLeavesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, gaff.Options{}, answering)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		b.command(ctx, "1", "slow")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the request ended after %s", took)
		}
	})
}
