package ui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gaff/jobs"
)

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func TestBrowserRetriesFailedEvent(t *testing.T) {
	t.Parallel()
	onBoth(t, retryFailedEvent)
}

func retryFailedEvent(t *testing.T, w *world) {
	w.sent(t, "fal", `{"request_id":"r1","status":"completed","result":{"images":[{"url":"https://example.com/1.png"}]},"metadata":{"job_id":"j1","project_id":"film","user_id":"anna","generation_type":"image"}}`)
	id := w.sent(t, "custom", `{"type":"flaky","id":"album-7"}`)
	win := w.open(t, 1280, 860, false)
	win.login()
	if text := win.text(".side .badge"); text != "1" {
		t.Errorf("the navigation says that %q failed", text)
	}
	win.run(click(`.side nav a[href="/events"]`), chromedp.WaitVisible(chromedp.CSS(`[data-tail] button`)))
	win.eventually("the list goes live", `document.querySelector('[data-tail]').textContent === 'Live'`)

	// New events appear in the list without a reload, unless the list is paused.
	win.run(evaluate(`window.stay = 1`))
	w.sent(t, "custom", `{"type":"test","id":"came-live"}`)
	win.eventually("a new event appears", `document.querySelector('tbody').textContent.includes('came-live') && window.stay === 1`)
	win.run(click(`[data-tail] button`))
	w.sent(t, "custom", `{"type":"test","id":"came-held"}`)
	win.eventually("the held list counts", `/Paused · \d+ new/.test(document.querySelector('[data-tail]').textContent)`)
	if strings.Contains(win.text("tbody"), "came-held") {
		t.Error("the held list moved")
	}
	win.run(click(`[data-tail] button`))
	win.eventually("the list goes on", `document.querySelector('tbody').textContent.includes('came-held') && window.stay === 1`)

	win.run(chromedp.SetValue(chromedp.CSS(`select[name=status]`), "error"))
	win.eventually("the filter applies by itself", `location.search === '?status=error' && document.querySelectorAll('tbody tr').length === 1`)
	win.run(click(`tbody tr .name a`), chromedp.WaitVisible(chromedp.CSS(`.callout.bad`)))
	if why := win.text(".callout.bad pre"); why != errAlbum.Error() {
		t.Errorf("the reason reads %q", why)
	}
	if text := win.text(".summary .chip"); text != "error" {
		t.Errorf("the status reads %q", text)
	}
	w.healed.Store(true)
	win.run(click(`form[action$="/retry"] button`))
	win.eventually("it succeeds while one watches", `document.querySelector('.summary .chip')?.textContent.trim() === 'success' && !document.querySelector('.callout.bad') && !document.querySelector('form[action$="/retry"]')`)
	if d, err := w.store.Event(t.Context(), id); err != nil || d.RetryCount != 1 {
		t.Errorf("%+v %v", d, err)
	}
}

func evaluate(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script)
}

func TestBrowserBulkRetry(t *testing.T) {
	t.Parallel()
	onBoth(t, bulkRetry)
}

func bulkRetry(t *testing.T, w *world) {
	const many = 500
	var sending sync.WaitGroup
	for k := range 20 {
		sending.Go(func() {
			for i := range many / 20 {
				if _, err := w.send(context.Background(), "custom", fmt.Sprintf(`{"type":"flaky","id":"n-%d-%d"}`, k, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/events?status=error&source=custom")
	win.run(chromedp.WaitVisible(chromedp.CSS(`tbody tr`)), click(`a[href^="/bulk?action=retry"]`), chromedp.WaitVisible(chromedp.CSS(`button.primary`)))
	win.eventually("all failed", fmt.Sprintf(`document.querySelector('button.primary').textContent === 'Retry %d' || (location.reload(), false)`, many))
	w.healed.Store(true)
	win.run(click(`button.primary`))
	win.eventually("it is done while one watches", fmt.Sprintf(`document.querySelector('h1')?.textContent === 'Retried' && document.querySelector('.progress p').textContent === '%d of %d'`, many, many))
	win.goTo("/events?status=error")
	win.eventually("nothing is left", `document.querySelector('.empty h2')?.textContent === 'Nothing matches'`)
}

// A run's graph is redrawn live, and approvals work with the keyboard alone.
func TestBrowserApprovesRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		c := w.browser(t)
		started := fetch(t, c, "POST", w.url+"/workflows/ask/start", url.Values{"projectId": {"p"}, "input.text": {"well"}, "input.names": {"one\r\ntwo"}})
		win := w.open(t, 1280, 860, false)
		win.login()
		win.goTo(started.url)
		step := func(name, kind string) string {
			return `[...document.querySelectorAll('#live svg g')].some(g => g.textContent.includes('` + name + `') && g.querySelector('rect.node.` + kind + `'))`
		}
		win.eventually("the graph waits for two decisions", `document.querySelectorAll('form[action$="/approve"]').length === 2 && `+step("look", "wait"))
		win.run(evaluate(`window.stay = 1; document.querySelector('form[action$="/approve"] button[value=yes]').focus()`), chromedp.KeyEvent("\r"))
		win.eventually("the first decision is shown", `document.querySelectorAll('form[action$="/approve"]').length === 1 && document.body.textContent.includes('1 of 2')`)
		// Another user approves the second: the page follows without a reload.
		win.run(evaluate(`window.stay = 2`))
		fetch(t, c, "POST", w.url+started.url+"/approve", url.Values{"step": {"look"}, "item": {"1"}, "decision": {"yes"}})
		win.eventually("the graph follows", step("look", "ok")+` && `+step("tell", "ok")+` && document.querySelector('.summary .chip').textContent.trim() === 'completed' && window.stay === 2`)
	})
}

func TestBrowserPlaysVideo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sent(t, "fal", `{"request_id":"r1","status":"completed","result":{"video":{"url":"https://v3.fal.media/files/1.webm","duration":4}},"metadata":{"job_id":"shot-1","project_id":"film","user_id":"anna","generation_type":"video"}}`)
	w.keepFiles()
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/jobs/shot-1")
	win.run(chromedp.WaitVisible(chromedp.CSS(`.gallery video`)), click(`.gallery figcaption a`), chromedp.WaitVisible(chromedp.CSS(`.stage video`)))
	win.eventually("the film is loaded", `document.querySelector('.stage video').readyState >= 2`)
	win.run(evaluate(`document.querySelector('.stage video').currentTime = 1`))
	win.eventually("it can be sought", `!document.querySelector('.stage video').seeking && Math.abs(document.querySelector('.stage video').currentTime - 1) < .2`)
	win.run(evaluate(`document.querySelector('.stage video').play()`))
	win.eventually("it plays", `document.querySelector('.stage video').currentTime > 1.1`)
}

// Hostile content in a real browser: nothing runs, nothing is asked for elsewhere (each
// window watches that), and the page stays what it is.
func TestBrowserRunsNoHostileContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := `</pre><script>window.pwned=1</script><img src=x onerror="window.pwned=2"><svg onload="window.pwned=3">` + "\u202egpj"
	body, _ := json.Marshal(map[string]any{"type": "flaky", "id": evil, "a": evil, "link": "javascript:window.pwned=4", "deep": strings.Repeat("[", 50) + strings.Repeat("]", 50)})
	id := w.sent(t, "custom", string(body))
	media, _ := json.Marshal(map[string]any{
		"request_id": "evil", "status": "completed", "result": map[string]any{"images": []any{map[string]any{"url": "https://evil.example/x.svg"}}},
		"metadata": map[string]any{"job_id": evil, "project_id": evil, "user_id": evil, "generation_type": "image"},
	})
	w.sent(t, "fal", string(media))
	w.keepFiles()
	w.evilFiles.Store(true)
	big := w.sent(t, "custom", large())
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/events/" + big)
	win.eventually("the page of 5 MB can be used", `document.querySelector('.callout.bad') !== null && document.querySelector('.copy') !== null`)
	win.budget("/events/" + big)
	for _, path := range []string{"/", "/events", "/events/" + id, "/events/" + id + "?body=raw", "/jobs", "/media", "/projects", "/audit"} {
		win.goTo(path)
		win.eventually("the page "+path+" is rendered", `document.querySelector('main h1') !== null && document.querySelector('.side nav') !== null`)
		if result[bool](win, `window.pwned !== undefined || document.querySelector('main script, main svg[onload]') !== null`) {
			t.Errorf("%s: something ran, or could have", path)
		}
	}
}

// No page has a finding of axe-core, in light and in dark, wide and narrow,
// and none costs the browser more than its budget.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	script := axe(t)
	w := newWorld(t)
	failed, completed, conflict := w.furnish(t)
	w.keepFiles()
	pages := append(pagesOf(failed, completed, conflict), "/media/"+w.anyMedia(t), "/nowhere", "/jobs?status=cancelled")
	for _, v := range []struct {
		name  string
		width int64
		dark  bool
		pages []string
	}{
		{"light", 1280, false, append([]string{"/login"}, pages...)},
		// Between light and dark only colours differ: these pages have all of them.
		{"dark", 1280, true, []string{"/login", "/", "/events", "/events/" + failed, "/events/" + conflict + "/diff/1", "/jobs", "/media", "/sources/fal", "/keys", "/audit", "/bulk?action=retry", "/health"}},
		{"phone", 390, false, []string{"/", "/events", "/events/" + failed, "/jobs", "/media", "/keys"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			win := w.open(t, v.width, 860, v.dark)
			win.forgive = []string{"/nowhere"}
			in := false
			for _, path := range v.pages {
				if !in && path != "/login" {
					win.login()
					in = true
				}
				win.goTo(path)
				win.budget(path)
				win.accessible(path, script)
			}
		})
	}
}

// axe returns the script of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "tools", "js", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("%v: run tools/test-setup.sh", err)
	}
	return string(script)
}

// accessible fails the test for each finding of axe-core.
func (w *window) accessible(what, script string) {
	w.Helper()
	findings := result[[]string](w, script+`;
		axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r =>
			r.violations.map(v => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`)
	for _, f := range findings {
		w.Errorf("%s: %s", what, f)
	}
}

// cost is what a page costs the browser, without pictures, films and the stream of changes.
// How long it takes is measured by make bench-console, and not by a test.
type cost struct {
	Elements, Depth, Requests, Bytes int
	Shift                            float64 // Chromium's cumulative layout shift
}

const costs = `new Promise(done => setTimeout(() => {
	let shift = 0;
	new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value; }).observe({type: 'layout-shift', buffered: true});
	const depth = e => 1 + Math.max(0, ...[...e.children].map(depth));
	const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
		.filter(e => !/^.(files|media|api)./.test(new URL(e.name).pathname));
	setTimeout(() => done({
		elements: document.querySelectorAll('*').length, depth: depth(document.documentElement), shift,
		requests: entries.length, bytes: entries.reduce((n, e) => n + e.encodedBodySize, 0),
	}), 10);
}, 10))`

// budget holds the page to what Lighthouse finds good, and to less than half of the weight
// that was allowed.
func (w *window) budget(path string) {
	w.Helper()
	got := result[cost](w, costs)
	most := cost{Elements: 1400, Depth: 32, Requests: 8, Bytes: 60_000, Shift: .1}
	if path == "/new-workflow" || strings.HasSuffix(path, "/edit") {
		most.Requests += 2 // the editor's script, and its first check
	}
	if got.Elements > most.Elements || got.Depth > most.Depth || got.Requests > most.Requests || got.Bytes > most.Bytes || got.Shift > most.Shift {
		w.Errorf("%s costs %+v; its budget is %+v", path, got, most)
	}
}

func (w *world) anyMedia(t *testing.T) string {
	t.Helper()
	page, err := w.store.Media(t.Context(), jobs.MediaFilter{})
	if err != nil || len(page.Items) == 0 {
		t.Fatalf("%v %v", page, err)
	}
	return page.Items[0].ID
}

// serveFiles is what gaff would keep: pictures made here, and a film.
func (w *world) serveFiles(rw http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.URL.Path)
	switch {
	case w.evilFiles.Load():
		rw.Header().Set("Content-Type", "image/svg+xml")
		_, _ = rw.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>top.pwned=5</script><image href="https://evil.example/beacon.png"/></svg>`))
	case strings.HasSuffix(name, ".webm"):
		film, err := os.ReadFile(filepath.Join("..", "standin", "samples", "clip.webm"))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		rw.Header().Set("Content-Type", "video/webm")
		http.ServeContent(rw, r, name, time.Time{}, bytes.NewReader(film))
	default:
		rw.Header().Set("Content-Type", "image/png")
		_, _ = rw.Write(picture(name))
	}
}

// picture paints hills under a sky, others for each name.
func picture(name string) []byte {
	seed := 0.0
	for _, r := range name {
		seed = math.Mod(seed*31+float64(r), 997)
	}
	img := image.NewRGBA(image.Rect(0, 0, 320, 240))
	hue := func(at, light float64) color.RGBA {
		c := func(shift float64) uint8 { return uint8(light * (0.62 + 0.26*math.Cos(2*math.Pi*(at+shift))) * 255) }
		return color.RGBA{c(0), c(.33), c(.67), 255}
	}
	for y := range 240 {
		for x := range 320 {
			at := hue(seed/997+.15*float64(y)/240, .95)
			for hill := range 4 {
				line := 110 + 32*float64(hill) + 22*math.Sin(float64(x)/(38+13*float64(hill))+seed*float64(hill+1))
				if float64(y) > line {
					at = hue(seed/997+.35+.06*float64(hill), .75-.16*float64(hill))
				}
			}
			if dx, dy := float64(x)-90-math.Mod(seed*7, 150), float64(y)-62; dx*dx+dy*dy < 500 && y < 110 {
				at = color.RGBA{255, 244, 214, 255}
			}
			img.SetRGBA(x, y, at)
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

func TestBrowserRetriesByKeyboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sent(t, "custom", `{"type":"flaky","id":"album-7"}`)
	win := w.open(t, 390, 844, true)
	// reach presses Tab until the element has a visible focus.
	reach := func(what, selector string) {
		t.Helper()
		for range 80 {
			win.run(chromedp.KeyEvent("\t"))
			there := result[bool](win, `document.activeElement.matches('`+selector+`') && (() => {
				const s = getComputedStyle(document.activeElement), r = document.activeElement.getBoundingClientRect();
				return s.outlineStyle !== 'none' && r.width > 0 && r.height > 0;
			})()`)
			if there {
				return
			}
		}
		t.Fatalf("%s cannot be reached, or does not show that it has the focus", what)
	}
	win.goTo("/events?status=error")
	win.eventually("the token is asked for", `document.activeElement.name === 'token'`)
	win.run(chromedp.KeyEvent(adminToken), chromedp.KeyEvent("\r"))
	win.eventually("the list", `document.querySelector('tbody tr') !== null`)
	reach("the way past the navigation", ".skip")
	win.run(chromedp.KeyEvent("\r"))
	reach("the event", "tbody .name a")
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("its page", `document.querySelector('.callout.bad') !== null`)
	w.healed.Store(true)
	reach("the button", `form[action$="/retry"] button`)
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("it succeeds", `document.querySelector('.summary .chip')?.textContent.trim() === 'success'`)
}
