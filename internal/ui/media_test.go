package ui_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The contact sheet: a lightbox with arrows and zoom, and videos that play under the pointer.
func TestBrowserMediaLightbox(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A lighthouse"})
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A gull"})
	d.job(t, "fal-ai/kling-video/v2.5-turbo/pro/text-to-video", map[string]any{"prompt": "The lamp turns"})
	d.until(t, " stored ", 3, "media", "list")
	win := d.open(t, 1280, 860, false)
	win.login()
	win.goTo("/media")
	win.eventually("each file has its prompt", `['A lighthouse', 'A gull', 'The lamp turns'].every(p => document.querySelector('.gallery').textContent.includes(p))`)
	win.eventually("videos play under the pointer", `(() => { const v = document.querySelector('.gallery video'); v?.dispatchEvent(new Event('pointerenter')); return v && !v.controls && v.muted && !v.paused })()`)
	win.run(click(`.gallery li:has(img) .frame`), chromedp.WaitVisible(chromedp.CSS(`dialog.light[open]`)))
	win.eventually("the file itself", `document.querySelector('.light img')?.naturalWidth >= 1000`)
	first := win.text(".light .bar p")
	win.run(evaluate(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))`))
	win.eventually("the next one", `document.querySelector('.light .bar p').textContent !== '`+first+`'`)
	win.run(evaluate(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'z', bubbles: true}))`))
	win.eventually("it is zoomed", `document.querySelector('.light').classList.contains('zoomed')`)
	win.run(click(`.light [data-shut]`))
	win.eventually("it is closed", `!document.querySelector('.light').open`)
	win.eventually("nothing is chosen", `document.querySelector('[data-selected] button').disabled`)
	win.run(evaluate(`document.querySelectorAll('[name=id]').forEach(e => e.click())`))
	win.eventually("three are chosen", `document.querySelector('[data-selected] span').textContent.includes('3 chosen files')`)
	win.run(click(`[formaction="/media/compare"]`), chromedp.WaitVisible(chromedp.CSS(`.compare`)))
	win.eventually("they are side by side", `document.querySelectorAll('.compare figure').length === 3`)
}

// What the buttons do with chosen files, without JavaScript.
func TestChosenMediaWithoutScript(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A lighthouse"})
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A gull"})
	d.until(t, " stored ", 2, "media", "list")
	c := browserOf(t, d.url, d.token)
	var ids []string
	for _, m := range regexp.MustCompile(`name="id" value="(med_[^"]+)"`).FindAllStringSubmatch(fetch(t, c, "GET", d.url+"/media", nil).body, -1) {
		ids = append(ids, m[1])
	}
	if len(ids) != 2 {
		t.Fatalf("files: %v", ids)
	}
	chosen := url.Values{"id": ids}.Encode()
	got := fetch(t, c, "GET", d.url+"/api/v1/media.zip?"+chosen, nil)
	archive, err := zip.NewReader(bytes.NewReader([]byte(got.body)), int64(len(got.body)))
	if got.status != http.StatusOK || err != nil || len(archive.File) != 2 || archive.File[0].UncompressedSize64 == 0 {
		t.Fatalf("archive: %d %v", got.status, err)
	}
	if got := fetch(t, c, "GET", d.url+"/media/links?"+chosen, nil); strings.Count(got.body, "http") < 2 {
		t.Errorf("links: %d %s", got.status, got.body)
	}
	for _, filter := range []string{"model=fal-ai/flux/dev", "storage=stored", "since=1h"} {
		if got := fetch(t, c, "GET", d.url+"/media?"+filter, nil); strings.Count(got.body, `name="id"`) != 2 {
			t.Errorf("%s: not two files", filter)
		}
	}
	if got := fetch(t, c, "GET", d.url+"/media?model=other", nil); !strings.Contains(got.body, "Nothing matches") {
		t.Error("files of another model")
	}
	got = fetch(t, c, "POST", d.url+"/media/selected", url.Values{"id": ids[:1], "action": {"delete"}}, "Origin", d.url, "Referer", d.url+"/media")
	if !strings.Contains(got.body, "Deleted: 1 done.") {
		t.Errorf("deleted: %s", got.body)
	}
	if got := fetch(t, c, "GET", d.url+"/media/"+ids[0], nil); got.status != http.StatusNotFound {
		t.Errorf("the deleted file answers %d", got.status)
	}
	if got := fetch(t, c, "GET", d.url+"/api/v1/media.zip?id="+ids[0], nil); got.status != http.StatusNotFound {
		t.Errorf("an archive of the deleted file answers %d", got.status)
	}
	if got := fetch(t, c, "GET", d.url+"/media/"+ids[1], nil); !strings.Contains(got.body, "Use as input") {
		t.Error("the file cannot be used as input")
	}
}
