package ui

import (
	"context"
	"io"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/diff"
)

type identity = access.Identity

// icons are outlines in a square of 16 pixels.
var icons = map[string]string{
	"home":   `<path d="M2.5 7 8 2.5 13.5 7v6.5h-4v-4h-3v4h-4z"/>`,
	"inbox":  `<path d="M2 9.5 4 3h8l2 6.5V13H2zM2 9.5h3.5L6.5 11h3l1-1.5H14"/>`,
	"ban":    `<circle cx="8" cy="8" r="5.5"/><path d="m4.2 4.2 7.6 7.6"/>`,
	"bolt":   `<path d="M9 1.5 3.5 9H8l-1 5.5L12.5 7H8z"/>`,
	"image":  `<rect x="2" y="3" width="12" height="10" rx="1.5"/><circle cx="5.5" cy="6.5" r="1"/><path d="m2.5 12 4-4 2.5 2.5L11 8.5l3 3"/>`,
	"folder": `<path d="M2 4h4l1.5 1.5H14V13H2z"/>`,
	"plug":   `<path d="M5.5 2v3.5M10.5 2v3.5M3.5 5.5h9V8a4.5 4.5 0 0 1-9 0zM8 12.5V15"/>`,
	"key":    `<circle cx="5" cy="11" r="2.8"/><path d="m7 9 6-6M11 5l2 2"/>`,
	"list":   `<path d="M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.5M2 8h.5M2 12h.5"/>`,
	"gear":   `<circle cx="8" cy="8" r="2.2"/><path d="M8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 1.4M3.6 12.4 5 11M11 5l1.4-1.4"/>`,
	"pulse":  `<path d="M1.5 8.5h3L6.5 3l3 10 2-4.5h3"/>`,
	"menu":   `<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>`,
	"moon":   `<path d="M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z"/>`,
	"check":  `<path d="m3 8.5 3.2 3.2L13 4.8"/>`,
	"cross":  `<path d="m4 4 8 8M12 4l-8 8"/>`,
	"clock":  `<circle cx="8" cy="8" r="5.5"/><path d="M8 5v3.2l2 1.3"/>`,
	"again":  `<path d="M13 5.5A5.5 5.5 0 1 0 13.5 9M13.5 2.5v3.2h-3.2"/>`,
	"dash":   `<path d="M4 8h8"/>`,
	"video":  `<rect x="2" y="3.5" width="12" height="9" rx="1.5"/><path d="M7 6.2v3.6L10 8z"/>`,
	"audio":  `<path d="M2.5 6.5v3M5.2 4v8M8 2.5v11M10.8 5v6M13.5 6.5v3"/>`,
	"cube":   `<path d="m8 1.8 5.5 3v6.4L8 14.2l-5.5-3V4.8zM2.5 4.8 8 8l5.5-3.2M8 8v6.2"/>`,
	"file":   `<path d="M4 1.8h5L12.5 5v9.2H4zM9 1.8V5h3.5"/>`,
	"flow":   `<circle cx="3.5" cy="8" r="1.7"/><circle cx="12.5" cy="3.8" r="1.7"/><circle cx="12.5" cy="12.2" r="1.7"/><path d="M5.2 8c4 0 2-4.2 5.6-4.2M5.2 8c4 0 2 4.2 5.6 4.2"/>`,
	"send":   `<path d="M14 2 7 9M14 2 9.5 14 7 9 2 6.5z"/>`,
	"shield": `<path d="M8 1.8 13 4v4c0 3-2 5.2-5 6.2C5 13.2 3 11 3 8V4z"/>`,
}

// icon is a decorative drawing; a word beside it says the same.
func icon(name string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, `<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">`+icons[name]+`</svg>`)
		return err
	})
}

func chipIcon(kind string) string {
	return map[string]string{"ok": "check", "bad": "cross", "warn": "again", "wait": "clock"}[kind]
}

func flashIcon(kind string) string {
	if kind == "ok" {
		return "check"
	}
	return "cross"
}

func themeName(theme string) string {
	switch theme {
	case "light":
		return "Light"
	case "dark":
		return "Dark"
	}
	return "Auto"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// pagerView has the links through a list.
type pagerView struct{ Older, Newest string }

// pagerOf returns links to the next page and, except on the first, to the first page.
func pagerOf(q *request, next string) pagerView {
	var v pagerView
	values := q.URL.Query()
	if values.Get("cursor") != "" {
		values.Del("cursor")
		v.Newest = address(q.URL.Path, values)
	}
	if next != "" {
		values.Set("cursor", next)
		v.Older = address(q.URL.Path, values)
	}
	return v
}

func address(path string, values url.Values) string {
	for name, list := range values {
		if len(list) == 0 || list[0] == "" {
			values.Del(name)
		}
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// link returns the path of a row's page.
func link(folder, id string) templ.SafeURL {
	return templ.SafeURL("/" + folder + "/" + url.PathEscape(id))
}

// filtered returns the path of a list with filters, given as names and values.
func filtered(path string, pairs ...string) templ.SafeURL {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	return templ.SafeURL(address(path, values))
}

// pageSize is the number of rows of a list.
const pageSize = 50

func (q *request) cursor() gaff.Cursor { return gaff.Cursor{After: q.query("cursor"), Limit: pageSize} }

// countCache caches the totals for a second: every page shows them, and many pages may be open
// on a busy gateway.
type countCache struct {
	mu     sync.Mutex
	at     time.Time
	counts gaff.Counts
}

const countFor = time.Second

func (cc *countCache) get(ctx context.Context, st Store, now time.Time) (gaff.Counts, error) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if now.Sub(cc.at) < countFor && now.Sub(cc.at) >= 0 {
		return cc.counts, nil
	}
	counts, err := st.Counts(ctx, time.Time{})
	if err != nil {
		return gaff.Counts{}, err
	}
	cc.at, cc.counts = now, counts
	return counts, nil
}

// code writes tokens with their kinds as classes. It is Go and not templ because whitespace is
// significant in a pre.
func code(tokens []token) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for _, t := range tokens {
			open, shut := "", ""
			if t.kind != "" {
				open, shut = `<span class="`+t.kind+`">`, `</span>`
			}
			if _, err := io.WriteString(w, open+templ.EscapeString(t.text)+shut); err != nil {
				return err
			}
		}
		return nil
	})
}

func diffCode(lines []diff.Line) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for _, l := range lines {
			if _, err := io.WriteString(w, `<span class="`+diffClass(l.Op)+`">`+templ.EscapeString(l.Op+" "+visible(clip(l.Text, 400)))+"</span>\n"); err != nil {
				return err
			}
		}
		return nil
	})
}
