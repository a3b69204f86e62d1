package safehttp

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"gaff/internal/fuzzseed"
)

func TestParseLinkKeepsEscapesAndAddsMissingOnes(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"https://h/a%2Fb/plain.png?X-Amz-Credential=AK%2F2026&sig=a%2Bb+c&e=": "https://h/a%2Fb/plain.png?X-Amz-Credential=AK%2F2026&sig=a%2Bb+c&e=",
		"https://h/a%2Fb/café.png":         "https://h/a%2Fb/caf%C3%A9.png",
		"https://h/a%2Fb/two words.png":    "https://h/a%2Fb/two%20words.png",
		"https://h/a%2fb|c.png":            "https://h/a%2fb%7Cc.png",
		"https://h/{id}%2Fb^`\"<>.png":     "https://h/%7Bid%7D%2Fb%5E%60%22%3C%3E.png",
		"https://h/100%.png":               "https://h/100%25.png",
		"https://h/100%zz%2":               "https://h/100%25zz%252",
		"https://h/a%3Fb%23c.png":          "https://h/a%3Fb%23c.png",
		"https://h/a.png?name=café&p=100%": "https://h/a.png?name=caf%C3%A9&p=100%",
		"https://h/a.png?name=two words":   "https://h/a.png?name=two%20words",
		`https://h/a.png?q='"<>|{}`:        "https://h/a.png?q=%27%22%3C%3E|{}",
		"https://h/a.png#part":             "https://h/a.png",
		"https://h/a.png?x=1#part?y":       "https://h/a.png?x=1",
		" https://h/a\n\t.png\r\n":         "https://h/a.png",
		`https://h\a\b.png`:                "https://h/a/b.png",
		"HTTPS://h/a.png":                  "https://h/a.png",
		"https://h":                        "https://h/",
		"https://h?a=b":                    "https://h/?a=b",
		"https://bücher.example:8443/ü":    "https://xn--bcher-kva.example:8443/%C3%BC",
		"https://例え.jp/x":                  "https://xn--r8jz45g.jp/x",
		"http://[::1]:80/a b":              "http://[::1]:80/a%20b",
		"https://h/\xff":                   "https://h/%FF",
	} {
		u, err := ParseLink(link)
		if err != nil || u.String() != want {
			t.Errorf("%q: %s, %v; want %s", link, u, err, want)
		}
	}
	for _, link := range []string{"", "h", "https:", "https:/h/a", "mailto:a@b", "https://h h/a", "https://[::1/a"} {
		if u, err := ParseLink(link); err == nil {
			t.Errorf("%q is read as %s", link, u)
		}
	}
}

func TestRedirectsKeepEscapes(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/start" {
			w.Header()["Location"] = []string{"/a%2Fb/two words é.png?n=é"}
			w.WriteHeader(http.StatusFound)
			return
		}
		asked <- r.RequestURI
	}))
	defer host.Close()
	resp, err := New(Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Redirects: 1}).Get(host.URL + "/start")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := <-asked, "/a%2Fb/two%20words%20%C3%A9.png?n=%C3%A9"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

// A parsed link can be requested: nothing in it ends the request line.
func FuzzParseLink(f *testing.F) {
	for _, link := range []string{"https://h/a%2Fb/café |.png?n=two words%#x", "http://[::1]:80/%zz{}", "https://bücher.example\\a?'\"<>"} {
		f.Add(link)
		for _, other := range fuzzseed.Vary(link) {
			f.Add(other)
		}
	}
	f.Fuzz(func(t *testing.T, link string) {
		for _, text := range []string{location(link), func() string {
			u, err := ParseLink(link)
			if err != nil {
				return ""
			}
			return u.Scheme + "://" + u.Host + u.RequestURI()
		}()} {
			if i := strings.Index(text, "://"); i >= 0 { // net/http checks international hosts
				_, text, _ = strings.Cut(text[i+3:], "/")
			}
			for j := range len(text) {
				if text[j] <= ' ' || text[j] > '~' {
					t.Fatalf("%q became %q", link, text)
				}
			}
		}
	})
}
