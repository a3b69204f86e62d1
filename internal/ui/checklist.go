package ui

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"gaff"
	"gaff/internal/access"
)

// step is a step of setting up a gateway.
type step struct {
	Name, Text string
	// Page and Link lead to the page that does it; Command does it from a shell.
	Page, Link, Command string
	Done                bool
	// Optional steps are not needed by every gateway.
	Optional bool
}

// chip returns a step's state as a class and a word.
func (s step) chip() (kind, text string) {
	switch {
	case s.Done:
		return "ok", "done"
	case s.Optional:
		return "none", "optional"
	}
	return "warn", "to do"
}

func doneOf(steps []step) string {
	n := 0
	for _, s := range steps {
		if s.Done {
			n++
		}
	}
	return strconv.Itoa(n) + " of " + strconv.Itoa(len(steps))
}

// newGateway is the number of webhooks from which a gateway is no longer new: then nobody needs the
// checklist, also if something is not set.
const newGateway = 25

// checklist returns the steps of setting up, or none for a gateway that is set up or in use.
func (c *console) checklist(q *request, v *overviewView) ([]step, error) {
	received := int64(0)
	for _, s := range v.Counts.Sources {
		if s.Source != gaff.InternalSource {
			received += s.Pending + s.Success + s.Error
		}
	}
	if received >= newGateway || q.who.Scope.Limited() {
		return nil, nil
	}
	var settings struct{ Docs []setting }
	if err := c.ask(q, "/api/v1/settings", &settings); err != nil {
		return nil, err
	}
	var destinations struct{ Docs []destination }
	if err := c.ask(q, "/api/v1/destinations", &destinations); err != nil {
		return nil, err
	}
	steps := []step{sourceStep(v, q.may(access.Admin))}
	if len(settings.Docs) > 0 { // an embedding program sets its gateway up itself
		steps = append(steps, publicURLStep(settings.Docs), providerStep(settings.Docs, v.Gen.any()))
	}
	steps = append(steps, webhookStep(v, received), destinationStep(len(destinations.Docs), q.may(access.Admin)))
	for _, s := range steps {
		if !s.Done && !s.Optional {
			return steps, nil
		}
	}
	return nil, nil
}

// sourceStep is done if a source can verify its sender.
func sourceStep(v *overviewView, mayAdd bool) step {
	s := step{Name: "A source that can verify its sender"}
	var ready []string
	for _, src := range v.Sources {
		if src.DisabledReason == "" {
			ready = append(ready, src.Name)
		}
	}
	if s.Done = len(ready) > 0; s.Done {
		s.Text, s.Page, s.Link = "Ready: "+strings.Join(ready, ", ")+".", "/sources", "Their URLs"
	} else {
		s.Text = "No source has a secret. Set one, such as WEBHOOK_SECRET in .env, and restart gaff, or add a source from the catalogue of senders."
	}
	if mayAdd && !s.Done {
		s.Page, s.Link = "/new-source", "Add a source"
	}
	return s
}

// publicURLStep is done if senders on the internet know a URL of this gateway.
func publicURLStep(all []setting) step {
	s := step{Name: "A public URL"}
	for _, one := range all {
		switch {
		case one.Value == "":
		case one.Name == "WEBHOOK_BASE_URL" && ofThisMachine(one.Value):
			s.Optional = true
			s.Text = one.Value + " is reached from this machine only, which is enough for gaff dev and gaff send."
		case one.Name == "WEBHOOK_BASE_URL" || one.Name == "NGROK_DOMAIN":
			s.Done, s.Text = true, "Webhook URLs begin with "+one.Value+"."
			return s
		}
	}
	if s.Text == "" {
		s.Text = "Set WEBHOOK_BASE_URL to the URL that senders on the internet reach, or start with --tunnel for a temporary one."
	}
	return s
}

// ofThisMachine reports whether a URL has a loopback address or the name localhost.
func ofThisMachine(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// providerStep is done if the key of a provider is set, or jobs were submitted.
func providerStep(all []setting, jobs bool) step {
	s := step{Name: "A provider's key", Optional: true, Done: jobs}
	var names []string
	for _, one := range all {
		if strings.HasSuffix(one.Name, "_KEY") && strings.Contains(one.Help, "API key") {
			names = append(names, one.Name)
			s.Done = s.Done || one.Value != ""
		}
	}
	s.Text = "gaff can submit jobs."
	if !s.Done {
		s.Text = "Needed to submit jobs: set " + strings.Join(append(names, "providers: in gaff.yaml"), ", or ") + ". Webhooks alone need none."
	}
	return s
}

// webhookStep is done if a webhook has arrived.
func webhookStep(v *overviewView, received int64) step {
	s := step{Name: "The first webhook", Done: received > 0}
	name := v.Sendable()
	switch {
	case s.Done:
		s.Text, s.Page, s.Link = plural(received, "webhook has", "webhooks have")+" arrived.", "/events", "Events"
	case name != "":
		s.Text, s.Command = "No webhook has arrived yet. Send a signed sample and watch it arrive on this page:", "gaff send "+name
	default:
		s.Text = "No webhook has arrived yet. With the secret of a source, gaff send sends a signed sample."
	}
	return s
}

// destinationStep is done if events are forwarded.
func destinationStep(n int, mayAdd bool) step {
	s := step{Name: "A destination for events", Optional: true, Done: n > 0}
	switch {
	case s.Done:
		s.Text, s.Page, s.Link = "Events are forwarded to "+plural(int64(n), "destination", "destinations")+".", "/destinations", "Destinations"
	case mayAdd:
		s.Text, s.Page, s.Link = "Your application gets the events that you choose, signed, with retries.", "/new-destination", "Add a destination"
	default:
		s.Text = "Your application gets the events that you choose, signed, with retries. An admin adds one."
	}
	return s
}
