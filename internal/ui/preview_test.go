//go:build !slim

package ui_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A person writes a transformation, sees what it makes of the newest events, corrects it, and saves it.
func TestBrowserPreviewsTransformation(t *testing.T) {
	t.Parallel()
	onBoth(t, previewTransformation)
}

func previewTransformation(t *testing.T, w *world) {
	w.sent(t, "custom", `{"type":"preview","id":"first","size":"big"}`)
	script := axe(t)
	for _, c := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"wide", 1280, 860, false}, {"phone", 390, 800, true}} {
		win := w.open(t, c.width, c.height, c.dark)
		win.login()
		win.goTo("/new-destination")
		set := func(name, text string) chromedp.Action[chromedp.Void] {
			return chromedp.SetValue(chromedp.CSS(`[name=`+name+`]`), text)
		}
		win.run(
			set("name", "crm-"+c.name), set("url", "https://crm.example.com/hook"), set("events", "custom:preview"),
			set("transformJs", "function transform(event) { return { size: event.data.none.deeper } }"),
			click(`button[formaction="/new-destination#preview"]`), chromedp.WaitVisible(chromedp.CSS(`#preview`)),
		)
		if text := win.text("#preview"); !strings.Contains(text, "fails") || !strings.Contains(text, "1:59: TypeError") {
			t.Errorf("%s: the preview of a failing transformation: %s", c.name, text)
		}
		win.accessible("a failed preview, "+c.name, script)
		win.run(
			set("transformJs", "function transform(event, out) { out.headers['X-Kind'] = event.type; console.log('seen'); return { size: event.data.size } }"),
			click(`button[formaction="/new-destination#preview"]`),
		)
		win.eventually("the preview shows the difference", `document.querySelector('#preview pre.diff .ins')?.textContent.includes('"size": "big"')`)
		text := win.text("#preview")
		for _, want := range []string{"would be sent", "X-Kind", "seen"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the preview lacks %q: %s", c.name, want, text)
			}
		}
		win.accessible("a preview, "+c.name, script)
		win.run(click(`form.form button.primary`))
		win.eventually("it is saved", `document.body.textContent.includes('whsec_')`)
		win.goTo("/destinations/crm-" + c.name + "/edit")
		win.run(set("filter", `data.size == "small"`), click(`button[name=preview]`))
		win.eventually("the form to edit previews the filter", `document.querySelector('#preview')?.textContent.includes('filtered out')`)
	}
}
