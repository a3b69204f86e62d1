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

// Each number of the overview that is a link leads to a list with as many rows.
func TestOverviewNumbersLinkToTheirLists(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.furnish(t)
		err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
			now := tx.Now()
			for i, j := range []jobs.Job{
				{Status: jobs.JobCompleted, SubmittedAt: now.Add(-90 * time.Second), SettledAt: now},
				{Status: jobs.JobFailed, ErrorType: "content_policy_violation", Error: "flagged"},
				{Status: jobs.JobFailed, Error: "no type"},
				{Status: jobs.JobProcessing, UserID: "waits", ProjectID: "late"},
				{Status: jobs.JobCompleted, CreatedAt: now.Add(-48 * time.Hour)}, // too old
			} {
				j.ID, j.Provider, j.Model = fmt.Sprint("job_", i), "fal", "fal-ai/flux/dev"
				if j.CreatedAt.IsZero() {
					j.CreatedAt = now.Add(-time.Minute)
				}
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
		body := fetch(t, c, "GET", w.url+"/", nil).body
		links := regexp.MustCompile(`<a (?:class="[^"]*" )?href="([^"]+)">([0-9,]+)(?: completed| late)?</a>`)
		seen := map[string]string{}
		for _, m := range links.FindAllStringSubmatch(body, -1) {
			path := html.UnescapeString(m[1])
			n := rows(t, w, c, path)
			if seen[path] = m[2]; fmt.Sprint(n) != m[2] {
				t.Errorf("%s: the overview says %s, the list has %d rows", path, m[2], n)
			}
		}
		for path, want := range map[string]string{
			"/jobs?since=24h&status=failed": "3", "/jobs?late=true": "1", "/jobs?errorType=content_policy_violation&since=24h&status=failed": "1",
			"/jobs?model=fal-ai%2Fflux%2Fdev&provider=fal&since=24h": "4", "/deliveries?state=dead": "3", "/rejections?since=24h": "1",
		} {
			if seen[path] != want {
				t.Errorf("%s: %q, want %s; links: %v", path, seen[path], want, seen)
			}
		}
		if !strings.Contains(body, "1 min") || !strings.Contains(body, "content_policy_violation") {
			t.Error("the time to result or the top error is missing")
		}
	})
}

// A step that waits for a person is on the overview, and its run in the list of waiting ones.
func TestOverviewShowsWaitingApprovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	if got := fetch(t, c, "GET", w.url+"/", nil); strings.Contains(got.body, "Waiting for your approval") {
		t.Error("an approval without a run")
	}
	started := fetch(t, c, "POST", w.url+"/workflows/ask/start", url.Values{"projectId": {"p"}, "input.text": {"Good"}, "input.names": {"one"}})
	if !strings.HasPrefix(started.url, "/runs/run_") {
		t.Fatalf("started: %s", started.url)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		got := fetch(t, c, "GET", w.url+"/", nil)
		if strings.Contains(got.body, "Waiting for your approval") && strings.Contains(got.body, started.url) {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("the approval is not on the overview")
		}
	}
	if got := fetch(t, c, "GET", w.url+"/runs?waiting=true", nil); strings.Count(got.body, `<td class="name"`) != 1 {
		t.Error("the list of waiting runs has not one row")
	}
}

// Chosen deliveries are retried together, without JavaScript.
func TestChosenDeliveriesAreRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(t)
	c := w.browser(t)
	ids := regexp.MustCompile(`name="id" value="(dlv_[^"]+)"`).FindAllStringSubmatch(fetch(t, c, "GET", w.url+"/deliveries?state=dead", nil).body, -1)
	if len(ids) != 3 {
		t.Fatalf("%d dead deliveries, want 3", len(ids))
	}
	w.healed.Store(true)
	got := fetch(t, c, "POST", w.url+"/deliveries/selected", map[string][]string{"id": {ids[0][1], ids[1][1]}, "action": {"retry"}}, "Origin", w.url, "Referer", w.url+"/deliveries?state=dead")
	if !strings.Contains(got.body, "Retried: 2 done.") {
		t.Errorf("%s: not retried", got.url)
	}
	for began := time.Now(); strings.Count(fetch(t, c, "GET", w.url+"/deliveries?state=dead", nil).body, `name="id"`) != 1; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("they stay dead")
		}
	}
	if got := fetch(t, c, "POST", w.url+"/deliveries/selected", map[string][]string{"action": {"retry"}}, "Origin", w.url); !strings.Contains(got.body, "choose rows first") {
		t.Error("nothing was chosen, and no word about it")
	}
}
