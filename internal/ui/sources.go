package ui

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
)

type sourceRow struct {
	gaff.SourceInfo
	Address string
	Count   gaff.SourceCount
}

func (c *console) sourceRows(q *request) ([]sourceRow, error) {
	counts, err := c.counts.get(q.Context(), c.o.Store, q.now)
	if err != nil {
		return nil, err
	}
	var rows []sourceRow
	for _, info := range c.o.Sources() {
		row := sourceRow{SourceInfo: info, Address: c.o.Address(info.Name)}
		for _, count := range counts.Sources {
			if count.Source == info.Name {
				row.Count = count
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// sourceNames returns the names of the sources that the user reaches.
func (c *console) sourceNames(q *request) (names []string) {
	for _, s := range c.o.Sources() {
		if q.who.Scope.HasSource(s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

type sourcesView struct {
	Rows      []sourceRow
	Now       time.Time
	MayCreate bool
}

func (c *console) sources(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Sources", "sources", "event"
	rows, err := c.sourceRows(q)
	if err != nil {
		return nil, err
	}
	return sourcesPage(sourcesView{rows, q.now, q.may(access.Admin)}), nil
}

type sourceView struct {
	sourceRow
	// SubmitURL is where to submit work, with the URL in it; empty unless the service takes it so.
	SubmitURL string
	Now       time.Time
	Types     []string
	MayAct    bool
	Newest    []gaff.Log
	Plots     plotsView
	// Managed sources are changed in the configuration. MayChange is for the others.
	Managed, MayChange bool
	// Schemas are those of a source that was created by the API. OnViolation is refuse or warn.
	Schemas     []sourceSchema
	OnViolation string
}

// sourceSchema is the JSON Schema of an event type.
type sourceSchema struct{ Type, Text string }

func (c *console) source(q *request) (templ.Component, error) {
	rows, err := c.sourceRows(q)
	if err != nil {
		return nil, err
	}
	name := q.PathValue("name")
	i := slices.IndexFunc(rows, func(r sourceRow) bool { return r.Name == name })
	if i < 0 || !q.who.Scope.HasSource(name) {
		return nil, notThere("source", name)
	}
	q.title, q.nav, q.live = "Source "+name, "sources", "event"
	v := sourceView{sourceRow: rows[i], Now: q.now, MayAct: q.may(access.Operator)}
	if c.o.SubmitURL != nil {
		v.SubmitURL = c.o.SubmitURL(name, v.Address)
	}
	if c.o.SampleTypes != nil {
		v.Types = c.o.SampleTypes(name)
	}
	var doc struct {
		Managed bool
		Spec    *struct {
			Schemas     map[string]json.RawMessage
			OnViolation string
		}
	}
	if err := c.ask(q, "/api/v1/sources/"+url.PathEscape(name), &doc); err != nil {
		return nil, err
	}
	v.Managed, v.MayChange = doc.Managed, !doc.Managed && q.may(access.Admin)
	if doc.Spec != nil {
		v.OnViolation = doc.Spec.OnViolation
		for _, eventType := range slices.Sorted(maps.Keys(doc.Spec.Schemas)) {
			var text bytes.Buffer
			_ = json.Indent(&text, doc.Spec.Schemas[eventType], "", "  ") // it is JSON
			shown, _ := editable(text.Bytes())
			v.Schemas = append(v.Schemas, sourceSchema{eventType, shown})
		}
	}
	page, err := q.store.Events(q.Context(), gaff.EventFilter{Source: name, Cursor: gaff.Cursor{Limit: 10}})
	if err != nil {
		return nil, err
	}
	v.Newest = page.Items
	if v.Plots, err = c.plots(q, name); err != nil {
		return nil, err
	}
	return sourcePage(v), nil
}

func (c *console) testSource(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	body, _ := json.Marshal(map[string]string{"type": r.PostFormValue("type")})
	res, err := c.call(r, http.MethodPost, "/api/v1/sources/"+url.PathEscape(name)+"/test", body)
	back := "/sources/" + url.PathEscape(name)
	var sent struct {
		Status   int
		Response string
		EventID  string
	}
	text := ""
	if err == nil && res.Status/100 == 2 {
		_ = readJSON(res.Body, &sent)
		text = "A signed sample was sent and answered " + http.StatusText(sent.Status) + "."
		if sent.EventID != "" {
			back = "/events/" + url.PathEscape(sent.EventID)
		} else {
			setFlash(w, "bad", "The sample was rejected: "+sent.Response)
			http.Redirect(w, r, back, http.StatusSeeOther)
			return
		}
	}
	c.done(w, r, res, err, text, back)
}

// createSource shows the URL and the secret on its response page.
func (c *console) createSource(w http.ResponseWriter, r *http.Request) {
	spec := map[string]any{"name": strings.TrimSpace(r.PostFormValue("name")), "preset": r.PostFormValue("preset")}
	switch r.PostFormValue("secrets") {
	case "given":
		spec["secrets"] = []string{strings.TrimSpace(r.PostFormValue("secret"))}
	case "later":
		spec["secrets"] = []string{}
	}
	body, _ := json.Marshal(spec)
	c.secretPage(w, r, "/api/v1/sources", body, "/sources")
}

// rotateSource shows the new secret on its response page.
func (c *console) rotateSource(w http.ResponseWriter, r *http.Request) {
	body, _ := json.Marshal(map[string]string{"secret": strings.TrimSpace(r.PostFormValue("secret"))})
	path := "/sources/" + url.PathEscape(r.PathValue("name"))
	c.secretPage(w, r, "/api/v1"+path+"/rotate", body, path)
}

// setSchema sets or removes the schema of an event type.
func (c *console) setSchema(w http.ResponseWriter, r *http.Request) {
	path := "/sources/" + url.PathEscape(r.PathValue("name"))
	eventType, text := strings.TrimSpace(r.PostFormValue("type")), strings.TrimSpace(r.PostFormValue("schema"))
	patch := map[string]any{"onViolation": r.PostFormValue("onViolation")}
	done := "The schema is in force."
	switch {
	case r.PostFormValue("remove") != "":
		patch, done = map[string]any{"schemas": map[string]any{eventType: nil}}, "The schema was removed."
	case !json.Valid([]byte(text)):
		setFlash(w, "bad", "The schema is not JSON. Nothing was changed.")
		http.Redirect(w, r, path, http.StatusSeeOther)
		return
	default:
		patch["schemas"] = map[string]any{eventType: json.RawMessage(text)}
	}
	body, _ := json.Marshal(patch)
	res, err := c.call(r, http.MethodPatch, "/api/v1"+path, body)
	c.done(w, r, res, err, done, path)
}

// secretPage posts to the API, and shows the source with its new secret.
func (c *console) secretPage(w http.ResponseWriter, r *http.Request, path string, body []byte, back string) {
	res, err := c.call(r, http.MethodPost, path, body)
	if err != nil || res.Status/100 != 2 {
		c.done(w, r, res, err, "", back)
		return
	}
	var made newSource
	_ = readJSON(res.Body, &made)
	c.page(page{path: "/sources", role: access.Admin, make: func(q *request) (templ.Component, error) {
		q.title, q.nav = "Source "+made.Name, "sources"
		return newSourcePage(made), nil
	}})(w, r)
}

// newSource is a source with a secret that was just made, if gaff made one.
type newSource struct{ Name, Address, Secret, Quiet string }

// aboutLabel returns the label of a fact that a source describes itself with.
func aboutLabel(name string) string {
	if label := map[string]string{
		"callbacks": "Callbacks", "dashboard": "Dashboard of the sender", "jobs": "Jobs", "own dialect": "HMAC form", "register": "Where to enter the URL",
		"secret": "Secret", "secret set": "Secret", "verifier": "Verification",
	}[name]; label != "" {
		return label
	}
	return name
}

// aboutText returns the value of such a fact for people.
func aboutText(name, value string) string {
	if name == "secret set" {
		return map[string]string{"true": "set", "false": "not set"}[value]
	}
	return value
}
