package ui_test

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gaff/jobs"
)

// charge adds jobs of three days and nine models, of which "flux" costs most.
func charge(t *testing.T, w *world) (today time.Time) {
	t.Helper()
	today = time.Now().UTC().Truncate(24 * time.Hour)
	err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
		for day := range 3 {
			for model := range 9 {
				j := jobs.Job{
					ID: fmt.Sprintf("job_%d_%d", day, model), Provider: "fal", Model: fmt.Sprintf("m/%d", model), Status: jobs.JobCompleted,
					CreatedAt: today.AddDate(0, 0, -day).Add(time.Minute), Charge: jobs.Charge{Amount: 10_000, Currency: "USD", State: jobs.ChargeBilled},
				}
				if model == 0 {
					j.Model, j.Charge.Amount = "flux", 250_000
				}
				if err := tx.InsertJob(t.Context(), &j); err != nil {
					return err
				}
			}
		}
		return tx.InsertJob(t.Context(), &jobs.Job{
			ID: "job_credit", Provider: "runway", CreatedAt: today, Charge: jobs.Charge{Amount: 60_000_000, Currency: "credit", State: jobs.ChargeBilled},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return today
}

// Without JavaScript the numbers of a plot of costs are a table, whose cells lead to the jobs.
func TestCostPlotsLeadToJobs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		today := charge(t, w)
		c := w.browser(t)
		page := fetch(t, c, "GET", w.url+"/costs?by=model&since=30d", nil).body
		if n := strings.Count(page, `<figure class="plot"`); n != 2 {
			t.Errorf("%d plots, want one for each currency", n)
		}
		yesterday := today.AddDate(0, 0, -1)
		day := `href="/jobs?since=` + url.QueryEscape(yesterday.Format(time.RFC3339)) + `&amp;until=` + url.QueryEscape(today.Format(time.RFC3339))
		row := regexp.MustCompile(`(?s)<tr><td><a href="[^"]+">` + yesterday.Format(time.DateOnly) + `</a></td>.*?</tr>`).FindString(page)
		if !strings.Contains(row, day+`"`) || !strings.Contains(row, ">0.33</td>") {
			t.Errorf("the row of yesterday is %s", row)
		}
		link := regexp.MustCompile(`<a href="(/jobs\?model=flux[^"]+)">0\.25</a>`).FindStringSubmatch(row)
		if link == nil {
			t.Fatalf("the row has no link to the jobs of flux: %s", row)
		}
		list := fetch(t, c, "GET", w.url+html.UnescapeString(link[1]), nil).body
		if !strings.Contains(list, "job_1_0") || strings.Contains(list, "job_0_0") || strings.Contains(list, "job_1_1") {
			t.Error("the list of jobs is not that of flux yesterday")
		}
		if !strings.Contains(page, `<th scope="col">others</th>`) {
			t.Error("nine models are not shown as five and others")
		}
		csv := regexp.MustCompile(`href="(/api/v1/costs\.csv\?[^"]*daily=true[^"]*)"`).FindStringSubmatch(page)
		if csv == nil {
			t.Fatal("no CSV by day")
		}
		text := fetch(t, c, "GET", w.url+html.UnescapeString(csv[1]), nil).body
		if !strings.HasPrefix(text, "day,key,currency,") || !strings.Contains(text, yesterday.Format(time.DateOnly)+",flux,USD,0.25,") {
			t.Errorf("the CSV is %.200s", text)
		}
	})
}

func TestCostPlotsOfPeriods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	charge(t, w)
	c := w.browser(t)
	for path, want := range map[string]bool{
		"?since=day": false, "?by=provider&since=": true, "?by=day&since=90d": true, "?by=caller&since=90d": true, "?by=run&since=30d": true, "?by=user&since=30d": true,
	} {
		page := fetch(t, c, "GET", w.url+"/costs"+path, nil)
		if has := strings.Contains(page.body, `<figure class="plot"`); page.status != 200 || has != want {
			t.Errorf("%s: %d, and a plot is %v", path, page.status, has)
		}
	}
}

// The values under the pointer are shown, a click on a bar leads to its jobs, and the page has no
// finding of axe-core.
func TestBrowserCostPlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	charge(t, w)
	for name, width := range map[string]int64{"desktop": 1280, "phone": 390} {
		win := w.open(t, width, 860, name == "phone")
		win.login()
		win.goTo("/costs?by=model&since=30d")
		win.accessible("/costs, "+name, axe(t))
	}
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/costs?by=model&since=30d")
	const bar = `[...document.querySelectorAll('.plot rect.s1')].at(-2)`
	win.run(evaluate(`(() => { const r = ` + bar + `.getBoundingClientRect(), at = {bubbles: true, clientX: r.x + r.width / 2, clientY: r.y + r.height / 2};
		` + bar + `.dispatchEvent(new PointerEvent('pointermove', at)); })()`))
	win.eventually("the values of yesterday", `/^\d{4}-\d\d-\d\d · flux 0\.25 · .*total 0\.33$/.test(document.querySelector('.tip:not([hidden])')?.textContent)`)
	win.run(evaluate(`(() => { const r = ` + bar + `.getBoundingClientRect();
		` + bar + `.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: r.x + r.width / 2, clientY: r.y + r.height / 2})); })()`))
	win.eventually("the jobs of the bar", `location.pathname === '/jobs' && new URLSearchParams(location.search).get('model') === 'flux' && document.querySelectorAll('main td.name').length === 1`)
}

// The page says that a table has not all sums, and leads to the CSV, which has.
func TestCostsPageSaysIfSumsAreLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	charge(t, w)
	err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
		for n := range jobs.MaxCosts {
			j := jobs.Job{ID: fmt.Sprint("job_u", n), Provider: "fal", UserID: fmt.Sprint("user-", n), CreatedAt: time.Now(), Charge: jobs.Charge{Amount: 1, Currency: "USD", State: jobs.ChargeBilled}}
			if err := tx.InsertJob(t.Context(), &j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.browser(t)
	for by, want := range map[string]bool{"user": true, "model": false} {
		page := fetch(t, c, "GET", w.url+"/costs?by="+by+"&since=30d", nil).body
		if has := strings.Contains(page, "the 1,000 largest sums, and not all"); has != want {
			t.Errorf("by %s: the note is there: %v, want %v", by, has, want)
		}
	}
}
