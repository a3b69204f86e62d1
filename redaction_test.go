package gaff_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"gaff"
	"gaff/gafftest"
	"gaff/provider/custom"
	"gaff/store/sqlite"
)

func TestRedactionApplies(t *testing.T) {
	t.Parallel()
	r := gaff.Redaction{Pointers: []string{"/customer/email", "/items/*/name"}, Headers: []string{"x-client-ip"}}
	for name, c := range map[string]struct{ body, data, wantBody, wantData string }{
		"json": {
			`{"customer":{"email":"a@b","id":1},"items":[{"name":"n","k":2}]}`, "",
			`{"customer":{"email":"[masked]","id":1},"items":[{"name":"[masked]","k":2}]}`, "",
		},
		"nothing to redact": {`{"a":1}`, "", `{"a":1}`, ""},
		"a form":            {`email=a@b`, `{"customer":{"email":"a@b"}}`, `{"customer":{"email":"[masked]"}}`, ""},
		"a batch":           {`[{"customer":{"email":"a@b"}},{"customer":{"email":"c@d"}}]`, `{"customer":{"email":"a@b"}}`, `{"customer":{"email":"[masked]"}}`, ""},
	} {
		header := http.Header{"X-Client-Ip": {"192.0.2.1", "192.0.2.2"}, "X-Other": {"o"}}
		req := &gaff.Request{Header: header, Body: []byte(c.body)}
		ev := &gaff.Event{Data: []byte(c.data), Request: req}
		if c.data == "" {
			ev.Data = req.Body
		}
		if c.wantData == "" {
			c.wantData = c.wantBody
		}
		if !r.Apply(ev) {
			t.Errorf("%s: not changed", name)
		}
		if string(ev.Data) != c.wantData || string(ev.Request.Body) != c.wantBody {
			t.Errorf("%s: data %s, body %s", name, ev.Data, ev.Request.Body)
		}
		if got := strings.Join(ev.Request.Header["X-Client-Ip"], ","); got != "[masked]" || ev.Request.Header.Get("X-Other") != "o" {
			t.Errorf("%s: headers %v", name, ev.Request.Header)
		}
		if req.Header.Get("X-Client-Ip") != "192.0.2.1" || string(req.Body) != c.body {
			t.Errorf("%s: the request itself was changed: %v %s", name, req.Header, req.Body)
		}
		if r.Apply(ev) {
			t.Errorf("%s: changed again", name)
		}
	}
}

// What verification and identity need is read before the values are removed.
func TestRedactionComesAfterVerification(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "a shared secret of tests"
	src, err := custom.Default([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	src.Redaction = gaff.Redaction{Pointers: []string{"/id", "/email"}}
	gw.AddSource(src)
	seen := make(chan string, 1)
	gw.Handle(src.Name, "*", gaff.HandlerFunc(func(_ context.Context, ev *gaff.Event) error {
		seen <- string(ev.Data)
		return nil
	}))
	if err := gw.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gw.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	send := func(body string) (status int, answer string) {
		r, err := gafftest.SignedRequest(t.Context(), "http://x"+gaff.PathPrefix+src.Name, src.Name, secret, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		gw.IngestHandler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for i, body := range []string{`{"id":"1","type":"t","email":"a@b"}`, `{"id":"1","type":"t","email":"a@b"}`, `{"id":"2","type":"t","email":"a@b"}`} {
		status, answer := send(body)
		if status != http.StatusOK || strings.Contains(answer, "duplicate") != (i == 1) {
			t.Errorf("webhook %d: %d %s", i, status, answer)
		}
		if i == 1 {
			continue
		}
		if got := <-seen; got != `{"id":"[masked]","type":"t","email":"[masked]"}` {
			t.Errorf("the handler gets %s", got)
		}
	}
	counts, err := st.RowsNaming(t.Context(), "a@b")
	if err != nil || len(counts) != 0 {
		t.Errorf("tables with the value: %v %v", counts, err)
	}
}
