package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gaff"
	"gaff/internal/erase"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/jobs"
	"gaff/store/postgres"
)

// statements counts the statements that were sent, by their text.
type statements struct {
	mu    sync.Mutex
	count map[string]int
}

func (s *statements) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[text]++
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	s.add(d.SQL)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (*statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	s.add(d.SQL)
}
func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// most returns the statement that was sent most often.
func (s *statements) most() (text string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, count := range s.count {
		if count > n {
			text, n = t, count
		}
	}
	return text, n
}

// render is a source whose webhooks complete jobs, each with a file.
type render struct{}

func (render) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{Scheme: "none"}, nil
}

func (render) Parse(*gaff.Request, gaff.Verification) (gaff.Envelope, error) {
	return gaff.Envelope{Type: "done"}, nil
}

func (render) Interpret(ev *gaff.Event) (jobs.Update, error) {
	id := strings.Trim(string(ev.Data), `"`)
	u := jobs.Update{
		Provider: "render", JobID: id, RequestID: "request-" + id, Create: true, ProjectID: "film", Status: jobs.JobCompleted,
		Result: json.RawMessage(`{"images":[{"url":"https://example.com/` + id + `.png"}]}`),
	}
	u.Files, u.FilesTotal = jobs.Files("render", u.Result, ev.ReceivedAt)
	return u, nil
}

// The effects of webhooks that are written together cost statements for all of them, rather than for
// each: a query between the rows of two would send those of the first. Something was erased
// before, so that each webhook is also looked for among the erased jobs. The same holds for effects that
// are stored with their webhooks.
func TestEffectsOfABatchShareTheirStatements(t *testing.T) {
	t.Parallel()
	const webhooks = 200
	for name, tc := range map[string]struct{ erased, started bool }{
		"queued": {}, "queued, after something was erased": {erased: true}, "with their webhooks": {started: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := &statements{count: map[string]int{}}
			var o postgres.Options
			postgres.Trace(&o, sent)
			st, err := postgres.Open(t.Context(), pgtest.URL(t), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = st.Close() })
			gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			gw.AddSource(gaff.Source{Name: "render", Verifier: render{}, Parser: render{}})
			gw.Handle("render", "*", jobs.NewHandler(jobs.Options{Store: st, Router: gw, Interpreter: render{}}))
			send := func(id string) {
				rec := httptest.NewRecorder()
				gw.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/render", strings.NewReader(`"`+id+`"`)))
				if rec.Code != http.StatusOK {
					t.Errorf("answered %d %s", rec.Code, rec.Body)
				}
			}
			start := func() {
				if err := gw.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = gw.Stop(context.Background()) })
			}
			if tc.started {
				start()
			}
			var sending sync.WaitGroup
			for i := range webhooks {
				sending.Go(func() { send(fmt.Sprint("job-", i)) })
			}
			sending.Wait()
			if tc.erased {
				if _, err := st.Erase(t.Context(), erase.Target{Kind: erase.User, ID: "anna"}); err != nil && !errors.Is(err, gaff.ErrNotFound) {
					t.Fatal(err)
				}
			}
			if !tc.started { // all events are stored, so their effects come in large batches
				sent.mu.Lock()
				clear(sent.count)
				sent.mu.Unlock()
				start()
			}
			eventually.True(t, "all events are processed", func() bool {
				counts, err := st.Counts(t.Context(), time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				return slices.ContainsFunc(counts.Sources, func(c gaff.SourceCount) bool { return c.Source == "render" && c.Success == webhooks })
			})
			text, n := sent.most()
			most := webhooks / 2
			if tc.erased {
				most = webhooks + webhooks/2
			}
			if n > most {
				t.Errorf("sent %d times for %d webhooks: %.120s", n, webhooks, text)
			}
		})
	}
}
