package alert

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
)

// Item is an alert as messages and events show it.
type Item struct {
	Kind   string `json:"kind"`
	Cause  string `json:"cause"`
	Active bool   `json:"active"`
	Title  string `json:"title"`
	Count  int64  `json:"count,omitempty"`
	Since  string `json:"since"`
	Ended  string `json:"endedAt,omitempty"`
	// URL is the page of the console about it; empty without the gateway's public URL.
	URL string `json:"url,omitempty"`
}

// NewItem makes the item of an alert. base is the gateway's public URL; it may be empty.
func NewItem(a *Alert, base string) Item {
	i := Item{Kind: "gaff:" + a.Kind, Cause: a.Cause, Active: a.Active, Title: a.Title, Count: a.Count, Since: a.Since.UTC().Format(time.RFC3339)}
	if !a.EndedAt.IsZero() {
		i.Ended = a.EndedAt.UTC().Format(time.RFC3339)
	}
	if base != "" {
		i.URL = base + Page(a.Key)
	}
	return i
}

// Page is the path of the console's page about an alert.
func Page(k Key) string {
	cause := url.PathEscape(k.Cause)
	switch k.Kind {
	case gaff.EventDeliveryDead:
		return "/issues/" + cause
	case gaff.EventDestinationFailing, gaff.EventDestinationDisabled:
		return "/destinations/" + cause
	case gaff.EventSourceSilent:
		return "/sources/" + cause
	case gaff.EventSchemaViolation:
		source, _, _ := strings.Cut(k.Cause, "/")
		return "/sources/" + url.PathEscape(source)
	case gaff.EventRejectionsRising:
		return "/rejections?source=" + url.QueryEscape(k.Cause)
	case gaff.EventJobOverdue:
		return "/jobs?status=processing"
	case gaff.EventRunWaiting:
		return "/runs?status=running"
	}
	return "/health"
}

// state begins the line about an item.
func (i Item) state() string {
	if i.Active {
		return "Problem"
	}
	return "Resolved"
}

// line describes an item in one line.
func (i Item) line() string {
	text := i.state() + ": " + i.Title
	if i.Count > 1 {
		text += fmt.Sprintf(" (%d)", i.Count)
	}
	if i.Active {
		return text + ", since " + i.Since
	}
	return text + ", from " + i.Since + " to " + i.Ended
}

// Text is a message for people.
type Text struct {
	Subject string
	Items   []Item
}

// NewText writes a message. gateway names the gateway to people who have several.
func NewText(items []Item, gateway string) Text {
	problems, resolved := 0, 0
	for _, i := range items {
		if i.Active {
			problems++
		} else {
			resolved++
		}
	}
	var what []string
	switch {
	case len(items) == 1:
		what = append(what, items[0].state()+": "+items[0].Title)
	default:
		if problems > 0 {
			what = append(what, count(problems, "problem", "problems"))
		}
		if resolved > 0 {
			what = append(what, count(resolved, "resolved", "resolved"))
		}
	}
	subject := "gaff"
	if gateway != "" {
		subject += " " + gateway
	}
	return Text{Subject: excerpt.Text(subject+": "+strings.Join(what, ", "), 200), Items: items}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// maxItems bounds the alerts that one message lists.
const maxItems = 25

// Body lists the items, one line each, with the URL below it.
func (t Text) Body() string {
	var b strings.Builder
	for i, item := range t.Items {
		if i == maxItems {
			fmt.Fprintf(&b, "and %d more\n", len(t.Items)-maxItems)
			break
		}
		b.WriteString(excerpt.Text(item.line(), 500) + "\n")
		if item.URL != "" {
			b.WriteString(item.URL + "\n")
		}
	}
	return b.String()
}

// Limits of the services, in characters.
const (
	maxDiscord = 2000
	maxSlack   = 4000
)

// escapeSlack replaces what Slack takes for markup.
var escapeSlack = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Slack returns the body for an incoming webhook of Slack, or one that is compatible with it
// (Mattermost, Rocket.Chat).
func (t Text) Slack() []byte {
	return encode(map[string]any{"text": excerpt.Text("*"+escapeSlack.Replace(t.Subject)+"*\n"+escapeSlack.Replace(t.Body()), maxSlack-len("…"))})
}

// Discord returns the body for a webhook of Discord. No mention in the text has an effect.
func (t Text) Discord() []byte {
	return encode(map[string]any{
		"content": excerpt.Text(t.Subject+"\n"+t.Body(), maxDiscord-len("…")), "allowed_mentions": map[string]any{"parse": []string{}},
	})
}

// Teams returns the body for a webhook of Microsoft Teams (Workflows): an Adaptive Card.
func (t Text) Teams() []byte {
	blocks := []map[string]any{{"type": "TextBlock", "text": t.Subject, "weight": "Bolder", "wrap": true}}
	for line := range strings.Lines(t.Body()) {
		blocks = append(blocks, map[string]any{"type": "TextBlock", "text": strings.TrimSpace(line), "wrap": true})
	}
	return encode(map[string]any{"type": "message", "attachments": []any{map[string]any{
		"contentType": "application/vnd.microsoft.card.adaptive",
		"content": map[string]any{
			"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": blocks,
		},
	}}})
}

// encode writes strings and lists, which cannot fail.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("alert: " + err.Error())
	}
	return text
}
