package inspect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gaff/internal/browsertest"
	"gaff/internal/eventually"
)

// served is an inspector with one exchange; sent has the requests that it sends again.
func served(t *testing.T, body string) (base string, i *Inspector, sent *[]*Exchange) {
	t.Helper()
	sent = new([]*Exchange)
	i = New(func(_ context.Context, e *Exchange) {
		e.Status, e.ResponseHeader, e.Response = http.StatusAccepted, http.Header{"X-Answer": {"<b>hi</b>"}}, []byte(`{"ok":true}`)
		*sent = append(*sent, e)
	})
	i.Add(&Exchange{
		At: time.Now(), EventID: "evt_1", Title: "shop:paid", Method: "POST", URL: "http://localhost:9/hook", Body: []byte(body),
		Header: http.Header{"Content-Type": {"application/json"}, "X-Sig": {"abc"}}, Error: "no response within 30s",
	})
	s := httptest.NewServer(i.Handler())
	t.Cleanup(s.Close)
	return s.URL + i.Path(), i, sent
}

func ask(t *testing.T, method, address string, form url.Values, header ...string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func TestOtherSitesReachNothing(t *testing.T) {
	t.Parallel()
	base, i, sent := served(t, `{"secret":1}`)
	root := strings.TrimSuffix(base, i.Path())
	for name, c := range map[string]struct {
		method, url string
		header      []string
		status      int
	}{
		"the page":                {"GET", base, nil, 200},
		"by localhost":            {"GET", base, []string{"Host", "localhost:1"}, 200},
		"by a name of a site":     {"GET", base, []string{"Host", "evil.example:1"}, 403},
		"by a name like loopback": {"GET", base, []string{"Host", "127.0.0.1.evil.example"}, 403},
		"without the secret":      {"GET", root + "/", nil, 404},
		"with another secret":     {"GET", root + "/x/1", nil, 404},
		"a form of another site":  {"POST", base + "1", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another port":            {"POST", base + "1", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"an older browser":        {"POST", base + "1", []string{"Origin", "https://evil.example"}, 403},
		"no such request":         {"GET", base + "7", nil, 404},
	} {
		status, body := ask(t, c.method, c.url, nil, c.header...)
		if status != c.status || status != 200 && strings.Contains(body, "shop") {
			t.Errorf("%s: %d, want %d: %s", name, status, c.status, body)
		}
	}
	if len(*sent) != 0 {
		t.Error("another site had a request sent")
	}
}

func TestRequestIsSentAgain(t *testing.T) {
	t.Parallel()
	base, i, sent := served(t, "{\"n\":1,\r\n\"s\":\"\u202e\"}")
	status, body := ask(t, "POST", base+"1", url.Values{"do": {"same"}})
	if status != 200 || len(*sent) != 1 || string((*sent)[0].Body) != "{\"n\":1,\r\n\"s\":\"\u202e\"}" || (*sent)[0].Edited {
		t.Fatalf("unchanged: %d %+v", status, *sent)
	}
	if !strings.Contains(body, "&lt;b&gt;hi&lt;/b&gt;") || !strings.Contains(body, "202") || !strings.Contains(body, "repeats") {
		t.Errorf("its page: %s", body)
	}
	v := i.view(i.exchange(1))
	if !v.Editable || strings.Contains(v.Text, "\u202e") {
		t.Fatalf("the form: %+v", v)
	}
	// A browser sends the form back with CRLF; an unedited body keeps its bytes.
	crlf := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	ask(t, "POST", base+"1", url.Values{"do": {"edited"}, "headers": {crlf(v.Headers)}, "body": {crlf(v.Text)}})
	if got := (*sent)[1]; got.Edited || string(got.Body) != "{\"n\":1,\r\n\"s\":\"\u202e\"}" {
		t.Errorf("the form as it was: %q, edited %v", got.Body, got.Edited)
	}
	ask(t, "POST", base+"1", url.Values{"do": {"edited"}, "headers": {"X-New: a b\r\nX-New: c\r\n"}, "body": {`{"n":2}`}})
	if got := (*sent)[2]; !got.Edited || string(got.Body) != `{"n":2}` || fmt.Sprint(got.Header) != "map[X-New:[a b c]]" {
		t.Errorf("edited: %q %v", got.Body, got.Header)
	}
	status, body = ask(t, "POST", base+"1", url.Values{"do": {"edited"}, "headers": {"no header"}, "body": {"<kept>"}})
	if status != 400 || len(*sent) != 3 || !strings.Contains(body, "&lt;kept&gt;") || !strings.Contains(body, "Not sent: ") {
		t.Errorf("a wrong header: %d %s", status, body)
	}
}

func TestBinaryBodyIsSentUnchangedOnly(t *testing.T) {
	t.Parallel()
	base, _, sent := served(t, "\xff\x00")
	if _, body := ask(t, "GET", base+"1", nil); strings.Contains(body, "Send edited") || !strings.Contains(body, "2 bytes that are not text") {
		t.Errorf("the page: %s", body)
	}
	ask(t, "POST", base+"1", url.Values{"do": {"edited"}, "body": {"x"}})
	if string((*sent)[0].Body) != "\xff\x00" {
		t.Errorf("sent %q", (*sent)[0].Body)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	i := New(nil)
	for range 300 {
		i.Add(&Exchange{})
	}
	if list := i.newest(); len(list) != maxExchanges || list[0].N != 300 {
		t.Errorf("%d exchanges, the newest is %d", len(list), list[0].N)
	}
	for range 10 {
		i.Add(&Exchange{Body: make([]byte, 10<<20)})
	}
	if list := i.newest(); len(list) != 6 {
		t.Errorf("%d exchanges of 10 MiB", len(list))
	}
	for range 20 {
		i.Add(&Exchange{ResponseHeader: http.Header{"X-Large": {strings.Repeat("x", 10<<20)}}})
	}
	if list := i.newest(); len(list) != 6 {
		t.Errorf("%d exchanges with headers of 10 MiB", len(list))
	}
}

func evaluate[T any](ctx context.Context, t *testing.T, script string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The page has no finding of axe-core, and its form works in a browser, which runs no script of it.
func TestPageInBrowser(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "..", "tools", "js", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("%v: run tools/test-setup.sh", err)
	}
	ctx, stop, err := browsertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	base, _, sent := served(t, `{"n":1,"s":"</textarea><script>document.title='pwned'</script>"}`)
	visit := func(address string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
			t.Fatal(err)
		}
		findings := evaluate[[]string](ctx, t, string(script)+`; axe.run(document).then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')))`)
		for _, f := range findings {
			t.Errorf("%s: %s", address, f)
		}
	}
	for _, width := range []int64{1280, 390} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 860)); err != nil {
			t.Fatal(err)
		}
		visit(base)
		visit(base + "1")
	}
	// The click comes after the answer to the script, which would be lost with the page.
	evaluate[string](ctx, t, `document.querySelector('textarea[name=body]').value = '{"n":2}';
		setTimeout(() => document.querySelector('button[value=edited]').click()); ''`)
	eventually.True(t, "the page of the second request", func() bool {
		title, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.title`))
		return err == nil && strings.HasPrefix(title, "Request 2") // an error while the page changes
	})
	if len(*sent) != 1 || string((*sent)[0].Body) != `{"n":2}` {
		t.Errorf("sent %+v", *sent)
	}
}
