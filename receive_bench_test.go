package gaff_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/provider/custom"
	"gaff/provider/fal"
)

// instant is a store that accepts at once.
type instant struct{ gaff.Store }

func (instant) Accept(_ context.Context, p gaff.AcceptParams) (gaff.Receipt, error) {
	p.Dropped()
	return gaff.Receipt{ID: "evt_01JDXXXXXXXXXXXXXXXXXXXXXX"}, nil
}

// discard is a response of which only the status is read.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkReceive is a webhook of 1 KiB from the handler's call to its answer, without a store.
func BenchmarkReceive(b *testing.B) {
	const secret = "bench-secret"
	filler := strings.Repeat("abcdefghijklmnopqrstuvwxyz012345", 32)
	for name, c := range map[string]struct {
		body string
		sign func(r *gaff.Request)
	}{
		"custom": {
			`{"id":"order-0e3f3d4c-5b1c-4d5e-8f00-1234567890ab","type":"order.paid","data":"`,
			func(r *gaff.Request) { custom.Sign(r, secret, time.Now()) },
		},
		"fal": {
			`{"request_id":"0e3f3d4c","status":"completed","result":{"images":[{"url":"https://example.com/a.jpg","width":1024}],"seed":1},` +
				`"metadata":{"job_id":"job-1","project_id":"project-1","user_id":"user-1","generation_type":"image"},"prompt":"`,
			func(r *gaff.Request) { fal.Sign(r, secret) },
		},
	} {
		b.Run(name, func(b *testing.B) {
			handler := receiver(b, secret)
			body := []byte(c.body + filler[:1022-len(c.body)] + `"}`)
			signed := gaff.Request{Body: body}
			c.sign(&signed)
			r := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+name, nil)
			signed.Header.Set("Content-Type", "application/json")
			r.Header, r.ContentLength = signed.Header, int64(len(body))
			b.ReportAllocs()
			for b.Loop() {
				w := discard{header: http.Header{}}
				r.Body = io.NopCloser(bytes.NewReader(body))
				if handler.ServeHTTP(&w, r); w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// receiver is the handler of a gateway with the sources custom and fal.
func receiver(b *testing.B, secret string) http.Handler {
	gw, err := gaff.New(gaff.Options{Store: instant{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	one, err := custom.Default([]string{secret})
	if err != nil {
		b.Fatal(err)
	}
	other, err := fal.Source(fal.Options{Secrets: []string{secret}})
	if err != nil {
		b.Fatal(err)
	}
	gw.AddSource(one)
	gw.AddSource(other)
	return gw.IngestHandler()
}
