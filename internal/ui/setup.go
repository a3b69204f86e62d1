package ui

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/internal/diff"
	"gaff/sender"
)

// presetEntry is a sender of the catalogue.
type presetEntry struct {
	Name string
	sender.About
}

// presetGroup are the senders of a category.
type presetGroup struct {
	Category string
	Presets  []presetEntry
}

type newSourceView struct {
	Query, Category string
	// Groups are the senders that match, by category.
	Groups []presetGroup
	// Chosen is the sender to set up; nil shows the catalogue.
	Chosen *presetEntry
	// Name is a free name for the source.
	Name string
}

// addSource shows the catalogue of senders, or the form and the steps for one.
func (c *console) addSource(q *request) (templ.Component, error) {
	q.title, q.nav = "Add a source", "sources"
	v := newSourceView{Query: q.query("q"), Category: q.query("category")}
	if name := q.query("preset"); name != "" {
		if _, ok := sender.Preset(name); !ok {
			return nil, notThere("preset", name)
		}
		v.Chosen = &presetEntry{name, sender.PresetAbout(name)}
		q.title = "Add " + v.Chosen.Title
		v.Name = c.freeName(q, name)
		return addSourcePage(v), nil
	}
	for _, category := range sender.Categories {
		if v.Category != "" && v.Category != category {
			continue
		}
		g := presetGroup{Category: category}
		for _, name := range sender.SearchPresets(category, v.Query) {
			g.Presets = append(g.Presets, presetEntry{name, sender.PresetAbout(name)})
		}
		if len(g.Presets) > 0 {
			v.Groups = append(v.Groups, g)
		}
	}
	return addSourcePage(v), nil
}

// freeName returns a name that no source has.
func (c *console) freeName(q *request, preset string) string {
	taken := map[string]bool{}
	for _, name := range c.sourceNames(q) {
		taken[name] = true
	}
	name := preset
	for n := 2; taken[name]; n++ {
		name = preset + "-" + number(n)
	}
	return name
}

type destinationForm struct {
	// Name is empty for a new destination.
	Name string
	destination
	Sources []string
	// Headers and the like are changed by API and command only.

	// NewName and NewURL are what the form has before it is saved.
	NewName, NewURL string
	// Previewed is set if the page shows a preview; Problem is the API's error instead.
	Previewed bool
	Problem   string
	Preview   []previewedEvent
}

// previewedEvent is what the destination would make of a stored event, as the API describes it.
type previewedEvent struct {
	ID, Source, Type                  string
	ReceivedAt                        time.Time
	Matches, Passes, Sent, Truncated  bool
	FilterError, Before, After, Error string
	Headers                           map[string]string
	Logs                              []string

	// Lines is the difference of the body from the envelope; empty if it is too long to compare.
	Lines []diff.Line `json:"-"`
}

// outcome returns in a class and a few words what would happen with the event.
func (e *previewedEvent) outcome() (kind, text string) {
	switch {
	case e.Error != "":
		return "bad", "fails"
	case !e.Matches:
		return "none", "not chosen"
	case e.FilterError != "":
		return "warn", "no value of the filter"
	case !e.Passes:
		return "none", "filtered out"
	case !e.Sent:
		return "none", "left out"
	}
	return "ok", "would be sent"
}

// formats are the formats that the form offers.
var destinationFormats = []string{"envelope", "original", "cloudevents", "cloudevents-binary", "spec"}

func (c *console) addDestination(q *request) (templ.Component, error) {
	q.title, q.nav = "Add a destination", "destinations"
	return destinationFormPage(destinationForm{Sources: c.sourceNames(q)}), nil
}

func (c *console) editDestination(q *request) (templ.Component, error) {
	v, err := c.edited(q)
	if err != nil {
		return nil, err
	}
	return destinationFormPage(*v), nil
}

// edited returns the form of an existing destination.
func (c *console) edited(q *request) (*destinationForm, error) {
	v := &destinationForm{Name: q.PathValue("name"), Sources: c.sourceNames(q)}
	if err := c.ask(q, "/api/v1/destinations/"+url.PathEscape(v.Name), &v.destination); err != nil {
		return nil, err
	}
	if v.Origin != "api" {
		return nil, &problem{http.StatusConflict, "Managed by the configuration", "This destination is in gaff.yaml: change it there."}
	}
	q.title, q.nav = "Edit "+v.Name, "destinations"
	return v, nil
}

// previewDestination shows the posted form again, with what its filter and transformation make of the
// newest events. Nothing is saved.
func (c *console) previewDestination(w http.ResponseWriter, r *http.Request) {
	c.page(page{path: r.URL.Path, role: access.Admin, make: func(q *request) (templ.Component, error) {
		v := &destinationForm{Sources: c.sourceNames(q), NewName: r.PostFormValue("name"), destination: destination{Kind: r.PostFormValue("kind")}}
		q.title, q.nav = "Add a destination", "destinations"
		if r.PathValue("name") != "" {
			var err error
			if v, err = c.edited(q); err != nil {
				return nil, err
			}
		}
		v.NewURL, v.Events, v.Format = r.PostFormValue("url"), lines(r.PostFormValue("events")), r.PostFormValue("format")
		v.Filter, v.Transform, v.TransformJS = r.PostFormValue("filter"), r.PostFormValue("transform"), r.PostFormValue("transformJs")
		if err := c.preview(q, v); err != nil {
			return nil, err
		}
		return destinationFormPage(*v), nil
	}})(w, r)
}

// preview asks the API for the preview of a form.
func (c *console) preview(q *request, v *destinationForm) error {
	v.Previewed = true
	ask := map[string]any{
		"events": v.Events, "filter": strings.TrimSpace(v.Filter), "format": cmp.Or(v.Format, "envelope"),
		"transform": strings.TrimSpace(v.Transform), "transformJs": strings.TrimSpace(v.TransformJS),
	}
	if v.Name != "" {
		ask["destination"] = v.Name
	}
	body, _ := json.Marshal(ask)
	res, err := c.call(q.Request, http.MethodPost, "/api/v1/destinations/preview", body)
	switch {
	case err != nil:
		return err
	case res.Status/100 != 2:
		v.Problem = res.problem()
		return nil
	}
	var doc struct{ Events []previewedEvent }
	if err := readJSON(res.Body, &doc); err != nil {
		return err
	}
	for i := range doc.Events {
		e := &doc.Events[i]
		before, _ := pretty([]byte(e.Before))
		after, _ := pretty([]byte(e.After))
		e.Lines, _ = diff.Lines(string(before), string(after))
	}
	v.Preview = doc.Events
	return nil
}

// lines splits a text field into its lines, without empty ones.
func lines(text string) []string {
	list := []string{}
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == ',' }) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// destinationFields are the fields of the form. null resets a field to its default.
func destinationFields(r *http.Request) map[string]any {
	text := func(name string) any {
		if value := strings.TrimSpace(r.PostFormValue(name)); value != "" {
			return value
		}
		return nil
	}
	spec := map[string]any{"events": lines(r.PostFormValue("events")), "filter": text("filter"), "format": text("format"), "transform": text("transform"), "transformJs": text("transformJs")}
	if address := text("url"); address != nil {
		spec["url"] = address
	}
	return spec
}

// createDestination shows the signing secret on its response page.
func (c *console) createDestination(w http.ResponseWriter, r *http.Request) {
	spec := destinationFields(r)
	for name, value := range spec {
		if value == nil {
			delete(spec, name)
		}
	}
	spec["name"], spec["kind"] = strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("kind")
	body, _ := json.Marshal(spec)
	c.destinationSecret(w, r, "/api/v1/destinations", body, "/new-destination")
}

func (c *console) changeDestination(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("preview") != "" {
		c.previewDestination(w, r)
		return
	}
	name := url.PathEscape(r.PathValue("name"))
	body, _ := json.Marshal(destinationFields(r))
	res, err := c.call(r, http.MethodPatch, "/api/v1/destinations/"+name, body)
	back := "/destinations/" + name
	if err == nil && res.Status/100 != 2 {
		back += "/edit"
	}
	c.done(w, r, res, err, "Saved.", back)
}

// rotateDestination shows the new signing secret on its response page.
func (c *console) rotateDestination(w http.ResponseWriter, r *http.Request) {
	path := "/destinations/" + url.PathEscape(r.PathValue("name"))
	c.destinationSecret(w, r, "/api/v1"+path+"/rotate", []byte("{}"), path)
}

// destinationSecret posts to the API, and shows the destination with its new secret.
func (c *console) destinationSecret(w http.ResponseWriter, r *http.Request, path string, body []byte, back string) {
	res, err := c.call(r, http.MethodPost, path, body)
	if err != nil || res.Status/100 != 2 {
		c.done(w, r, res, err, "", back)
		return
	}
	var made struct{ Name, Secret string }
	_ = readJSON(res.Body, &made)
	if made.Secret == "" {
		c.done(w, r, res, err, "Done.", "/destinations/"+url.PathEscape(made.Name))
		return
	}
	c.page(page{path: "/destinations", role: access.Admin, make: func(q *request) (templ.Component, error) {
		q.title, q.nav = "Destination "+made.Name, "destinations"
		return destinationSecretPage(made.Name, made.Secret), nil
	}})(w, r)
}
