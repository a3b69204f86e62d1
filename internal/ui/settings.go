package ui

import (
	"strings"

	"github.com/a-h/templ"
)

func (c *console) settings(q *request) (templ.Component, error) {
	q.title, q.nav = "Settings", "settings"
	var list struct{ Docs []setting }
	if err := c.ask(q, "/api/v1/settings", &list); err != nil {
		return nil, err
	}
	v := settingsView{Query: q.query("q"), Changed: q.query("changed") == "true", All: len(list.Docs)}
	for _, s := range list.Docs {
		fits := v.Query == "" || strings.Contains(strings.ToLower(s.Name+" "+s.Help+" "+s.Value), strings.ToLower(v.Query))
		if fits && (!v.Changed || s.Origin != "default") {
			v.Rows = append(v.Rows, s)
		}
	}
	return settingsPage(v), nil
}

type settingsView struct {
	Query   string
	Changed bool
	Rows    []setting
	All     int
}

// setting is a setting as the API describes it.
type setting struct{ Name, Value, Origin, Help string }
