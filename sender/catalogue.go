package sender

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Catalogue writes docs/presets.md, the list of presets.
func Catalogue(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Presets

Written by ` + "`go test ./sender -run Catalogue -update`" + `; do not edit.

A source takes a sender's description by name:

` + "```yaml" + `
sources:
  shop:
    preset: shopify
    secrets: [env:SHOPIFY_SECRET]
` + "```" + `

` + "`gaff sources show NAME`" + ` prints what to enter where. "Can send" says whether ` + "`gaff send`" + ` and ` + "`gaff sign`" + ` can imitate the
sender; if they cannot, only the sender has the signing key. Handshakes are answered by gaff. A sender
with batches brings several events in a request, each kept under its own id. One with jobs moves the status of jobs and adds their files,
as a provider does. [verification.md](verification.md) says how each is verified.

"Compared" is the day on which the preset was last compared with the sender's own document or SDK, and which one. A preset
without a date may be out of date: the reason is at the end. Senders change; report a difference as an issue.

` + "`gaff sources presets`" + ` lists and searches them, also by category; in the console, "Add a source" does.
`)
	unchecked := map[string][]string{}
	for _, category := range Categories {
		fmt.Fprintf(&b, "\n## %s\n\n| preset | sender | checks | settings | knows | can send | compared |\n|---|---|---|---|---|---|---|\n", category)
		for _, name := range SearchPresets(category, "") {
			b.WriteString(catalogueRow(name, unchecked))
		}
	}
	if len(unchecked) > 0 {
		b.WriteString("\n## Not compared\n\nBy reason:\n\n")
	}
	for _, reason := range slices.Sorted(maps.Keys(unchecked)) {
		fmt.Fprintf(&b, "- %s: %s\n", reason, ticked(unchecked[reason]))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// catalogueRow returns the row of a preset. A preset that was not compared is added to those of its reason.
func catalogueRow(name string, unchecked map[string][]string) string {
	d, _ := Preset(name)
	about := PresetAbout(name)
	title := about.Title
	if about.Docs != "" {
		title = "[" + title + "](" + about.Docs + ")"
	}
	compared := "no"
	if about.Checked != nil {
		compared = about.Checked.markdown()
	} else {
		unchecked[about.Unchecked] = append(unchecked[about.Unchecked], name)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s | %s |\n", name, title, d.Summary(), ticked(d.Needs()),
		strings.Join(d.Traits(), ", "), yes(d.CanSign()), compared)
}

// markdown returns the day, with a link to the document or the name of the SDK.
func (c *Checked) markdown() string {
	if strings.HasPrefix(c.Source, "https://") {
		return "[" + c.Date + "](" + c.Source + ")"
	}
	return c.Date + ", `" + c.Source + "`"
}

func ticked(names []string) string {
	for i, name := range names {
		names[i] = "`" + name + "`"
	}
	return strings.Join(names, ", ")
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
