package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/gafftest"
	"gaff/internal/eventually"
)

// writeCertificate writes a self-signed certificate for a name, and its key, and returns the pool
// that trusts it.
func writeCertificate(t *testing.T, cert, key, name string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: pkcs8}, cert: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}

// clientOf returns a client that verifies the certificate of name, wherever it calls. It keeps no
// connection open.
func clientOf(pool *x509.CertPool, name string) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask returns status and body.
func ask(t *testing.T, client *http.Client, method, address string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body)), resp.Header
}

// With GAFF_ADMIN_ADDR, the public address receives webhooks and nothing more than outsiders need.
func TestConsoleAndAPIOnTheirOwnAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	public, admin := twoAddresses(t)
	g, err := serve(dir, environment(dir, public, "GAFF_ADMIN_ADDR="+admin, "FAL_KEY=key", "GAFF_MEDIA_URL=", "GAFF_CORS_ORIGINS=https://app.example"), public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.kill() })
	bearer := []string{"Authorization", "Bearer " + adminToken}

	if out := command(t, g, "send", "custom"); !strings.Contains(out, "success   true") {
		t.Errorf("gaff send: %s", out)
	}
	if out := command(t, g, "events", "list"); !strings.Contains(out, "custom") {
		t.Errorf("gaff events list: %s", out)
	}
	for _, path := range []string{
		"/", "/login", "/api/v1/events", "/api/v1/webhooks/manage", "/api/openapi.json", "/metrics", "/media", "/static/x", "/debug/pprof/", "/nothing",
	} {
		status, body, header := ask(t, http.DefaultClient, http.MethodGet, "http://"+public+path, bearer...)
		if status != http.StatusNotFound || body != `{"error":"Not found"}` || header.Get("Content-Type") != "application/json" {
			t.Errorf("public %s: %d %s (%s)", path, status, body, header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/", "/api/v1/events", "/api/v1/webhooks/manage", "/api/openapi.json", "/metrics", "/healthz", "/readyz"} {
		if status, body, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+admin+path, bearer...); status != http.StatusOK {
			t.Errorf("admin %s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+public+path); status != http.StatusOK {
			t.Errorf("public %s: %d", path, status)
		}
	}
	// The fal proxy is there, and wants a token; so is a link to a file, which must be signed.
	if status, body, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+public+"/api/fal/queue/fal-ai/flux/requests/x/status"); status != http.StatusUnauthorized {
		t.Errorf("public fal proxy: %d %s", status, body)
	}
	if status, body, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+public+"/media/med_x/file"); status == http.StatusOK || body == `{"error":"Not found"}` {
		t.Errorf("public link to a file: %d %s", status, body)
	}
	if status, body, _ := ask(t, http.DefaultClient, http.MethodPost, "http://"+admin+"/api/v1/webhooks/custom"); status != http.StatusNotFound || !strings.Contains(body, "GAFF_ADDR") {
		t.Errorf("webhook at the admin address: %d %s", status, body)
	}
	// A page in a browser reads with its token, from the public address.
	token := browserToken(t, "http://"+admin, "film")
	status, body, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+public+"/api/v1/jobs", "Authorization", "Bearer "+token)
	if status != http.StatusOK || !strings.Contains(body, `"docs"`) {
		t.Errorf("public, browser token: %d %s", status, body)
	}
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{http.MethodGet, "/api/v1/jobs", token + "x", http.StatusUnauthorized},
		{http.MethodGet, "/api/v1/events", token, http.StatusForbidden},
		{http.MethodPost, "/api/v1/jobs", token, http.StatusNotFound},
		{http.MethodGet, "/api/v1/webhooks/manage", token, http.StatusNotFound},
	} {
		if status, body, _ := ask(t, http.DefaultClient, c.method, "http://"+public+c.path, "Authorization", "Bearer "+c.token); status != c.want {
			t.Errorf("public, browser token, %s %s: %d %s, want %d", c.method, c.path, status, body, c.want)
		}
	}
	for origin, want := range map[string]int{"https://app.example": http.StatusNoContent, "https://other.example": http.StatusNotFound} {
		status, body, _ := ask(t, http.DefaultClient, http.MethodOptions, "http://"+public+"/api/v1/jobs", "Origin", origin, "Access-Control-Request-Method", "GET")
		if status != want {
			t.Errorf("preflight of %s: %d %s, want %d", origin, status, body, want)
		}
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"url", "webhook-url", "token"} {
		if _, err := os.Stat(filepath.Join(dir, "data", name)); err == nil {
			t.Errorf("%s is still in the data folder", name)
		}
	}
}

// Both addresses have TLS of their own; the certificates are replaced while the gateway runs.
func TestTLSOfBothAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	public, admin := twoAddresses(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	pool := writeCertificate(t, file("hooks.crt"), file("hooks.key"), "hooks.example")
	adminPool := writeCertificate(t, file("admin.crt"), file("admin.key"), "admin.example")
	env := environment(dir, public, "GAFF_ADMIN_ADDR="+admin, "GAFF_TLS_CERT="+file("hooks.crt"), "GAFF_TLS_KEY="+file("hooks.key"),
		"GAFF_ADMIN_TLS_CERT="+file("admin.crt"), "GAFF_ADMIN_TLS_KEY="+file("admin.key"))
	g := &gateway{cmd: exec.Command(binary, "serve"), url: "https://" + public, log: &logBuffer{}, done: make(chan error, 1)}
	g.cmd.Dir, g.cmd.Env, g.cmd.Stdout, g.cmd.Stderr = dir, env, g.log, g.log
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.done <- g.cmd.Wait() }()
	t.Cleanup(func() { g.kill() })
	if err := poll(eventually.Limit, func() error { return reached(t.Context(), clientOf(pool, "hooks.example"), "https://"+public) }); err != nil {
		t.Fatalf("%v\n%s", err, g.log)
	}

	r, err := gafftest.SignedRequest(t.Context(), "https://"+public+"/api/v1/webhooks/custom", "custom", customSecret, []byte(`{"id":"a","type":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := clientOf(pool, "hooks.example").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("webhook over TLS: %s %v", resp.Status, resp.Header)
	}
	if out := command(t, g, "send", "custom") + command(t, g, "events", "list"); !strings.Contains(out, "success   true") {
		t.Errorf("commands over TLS: %s", out)
	}
	if status, body, _ := ask(t, http.DefaultClient, http.MethodGet, "http://"+admin+"/api/v1/events"); status != http.StatusBadRequest {
		t.Errorf("without TLS: %d %s", status, body)
	}

	// A login has a cookie that no other host can set.
	form := url.Values{"token": {adminToken}}
	login, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+admin+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	login.Host = "admin.example"
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err = clientOf(adminPool, "admin.example").Do(login); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cookie := resp.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-gaff_session=") || !strings.Contains(cookie, "Path=/") || !strings.Contains(cookie, "Secure") || strings.Contains(cookie, "Domain") {
		t.Errorf("cookie %s", cookie)
	}
	session, _, _ := strings.Cut(cookie, ";")
	if status, body, _ := ask(t, clientOf(adminPool, "admin.example"), http.MethodGet, "https://"+admin+"/events", "Cookie", session); status != http.StatusOK {
		t.Errorf("the console with the cookie: %d %.200s", status, body)
	}
	if status, _, _ := ask(t, clientOf(adminPool, "admin.example"), http.MethodGet, "https://"+admin+"/events", "Cookie", strings.TrimPrefix(session, "__Host-")); status == http.StatusOK {
		t.Error("the console accepts a cookie that another host can set")
	}

	// New certificates count from the next connection on, also for the commands.
	pool = writeCertificate(t, file("hooks.crt"), file("hooks.key"), "new.example")
	writeCertificate(t, file("admin.crt"), file("admin.key"), "new.example")
	if err := poll(eventually.Limit, func() error { return reached(t.Context(), clientOf(pool, "new.example"), "https://"+public) }); err != nil {
		t.Errorf("after the certificate was replaced: %v", err)
	}
	if out := command(t, g, "events", "list"); !strings.Contains(out, "custom") {
		t.Errorf("gaff events list with the new certificate: %s", out)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
}

// browserToken creates a token for the pages of a project.
func browserToken(t *testing.T, base, project string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/v1/tokens", strings.NewReader(fmt.Sprintf(`{"projectId":%q}`, project)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var created struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&created); err != nil || created.Token == "" {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return created.Token
}

func twoAddresses(t *testing.T) (public, admin string) {
	t.Helper()
	for _, addr := range []*string{&public, &admin} {
		var err error
		if *addr, err = freeAddr(); err != nil {
			t.Fatal(err)
		}
	}
	if public == admin {
		_, port, _ := net.SplitHostPort(public)
		t.Fatalf("port %s twice", port)
	}
	return public, admin
}

func reached(ctx context.Context, client *http.Client, base string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", resp.Status)
	}
	return nil
}

// command runs a command in the gateway's folder. It finds the gateway by the data folder.
func command(t *testing.T, g *gateway, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = g.cmd.Dir
	for _, pair := range g.cmd.Env {
		if !strings.HasPrefix(pair, "GAFF_ADMIN_TOKEN=") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("gaff %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
