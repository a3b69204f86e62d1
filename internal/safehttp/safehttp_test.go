package safehttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestCheckAddr(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"8.8.8.8": true, "104.16.0.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"100.63.255.255": true, "100.128.0.0": true, "172.15.255.255": true, "172.32.0.0": true, "223.255.255.255": true,
		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "127.255.0.1": false, "10.0.0.1": false, "172.16.0.1": false,
		"172.31.255.255": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false,
		"192.0.0.192": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.7": false, "203.0.113.7": false, "224.0.0.1": false,
		"240.0.0.1": false, "255.255.255.255": false, "168.63.129.16": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false,
		"ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "2001:db8::1": false, "100::1": false,
	} {
		if err := CheckAddr(netip.MustParseAddr(text), nil); (err == nil) != ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want allowed %v", text, err, ok)
		}
	}
	allow := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128")}
	for text, ok := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true, "10.2.0.1": false, "127.0.0.1": false} {
		if err := CheckAddr(netip.MustParseAddr(text), allow); (err == nil) != ok {
			t.Errorf("%s with exceptions: %v, want allowed %v", text, err, ok)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"https://v3.fal.media/files/a.png": true, "http://example.com:8080/": true, "ftp://example.com/": false, "file:///etc/passwd": false,
		"https://user:pass@example.com/": false, "https:///nothing": false, "http://127.0.0.1/": false, "http://[::1]:80/": false,
		"http://[::ffff:169.254.169.254]/": false, "gopher://127.0.0.1/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckURL(u, nil); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %v", text, err, ok)
		}
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestTheDialledAddressIsJudged(t *testing.T) {
	t.Parallel()
	hit := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
	defer srv.Close()
	// A name, so that only the resolved address can tell.
	byName := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	_, err := get(New(Options{}), byName)
	if !errors.Is(err, ErrForbidden) || hit {
		t.Errorf("%s: %v, reached %v", byName, err, hit)
	}
	if _, err := get(New(Options{Allow: loopback}), byName); err != nil || !hit {
		t.Errorf("%s, allowed: %v", byName, err)
	}
}

func get(c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Status + " " + string(body), err
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "here: "+r.UserAgent()) })
	to := func(path, target string) { mux.Handle(path, http.RedirectHandler(target, http.StatusFound)) }
	to("/1", "/0")
	to("/2", "/1")
	to("/3", "/2")
	to("/metadata", "http://169.254.169.254/latest/meta-data/")
	to("/inside", "http://10.0.0.1/")
	to("/file", "file:///etc/passwd")
	c := New(Options{Allow: loopback, Redirects: 2})
	for path, want := range map[string]string{"/0": "200 OK here: gaff", "/2": "200 OK here: gaff"} {
		if got, err := get(c, srv.URL+path); got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"/metadata", "/inside", "/file"} {
		if _, err := get(c, srv.URL+path); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", path, err)
		}
	}
	if _, err := get(c, srv.URL+"/3"); err == nil || !strings.Contains(err.Error(), "more than 2 times") {
		t.Errorf("/3: %v", err)
	}
	if got, err := get(New(Options{Allow: loopback}), srv.URL+"/1"); err != nil || !strings.HasPrefix(got, "302") {
		t.Errorf("following none: %q %v", got, err)
	}
}

func TestHTTPSIsNotLeft(t *testing.T) {
	t.Parallel()
	c := New(Options{Redirects: 3})
	from, _ := http.NewRequest(http.MethodGet, "https://example.com/", nil)
	down, _ := http.NewRequest(http.MethodGet, "http://example.com/", nil)
	if err := c.CheckRedirect(down, []*http.Request{from}); !errors.Is(err, ErrForbidden) {
		t.Errorf("https to http: %v", err)
	}
	if err := c.CheckRedirect(from, []*http.Request{down}); err != nil {
		t.Errorf("http to https: %v", err)
	}
}

func TestTheEnvironmentsProxyIsNotAsked(t *testing.T) {
	proxied := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied = true }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	_, err := get(New(Options{Allow: loopback}), "http://10.0.0.1/")
	if !errors.Is(err, ErrForbidden) || proxied {
		t.Errorf("%v, through the proxy: %v", err, proxied)
	}
}
