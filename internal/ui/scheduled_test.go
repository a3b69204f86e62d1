package ui_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/access"
)

// A scheduled event is found, changed and canceled by forms, without JavaScript.
func TestScheduledByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	at := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	made, err := w.gw.Publish(t.Context(), []gaff.Publication{{Type: "reminder.due", Data: json.RawMessage(`{"n":1,"s":"</textarea><b>"}`), RunAt: at, By: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	page := "/scheduled/" + made[0].ID
	get := func(path string) reply { return fetch(t, c, "GET", w.url+path, nil) }
	post := func(path string, form url.Values) reply {
		return fetch(t, c, "POST", w.url+path, form, "Origin", w.url, "Referer", w.url+page)
	}
	if got := get("/scheduled"); !strings.Contains(got.body, page) || !strings.Contains(got.body, "reminder.due") {
		t.Errorf("the list: %d", got.status)
	}
	if got := get("/scheduled?status=published"); strings.Contains(got.body, page) {
		t.Error("the filter is ignored")
	}
	if got := get("/scheduled?status=none"); got.status != http.StatusBadRequest {
		t.Errorf("an unknown status: %d", got.status)
	}
	shown := get(page).body
	was := at.Format("2006-01-02T15:04:05")
	if !strings.Contains(shown, `value="`+was+`"`) || strings.Contains(shown, "</textarea><b>") {
		t.Errorf("the page: %s", shown)
	}
	stored := func() *gaff.Publication {
		p, err := w.store.ScheduledEvent(t.Context(), made[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	later := at.Add(time.Hour)
	got := post(page, url.Values{"runAt": {later.Format("2006-01-02T15:04:05")}, "runAtWas": {was}, "data": {"{\r\n}"}, "dataWas": {"{\r\n}"}})
	if p := stored(); !strings.Contains(got.body, "Changed.") || !p.RunAt.Equal(later) || !strings.Contains(string(p.Data), `"n":1`) {
		t.Errorf("another time: %+v", p)
	}
	post(page, url.Values{"runAt": {was}, "runAtWas": {was}, "data": {`{"n":2}`}, "dataWas": {`{"n":1}`}})
	if p := stored(); !p.RunAt.Equal(later) || string(p.Data) != `{"n":2}` {
		t.Errorf("other data: %+v", p)
	}
	if got := post(page, url.Values{"runAt": {was}, "runAtWas": {was}, "data": {`{`}, "dataWas": {`{}`}}); !strings.Contains(got.body, "the data is not JSON") {
		t.Error("text other than JSON was taken")
	}
	if got := post(page+"/cancel", url.Values{}); !strings.Contains(got.body, "Canceled: it is not published.") || stored().State != gaff.ScheduleCanceled {
		t.Errorf("canceled: %s", got.url)
	}
	if got := get(page); strings.Contains(got.body, "Save changes") {
		t.Error("a canceled event can be changed")
	}
	if got := get("/scheduled/sch_none"); got.status != http.StatusNotFound {
		t.Errorf("an unknown event: %d", got.status)
	}
}

// Viewers see scheduled events, and cannot change them; signing keys are for admins.
func TestScheduledByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made, err := w.gw.Publish(t.Context(), []gaff.Publication{{Type: "reminder.due", RunAt: time.Now().Add(time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin"}, access.KeyParams{Name: "looker", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	viewer := browserOf(t, w.url, key)
	page := "/scheduled/" + made[0].ID
	if got := fetch(t, viewer, "GET", w.url+page, nil); got.status != http.StatusOK || strings.Contains(got.body, "Save changes") {
		t.Errorf("a viewer's page: %d", got.status)
	}
	fetch(t, viewer, "POST", w.url+page+"/cancel", url.Values{}, "Origin", w.url)
	if p, err := w.store.ScheduledEvent(t.Context(), made[0].ID); err != nil || p.State != gaff.Scheduled {
		t.Errorf("a viewer canceled it: %+v, %v", p, err)
	}
	if got := fetch(t, viewer, "POST", w.url+"/signing-keys/links/rotate", url.Values{}, "Origin", w.url); w.rotated.Load() != 0 {
		t.Errorf("a viewer rotated a key: %d", got.status)
	}
}

func TestSigningKeysByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	if got := fetch(t, c, "GET", w.url+"/keys", nil); !strings.Contains(got.body, "Signing keys") || !strings.Contains(got.body, "links to files") {
		t.Errorf("the page: %d", got.status)
	}
	post := func(path string) reply { return fetch(t, c, "POST", w.url+path, url.Values{}, "Origin", w.url) }
	if got := post("/signing-keys/links/rotate"); got.url != "/keys" || !strings.Contains(got.body, "Former keys are still accepted.") || w.rotated.Load() != 1 {
		t.Errorf("rotated: %s, %d times", got.url, w.rotated.Load())
	}
	if got := post("/signing-keys/links/drop"); !strings.Contains(got.body, "no longer accepted") || w.rotated.Load() != 11 {
		t.Errorf("dropped: %s, %d", got.url, w.rotated.Load())
	}
}
