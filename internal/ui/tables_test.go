package ui_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// Tables are sorted, their rows are links, columns are hidden, and new rows do not move those that
// someone aims at.
func TestBrowserTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 4 {
		w.sent(t, "custom", fmt.Sprintf(`{"type":"%c","id":"event-%d"}`, 'd'-rune(i), i))
	}
	win := w.open(t, 1440, 700, false)
	win.login()
	win.goTo("/events")
	first := `document.querySelector('.events tbody td.name').textContent.trim()`
	win.eventually("the newest is first", first+` === 'event-3'`)
	win.run(evaluate(`[...document.querySelectorAll('.events th .sort')].find(b => b.textContent === 'Type').click()`))
	win.eventually("sorted upward", first+` === 'event-3' && document.querySelector('th[aria-sort=ascending]') !== null`)
	win.run(evaluate(`document.querySelector('th[aria-sort] .sort').click()`))
	win.eventually("sorted downward", first+` === 'event-0'`)
	win.eventually("the list goes live", `document.querySelector('[data-tail]').textContent === 'Live'`)
	w.sent(t, "custom", `{"type":"z","id":"event-9"}`)
	win.eventually("a new row waits", `document.querySelector('.newer')?.textContent === '1 new ↑' && document.querySelectorAll('.events tbody tr').length === 4`)
	win.run(click(`.newer`))
	win.eventually("it is shown", `document.querySelectorAll('.events tbody tr').length === 5 && !document.querySelector('.newer')`)
	win.run(click(`.view summary`), evaluate(`[...document.querySelectorAll('.view label')].find(l => l.textContent.includes('Source')).firstChild.click()`))
	win.eventually("a column is hidden", `document.querySelector('.events td.src').hidden`)
	win.goTo("/events")
	win.eventually("it stays hidden", `document.querySelector('.events td.src').hidden`)
	win.run(click(`[data-zone]`))
	win.eventually("times are UTC", `document.querySelector('[data-zone]')?.textContent === 'Times in UTC' && document.querySelector('.events time').title.endsWith('UTC')`)
	win.run(click(`.events tbody tr td.status`), chromedp.WaitVisible(chromedp.CSS(`.timeline`)))
}
