package gaff

import (
	"context"
	"net/http"
	"testing"
	"time"
)

type parserOfTest struct{}

func (parserOfTest) Parse(r *Request, _ Verification) (Envelope, error) {
	return Envelope{Type: "order.paid", ID: "order-7", Data: r.Body}, nil
}

// readAllocs returns the allocations of reading a verified request.
func readAllocs(t *testing.T, src *Source) float64 {
	t.Helper()
	g := &Gateway{}
	req := &Request{Method: http.MethodPost, URL: "/", Header: http.Header{}, Body: []byte(`{"id":"order-7","amount":5}`), ReceivedAt: time.Unix(1, 0)}
	return testing.AllocsPerRun(1000, func() {
		if evs, rp := g.read(t.Context(), src, req, Verification{Scheme: "test"}); len(evs) != 1 || rp.status != 0 {
			t.Fatalf("%v %+v", evs, rp)
		}
	})
}

func allValid(_ context.Context, _ string, _ []byte, spent SchemaEffort) (*SchemaViolation, SchemaEffort, error) {
	spent.Steps++
	return nil, spent, nil
}

// Sources without schemas pay nothing for them, and the hook itself allocates nothing.
func TestReadingAllocatesNothingForSchemas(t *testing.T) {
	without := readAllocs(t, &Source{Name: "shop", Parser: parserOfTest{}})
	with := readAllocs(t, &Source{Name: "shop", Parser: parserOfTest{}, Schemas: &Schemas{Validate: allValid}})
	if without != with {
		t.Errorf("%v allocations without schemas, %v with one that the data fits", without, with)
	}
}
