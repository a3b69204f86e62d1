package ui_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gaff/internal/eventually"
	"gaff/jobs"
)

var tile = regexp.MustCompile(`<dd><a href="([^"]+)">([\d,]+)</a></dd>`)

// rows counts the rows of a list, over all its pages.
func rows(t *testing.T, w *world, c *http.Client, path string) (n int) {
	t.Helper()
	for range 20 {
		page := fetch(t, c, "GET", w.url+path, nil).body
		n += strings.Count(page, `<td class="name">`)
		next := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(page)
		if next == nil {
			return n
		}
		path = strings.ReplaceAll(next[1], "&amp;", "&")
	}
	t.Fatalf("%s does not end", path)
	return 0
}

// Every number of the overview is the number of rows behind its link, also where a destination
// fails for gaff's own events.
func TestOverviewNumbersAgreeWithTheirLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnprocessableEntity) }))
	t.Cleanup(receiver.Close)
	made := fetchJSON(t, c, "POST", w.url+"/api/v1/destinations", `{"name":"crm","url":"`+receiver.URL+`","events":["gaff:job.*"],"maxAttempts":1}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
	paused := fetchJSON(t, c, "POST", w.url+"/api/v1/destinations", `{"name":"later","url":"`+receiver.URL+`","events":["custom:*"]}`)
	if paused.status != http.StatusCreated {
		t.Fatalf("%d %s", paused.status, paused.body)
	}
	fetch(t, c, "POST", w.url+"/destinations/later/pause", url.Values{}, "Referer", w.url+"/destinations/later")
	for i := range 3 {
		id := w.sent(t, "fal", fmt.Sprintf(`{"request_id":"r-%d","status":"failed","error":"no","metadata":{"job_id":"job-%d","project_id":"p"}}`, i, i))
		if d, err := w.store.Event(t.Context(), id); err != nil || len(d.Children) == 0 {
			t.Fatalf("%+v, %v", d, err)
		} else {
			w.settled(t, d.Children[0])
		}
	}
	held, err := w.send(t.Context(), "custom", `{"type":"test","id":"held"}`)
	if err != nil {
		t.Fatal(err)
	}
	var overview string
	// The counts are up to a second old.
	eventually.True(t, "the overview counts the failed events", func() bool {
		overview = fetch(t, c, "GET", w.url+"/", nil).body
		return strings.Contains(overview, `class="badge" href="/events?inner=true&amp;status=error" aria-label="3 failed events"`) &&
			strings.Contains(overview, `href="/jobs?since=24h&amp;status=failed">3</a>`)
	})
	found := map[string]int{}
	for _, m := range tile.FindAllStringSubmatch(overview, -1) {
		path := strings.ReplaceAll(m[1], "&amp;", "&")
		want, err := strconv.Atoi(strings.ReplaceAll(m[2], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		found[path] = want
		if got := rows(t, w, c, path); got != want {
			t.Errorf("%s: the overview says %d, the list has %d rows", path, want, got)
		}
	}
	for path, want := range map[string]int{"/events?inner=true&status=error": 3, "/events?inner=true&status=pending": 1, "/jobs?since=24h&status=failed": 3} {
		if found[path] != want {
			t.Errorf("the tile of %s says %d, want %d", path, found[path], want)
		}
	}
	if page := fetch(t, c, "GET", w.url+"/events/"+held, nil).body; !strings.Contains(page, `held: <a href="/destinations/later">later</a> is paused`) {
		t.Error("the page of an event does not say that its destination is paused")
	}
}

// A project's card counts all its jobs, however many newer ones other projects have.
func TestProjectCountsAreComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	err := w.store.Write(t.Context(), func(tx jobs.Tx) error {
		for i := range 700 {
			project, status := "old", jobs.JobCompleted
			if i >= 100 {
				project = "new"
			}
			if i%50 == 0 {
				status = jobs.JobFailed
			}
			if err := tx.InsertJob(t.Context(), &jobs.Job{ID: fmt.Sprint("job_", i), Provider: "fal", ProjectID: project, Status: status}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := fetch(t, c, "GET", w.url+"/projects", nil).body
	for _, want := range []string{"588 jobs completed", `>12 failed`, "98 jobs completed", `>2 failed`} {
		if !strings.Contains(page, want) {
			t.Errorf("the projects page lacks %q", want)
		}
	}
}

// Before the first webhook the overview offers only a command that works.
func TestStartPageOffersSignableSample(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := fetch(t, w.browser(t), "GET", w.url+"/", nil).body
	if !strings.Contains(page, "No webhook has arrived yet") {
		t.Error("the start page does not say that no webhook has arrived")
	}
	if !strings.Contains(page, "gaff send custom") {
		t.Error("the start page does not offer to send a sample")
	}
}
