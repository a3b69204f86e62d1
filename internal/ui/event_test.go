package ui_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The page of an event: its JSON is folded, searched, and keeps long numbers; a replay says who
// began it, and the neighbours are one key away.
func TestBrowserEventPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.sent(t, "custom", `{"type":"quiet","id":"older"}`)
	items := strings.Repeat(`"x",`, 99) + `"last"`
	id := w.sent(t, "custom", `{"type":"flaky","id":"one","seed":17454220438242315174,"list":[`+items+`],"deep":{"cover":{"url":"https://example.com/cover.jpg"}}}`)
	newer := w.sent(t, "custom", `{"type":"quiet","id":"newer"}`)
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/events/" + id)
	win.eventually("the JSON is a viewer with its digits", `document.querySelector('.jsontools') !== null && document.querySelector('.body').textContent.includes('17454220438242315174')`)
	win.eventually("the body is above the fold", `document.querySelector('.body').getBoundingClientRect().top < innerHeight`)
	win.eventually("a long list is folded", `[...document.querySelectorAll('.body .ln')].some(e => e.textContent.includes('"last"') && e.hidden)`)
	win.eventually("URLs are links", `document.querySelector('.body a[href="https://example.com/cover.jpg"]') !== null`)
	win.run(chromedp.SendKeys(chromedp.CSS(`.jsontools input`), "last"))
	win.eventually("the search unfolds it", `[...document.querySelectorAll('.body .ln.hit')].some(e => e.textContent.includes('"last"') && !e.hidden)`)
	win.run(evaluate(`[...document.querySelectorAll('.body .k')].find(e => e.textContent === '"url"').click()`))
	win.eventually("the path", `document.querySelector('.jsontools code').textContent.startsWith('$.deep.cover.url')`)
	win.run(click(`details:has(form[action$="/replay"]) summary`), click(`form[action$="/replay"] button`))
	win.eventually("the replay says who began it", `[...document.querySelectorAll('.timeline h3')].some(e => e.textContent.includes('replay') && e.textContent.includes('Anna'))`)
	win.eventually("its attempts are bars", `document.querySelectorAll('.waterfall tbody tr').length >= 2`)
	win.run(evaluate(`document.activeElement.blur(); document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}))`))
	win.eventually("the older one", `location.pathname === '/events/`+older+`'`)
	win.goTo("/events/" + id)
	win.run(click(`a[rel=prev]`))
	win.eventually("the newer one", `location.pathname === '/events/`+newer+`'`)
}
