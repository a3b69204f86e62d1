package sender

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gaff/verify"
)

//go:embed about.json
var aboutFile []byte

// About has what people need to set up a sender.
type About struct {
	// Category is one of [Categories].
	Category string `json:"category"`
	// Title is the sender's name; Docs its own page about webhooks, empty if not known.
	Title string `json:"title"`
	Docs  string `json:"docs,omitempty"`
	// Where says where to enter the URL, Secret which secret to copy. They are empty for the usual
	// places: the sender's webhook settings, and the secret shown there.
	Where  string `json:"where,omitempty"`
	Secret string `json:"secret,omitempty"`
	// Events says which events to choose, and where; empty without a choice.
	Events string `json:"events,omitempty"`
	// Checked says when the preset was last compared with the sender's documentation. Nil: never,
	// for the reason in Unchecked. One of both is set.
	Checked   *Checked `json:"checked,omitempty"`
	Unchecked string   `json:"unchecked,omitempty"`
}

// Checked says what a preset was compared with, and when.
type Checked struct {
	// Source is the address of the sender's document, or the sender's SDK as
	// "npm NAME@VERSION" or "go MODULE@VERSION".
	Source string `json:"source"`
	// Date is the day of the comparison, such as 2026-11-29.
	Date string `json:"date"`
}

// Categories are the kinds of senders, in the order in which lists show them.
var Categories = []string{
	"AI", "Media", "Payments", "Commerce", "Code and operations", "Events", "Messages", "Customers", "Documents and planning", "Identity",
}

// SearchPresets returns the presets of a category whose name, title or category has all words of a text,
// sorted by name. An empty category or text means all.
func SearchPresets(category, text string) (names []string) {
	words := strings.Fields(strings.ToLower(text))
	for _, name := range Presets() {
		about := PresetAbout(name)
		if category != "" && !strings.EqualFold(about.Category, category) {
			continue
		}
		in := strings.ToLower(name + " " + about.Title + " " + about.Category)
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(in, word) }) {
			names = append(names, name)
		}
	}
	return names
}

var abouts = sync.OnceValue(func() map[string]About {
	var all map[string]About
	if err := json.Unmarshal(aboutFile, &all); err != nil {
		panic("sender: about.json: " + err.Error())
	}
	return all
})

// PresetAbout returns what people need to set up a preset. Where and Secret are never empty.
func PresetAbout(name string) About {
	a := abouts()[name]
	d, ok := Preset(name)
	if !ok {
		return a
	}
	a.Title = cmp.Or(a.Title, name)
	a.Where = cmp.Or(a.Where, "the webhook settings of "+a.Title+": paste the address")
	switch {
	case a.Secret != "":
	case !verify.NeedsSecret(d.Scheme):
		a.Secret = "none: its public keys are fetched"
	case d.Kind == "basic":
		a.Secret = "user:password, as entered at the sender"
	case d.Kind == "token":
		a.Secret = "the token that it sends"
	case d.Key.Source != "" || d.Name == "travis" || d.Name == "paddle-classic":
		a.Secret = "its public key, as it shows it"
	default:
		a.Secret = "the signing secret, as it shows it"
	}
	return a
}

// Needs lists the settings that verification requires, and those that the answers to
// challenges require.
func (d Description) Needs() []string {
	list := d.RequiredSettings()
	for _, c := range d.Challenge {
		if c.Guard != nil {
			list = append(list, c.Guard.Setting)
		}
		list = append(list, c.Answer.settings()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Traits lists in a few words what a description has besides verification.
func (d Description) Traits() (list []string) {
	if len(d.Challenge) > 0 {
		list = append(list, "handshake")
	}
	if d.Batch != nil {
		list = append(list, "batches")
	}
	if d.Jobs != nil {
		list = append(list, "jobs")
	}
	if d.Content != "" {
		list = append(list, strings.SplitN(d.Content, ":", 2)[0])
	}
	if d.Ack != nil {
		list = append(list, "own answer")
	}
	if d.MaxBody > 0 {
		list = append(list, fmt.Sprintf("bodies up to %d MiB", d.MaxBody>>20))
	}
	if d.CoversBody != nil && !*d.CoversBody {
		list = append(list, "body not covered")
	}
	return list
}
