package ui_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gaff/internal/access"
	"gaff/internal/ui"
)

// typed is a script that types a text into the palette.
func typed(text string) string {
	return `(() => { const i = document.querySelector('.palette input'); i.value = ` + "`" + text + "`" + `; i.dispatchEvent(new Event('input', {bubbles: true})); })()`
}

// first is a script for the first line of the palette, once the gateway has answered for a text.
func first(text, want string) string {
	return "document.querySelector('#palette-list').dataset.asked === `" + text + "` && document.querySelector('.palette [role=option] span')?.textContent === `" + want + "`"
}

func TestBrowserPaletteFindsAndActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.sent(t, "custom", `{"type":"flaky","id":"album-7"}`)
	win := w.open(t, 1280, 860, false)
	win.login()
	win.run(chromedp.KeyEvent("/"))
	win.eventually("suggestions", `[...document.querySelectorAll('.palette [role=option]')].some(o => o.textContent.includes('Late jobs'))`)
	win.run(evaluate(typed(id)))
	win.accessible("the palette", axe(t))
	win.eventually("the event is first among the found", `[...document.querySelectorAll('.palette [role=option]')].some(o => o.textContent.includes('custom flaky'))`)
	win.run(evaluate(typed("open destinations")))
	win.eventually("a page", first("open destinations", "Go to Destinations"))
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("the page opens", `location.pathname === '/destinations' && document.querySelector('main h1') !== null`)

	win.goTo("/events/" + id)
	win.eventually("the page of the event", `document.querySelector('.timeline') !== null`)
	w.healed.Store(true)
	win.goTo("/sources")
	win.run(evaluate(`document.querySelector('[data-find] input').dispatchEvent(new PointerEvent('pointerdown', {bubbles: true, cancelable: true}))`))
	win.eventually("the event seen lately is offered", `[...document.querySelectorAll('.palette [role=option]')].some(o => o.textContent.startsWith('flaky') || o.textContent.includes('Event'))`)
	win.run(evaluate(typed("retry " + id)))
	win.eventually("the command", first("retry "+id, "Retry event "+id))
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("it is done", `document.querySelector('.flash.ok')?.textContent.includes('being retried')`)

	win.eventually("the page is loaded", `document.readyState === 'complete'`)
	win.run(chromedp.KeyEvent("/"))
	win.eventually("it opens", `document.querySelector('.palette')?.open`)
	win.run(evaluate(typed("pause source fal")))
	win.eventually("the command", first("pause source fal", "Pause source fal"))
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("it asks first", `document.querySelector('.sure')?.textContent.includes('503') && document.activeElement.textContent === 'Back'`)
	for _, s := range w.gw.Sources() {
		if s.Paused != "" {
			t.Errorf("%s is paused before the confirmation", s.Name)
		}
	}
	win.run(chromedp.KeyEvent("\r"))
	win.eventually("back in the list", `document.querySelector('.sure') === null && document.activeElement.matches('.palette input')`)
	win.run(chromedp.KeyEvent("\x1b"))
	win.eventually("closed", `document.querySelector('.palette').open === false`)
}

func TestBrowserKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"a", "b"} {
		w.sent(t, "custom", `{"type":"told","id":"`+id+`"}`)
	}
	win := w.open(t, 1280, 860, false)
	win.login()
	win.run(chromedp.KeyEvent("?"))
	win.eventually("the keys are listed", `document.querySelector('dialog.keys[open]')?.textContent.includes('Go to Destinations')`)
	win.accessible("the keys", axe(t))
	win.run(chromedp.KeyEvent("\x1b"), chromedp.KeyEvent("g"), chromedp.KeyEvent("e"))
	win.eventually("g e goes to the events", `location.pathname === '/events' && document.querySelectorAll('tbody tr').length === 2`)
	win.ready()
	at := func(n string) string {
		return `document.activeElement === document.querySelectorAll('tbody tr')[` + n + `].querySelector('td.name a')`
	}
	win.run(chromedp.KeyEvent("j"))
	win.eventually("the first row", at("0"))
	win.run(chromedp.KeyEvent("j"))
	win.eventually("the second row", at("1"))
	win.run(chromedp.KeyEvent("k"))
	win.eventually("the first row again", at("0"))
	win.goTo("/sources")
	win.run(chromedp.KeyEvent("j"))
	win.eventually("lists without a table, too", `document.activeElement.closest('.sources > li') !== null`)
}

// Every page of the navigation has a key, and no two have the same.
func TestNavigationHasKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := fetch(t, w.browser(t), "GET", w.url+"/", nil).body
	links := regexp.MustCompile(`href="(/[a-z-]*)" data-go="(.?)"`).FindAllStringSubmatch(body, -1)
	if len(links) < 19 {
		t.Fatalf("%d entries of the navigation", len(links))
	}
	taken := map[string]string{"g": "g itself"}
	for _, l := range links {
		if l[2] == "" || taken[l[2]] != "" {
			t.Errorf("%s: key %q (of %s): add one to goKeys", l[1], l[2], taken[l[2]])
		}
		taken[l[2]] = l[1]
	}
}

// The search offers what the role may do, and each of its forms goes to a page that exists.
func TestSearchOffersPermittedCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed, completed, _ := w.furnish(t)
	job := func(status string) string {
		for _, id := range []string{"shot-32-video", "shot-31-image"} {
			if got := fetch(t, w.browser(t), "GET", w.url+"/jobs/"+id, nil); strings.Contains(got.body, status) {
				return id
			}
		}
		t.Fatalf("no job %s", status)
		return ""
	}
	running := job("Poll provider now")
	admin := map[string]string{
		"pause": `action="/sources/fal/pause"`, "pause source fal": `action="/sources/fal/pause"`, "PAUSE last": `action="/sources/lastframe/pause"`, "retry " + failed: `action="/events/` + failed + `/retry"`,
		"replay event " + completed: `action="/events/` + completed + `/replay"`, "cancel job " + running: `action="/jobs/` + running + `/cancel"`, "poll " + running: `action="/jobs/` + running + `/ask"`,
		"run shot-31-image": `href="/jobs/shot-31-image/again"`, "start": `href="/workflows/ask"`, "start workflow as": `href="/workflows/ask"`, "go to destinations": `href="/destinations">Go to`,
		"open health": `href="/health">Go to`, "retry dead": `href="/deliveries?state=dead"`, "add a source": `href="/new-source"`, "test custom": `href="/sources/custom"`,
	}
	viewer := []string{"go to destinations", "open health"}
	forms := regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	commands := regexp.MustCompile(`(?s)<ul class="commands">.*?</ul>`)
	_, token, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "Anna"}, access.KeyParams{Name: "looks", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	looks := browserOf(t, w.url, token)
	patterns := strings.Join(ui.Patterns(), "\n")
	for text, want := range admin {
		path := w.url + "/search?q=" + url.QueryEscape(text)
		list := commands.FindString(fetch(t, w.browser(t), "GET", path, nil).body)
		if !strings.Contains(list, want) {
			t.Errorf("%q: no %s in %s", text, want, list)
		}
		for _, m := range forms.FindAllStringSubmatch(list, -1) {
			parts := strings.Split(m[1], "/")
			if !regexp.MustCompile(`(?m)^POST /` + parts[1] + `/\{(id|name)\}/` + parts[3] + `$`).MatchString(patterns) {
				t.Errorf("%q: %s is not a form of a page", text, m[1])
			}
		}
		list = commands.FindString(fetch(t, looks, "GET", path, nil).body)
		if strings.Contains(list, "<form") || strings.Contains(list, want) != slices.Contains(viewer, text) {
			t.Errorf("%q: a viewer is offered %s", text, list)
		}
	}
	if nav := fetch(t, looks, "GET", w.url+"/", nil).body; strings.Contains(nav, `href="/keys"`) || strings.Contains(nav, `href="/erase"`) {
		t.Error("the navigation of a viewer has pages for admins")
	}
}
