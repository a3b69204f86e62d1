package standin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gaff"
	"gaff/internal/standin"
	"gaff/provider/fal"
	"gaff/verify"
)

// receiver stores the webhooks that it gets, and answers with the configured status.
type receiver struct {
	mu     sync.Mutex
	got    []*gaff.Request
	answer func(n int) int
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rc.mu.Lock()
	rc.got = append(rc.got, &gaff.Request{
		Method: r.Method, URL: r.URL.String(), Header: r.Header.Clone(), Body: body, ReceivedAt: time.Now(),
	})
	n := len(rc.got)
	rc.mu.Unlock()
	if rc.answer != nil {
		w.WriteHeader(rc.answer(n))
	}
}

func (rc *receiver) all() []*gaff.Request {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return append([]*gaff.Request(nil), rc.got...)
}

// world joins a stand-in for fal, one for Last Frame and a receiver, without a network.
type world struct {
	t         *testing.T
	fal       *standin.Fal
	lastframe *standin.LastFrame
	hooks     *receiver
	client    *http.Client
}

const frameSecret = "frame-secret"

func newWorld(t *testing.T, o standin.Options) *world {
	w := &world{t: t, hooks: &receiver{}}
	hosts := standin.Hosts{"hooks.test": w.hooks}
	w.client = &http.Client{Transport: hosts, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	o.Client = w.client
	if o.Seed == 0 {
		o.Seed = 42
	}
	w.fal, w.lastframe = standin.NewFal(o), standin.NewLastFrame(frameSecret, o)
	hosts["queue.test"], hosts["frames.test"] = w.fal, w.lastframe
	t.Cleanup(w.fal.Close)
	t.Cleanup(w.lastframe.Close)
	return w
}

func (w *world) call(method, url, body string, header ...string) (int, http.Header, []byte) {
	w.t.Helper()
	status, h, text, err := w.try(method, url, body, header...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, url, err)
	}
	return status, h, text
}

func (w *world) try(method, url, body string, header ...string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Key id:secret")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

func (w *world) submit(model, input string, header ...string) submitted {
	w.t.Helper()
	status, _, body := w.call(http.MethodPost, "http://queue.test/"+model+"?fal_webhook=http%3A%2F%2Fhooks.test%2Ffal%3Fa%3D1", input, header...)
	if status != http.StatusOK {
		w.t.Fatalf("submit: %d %s", status, body)
	}
	var s submitted
	if err := json.Unmarshal(body, &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// read takes the webhooks through gaff's own source, as a gateway would.
func (w *world) read(r *gaff.Request) (gaff.Verification, gaff.Envelope, error) {
	keys := verify.NewJWKS("http://queue.test"+standin.JWKSPath, verify.JWKSOptions{Client: w.client})
	src, err := fal.Source(fal.Options{JWKS: keys})
	if err != nil {
		w.t.Fatal(err)
	}
	proof, err := src.Verifier.Verify(context.Background(), r)
	if err != nil {
		return proof, gaff.Envelope{}, err
	}
	env, err := src.Parser.Parse(r, proof)
	return proof, env, err
}

type submitted struct {
	RequestID   string `json:"request_id"`
	StatusURL   string `json:"status_url"`
	ResponseURL string `json:"response_url"`
	CancelURL   string `json:"cancel_url"`
}
