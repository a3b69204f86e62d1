// Package provider describes the services that work on jobs. A provider is one package, with a
// [Provider] as its description, and one line in package provider/all.
package provider

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"gaff"
	"gaff/jobs"
)

// Provider describes a service: its settings, its source of webhooks and its client.
type Provider struct {
	// Name is the name of its source, and Job.Provider of its jobs. Title is for people.
	Name, Title string
	// Model is its word for what a job does, such as "model"; Example is one, and Input an
	// example of its input, a JSON object.
	Model, Example, Input string
	// Settings are read from the environment and from gaff.yaml.
	Settings []Setting
	// Source makes the source of its webhooks.
	Source func(Values) (Source, error)
	// Client makes the client that submits, polls and cancels jobs. The HTTP client follows no
	// redirects, since requests carry the key.
	Client func(Values, *http.Client) (jobs.Provider, error)
	// Setup says what to enter at the service for webhooks to come to a URL.
	Setup func(url string) []SetupStep
	// SubmitURL is the URL to submit to, with the webhook URL in it, of a service that takes it
	// with each request; nil otherwise.
	SubmitURL func(webhookURL string) string
	// Proxy serves programs that were written for the service; nil if it has no proxy.
	Proxy func(ProxyOptions) (Proxy, error)
}

// Source is a source of webhooks, with the means to imitate its sender.
type Source struct {
	gaff.Source
	// Interpreter reads its events as changes to jobs.
	Interpreter jobs.Interpreter
	// Types are the event types that Sample has a body for. The empty type is the first one.
	Types  []string
	Sample func(eventType string, now time.Time) ([]byte, error)
	// Sign adds the headers that make the body of r authentic.
	Sign func(r *gaff.Request, secret string, at time.Time)
}

// SetupStep is one thing to enter at a service.
type SetupStep struct{ Name, Text string }

// Kind says how a setting is read, checked and used.
type Kind int

// Kinds of settings.
const (
	// List is several texts, separated by commas.
	List Kind = iota
	// URL is a whole URL.
	URL
	// Base is a URL to which paths are joined. It has no slash at its end.
	Base
	// Key is a secret that is sent in a header.
	Key
	// WebhookURL is the URL of this gateway that the service sends to, in place of the one built
	// from WEBHOOK_BASE_URL.
	WebhookURL
	// WebhookSecrets are the secrets of the source, separated by commas; the first one signs.
	WebhookSecrets
	// Users are ids of the service's users whose webhooks count. A provider has such a setting
	// if its keys sign for all its users.
	Users
)

// Setting declares a setting. Its key in gaff.yaml is Name in lower case, without "gaff_".
type Setting struct {
	Name string // the environment variable
	Help string
	Kind Kind
	// Source is set if the source is built from it: a change takes effect without a restart.
	// It is implied for WebhookSecrets.
	Source bool
	// Check returns an error for a wrong value, beyond what the kind requires; may be nil.
	Check func(Values) error
}

// Secret reports whether the value must not be shown.
func (s Setting) Secret() bool { return s.Kind == Key || s.Kind == WebhookSecrets }

// OfSource reports whether the source is built from the setting.
func (s Setting) OfSource() bool { return s.Source || s.Kind == WebhookSecrets }

// Setting returns the name of the provider's setting of a kind; empty if it has none.
func (p Provider) Setting(k Kind) string {
	if i := slices.IndexFunc(p.Settings, func(s Setting) bool { return s.Kind == k }); i >= 0 {
		return p.Settings[i].Name
	}
	return ""
}

// Values are the values of settings, by name. They may hold secrets, so they do not print.
type Values map[string][]string

// List returns all values of a setting.
func (v Values) List(name string) []string { return v[name] }

// Text returns the value of a setting that has one; empty if it is not set.
func (v Values) Text(name string) string {
	if list := v[name]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// Format writes "[redacted]" for every verb.
func (v Values) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// ProxyOptions are what a proxy works with.
type ProxyOptions struct {
	Values Values
	// Client was made by Provider.Client.
	Client jobs.Provider
	Jobs   *jobs.Service
	Log    *slog.Logger
	// Authorize names the caller by its credential. The error is ErrUnknownCaller,
	// ErrNotAllowed, or that the credential could not be checked.
	Authorize func(r *http.Request) (caller string, err error)
	// Address returns the client's address.
	Address func(r *http.Request) string
	// BaseURL is the gateway's; empty: taken from the request.
	BaseURL string
}

// Proxy has the handlers of a proxy.
type Proxy struct {
	// Handlers are served at their paths; a path that ends in a slash includes all below it.
	Handlers map[string]http.Handler
	// Keyed serves requests with "Authorization: Key …" at any other path outside the API.
	Keyed http.Handler
}

// Errors of ProxyOptions.Authorize.
var (
	// ErrUnknownCaller: the request has no credential, or an unknown one.
	ErrUnknownCaller = errors.New("no known token")
	// ErrNotAllowed: the credential is known, but its role may not submit jobs.
	ErrNotAllowed = errors.New("the token's role does not allow it")
)
