package gaff_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/eventually"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// stalled runs test in a bubble of fake time, on a gateway whose disk hangs until mend is called.
func stalled(t *testing.T, o gaff.Options, setup func(*bench), test func(t *testing.T, b *bench, mend func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, o, setup)
		hung := make(chan struct{})
		go func() {
			_ = st.Between(func(*sql.Conn) error {
				<-hung
				return nil
			})
		}()
		synctest.Wait()
		mended := sync.OnceFunc(func() { close(hung) })
		test(t, b, mended)
		mended()
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// hang is a transaction that does not end before a channel is closed.
func hang(until <-chan struct{}) func(jobs.Tx) error {
	return func(jobs.Tx) error {
		<-until
		return nil
	}
}

// bench is a gateway over a real database, with one source that trusts everybody.
type bench struct {
	*gaff.Gateway
	st *sqlite.Store
}

type open struct{}

func (open) Verify(context.Context, *gaff.Request) (gaff.Verification, error) {
	return gaff.Verification{Scheme: "none"}, nil
}

// plain reads {"id","type"}.
type plain struct{}

func (plain) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	var body struct{ ID, Type string }
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return gaff.Envelope{}, err
	}
	return gaff.Envelope{ID: body.ID, Type: body.Type}, nil
}

func openStore(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// newBench makes a gateway and starts it after setup. It is stopped at the test's end.
func newBench(t *testing.T, o gaff.Options, setup func(*bench)) *bench {
	t.Helper()
	st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
	b := benchOn(t, st, o, setup)
	t.Cleanup(func() {
		stop(t, b)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func benchOn(t *testing.T, st *sqlite.Store, o gaff.Options, setup func(*bench)) *bench {
	t.Helper()
	if o.Store == nil {
		o.Store = st
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	gw, err := gaff.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{gw, st}
	gw.AddSource(gaff.Source{Name: "shop", Verifier: open{}, Parser: plain{}})
	if setup != nil {
		setup(b)
	}
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

func stop(t *testing.T, b *bench) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// send posts an event and returns its id.
func (b *bench) send(t *testing.T, id, eventType string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	body := fmt.Sprintf(`{"id":%q,"type":%q}`, id, eventType)
	b.IngestHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/webhooks/shop", strings.NewReader(body)))
	var answer struct{ ID string }
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("answered %d %s", rec.Code, rec.Body)
	}
	return answer.ID
}

func (b *bench) detail(t *testing.T, id string) *gaff.EventDetail {
	t.Helper()
	d, err := b.st.Event(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (b *bench) post(method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "/api/v1/webhooks/"+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	return rec
}

func (b *bench) newestRejection(t *testing.T) gaff.Rejection {
	t.Helper()
	return b.rejections(t, gaff.RejectionFilter{}, 1)[0]
}

// rejections returns the rejections that a filter chooses, when there are at least n: on a slow
// disk an answer does not wait for its note.
func (b *bench) rejections(t *testing.T, f gaff.RejectionFilter, n int) (found []gaff.Rejection) {
	t.Helper()
	eventually.True(t, fmt.Sprint(n, " rejections are stored"), func() bool {
		page, err := b.st.Rejections(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		found = page.Items
		return len(found) >= n
	})
	return found
}

// pass accepts the word that it is, at the time of receipt.
type pass string

func (p pass) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	if r.Header.Get("X-Pass") != string(p) {
		return gaff.Verification{}, errors.New("another word")
	}
	if at, err := time.Parse(time.RFC3339, r.Header.Get("X-At")); err == nil && r.ReceivedAt.Sub(at) > time.Minute {
		return gaff.Verification{}, errors.New("too late")
	}
	return gaff.Verification{Scheme: "pass", KeyID: string(p)}, nil
}

// lines splits a body into an event for each line; an empty body holds none.
type lines struct{}

func (lines) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	env := gaff.Envelope{Split: true}
	for line := range strings.FieldsSeq(string(r.Body)) {
		env.Batch = append(env.Batch, gaff.Envelope{ID: line, Type: "line", Data: []byte(`"` + line + `"`)})
	}
	return env, nil
}

var errBroken = errors.New("broken")
