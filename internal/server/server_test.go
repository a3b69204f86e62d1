package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/gafftest"
	"gaff/internal/server"
	"gaff/provider/custom"
	"gaff/store/sqlite"
)

const secret = "a secret"

// pipes is a listener without a network, so that the clock can be faked.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

type front struct {
	*pipes
	stop func() error
}

// options are those of a gateway as it is configured by default, but for fewer connections.
func options() server.Options {
	return server.Options{
		API: http.NotFoundHandler(), Ready: func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
		Authorized:     func(*http.Request) bool { return false },
		MaxHeaderBytes: 16 << 10, HeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: 75 * time.Second,
		Connections: 3,
	}
}

// serve runs a server in front of a real gateway with the source "custom". Use it within
// a bubble.
func serve(t *testing.T, o server.Options) *front {
	t.Helper()
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gaff.New(gaff.Options{Store: st, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	src, err := custom.Default([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	src.MaxBodyBytes = 1000
	gw.AddSource(src)
	if err := gw.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if o.Ingest == nil {
		o.Ingest = gw.IngestHandler()
	}
	f := &front{pipes: &pipes{make(chan net.Conn), make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, f, o, 10*time.Second) }()
	f.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() {
		if err := errors.Join(f.stop(), gw.Stop(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// dial connects; the connection is closed at the test's end.
func (f *front) dial(t *testing.T) net.Conn {
	t.Helper()
	client, theirs := net.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		select {
		case f.conns <- theirs:
		case <-f.done:
		}
	}()
	return client
}

// said reads the server's output until it closes the connection, and returns when the first
// byte came and when the connection closed.
func said(c net.Conn) (text string, spoke, after time.Duration) {
	began := time.Now()
	first := make([]byte, 1)
	n, _ := c.Read(first)
	spoke = time.Since(began)
	b, _ := io.ReadAll(c)
	return string(first[:n]) + string(b), spoke, time.Since(began)
}

func post(t *testing.T, body string) *http.Request {
	t.Helper()
	r, err := gafftest.SignedRequest(t.Context(), "http://gaff/api/v1/webhooks/custom", "custom", secret, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(t *testing.T, c net.Conn, r *http.Request) *http.Response {
	t.Helper()
	go func() { _ = r.Write(c) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// Slow senders are disconnected: a silent client holds no connection.
func TestSlowSendersAreCutOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// say is written at once, then a byte of drip each second.
		say, drip string
		// after is when the response comes, or the connection's end without one.
		after  time.Duration
		answer string // begins with
	}{
		"who say nothing":     {"", "", 5 * time.Second, ""},
		"slow in the header":  {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nX-A: ", strings.Repeat("a", 100), 5 * time.Second, ""},
		"slow in the body":    {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nContent-Length: 900\r\n\r\n", strings.Repeat("a", 900), 15 * time.Second, "HTTP/1.1 400"},
		"who lie about it":    {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nContent-Length: 900\r\n\r\n{}", "", 15 * time.Second, "HTTP/1.1 400"},
		"slow in the chunks":  {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nTransfer-Encoding: chunked\r\n\r\n384\r\n", strings.Repeat("a", 900), 15 * time.Second, "HTTP/1.1 400"},
		"too large a promise": {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nContent-Length: 1001\r\n\r\n", strings.Repeat("a", 900), 0, "HTTP/1.1 413"},
		"too many chunks":     {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1f4\r\n"+strings.Repeat("a", 500)+"\r\n", 3), "", 0, "HTTP/1.1 413"},
		"two lengths":         {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", "", 0, "HTTP/1.1 400"},
		"a negative length":   {"POST /api/v1/webhooks/custom HTTP/1.1\r\nHost: gaff\r\nContent-Length: -5\r\n\r\n", "", 0, "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn := serve(t, options()).dial(t)
				var sender sync.WaitGroup
				sender.Go(func() {
					if _, err := io.WriteString(conn, c.say); err != nil {
						return
					}
					for i := range len(c.drip) {
						time.Sleep(time.Second)
						if _, err := conn.Write([]byte{c.drip[i]}); err != nil {
							return
						}
					}
				})
				text, spoke, after := said(conn)
				sender.Wait()
				if spoke < c.after || spoke > c.after+time.Second {
					t.Errorf("answered after %s, want %s", spoke, c.after)
				}
				// A client that sends on after the answer may do so for the time of a request, so that
				// he can read it.
				if after > 16*time.Second {
					t.Errorf("cut off after %s", after)
				}
				if !strings.HasPrefix(text, c.answer) || c.answer == "" && text != "" {
					t.Errorf("answered %q, want %q", text, c.answer)
				}
			})
		})
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := serve(t, options()).dial(t)
		for i := range 3 {
			time.Sleep(time.Duration(i) * 70 * time.Second / 2)
			if resp := send(t, conn, post(t, fmt.Sprintf(`{"id":"%d"}`, i))); resp.StatusCode != http.StatusOK || resp.Close {
				t.Fatalf("answer %d: %s, close %v", i, resp.Status, resp.Close)
			}
		}
		if text, _, after := said(conn); text != "" || after < 74*time.Second || after > 76*time.Second {
			t.Errorf("closed after %s, saying %q", after, text)
		}
	})
}

func TestHeaderIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, options())
		r := post(t, `{"id":"fits"}`)
		r.Header.Set("X-Long", strings.Repeat("x", 15<<10))
		if resp := send(t, f.dial(t), r); resp.StatusCode != http.StatusOK {
			t.Errorf("15 KiB are answered %s", resp.Status)
		}
		r = post(t, `{"id":"too long"}`)
		r.Header.Set("X-Long", strings.Repeat("x", 40<<10))
		if resp := send(t, f.dial(t), r); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("40 KiB are answered %s", resp.Status)
		}
	})
}

// More connections than are allowed wait to be let in; they take no room until then.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, options())
		var open []net.Conn
		for range 3 {
			open = append(open, f.dial(t))
		}
		synctest.Wait()
		late := f.dial(t)
		answered := make(chan string, 1)
		go func() {
			if post(t, `{"id":"late"}`).Write(late) != nil {
				return
			}
			resp, err := http.ReadResponse(bufio.NewReader(late), nil)
			if err == nil {
				answered <- resp.Status
			}
		}()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		select {
		case status := <-answered:
			t.Fatalf("a fourth connection is answered %s while three are open", status)
		default:
		}
		open[1].Close()
		if status := <-answered; status != "200 OK" {
			t.Errorf("when one went, the fourth was answered %s", status)
		}
	})
}

// A stop lets running requests end, and ends streams, which never would.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options()
		ended := make(chan error, 1)
		o.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
		})
		o.Ingest = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			_, _ = io.WriteString(w, "kept")
		})
		f := serve(t, o)
		stream, slow := f.dial(t), f.dial(t)
		go func() { _, _ = io.WriteString(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: gaff\r\n\r\n") }()
		go func() { _, _, _ = said(stream) }()
		answer := make(chan string, 1)
		go func() {
			_ = post(t, `{}`).Write(slow)
			text, _, _ := said(slow)
			answer <- text
		}()
		time.Sleep(time.Second)
		began := time.Now()
		if err := f.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if err := <-ended; err == nil {
			t.Error("the stream did not end")
		}
		if text := <-answer; !strings.Contains(text, "kept") {
			t.Errorf("the running request was answered %q", text)
		}
	})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
	}
	o := options()
	o.Ingest, o.API, o.Metrics = named("ingest"), named("api"), named("metrics")
	ready := error(nil)
	o.Ready = func(context.Context) error { return ready }
	o.Authorized = func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }
	handler := server.Handler(o)
	call := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://gaff/", nil)
		r.URL.Path = path
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for path, want := range map[string]string{
		"/api/v1/webhooks/fal": "ingest", "/api/v1/webhooks/fal/": "ingest", "/api/v1/webhooks/": "ingest", "/api/v1/webhooks/a//b": "ingest",
		"/api/v1/webhooks/manage": "api", "/api/v1/webhooks/manage/": "api", "/api/v1/webhooks/manage/x": "api", "/api/v1/webhooks/manage/count": "api",
		"/api/v1/webhooks/manage/../fal": "ingest", "/api/v1/webhooks/managed/x": "ingest",
		"/api/v1/webhooks": "ingest", "//api/v1/webhooks/fal": "ingest", "/api//v1/webhooks/fal": "ingest", "/x/../api/v1/webhooks/fal": "ingest",
		"/api/v1/webhooks/../events": "ingest", "//api/v1/webhooks/manage": "ingest",
		"/api/v1/events": "api", "/api/docs": "api",
	} {
		if w := call(http.MethodPost, path); w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/api/v1//events", "/api/v1/../v1/events", "/nowhere"} {
		if w := call(http.MethodPost, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404 and no redirect", path, w.Code)
		}
	}
	if w := call(http.MethodGet, "/healthz"); w.Code != http.StatusOK {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := call(http.MethodGet, "/readyz"); w.Code != http.StatusOK {
		t.Errorf("readyz: %d", w.Code)
	}
	ready = fmt.Errorf("%w: open /secret/path/gaff.db: disk full", gaff.ErrUnavailable)
	if w := call(http.MethodGet, "/readyz"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("readyz of a full disk: %d %s", w.Code, w.Body)
	}
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"without a token":     {nil, http.StatusUnauthorized},
		"with a token":        {[]string{"Authorization", "Bearer t"}, http.StatusOK},
		"through a proxy":     {[]string{"X-Forwarded-For", "127.0.0.1"}, http.StatusUnauthorized},
		"a claim to be local": {[]string{"X-Real-Ip", "127.0.0.1"}, http.StatusUnauthorized},
	} {
		if w := call(http.MethodGet, "/metrics", c.header...); w.Code != c.want {
			t.Errorf("metrics, %s: %d, want %d", name, w.Code, c.want)
		}
	}
	// As a proxy on this machine sends it that adds no header.
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:3000/metrics", nil)
	r.RemoteAddr = "127.0.0.1:5"
	w := httptest.NewRecorder()
	if handler.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("metrics from loopback without a token: %d", w.Code)
	}
	o.MetricsOpen = true
	w = httptest.NewRecorder()
	if server.Handler(o).ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("open metrics: %d", w.Code)
	}
}

// A probe is answered within two seconds even while the store waits.
func TestReadyzAnswersInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := server.Handler(server.Options{
			Ingest: http.NotFoundHandler(), API: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler),
			Ready: func(ctx context.Context) error {
				<-ctx.Done()
				return fmt.Errorf("%w: %w", gaff.ErrUnavailable, ctx.Err())
			},
		})
		w, began := httptest.NewRecorder(), time.Now()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("answered %d, want 503", w.Code)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("answered after %s, want two seconds at most", took)
		}
	})
}
