package app

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/sender"
	"gaff/store/sqlite"
	"gaff/verify"
)

// records returns the sources of users of a gateway with one source of the configuration, "shop".
func records(t *testing.T) (*sourceRecords, http.Handler) {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.DiscardHandler)
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Sources = map[string]config.Source{"shop": {Preset: "stripe", Secrets: []config.Secret{"whsec_test"}}}
	r := &reloader{cfg: cfg, store: st, log: log, gateway: gw}
	built, err := r.sources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range built {
		gw.AddSource(src.Source)
	}
	m := &sourceRecords{store: st, changed: st.Changed, gateway: gw, reload: r, log: log, effects: func(Source) gaff.Handler { return nil }, jobs: noProviders{}}
	r.paused = m.pausedReason
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, gw.IngestHandler()
}

type noProviders struct{}

func (noProviders) AddProvider(jobs.Provider) error { return nil }

func (noProviders) RemoveProvider(string) {}

// post sends a body, signed by Standard Webhooks with a secret, to a source.
func post(t *testing.T, h http.Handler, source, secret, body string) int {
	t.Helper()
	d, _ := sender.Preset("standard-webhooks")
	v, err := sender.New(d, verify.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Method: http.MethodPost, URL: "http://example.com" + gaff.PathPrefix + source, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
	if err := v.Sign(r, time.Now()); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(r.Method, r.URL, strings.NewReader(body))
	req.Header = r.Header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code
}

func TestCreatedSourceReceives(t *testing.T) {
	t.Parallel()
	m, ingest := records(t)
	secret, err := m.Create(t.Context(), wire.SourceSpec{Name: "app", Preset: "standard-webhooks"})
	if err != nil || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("secret %q, %v", secret, err)
	}
	if got := post(t, ingest, "app", secret, `{"type":"a","id":1}`); got != http.StatusOK {
		t.Errorf("a signed webhook: %d", got)
	}
	if err := m.SetPaused(t.Context(), "app", "maintenance"); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", secret, `{"type":"a","id":2}`); got != http.StatusServiceUnavailable {
		t.Errorf("while it is paused: %d", got)
	}
	if err := m.SetPaused(t.Context(), "app", ""); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", secret, `{"type":"a","id":2}`); got != http.StatusOK {
		t.Errorf("after the pause: %d", got)
	}
	if err := m.Delete(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", secret, `{"type":"a","id":3}`); got != http.StatusNotFound {
		t.Errorf("after the deletion: %d", got)
	}
}

func TestRotatedSourceAcceptsFormerSecretForItsGrace(t *testing.T) {
	t.Parallel()
	m, ingest := records(t)
	first, err := m.Create(t.Context(), wire.SourceSpec{Name: "app", Preset: "standard-webhooks"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.Rotate(t.Context(), "app", wire.SourceRotation{Grace: "1h"})
	if err != nil || second == first {
		t.Fatalf("%q %v", second, err)
	}
	for _, secret := range []string{first, second} {
		if got := post(t, ingest, "app", secret, `{"type":"a","id":"`+secret+`"}`); got != http.StatusOK {
			t.Errorf("within the grace time: %d", got)
		}
	}
	records, err := m.store.Records(t.Context(), sourceKind)
	if err != nil {
		t.Fatal(err)
	}
	// The same record an hour later.
	if err := m.apply(t.Context(), records, m.revision, time.Now().Add(61*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", first, `{"type":"a","id":3}`); got != http.StatusUnauthorized {
		t.Errorf("the former secret after the grace time: %d", got)
	}
	if got := post(t, ingest, "app", second, `{"type":"a","id":4}`); got != http.StatusOK {
		t.Errorf("the new secret: %d", got)
	}
	third, err := m.Rotate(t.Context(), "app", wire.SourceRotation{Grace: "0s"})
	if err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", second, `{"type":"a","id":5}`); got != http.StatusUnauthorized || third == second {
		t.Errorf("without a grace time: %d", got)
	}
}

func TestConfiguredSourceIsManaged(t *testing.T) {
	t.Parallel()
	m, ingest := records(t)
	_, err := m.Create(t.Context(), wire.SourceSpec{Name: "shop", Preset: "stripe"})
	_, rotated := m.Rotate(t.Context(), "shop", wire.SourceRotation{})
	for what, err := range map[string]error{
		"create": err, "rotate": rotated, "update": m.Update(t.Context(), "shop", []byte(`{}`)), "delete": m.Delete(t.Context(), "custom"),
	} {
		if !errors.Is(err, gaff.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", what, err)
		}
	}
	if err := m.SetPaused(t.Context(), "shop", "x"); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "shop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{}`); got != http.StatusServiceUnavailable {
		t.Errorf("paused: %d", got)
	}
	if m.State("shop").Spec != nil {
		t.Error("the configuration's source has a description of the API")
	}
}

func TestBadSourceIsNotStored(t *testing.T) {
	t.Parallel()
	m, _ := records(t)
	for _, c := range []struct {
		spec wire.SourceSpec
		want string
	}{
		{wire.SourceSpec{Name: "Bad Name", Preset: "stripe"}, "is not a name of a source"},
		{wire.SourceSpec{Name: "published", Preset: "stripe"}, "gaff's own"},
		{wire.SourceSpec{Name: "a", Preset: "strip"}, "stripe"},
		{wire.SourceSpec{Name: "a"}, "says how the sender signs"},
		{wire.SourceSpec{Name: "a", Preset: "stripe", Secrets: []string{"env:HOME"}}, "reference"},
		{wire.SourceSpec{Name: "a", Preset: "stripe", Secrets: []string{"s"}, Allow: []string{"x"}}, "allow"},
	} {
		_, err := m.Create(t.Context(), c.spec)
		if !errors.Is(err, gaff.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.want)
		}
	}
	if list, err := m.store.Records(t.Context(), sourceKind); err != nil || len(list) != 0 {
		t.Errorf("stored %v, %v", list, err)
	}
}

func TestSourceOfAnotherNodeIsApplied(t *testing.T) {
	t.Parallel()
	m, ingest := records(t)
	value := `{"spec":{"name":"app","preset":"standard-webhooks","secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}}`
	if _, err := m.store.PutRecord(t.Context(), gaff.Record{Kind: sourceKind, Name: "app", Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := post(t, ingest, "app", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"type":"a"}`); got != http.StatusOK {
		t.Errorf("%d", got)
	}
	if masked := m.State("app").Spec.Masked(); strings.Contains(masked.Secrets[0], "MfKQ") {
		t.Errorf("the document has the secret: %v", masked.Secrets)
	}
}

// The schemas of a source are changed by a patch: one is replaced as a whole, not merged.
func TestSchemasOfSource(t *testing.T) {
	t.Parallel()
	m, ingest := records(t)
	secret, err := m.Create(t.Context(), wire.SourceSpec{
		Name: "app", Preset: "standard-webhooks", OnViolation: "refuse",
		Schemas: map[string]wire.JSON{"paid": wire.JSON(`{"required": ["amount"], "properties": {"amount": {"type": "number"}}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	answers := func(when, body string, want int) {
		t.Helper()
		if got := post(t, ingest, "app", secret, body); got != want {
			t.Errorf("%s, %s: %d, want %d", when, body, got, want)
		}
	}
	answers("at first", `{"type":"paid","id":1}`, http.StatusUnprocessableEntity)
	answers("at first", `{"type":"open","id":2}`, http.StatusOK)
	update := func(patch string) {
		t.Helper()
		if err := m.Update(t.Context(), "app", []byte(patch)); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
	update(`{"schemas": {"paid": {"properties": {"amount": {"minimum": 5}}}, "*": {"required": ["n"]}}}`)
	answers("replaced", `{"type":"paid","id":3,"amount":"text"}`, http.StatusOK)
	answers("replaced", `{"type":"paid","id":4,"amount":4}`, http.StatusUnprocessableEntity)
	answers("a schema for others", `{"type":"open","id":5}`, http.StatusUnprocessableEntity)
	update(`{"onViolation": "warn"}`)
	answers("with warn", `{"type":"open","id":6}`, http.StatusOK)
	for _, wrong := range []string{
		`{"schemas": {"paid": {"type": "text"}}}`, `{"schemas": {"paid": {"$ref": "http://127.0.0.1/s"}}}`, `{"onViolation": "stop"}`, `{"schemas": []}`, `{"schemas": {"a*": true}}`,
	} {
		if err := m.Update(t.Context(), "app", []byte(wrong)); !errors.Is(err, gaff.ErrInvalid) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	update(`{"onViolation": "refuse", "schemas": {"paid": null, "*": null}}`)
	answers("without schemas", `{"type":"open","id":7}`, http.StatusOK)
}
