package ui_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gaff/jobs"
)

// A job's page, from its prompt to the job that repeats it.
func TestBrowserJobPageRunsAgain(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	first := d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A lighthouse at night", "image_size": "landscape_4_3"})
	d.until(t, " stored ", 1, "media", "list")
	win := d.open(t, 1280, 860, false)
	win.login()
	win.goTo("/jobs")
	win.run(click(`.jobs td.name a`), chromedp.WaitVisible(chromedp.CSS(`.panes`)))
	if got := win.text("h1"); got != "A lighthouse at night" {
		t.Errorf("the title is %q", got)
	}
	win.eventually("the picture, the input, the result and the times are there", `document.querySelector('.files img')?.naturalWidth > 0
		&& document.querySelectorAll('.panes .body').length === 2 && [...document.querySelectorAll('.waterfall th')].some(e => e.textContent.includes('Submit'))
		&& [...document.querySelectorAll('.waterfall th')].some(e => e.textContent.includes('Files stored'))`)
	win.run(click(`.confirm:has([action$="/again"]) summary`), click(`[action$="/again"] button`))
	win.eventually("a second job is there", `location.pathname.startsWith('/jobs/') && location.pathname !== '/jobs/`+first+`' && document.querySelector('.flash.ok') !== null`)
	win.run(click(`a.button[href$="/again"]`), chromedp.WaitVisible(chromedp.CSS(`textarea`)))
	win.run(evaluate(`document.querySelector('textarea').value = document.querySelector('textarea').value.replace('night', 'noon')`), click(`[name=sure]`), click(`.form button.primary`))
	win.eventually("a third job has the changed prompt", `document.querySelector('h1')?.textContent === 'A lighthouse at noon'`)
	if got := strings.Count(d.gaff(t, "jobs", "list", "--model", "fal-ai/flux/dev"), "job_"); got != 3 {
		t.Errorf("%d jobs, want 3", got)
	}
}

// Running again takes a confirmation, without JavaScript too, and a form sent twice makes one job.
func TestJobsRunAgainWithoutScript(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir(), "--samples=false")
	first := d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A lighthouse"})
	c := browserOf(t, d.url, d.token)
	got := fetch(t, c, "GET", d.url+"/jobs/"+first+"/again", nil)
	key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(got.body)
	if got.status != 200 || key == nil {
		t.Fatalf("the form: %d %s", got.status, got.body)
	}
	again := func(form url.Values) reply {
		return fetch(t, c, "POST", d.url+"/jobs/"+first+"/again", form, "Origin", d.url)
	}
	if got := again(url.Values{"input": {`{"prompt":"x"}`}, "key": {key[1]}}); !strings.Contains(got.body, "confirm that the job may cost money") {
		t.Errorf("without confirmation: %s", got.url)
	}
	if got := again(url.Values{"input": {`{"prompt":`}, "key": {key[1]}, "sure": {"yes"}}); !strings.Contains(got.body, "the input is not JSON") {
		t.Errorf("without JSON: %s", got.url)
	}
	one, two := again(url.Values{"key": {key[1]}}), again(url.Values{"key": {key[1]}})
	if one.url == "/jobs/"+first || one.url != two.url {
		t.Errorf("sent twice: %s and %s", one.url, two.url)
	}
	got = fetch(t, c, "POST", d.url+"/jobs/selected", url.Values{"id": {first}, "action": {"again"}, "key": {"k"}}, "Origin", d.url, "Referer", d.url+"/jobs")
	if !strings.Contains(got.body, "Submitted again: 1 done.") || got.url != "/jobs" {
		t.Errorf("of chosen rows: %s", got.url)
	}
	if got := strings.Count(d.gaff(t, "jobs", "list"), "job_"); got != 3 {
		t.Errorf("%d jobs, want 3", got)
	}
}

// Each filter of the list of jobs chooses what it says.
func TestJobListFilters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.furnish(t)
		err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
			for _, j := range []jobs.Job{
				{ID: "job_one", Provider: "fal", Model: "fal-ai/flux/dev", UserID: "carl", Status: jobs.JobFailed, ErrorType: "content_policy_violation", Error: "no"},
				{ID: "job_late", Provider: "fal", Model: "fal-ai/kling", UserID: "waits", ProjectID: "late", Status: jobs.JobProcessing},
				{ID: "job_slow", Provider: "fal", Model: "fal-ai/kling", UserID: "waits", ProjectID: "slow", Status: jobs.JobProcessing},
			} {
				if err := tx.InsertJob(t.Context(), &j); err != nil {
					return err
				}
			}
			return tx.SaveInput(t.Context(), "job_one", []byte(`{"prompt":"A storm at the pier"}`))
		})
		if err != nil {
			t.Fatal(err)
		}
		c := w.browser(t)
		rows := regexp.MustCompile(`<tr id="job-([^"]+)"`)
		for query, want := range map[string]string{
			"model=fal-ai/flux/dev": "job_one", "errorType=content_policy_violation": "job_one", "userId=carl": "job_one", "q=storm": "job_one",
			"late=true": "job_late", "status=unfinished&model=fal-ai/kling": "job_slow job_late", "model=fal-ai/kling&since=1h&status=processing": "job_slow job_late", "until=1h": "",
		} {
			var got []string
			for _, m := range rows.FindAllStringSubmatch(fetch(t, c, "GET", w.url+"/jobs?"+query, nil).body, -1) {
				got = append(got, m[1])
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %s", query, got, want)
			}
		}
		if got := fetch(t, c, "GET", w.url+"/jobs", nil).body; !strings.Contains(got, "A storm at the pier") {
			t.Error("the list has no prompt")
		}
	})
}
