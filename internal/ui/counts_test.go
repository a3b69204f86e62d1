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
	"time"

	"gaff/internal/eventually"
	"gaff/internal/stats"
	"gaff/internal/wire"
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

// A new gateway has a checklist with the state of each step; one in use has none.
func TestChecklistFollowsTheSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	overview := func() string {
		return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(fetch(t, c, "GET", w.url+"/", nil).body, " ")), " ")
	}
	page := overview()
	for _, want := range []string{
		"2 of 5 done", "done A source that can verify its sender Ready: custom, fal, lastframe.", "done A public URL Webhook URLs begin with https://hooks.example.com.",
		"optional A provider&#39;s key Needed to submit jobs: set providers: in gaff.yaml.", "to do The first webhook", "optional A destination for events",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the checklist lacks %q: %s", want, page)
		}
	}
	w.sent(t, "custom", `{"type":"test","id":"1"}`)
	eventually.True(t, "no step is left, and the list goes", func() bool { return !strings.Contains(overview(), "Set up this gateway") })
}

// Health lists the handlers with their queues; a destination that needs most of its timeout is slow.
func TestHealthListsHandlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	addDestination(t, w, c)
	now := time.Now()
	w.handlers = []wire.HandlerHealth{
		{Handler: "shop", Pending: 7, Due: 5, OldestDue: wire.Time{Time: now.Add(-3 * time.Minute)}, Succeeded: 3, Failed: 1, Took: &wire.Percentiles{P95Ms: 1e6}},
		{Handler: "effects/fal", Succeeded: 10, Took: &wire.Percentiles{P95Ms: 20}},
	}
	page := fetch(t, c, "GET", w.url+"/health", nil).body
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")), " ")
	for _, want := range []string{"shop slow 5 3 min ago 7 4 75% ", "effects/fal 0 – 0 10 100% 20 ms"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q: %s", want, text)
		}
	}
	if !strings.Contains(page, `href="/destinations/shop"`) || !strings.Contains(page, `href="/deliveries?handler=shop"`) {
		t.Error("the destination or its deliveries have no links")
	}
}

// The page of a destination plots its attempts, of all nodes.
func TestDestinationPlotsItsAttempts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		c := w.browser(t)
		addDestination(t, w, c)
		if page := fetch(t, c, "GET", w.url+"/destinations/shop", nil).body; !strings.Contains(page, "No data in this period.") || !strings.Contains(page, "0 of 0 attempts failed") {
			t.Error("plots without an attempt")
		}
		minute := time.Now().Unix() / 60
		err := w.store.AddLatencies(t.Context(), []stats.Latency{
			{Source: "shop", Kind: stats.HandlerDone, Minute: minute, Bucket: 20, N: 3}, {Source: "shop", Kind: stats.HandlerFailed, Minute: minute, Bucket: 20, N: 1},
			{Source: "other", Kind: stats.HandlerFailed, Minute: minute, Bucket: 20, N: 100},
		})
		if err != nil {
			t.Fatal(err)
		}
		page := fetch(t, c, "GET", w.url+"/destinations/shop?range=6h", nil).body
		for _, want := range []string{"Success rate, 6h", ">75%<", "1 of 4 attempts failed", "Attempts per 5 minutes", "Response time", "data-still", `range=6h" aria-current`} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	})
}
