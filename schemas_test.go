package gaff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff"
)

// wantsAmount is a schema for events of the type "paid": they need a member "amount".
func wantsAmount(_ context.Context, eventType string, data []byte, spent gaff.SchemaEffort) (*gaff.SchemaViolation, gaff.SchemaEffort, error) {
	if eventType != "paid" || bytes.Contains(data, []byte(`"amount"`)) {
		return nil, spent, nil
	}
	return &gaff.SchemaViolation{Schema: "paid", Problems: []gaff.SchemaProblem{{Keyword: "required", Message: `lacks the members "amount"`}}}, spent, nil
}

// violated is what the hook of a gateway got.
type violated struct {
	source, schema string
	refused        bool
}

func schemaBench(t *testing.T) (*bench, *[]violated) {
	t.Helper()
	got := new([]violated)
	o := gaff.Options{Hooks: gaff.Hooks{Violated: func(source, schema string, refused bool) { *got = append(*got, violated{source, schema, refused}) }}}
	b := newBench(t, o, func(b *bench) {
		b.AddSource(gaff.Source{Name: "warned", Verifier: guardedVerifier{}, Parser: plain{}, Schemas: &gaff.Schemas{Validate: wantsAmount}})
		b.AddSource(gaff.Source{Name: "refused", Verifier: guardedVerifier{}, Parser: plain{}, Schemas: &gaff.Schemas{Validate: wantsAmount, Refuse: true}})
		b.AddSource(gaff.Source{Name: "masked", Verifier: guardedVerifier{}, Parser: plain{}, Secrets: []string{"json:/amount"}, Schemas: &gaff.Schemas{
			Validate: func(ctx context.Context, _ string, data []byte, spent gaff.SchemaEffort) (*gaff.SchemaViolation, gaff.SchemaEffort, error) {
				if bytes.Contains(data, []byte(`"amount":5`)) {
					return nil, spent, nil
				}
				return wantsAmount(ctx, "paid", nil, spent)
			},
		}})
	})
	return b, got
}

func passed(b *bench, source, pass, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+source, strings.NewReader(body))
	r.Header.Set("X-Pass", pass)
	w := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(w, r)
	return w
}

func TestViolationIsStoredWithEvent(t *testing.T) {
	t.Parallel()
	b, got := schemaBench(t)
	w := passed(b, "warned", "open", `{"id":"r1","type":"paid"}`)
	var answer struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	d, err := b.st.Event(t.Context(), answer.ID)
	if err != nil || d.Violation == nil || d.Violations != 1 || d.Violation.Problems[0].Keyword != "required" {
		t.Errorf("the event: %+v, %v", d, err)
	}
	for _, body := range []string{`{"id":"r2","type":"paid","amount":5}`, `{"id":"r3","type":"open"}`} {
		passed(b, "warned", "open", body)
	}
	if len(*got) != 1 || (*got)[0] != (violated{"warned", "paid", false}) {
		t.Errorf("the hook got %v", *got)
	}
}

func TestViolationIsRefused(t *testing.T) {
	t.Parallel()
	b, got := schemaBench(t)
	w := passed(b, "refused", "open", `{"id":"r1","type":"paid"}`)
	want := `{"error":"Schema violation","problems":[{"path":"","keyword":"required","message":"lacks the members \"amount\""}]}`
	if w.Code != http.StatusUnprocessableEntity || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if page, err := b.st.Events(t.Context(), gaff.EventFilter{Source: "refused"}); err != nil || len(page.Items) != 0 {
		t.Errorf("it is stored: %v, %v", page, err)
	}
	page, err := b.st.Rejections(t.Context(), gaff.RejectionFilter{Source: "refused"})
	if err != nil || len(page.Items) != 1 || page.Items[0].Status != http.StatusUnprocessableEntity || !page.Items[0].Rescuable ||
		page.Items[0].Reason != `violates the schema for "paid": the body lacks the members "amount"` {
		t.Fatalf("the rejection: %+v, %v", page.Items, err)
	}
	if w := passed(b, "refused", "open", `{"id":"r1","type":"paid","amount":5}`); w.Code != http.StatusOK {
		t.Errorf("a valid one: %d %s", w.Code, w.Body)
	}
	if w := passed(b, "refused", "wrong", `{"id":"r1","type":"paid"}`); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "amount") {
		t.Errorf("an unverified caller: %d %s", w.Code, w.Body)
	}
	if len(*got) != 1 {
		t.Errorf("the hook got %v", *got)
	}
}

// A refused request is stored whole, so that it can be rescued once the schema is correct.
func TestRefusedViolationIsRescued(t *testing.T) {
	t.Parallel()
	b, _ := schemaBench(t)
	passed(b, "refused", "open", `{"id":"r1","type":"paid"}`)
	page, err := b.st.Rejections(t.Context(), gaff.RejectionFilter{Source: "refused"})
	if err != nil || len(page.Items) != 1 {
		t.Fatal(page, err)
	}
	if _, err := b.Rescue(t.Context(), page.Items[0].ID); err == nil {
		t.Error("it was rescued with the same schema")
	}
	if err := b.UpdateSource(gaff.Source{Name: "refused", Verifier: guardedVerifier{}, Parser: plain{}}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Rescue(t.Context(), page.Items[0].ID); err != nil || got.EventID == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSchemaSeesUnmaskedData(t *testing.T) {
	t.Parallel()
	b, got := schemaBench(t)
	if w := passed(b, "masked", "open", `{"id":"r1","type":"paid","amount":5}`); w.Code != http.StatusOK || len(*got) != 0 {
		t.Errorf("%d %s, violations %v", w.Code, w.Body, *got)
	}
}

// The effort is counted over all events of a request, and begins with each request.
func TestSchemaEffortIsOfTheRequest(t *testing.T) {
	t.Parallel()
	var before []int
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Schemas: &gaff.Schemas{
			Validate: func(_ context.Context, _ string, _ []byte, spent gaff.SchemaEffort) (*gaff.SchemaViolation, gaff.SchemaEffort, error) {
				before = append(before, spent.Steps)
				spent.Steps += 10
				return nil, spent, nil
			},
		}})
	})
	for _, body := range []string{"a b c", "d e"} {
		if w := b.post("POST", "lines", body); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if diff := cmp.Diff([]int{0, 10, 20, 0, 10}, before); diff != "" {
		t.Error(diff)
	}
}

// A gateway that cannot validate an event now lets its sender retry.
func TestUnvalidatedRequestIsAnsweredLater(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "lines", Verifier: open{}, Parser: lines{}, Schemas: &gaff.Schemas{
			Validate: func(_ context.Context, _ string, _ []byte, spent gaff.SchemaEffort) (*gaff.SchemaViolation, gaff.SchemaEffort, error) {
				return nil, spent, errors.New("busy")
			},
		}})
	})
	if w := b.post("POST", "lines", "a b"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if page, err := b.st.Events(t.Context(), gaff.EventFilter{Source: "lines"}); err != nil || len(page.Items) != 0 {
		t.Errorf("it is stored: %v, %v", page, err)
	}
}
