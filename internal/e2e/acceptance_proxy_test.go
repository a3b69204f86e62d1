//go:build acceptance

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
)

const (
	hooksHost   = "hooks.example.com"
	consoleHost = "console.example.com"
)

// reachedHeader is set by the upstream of the proxies, so that its answers differ from theirs.
const reachedHeader = "X-Test-Reached"

// proxied is a reverse proxy that runs with an example of deploy/proxy.
type proxied struct{ addr string }

// request sends a raw request line, which no client normalizes, and returns status and whether gaff
// was reached.
func (p *proxied) request(t *testing.T, host, method, target string) (status int, reached bool) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", p.addr, &tls.Config{InsecureSkipVerify: true, ServerName: hooksHost})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, host)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get(reachedHeader) != ""
}

// probe checks which paths of the public host lead to gaff.
func (p *proxied) probe(t *testing.T) {
	for _, target := range []string{
		"/api/v1/webhooks/fal", "/api/v1/webhooks/fal/", "/api/v1/webhooks/custom/token.of-a-job", "/api/v1/webhooks/managed", "/api/v1/webhooks/fal?a=b%2Fc",
		"/media/med_1/file", "/media/med_1/file/name.jpg", "/media/med_1/thumbnail?s=1",
	} {
		if _, reached := p.request(t, hooksHost, "POST", target); !reached {
			t.Errorf("public host: POST %s does not reach gaff", target)
		}
	}
	for _, target := range []string{
		"/", "/login", "/api/v1/events", "/api/v1/jobs", "/api/openapi.json", "/metrics", "/healthz", "/readyz", "/media", "/media/med_1", "/api/fal/proxy", "/static/x.css",
		"/api/v1/webhooks/manage", "/api/v1/webhooks/manage/", "/api/v1/webhooks/manage/x", "/api/v1/webhooks/manage?source=fal",
		"/api/v1/webhooks/%6danage", "/api/v1/webhooks/%6Danage/", "/api/v1/webhooks//manage", "/api/v1//webhooks/manage", "/api/v1/webhooks/./manage",
		"/api/v1/webhooks/fal/../manage", "/api/v1/webhooks/../events", "/api/v1/webhooks/..%2fevents", "/api/v1/webhooks/%2e%2e/events", "//api/v1/events",
		"/media/med_1/file/../../x", "/media/../api/v1/events",
	} {
		status, reached := p.request(t, hooksHost, "GET", target)
		if reached {
			t.Errorf("public host: GET %s reaches gaff (%d)", target, status)
		}
	}
	if _, reached := p.request(t, consoleHost, "GET", "/api/v1/events"); !reached {
		t.Error("console host from this machine: does not reach gaff")
	}
	if _, reached := p.request(t, "other.example.com", "GET", "/api/v1/events"); reached {
		t.Error("unknown host: reaches gaff")
	}
}

// webhook sends a signed webhook through the proxy.
func (p *proxied) webhook(t *testing.T, name string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: hooksHost},
		Dial:            func(network, _ string) (net.Conn, error) { return net.Dial(network, p.addr) },
	}}
	defer client.CloseIdleConnections()
	for n := range 3 {
		if _, duplicate, err := send(t.Context(), client, "https://"+hooksHost, makeWebhook(fmt.Sprint(name, "-", n), n)); err != nil || duplicate {
			t.Errorf("a signed webhook: duplicate %v, %v", duplicate, err)
		}
	}
}

func TestAcceptanceProxies(t *testing.T) {
	g := newPlace(t, "GAFF_TRUSTED_PROXIES=127.0.0.1/32")
	g.open(t)
	target, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.SetXForwarded()
	}}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(reachedHeader, "1")
		forward.ServeHTTP(w, r)
	}))
	defer upstream.Close()
	backend := upstream.Listener.Addr().String()
	for name, start := range map[string]func(*testing.T, string) *proxied{"nginx": startNginx, "Caddy": startCaddy} {
		t.Run(name, func(t *testing.T) {
			p := start(t, backend)
			p.probe(t)
			p.webhook(t, name)
		})
	}
}

// certificate writes a certificate of both hosts and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{hooksHost, consoleHost},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: der8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// startProxy starts a program and waits until it listens.
func startProxy(t *testing.T, addr string, cmd *exec.Cmd) *proxied {
	t.Helper()
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-done
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually.True(t, "the proxy listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		select {
		case <-done:
			t.Fatalf("the proxy ended: %s", log)
		default:
		}
		return err == nil
	})
	return &proxied{addr: addr}
}

// example reads an example, with other texts in place of some.
func example(t *testing.T, name string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(deployFile("proxy", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("%s has no %q", name, replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(text))
}

func startNginx(t *testing.T, backend string) *proxied {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	text := example(t, "nginx.conf", "listen 443 ssl", "listen "+addr+" ssl", "127.0.0.1:3000", backend,
		"/etc/ssl/gaff/fullchain.pem", cert, "/etc/ssl/gaff/privkey.pem", key)
	// A host that no server names gets the first one.
	config := fmt.Sprintf("daemon off;\nmaster_process off;\nuser root;\npid %[1]s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path %[1]s/a;\nproxy_temp_path %[1]s/b;\nfastcgi_temp_path %[1]s/c;\nuwsgi_temp_path %[1]s/d;\nscgi_temp_path %[1]s/e;\n%[2]s\n}\n", dir, text)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startProxy(t, addr, exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", file))
}

func startCaddy(t *testing.T, backend string) *proxied {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	port := tcpPort(t, addr)
	text := example(t, "Caddyfile", "auto_https disable_redirects", "auto_https off\n\tadmin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1",
		"{$GAFF_HOOKS:hooks.example.com} {", hooksHost+":"+port+" {\n\ttls "+cert+" "+key,
		"{$GAFF_CONSOLE:console.example.com} {", consoleHost+":"+port+" {\n\ttls "+cert+" "+key)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "GAFF_UPSTREAM=" + backend, "GAFF_ADMIN_UPSTREAM=" + backend}
	return startProxy(t, addr, cmd)
}
