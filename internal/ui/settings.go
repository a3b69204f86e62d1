package ui

import (
	"github.com/a-h/templ"
)

func (c *console) settings(q *request) (templ.Component, error) {
	q.title, q.nav = "Settings", "settings"
	var list struct{ Docs []setting }
	err := c.ask(q, "/api/v1/settings", &list)
	return settingsPage(list.Docs), err
}

// setting is a setting as the API describes it.
type setting struct{ Name, Value, Origin, Help string }
