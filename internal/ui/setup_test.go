package ui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// A destination is made, changed, rotated and deleted by forms, without JavaScript.
func TestDestinationByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	post := func(path string, form url.Values) reply {
		return fetch(t, c, "POST", w.url+path, form, "Origin", w.url, "Referer", w.url+"/destinations")
	}
	if got := fetch(t, c, "GET", w.url+"/new-destination", nil); !strings.Contains(got.body, `name="events"`) {
		t.Errorf("the form: %d", got.status)
	}
	if got := post("/destinations", url.Values{"name": {"crm"}, "kind": {"http"}, "url": {receiver.URL}, "format": {"envelope"}, "filter": {"data.("}}); !strings.Contains(got.body, "Not done: ") {
		t.Errorf("a wrong filter was taken: %s", got.url)
	}
	made := post("/destinations", url.Values{"name": {"crm"}, "kind": {"http"}, "url": {receiver.URL}, "events": {"gaff:job.completed\r\ncustom:*"}, "format": {"envelope"}})
	secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)
	first := secret.FindString(made.body)
	if made.status != http.StatusOK || first == "" {
		t.Fatalf("made: %d %s", made.status, made.url)
	}
	if got := fetch(t, c, "GET", w.url+"/destinations/crm/edit", nil); !strings.Contains(got.body, "gaff:job.completed\ncustom:*") {
		t.Errorf("the form to edit: %d %s", got.status, got.body)
	}
	if got := post("/destinations/crm/edit", url.Values{"events": {"custom:album"}, "format": {"cloudevents"}}); got.url != "/destinations/crm" || !strings.Contains(got.body, "custom:album") || !strings.Contains(got.body, "cloudevents") {
		t.Errorf("edited: %s", got.url)
	}
	if got := post("/destinations/crm/rotate", url.Values{}); secret.FindString(got.body) == "" || secret.FindString(got.body) == first {
		t.Errorf("rotated: %d %s", got.status, got.url)
	}
	if got := post("/destinations/crm/delete", url.Values{}); got.url != "/destinations" || !strings.Contains(got.body, "The destination was deleted.") {
		t.Errorf("deleted: %s", got.url)
	}
}

// A filter and a transformation are previewed over stored events, without JavaScript in the browser, and
// nothing is saved.
func TestDestinationPreviewByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	w.sent(t, "custom", `{"type":"preview","id":"first","size":"big"}`)
	form := url.Values{
		"name": {"crm"}, "kind": {"http"}, "url": {"https://crm.example.com/"}, "events": {"custom:preview"}, "format": {"envelope"},
		"filter": {`data.size == "big"`}, "transformJs": {"function transform(event, out) {\n  out.headers['X-Kind'] = event.type;\n  return { size: event.data.size, ok: '<b>' }\n}"},
	}
	preview := func(path, name, value string) string {
		t.Helper()
		if name != "" {
			form.Set(name, value)
		}
		got := fetch(t, c, "POST", w.url+path, form, "Origin", w.url, "Referer", w.url+"/new-destination")
		if got.status != http.StatusOK {
			t.Fatalf("preview: %d %s", got.status, got.url)
		}
		return got.body
	}
	page := preview("/new-destination", "", "")
	for _, want := range []string{`value="crm"`, `value="https://crm.example.com/"`, "would be sent", "X-Kind", "&#34;ok&#34;: &#34;&lt;b&gt;&#34;", `class="del"`, `class="ins"`, "out.headers"} {
		if !strings.Contains(page, want) {
			t.Errorf("the preview lacks %q", want)
		}
	}
	if page := preview("/new-destination", "filter", `data.size == "small"`); !strings.Contains(page, "filtered out") {
		t.Error("the filter is not previewed")
	}
	if page := preview("/new-destination", "transformJs", "function transform(e) { return e.none.deeper }"); !strings.Contains(page, "fails") || !strings.Contains(page, "TypeError") {
		t.Error("the error of the transformation is missing")
	}
	if page := preview("/new-destination", "transformJs", "function transform(e {"); !strings.Contains(page, "transformJs: 1:") || !strings.Contains(page, "function transform(e {") {
		t.Error("the syntax error, or the text with it, is missing")
	}
	if page := preview("/new-destination", "events", "none:*"); strings.Contains(page, "would be sent") {
		t.Error("events are previewed that the destination does not choose")
	}
	if got := fetch(t, c, "GET", w.url+"/destinations", nil); strings.Contains(got.body, "crm") {
		t.Error("a preview was saved")
	}
	form.Set("transformJs", "const transform = (e) => e.data")
	form.Set("events", "custom:preview")
	form.Set("filter", "")
	if got := fetch(t, c, "POST", w.url+"/destinations", form, "Origin", w.url, "Referer", w.url+"/new-destination"); got.status != http.StatusOK {
		t.Fatalf("create: %d %s", got.status, got.url)
	}
	form.Set("preview", "1")
	if page := preview("/destinations/crm/edit", "transformJs", "const transform = (e) => ({edited: true})"); !strings.Contains(page, "edited") || !strings.Contains(page, "Edit crm") {
		t.Error("the form to edit has no preview")
	}
	if got := fetch(t, c, "GET", w.url+"/destinations/crm", nil); !strings.Contains(got.body, "=&gt; e.data") {
		t.Error("a preview changed the destination, or its page lacks the script")
	}
}

// A sender is found in the catalogue with its steps, and its source waits for the first webhook.
func TestSourceFromCatalogue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	if got := fetch(t, c, "GET", w.url+"/new-source?q=strip", nil); !strings.Contains(got.body, "/new-source?preset=stripe") || strings.Contains(got.body, "preset=github") {
		t.Error("the catalogue is not searched")
	}
	if got := fetch(t, c, "GET", w.url+"/new-source?category=AI", nil); !strings.Contains(got.body, "preset=replicate") || strings.Contains(got.body, "preset=stripe") || !strings.Contains(got.body, `<option value="AI" selected>`) {
		t.Error("the category chooses no senders")
	}
	got := fetch(t, c, "GET", w.url+"/new-source?preset=stripe", nil)
	for _, want := range []string{`value="stripe"`, "Then, at Stripe", `name="secret"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the steps of Stripe lack %q", want)
		}
	}
	if got := fetch(t, c, "GET", w.url+"/new-source?preset=none", nil); got.status != http.StatusNotFound {
		t.Errorf("an unknown sender: %d", got.status)
	}
	if got := fetch(t, c, "GET", w.url+"/sources/custom", nil); !strings.Contains(got.body, "Waiting for the first webhook") {
		t.Error("the source does not wait")
	}
	w.sent(t, "custom", `{"type":"quiet","id":"first"}`)
	if got := fetch(t, c, "GET", w.url+"/sources/custom", nil); strings.Contains(got.body, "Waiting for the first webhook") {
		t.Error("the source waits though it has received a webhook")
	}
}

// Schemas of a source are added, changed and removed by forms; its events show how they violate one.
func TestSchemasByForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	post := func(path string, form url.Values) reply {
		return fetch(t, c, "POST", w.url+path, form, "Origin", w.url, "Referer", w.url+"/sources")
	}
	if got := fetch(t, c, "GET", w.url+"/sources/fal", nil); strings.Contains(got.body, "Add a schema") {
		t.Error("a source of the configuration has the form")
	}
	add := func(eventType, schema string) reply {
		return post("/sources/custom/schemas", url.Values{"type": {eventType}, "schema": {schema}, "onViolation": {"warn"}})
	}
	if got := add("paid", `{"type": `); !strings.Contains(got.body, "The schema is not JSON") {
		t.Error("text other than JSON was taken")
	}
	if got := add("paid", `{"type": "objekt"}`); !strings.Contains(got.body, "is not a JSON Schema") {
		t.Error("a wrong schema was taken")
	}
	if got := add("paid", `{"required": ["amount<b>"]}`); !strings.Contains(got.body, "The schema is in force.") || !strings.Contains(got.body, `amount\u003cb`) {
		t.Errorf("added: %s", got.body)
	}
	if got := post("/sources/custom/schemas", url.Values{"type": {"paid"}, "remove": {"true"}}); !strings.Contains(got.body, "The schema was removed.") || strings.Contains(got.body, `amount\u003cb`) {
		t.Error("the schema was not removed")
	}
}
