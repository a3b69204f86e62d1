// Package described has providers that are described by data: how to submit, poll and cancel work,
// where the answers hold its id, status, result, files, error and cost, and how their webhooks are
// verified. A catalogue of descriptions is embedded.
package described

import (
	"fmt"
	"time"

	"gaff/sender"
)

// Description describes a provider. Fields called "expression" are CEL expressions; fields called
// "template" are texts with ${ expressions }. docs/providers/write-your-own.md lists their variables.
type Description struct {
	// Title is for people, Docs a link to the provider's documents.
	Title string `yaml:"title"`
	Docs  string `yaml:"docs"`
	// Checked says when the description was compared with which document.
	Checked *Checked `yaml:"checked"`
	// Unchecked lists what the documents leave open, and what no live service confirmed.
	Unchecked []string `yaml:"unchecked"`
	// Model is the provider's word for what a job does, Example one of them, and Input an example
	// of its input, a JSON object.
	Model   string `yaml:"model"`
	Example string `yaml:"example"`
	Input   string `yaml:"input"`

	// BaseURL begins the URLs. Secrets are sent to its host, and to Hosts, only.
	BaseURL string   `yaml:"base_url"`
	Hosts   []string `yaml:"hosts"`
	// Secrets says, by name, what the provider calls each secret.
	Secrets map[string]string `yaml:"secrets"`
	// Token is a token that is signed for each request; nil: none is.
	Token *Token `yaml:"token"`
	// Headers are templates, sent with every request.
	Headers map[string]string `yaml:"headers"`

	Submit  Submit   `yaml:"submit"`
	Poll    *Poll    `yaml:"poll"`
	Cancel  *Cancel  `yaml:"cancel"`
	Webhook *Webhook `yaml:"webhook"`
	// Files says how to fetch the files of a result; nil: without a secret.
	Files *Files `yaml:"files"`
	// Billing says what an answer holds of the cost; nil: nothing.
	Billing *Billing `yaml:"billing"`

	// Rate is how many requests for status and result are made a second; zero: as set for all.
	Rate float64 `yaml:"rate"`
	// Concurrency is how many submits are sent at once; zero: 8.
	Concurrency int `yaml:"concurrency"`
	// Expected is how long a job usually takes; zero: unknown.
	Expected time.Duration `yaml:"expected"`
}

// Checked says when and with what a description was compared.
type Checked struct {
	Date   string `yaml:"date"`
	Source string `yaml:"source"`
}

// Token is a JSON Web Token, signed with HMAC-SHA256, as ${token}.
type Token struct {
	// Issuer and Key name the secrets with the issuer and the signing key.
	Issuer string        `yaml:"issuer"`
	Key    string        `yaml:"key"`
	TTL    time.Duration `yaml:"ttl"`
}

// Submit says how to submit work.
type Submit struct {
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"`     // template
	Query   map[string]string `yaml:"query"`   // templates; empty values are left out
	Headers map[string]string `yaml:"headers"` // templates
	// Body is an expression: an object, or a list of objects that are merged. In a merge a null
	// removes the member.
	Body string `yaml:"body"`
	// Form sends the members of the body as a multipart form.
	Form bool `yaml:"form"`
	// Refused is an expression over an answer of status 2xx that is true if the provider did not
	// accept the work; NotNow one that is true if it may accept it later.
	Refused string `yaml:"refused"`
	NotNow  string `yaml:"not_now"`
	// NotTaken lists statuses, beside 429, that say that the work was not accepted this time.
	NotTaken []string `yaml:"not_taken"`
	// ID is an expression for the provider's id of the work; StatusURL and CancelURL, if set, are
	// expressions for URLs.
	ID        string `yaml:"id"`
	StatusURL string `yaml:"status_url"`
	CancelURL string `yaml:"cancel_url"`
	// Error and ErrorType are expressions over a rejection.
	Error     string `yaml:"error"`
	ErrorType string `yaml:"error_type"`
	// Immediate is set if the answer is the result: the provider answers when the work is done.
	Immediate *Reading `yaml:"immediate"`
	// Media is the content type of an answer that is the file itself; empty: it is JSON.
	Media string `yaml:"media"`
	// Repeatable is set if the provider takes work once, however often it is submitted with the
	// same job_id.
	Repeatable bool `yaml:"repeatable"`
}

// Reading says where an answer holds the state of work. All fields but States are expressions.
type Reading struct {
	// Status is the word that States translates to queued, processing, completed, failed or
	// cancelled.
	Status string            `yaml:"status"`
	States map[string]string `yaml:"states"`
	// Progress is a number from 0 to 1, or a text.
	Progress string `yaml:"progress"`
	// Result is the result of completed work; empty: the whole answer. Files are its links; empty:
	// those that the result holds under the usual names.
	Result string `yaml:"result"`
	Files  string `yaml:"files"`
	// Error is text for people, ErrorType a code.
	Error     string `yaml:"error"`
	ErrorType string `yaml:"error_type"`
	// Cost is the billed amount in the unit of Billing.
	Cost string `yaml:"cost"`
}

// Poll says how to read the state of work.
type Poll struct {
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"` // template; the URL of the submit's answer goes before it
	Query   map[string]string `yaml:"query"`
	Headers map[string]string `yaml:"headers"`
	// Missing is the status of work to which the provider answers 404; empty: it does not know it.
	Missing string `yaml:"missing"`
	Reading `yaml:",inline"`
}

// Cancel says how to stop work.
type Cancel struct {
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"` // template
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"` // expression; empty: none
	// Ended lists statuses that say that the work has ended already.
	Ended []string `yaml:"ended"`
}

// Webhook says how webhooks are verified and read. A description without one is polled.
type Webhook struct {
	// Preset or Verify say how the provider signs. Unsigned is set if it does not: then only the
	// URL of a job, which nobody else knows, is accepted, and the result is fetched by a poll.
	Preset   string              `yaml:"preset"`
	Verify   *sender.Description `yaml:"verify"`
	Unsigned bool                `yaml:"unsigned"`
	// Account is set if the URL is entered at the provider, not sent with each submit.
	Account bool `yaml:"account"`
	// ID is an expression for the provider's id of the work, Job one for the id of gaff's job, of
	// providers that echo it.
	ID  string `yaml:"id"`
	Job string `yaml:"job"`
	// Type is an expression for the type of the event; empty: the one that Preset or Verify names, else
	// "job." and the status of the work, such as job.completed.
	Type string `yaml:"type"`
	// Same is an expression for the part of the body that is as the answer to a poll. Without it
	// Status and States give the state of the work, and the result is fetched by a poll.
	Same   string            `yaml:"same"`
	Status string            `yaml:"status"`
	States map[string]string `yaml:"states"`
}

// Files says how to fetch the files of a result.
type Files struct {
	// Headers are templates, sent to the host of BaseURL and to Hosts only.
	Headers map[string]string `yaml:"headers"`
}

// Billing says what the provider bills.
type Billing struct {
	// Unit is what Reading.Cost counts: an ISO currency such as USD, or a word such as credit.
	Unit string `yaml:"unit"`
	// Price is the price of a unit that is not a currency, in Currency, as it was on Date by
	// Source; empty: unknown.
	Price    string `yaml:"price"`
	Currency string `yaml:"currency"`
	Date     string `yaml:"date"`
	Source   string `yaml:"source"`
}

// Polled reports whether gaff must poll the provider: it sends no webhooks.
func (d *Description) Polled() bool { return d.Webhook == nil }

// String returns the title.
func (d *Description) String() string { return fmt.Sprintf("provider %s", d.Title) }
