package ui_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"gaff/internal/access"
	"gaff/internal/eventually"
)

// inbox is a receiver that records bodies.
type inbox struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{}
	in.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.bodies = append(in.bodies, string(body)+" edited="+r.Header.Get("Gaff-Edited"))
	}))
	t.Cleanup(in.Close)
	return in
}

// has reports whether a body with all texts arrived.
func (in *inbox) has(texts ...string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, body := range in.bodies {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(body, text)
		}
		if all {
			return true
		}
	}
	return false
}

func TestBrowserReplaysPastEvents(t *testing.T) {
	t.Parallel()
	onBoth(t, replayPastEvents)
}

func replayPastEvents(t *testing.T, w *world) {
	for _, id := range []string{"past-1", "past-2"} {
		w.sent(t, "custom", `{"type":"test","id":"`+id+`"}`)
	}
	in := newInbox(t)
	made := fetchJSON(t, w.browser(t), "POST", w.url+"/api/v1/destinations", `{"name":"crm","url":"`+in.URL+`/hook","events":["custom:*"]}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
	win := w.open(t, 1280, 860, false)
	win.login()
	win.goTo("/destinations/crm")
	win.run(click(`#backfill summary`), click(`#backfill button[value=count]`), chromedp.WaitVisible(chromedp.CSS(`.flash`)))
	if text := win.text(".flash"); text != "2 events would be sent." {
		t.Errorf("the count reads %q", text)
	}
	win.run(click(`#backfill summary`), click(`#backfill button[value=start]`))
	win.eventually("the replay is done while one watches", `location.pathname.startsWith('/replays/rpl_') && (document.querySelector('.summary .chip')?.textContent.trim() === 'done' || (location.reload(), false))`)
	eventually.True(t, "both events arrive", func() bool { return in.has("past-1") && in.has("past-2") })

	// An event is edited, and sent to the destination alone.
	id := w.sent(t, "custom", `{"type":"test","id":"to-edit"}`)
	win.goTo("/events/" + id)
	win.run(click(`#send-again summary`), click(`#send-again input[name=edited]`),
		chromedp.SetValue(chromedp.CSS(`#send-again textarea`), `{"type":"test","id":"was-edited"}`), click(`#send-again button`))
	win.eventually("the replay shows the edited event", `[...document.querySelectorAll('dt')].some(e => e.textContent === 'Edited as')`)
	eventually.True(t, "the edited event arrives, marked", func() bool { return in.has("was-edited", "edited="+id) })
}

func TestReplayFormsAreForOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.sent(t, "custom", `{"type":"test","id":"one"}`)
	c := w.browser(t)
	fetchJSON(t, c, "POST", w.url+"/api/v1/destinations", `{"name":"crm","url":"https://crm.example.com","events":["none:*"]}`)
	if got := fetch(t, c, "GET", w.url+"/events/"+id, nil); !strings.Contains(got.body, `name="url"`) || !strings.Contains(got.body, `>crm</option>`) {
		t.Error("an admin sees no form on the event's page")
	}
	got := fetch(t, c, "POST", w.url+"/replays", url.Values{"destination": {"crm"}, "eventId": {id}}, "Referer", w.url+"/events/"+id)
	if !strings.HasPrefix(got.url, "/replays/rpl_") {
		t.Errorf("a replay leads to %s", got.url)
	}
	if got = fetch(t, c, "POST", w.url+"/replays", url.Values{"destination": {"none"}, "eventId": {id}}, "Referer", w.url+"/events/"+id); !strings.Contains(got.body, "Not done") {
		t.Error("an unknown destination has no message")
	}
	_, key, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "admin"}, access.KeyParams{Name: "looker", Role: access.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/events/" + id, "/destinations/crm"} {
		if got := fetch(t, http.DefaultClient, "GET", w.url+path, nil, "Authorization", "Bearer "+key); got.status != http.StatusOK || strings.Contains(got.body, `action="/replays"`) {
			t.Errorf("%s shows a viewer the form, or answers %d", path, got.status)
		}
	}
}
