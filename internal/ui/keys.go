package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/a-h/templ"

	"gaff/internal/access"
)

type keysView struct {
	Keys     []access.Key
	Made     map[string]int // number of active keys created with a key, by its id
	Sessions []access.Session
	Mine     string
	Now      time.Time
	// Signing are gaff's own keys.
	Signing []signingKey
}

// signingKey is a key of gaff's own, as the API describes it.
type signingKey struct {
	Name     string
	Accepted int
}

// Use says what the key signs.
func (k signingKey) Use() string {
	switch k.Name {
	case "links":
		return "links to files"
	case "webhooks":
		return "webhook URLs of jobs"
	case "callbacks":
		return "requests to callback URLs of jobs"
	}
	return k.Name
}

// rotateSigningKey rotates a key of gaff's own.
func (c *console) rotateSigningKey(body, done string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res, err := c.call(r, http.MethodPost, "/api/v1/signing-keys/"+url.PathEscape(r.PathValue("name"))+"/rotate", []byte(body))
		c.done(w, r, res, err, done, "/keys")
	}
}

func (c *console) keys(q *request) (templ.Component, error) {
	q.title, q.nav = "Keys and logins", "keys"
	keys, err := c.o.Guard.Keys(q.Context())
	if err != nil {
		return nil, err
	}
	sessions, err := c.o.Guard.Sessions(q.Context())
	if err != nil {
		return nil, err
	}
	made := map[string]int{}
	for _, k := range keys {
		if k.MadeBy != "" && k.State(q.now) == "active" {
			made[k.MadeBy]++
		}
	}
	var signing struct{ Docs []signingKey }
	if err := c.ask(q, "/api/v1/signing-keys", &signing); err != nil {
		return nil, err
	}
	return keysPage(keysView{keys, made, sessions, q.who.ID, q.now, signing.Docs}), nil
}

// createKey shows the new key on its response page: the key itself is not stored.
func (c *console) createKey(w http.ResponseWriter, r *http.Request) {
	text := func(field string) string { return strings.TrimSpace(r.PostFormValue(field)) }
	fields := map[string]any{
		"name": r.PostFormValue("name"), "role": r.PostFormValue("role"), "expiresAt": r.PostFormValue("expires"),
		"scope": map[string]any{
			"projectId": text("project"), "source": text("source"), "destination": text("destination"), "operations": words(text("operations")),
		},
	}
	if rate := text("rate"); rate != "" {
		fields["rate"] = rate // the API rejects it
		if n, err := strconv.Atoi(rate); err == nil {
			fields["rate"] = n
		}
	}
	body, _ := json.Marshal(fields)
	res, err := c.call(r, http.MethodPost, "/api/v1/keys", body)
	if err != nil || res.Status/100 != 2 {
		c.done(w, r, res, err, "", "/keys")
		return
	}
	var made struct{ Name, Role, Key string }
	_ = readJSON(res.Body, &made)
	c.page(page{path: "/keys", role: access.Admin, make: func(q *request) (templ.Component, error) {
		q.title, q.nav = "New key", "keys"
		return newKeyPage(made.Name, made.Role, made.Key), nil
	}})(w, r)
}

// words splits a list that people write with commas, spaces or lines.
func words(text string) []string {
	return append([]string{}, strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })...)
}
