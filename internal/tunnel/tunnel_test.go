//go:build !slim

package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.ngrok.com/muxado/v2"
)

var quietLog = slog.New(slog.DiscardHandler)

// fakeNgrok speaks the service's side of the protocol: requests are JSON, each on a stream
// of its own over one TLS connection. It answers logins and binds as configured, and
// can send a request through the tunnel as the service does.
type fakeNgrok struct {
	addr        string
	cas         *x509.CertPool
	auth, bind  func(request map[string]any) map[string]any
	session     chan muxado.TypedStreamSession
	boundTo     chan string
	clientAuths chan string
}

// Types of streams.
const (
	authStream  = 0
	bindStream  = 1
	proxyStream = 3
)

func newFakeNgrok(t *testing.T) *fakeNgrok {
	// httptest has a certificate for this machine's address.
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	cert := web.TLS.Certificates[0]
	f := &fakeNgrok{
		cas: x509.NewCertPool(), session: make(chan muxado.TypedStreamSession, 4), boundTo: make(chan string, 4), clientAuths: make(chan string, 4),
		auth: func(map[string]any) map[string]any { return map[string]any{"Version": "3", "ClientId": "client"} },
	}
	f.bind = func(r map[string]any) map[string]any {
		return map[string]any{"Id": r["Id"], "URL": "https://local.example.com", "Proto": "https", "Opts": map[string]any{}}
	}
	f.cas.AddCert(web.Certificate())
	web.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	f.addr = ln.Addr().String()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

func (f *fakeNgrok) serve(conn net.Conn) {
	session := muxado.NewTypedStreamSession(muxado.Server(conn, nil))
	f.session <- session
	for {
		stream, err := session.AcceptTypedStream()
		if err != nil {
			return
		}
		go func() {
			switch stream.StreamType() {
			case authStream, bindStream:
				var request map[string]any
				if json.NewDecoder(stream).Decode(&request) != nil {
					return
				}
				answer := f.auth
				if stream.StreamType() == bindStream {
					answer = f.bind
				} else if extra, ok := request["Extra"].(map[string]any); ok {
					token, _ := extra["Authtoken"].(string)
					f.clientAuths <- token
				}
				_ = json.NewEncoder(stream).Encode(answer(request))
				_ = stream.Close()
			default: // heartbeats are echoed
				_, _ = io.Copy(stream, stream)
			}
		}()
	}
}

func (f *fakeNgrok) options() Options {
	return Options{
		Token: "the-token", Domain: "local.example.com", Deadline: 10 * time.Second, Log: quietLog, connectURL: f.addr, connectCAs: f.cas,
	}
}

// through sends a request through the tunnel, as one of the public.
func through(t *testing.T, session muxado.TypedStreamSession, bindID string, method, target, body string) (int, string) {
	t.Helper()
	stream, err := session.OpenTypedStream(proxyStream)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	head, _ := json.Marshal(map[string]any{"Id": bindID, "ClientAddr": "203.0.113.9:1234", "Proto": "https"})
	if err := binary.Write(stream, binary.LittleEndian, int64(len(head))); err != nil {
		t.Fatal(err)
	}
	_, _ = stream.Write(head)
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "local.example.com"
	if err := r.Write(stream); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(stream), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func TestThroughTheTunnel(t *testing.T) {
	t.Parallel()
	f := newFakeNgrok(t)
	bound := make(chan string, 1)
	f.bind = func(r map[string]any) map[string]any {
		opts, _ := json.Marshal(r["Opts"])
		bound <- string(opts)
		return map[string]any{"Id": "bind-1", "URL": "https://local.example.com", "Proto": "https", "Opts": map[string]any{}}
	}
	tun, err := Open(context.Background(), f.options())
	if err != nil {
		t.Fatal(err)
	}
	if tun.URL() != "https://local.example.com" {
		t.Errorf("URL %s", tun.URL())
	}
	if token := <-f.clientAuths; token != "the-token" {
		t.Errorf("logged in as %q", token)
	}
	if asked := <-bound; !strings.Contains(asked, "local.example.com") {
		t.Errorf("asked for %s", asked)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ingest := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.URL.Path+" from "+r.RemoteAddr+": "+string(body))
	})
	go func() { ended <- tun.Serve(ctx, ingest, limits) }()
	session := <-f.session
	code, text := through(t, session, "bind-1", "POST", "/api/v1/webhooks/fal", "hello")
	if code != 200 || text != "/api/v1/webhooks/fal from 203.0.113.9:1234: hello" {
		t.Errorf("webhook: %d %q", code, text)
	}
	if code, _ := through(t, session, "bind-1", "GET", "/api/v1/events", ""); code != 404 {
		t.Errorf("API: %d", code)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after the end: %v", err)
	}
	tun.Close()
}

var limits = ServeOptions{
	MaxHeaderBytes: 16 << 10, HeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, Connections: 10, Log: quietLog,
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(text string) func(map[string]any) map[string]any {
		return func(map[string]any) map[string]any { return map[string]any{"Version": "3", "Error": text} }
	}
	for name, c := range map[string]struct {
		auth, bind func(map[string]any) map[string]any
		want       string
	}{
		"bad token": {auth: refuse("The authtoken you specified does not look like a proper ngrok tunnel authtoken.\nYour authtoken: the-token\r\n\r\nERR_NGROK_105\r\n"), want: "NGROK_AUTH_TOKEN is not a valid token"},
		"revoked":   {auth: refuse("The authtoken is properly formed, but it is invalid.\r\n\r\nERR_NGROK_107\r\n"), want: "NGROK_AUTH_TOKEN is not a valid token"},
		"too many":  {auth: refuse("Your account is limited to 1 simultaneous agent sessions.\r\n\r\nERR_NGROK_108\r\n"), want: "stop another one"},
		"taken":     {bind: refuse("The endpoint 'https://local.example.com' is already online.\r\n\r\nERR_NGROK_334\r\n"), want: "the domain local.example.com is in use"},
		"not ours":  {bind: refuse("Failed to bind: the domain is reserved for another account.\r\n\r\nERR_NGROK_320\r\n"), want: "does not belong to this account"},
		"other":     {bind: refuse("Something else.\r\n\r\nERR_NGROK_9999\r\n"), want: "https://ngrok.com/docs/errors/err_ngrok_9999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeNgrok(t)
			if c.auth != nil {
				f.auth = c.auth
			}
			if c.bind != nil {
				f.bind = c.bind
			}
			tun, err := Open(context.Background(), f.options())
			if err == nil {
				tun.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "the-token") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q, want %q on one line and no token", err, c.want)
			}
		})
	}
}

// No network, a service that does not answer, one that is another: a deadline ends each.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, addr := range map[string]string{
		"nobody there": closed.Addr().String(), "no answer": silent.Addr().String(), "a web server": strings.TrimPrefix(web.URL, "http://"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tun, err := Open(context.Background(), Options{Token: "the-token", Deadline: 300 * time.Millisecond, Log: quietLog, connectURL: addr, connectCAs: x509.NewCertPool()})
			if err == nil {
				tun.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), "cannot be reached within 300ms") || strings.Contains(err.Error(), "the-token") {
				t.Errorf("%q", err)
			}
		})
	}
}

func TestOpenWithoutToken(t *testing.T) {
	t.Parallel()
	if _, err := Open(context.Background(), Options{Log: quietLog}); err == nil || !strings.Contains(err.Error(), "NGROK_AUTH_TOKEN") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, Options{Token: "t", Log: quietLog, connectURL: "127.0.0.1:1", connectCAs: x509.NewCertPool()}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestOnlyReceivingAddresses(t *testing.T) {
	t.Parallel()
	h := Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	for target, in := range map[string]bool{
		"/api/v1/webhooks/fal": true, "/api/v1/webhooks/fal/": true, "/api/v1/webhooks/fal/handle": true, "/api/v1/webhooks/lastframe": true,
		"/api/v1/webhooks/fal?x=1": true,
		"/":                        false, "/api/v1/webhooks/manage": false, "/api/v1/webhooks/manage/": false, "/api/v1/webhooks/Manage": false,
		"/api/v1/webhooks/manage?source=fal": false, "/api/v1/webhooks/%6danage": false, "/api/v1/webhooks/": false, "/api/v1/webhooks": false,
		"/api/v1/events": false, "/api/v1/jobs": false, "/api/docs": false, "/api/openapi.json": false, "/metrics": false, "/healthz": false,
		"/readyz": false, "/login": false, "/media/med_1/file": false, "/api/v1/webhooks/fal/../../events": false,
		"/api/v1/webhooks/../keys": false, "/api/v1/webhooks/./manage": false, "//api/v1/webhooks/fal": true, "/api//v1/webhooks/fal": true,
		"/api/v1/webhooks/fal/%2e%2e/manage": false, "/api/v1/webhooks//manage": false, "/API/v1/webhooks/fal": false,
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
			if got := w.Code == 200 && w.Body.String() == "in"; got != in || !in && w.Code != 404 {
				t.Errorf("%s %s: %d, let in %v; want %v", method, target, w.Code, got, in)
			}
		}
	}
}
