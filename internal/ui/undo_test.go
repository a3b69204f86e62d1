package ui_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gaff"
)

var undoForm = regexp.MustCompile(`<form method="post" action="([^"]+)">\s*<button[^>]*>Undo</button>`)

// undoOf returns the path of the button Undo in a page's message; empty without one.
func undoOf(page reply) string {
	if found := undoForm.FindStringSubmatch(page.body); found != nil {
		return found[1]
	}
	return ""
}

// addDestination adds the destination shop.
func addDestination(t *testing.T, w *world, c *http.Client) {
	t.Helper()
	made := fetchJSON(t, c, "POST", w.url+"/api/v1/destinations", `{"name":"shop","url":"http://127.0.0.1:9/","events":["custom:*"]}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
}

// The message after a pause has a button that resumes; that after the resume has none.
func TestUndoOfPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	addDestination(t, w, c)
	post := func(path string) reply { return fetch(t, c, "POST", w.url+path, url.Values{}, "Origin", w.url) }
	paused := post("/destinations/shop/pause")
	if undoOf(paused) != "/destinations/shop/resume" {
		t.Fatalf("the button of %s: %q", paused.url, undoOf(paused))
	}
	resumed := post(undoOf(paused))
	if !strings.Contains(resumed.body, "Resumed.") || undoOf(resumed) != "" {
		t.Errorf("resumed: %s, button %q", resumed.url, undoOf(resumed))
	}
	if again := fetch(t, c, "GET", w.url+paused.url, nil); strings.Contains(again.body, "Undo") {
		t.Error("the button stays after its message")
	}
}

// A canceled scheduled event is scheduled again, with its data and time, by the one who canceled it,
// once.
func TestUndoOfCanceledEvent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		made, err := w.gw.Publish(t.Context(), []gaff.Publication{{Type: "reminder.due", Data: []byte(`{"n": 7}`), ProjectID: "film", RunAt: at}})
		if err != nil {
			t.Fatal(err)
		}
		c, other := w.browser(t), w.browser(t)
		undo := undoOf(fetch(t, c, "POST", w.url+"/scheduled/"+made[0].ID+"/cancel", url.Values{}, "Origin", w.url))
		if undo == "" {
			t.Fatal("no button")
		}
		if got := fetch(t, other, "POST", w.url+undo, url.Values{}, "Origin", w.url); !strings.Contains(got.body, "Not done") {
			t.Errorf("another session undid it: %s", got.url)
		}
		got := fetch(t, c, "POST", w.url+undo, url.Values{}, "Origin", w.url)
		id, ok := strings.CutPrefix(got.url, "/scheduled/")
		if !ok || id == made[0].ID || !strings.Contains(got.body, "Scheduled again") {
			t.Fatalf("undone: %s", got.url)
		}
		p, err := w.store.ScheduledEvent(t.Context(), id)
		if err != nil || p.State != gaff.Scheduled || string(p.Data) != `{"n":7}` && string(p.Data) != `{"n": 7}` || p.ProjectID != "film" || !p.RunAt.Equal(at) {
			t.Errorf("%+v, %v", p, err)
		}
		if got := fetch(t, c, "POST", w.url+undo, url.Values{}, "Origin", w.url); !strings.Contains(got.body, "Not done") {
			t.Errorf("undone twice: %s", got.url)
		}
	})
}

// Only buttons that undo are shown, also if the cookie has another path.
func TestUndoTakesNoOtherPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	site, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/destinations/shop/delete", "/runs/run_1/cancel", "https://evil.example/", "//evil.example/sources/x/resume", "/sources/x/y/resume", "/sources//resume"} {
		value := base64.RawURLEncoding.EncodeToString([]byte("ok|" + path + "|Paused."))
		c.Jar.SetCookies(site, []*http.Cookie{{Name: "gaff_flash", Value: value, Path: "/"}})
		if got := fetch(t, c, "GET", w.url+"/events", nil); !strings.Contains(got.body, "Paused.") || undoOf(got) != "" {
			t.Errorf("%s: the page offers it, or has no message", path)
		}
	}
}

// The audit log is filtered by days, and its targets are links.
func TestAuditByDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	addDestination(t, w, c)
	fetch(t, c, "POST", w.url+"/destinations/shop/pause", url.Values{}, "Origin", w.url)
	today, tomorrow := time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for query, want := range map[string]bool{
		"":                                       true,
		"?since=" + today:                        true,
		"?since=24h":                             true,
		"?since=" + today + "&until=" + tomorrow: true,
		"?until=" + today:                        false,
		"?since=" + tomorrow:                     false,
	} {
		got := fetch(t, c, "GET", w.url+"/audit"+query, nil)
		if strings.Contains(got.body, `href="/destinations/shop"`) != want {
			t.Errorf("%q: the entry with its link is there: %v, want %v", query, !want, want)
		}
	}
	if got := fetch(t, c, "GET", w.url+"/audit?since="+today, nil); !strings.Contains(got.body, `name="since" value="`+today+`"`) {
		t.Error("the field lost its day")
	}
	if got := fetch(t, c, "GET", w.url+"/audit?since=yesterday", nil); got.status != http.StatusBadRequest {
		t.Errorf("a time that cannot be read: %d", got.status)
	}
}
