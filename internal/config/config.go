// Package config holds every setting of the program in one struct: defaults, then
// gaff.yaml, then the environment, then flags.
//
// The settings are one table (settings.go): name, other names, flag, help and the field
// it fills. The same table reads the file, the environment and the flags, names faults
// and prints "gaff config show", so the four cannot drift apart.
package config

import (
	"errors"
	"fmt"
	"io"
	"time"

	"gaff/sender"

	"gaff"
	"gaff/provider/all"
)

// Secret is a text that prints as "[redacted]" everywhere but where it is used.
type Secret string

// String returns "[redacted]", or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// Format writes what [Secret.String] returns for every verb, so that neither %#v nor a
// mistaken %d shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText writes what [Secret.String] returns, for JSON and structured logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config is every setting. [Default] gives the defaults.
type Config struct {
	Addr        string // GAFF_ADDR, PORT
	DataDir     string // GAFF_DATA_DIR
	DatabaseURL string // GAFF_DATABASE_URL, DATABASE_URL; empty: SQLite in DataDir. May hold a password
	AdminToken  Secret // GAFF_ADMIN_TOKEN
	// MetricsAccess is "token" or [MetricsOpen]: GAFF_METRICS_ACCESS.
	MetricsAccess string
	BaseURL       string // WEBHOOK_BASE_URL; without a slash at the end

	// WebhookSecrets are all accepted; the first one signs: WEBHOOK_SECRET.
	WebhookSecrets []Secret

	// Providers are the values of the settings that providers declare, by name, as pointers
	// that [assign] fills. Use ProviderValues and SetProvider.
	Providers provided

	// CallbackSecrets sign callbacks, each of them; empty: one kept in the database.
	CallbackSecrets []Secret // GAFF_CALLBACK_SECRET

	NgrokDomain    string // NGROK_DOMAIN; a bare host name
	NgrokAuthToken Secret // NGROK_AUTH_TOKEN, NGROK_AUTHTOKEN
	Tunnel         bool   // open it; a flag of the commands, no setting

	ReconcileAfter time.Duration // GAFF_RECONCILE_AFTER
	ReconcileRate  float64       // GAFF_RECONCILE_RATE; requests a second to each provider
	SubmitPatience time.Duration // GAFF_SUBMIT_PATIENCE
	MediaURL       string        // GAFF_MEDIA_URL; empty: "media" in DataDir; "off": none
	TrustedProxies []string      // GAFF_TRUSTED_PROXIES, CIDR; each parses with netip.ParsePrefix
	Media          Media         // what is kept, and how
	AllowAddresses []string      // GAFF_ALLOW_ADDRESSES, CIDR; each parses with netip.ParsePrefix

	// Fixed is set by whoever changed what was read: reading it again would undo that.
	Fixed bool

	WorkflowsDir    string   // GAFF_WORKFLOWS; empty: "workflows" in the working folder, if it is there
	WorkflowLimits  []string // GAFF_WORKFLOW_LIMITS, each provider=number
	WorkflowSecrets []Secret // GAFF_WORKFLOW_SECRETS, each name=value

	LogFormat, LogLevel string // GAFF_LOG_FORMAT, GAFF_LOG_LEVEL; LogLevel is a name of slog

	// ClientURL and ClientToken are where and as whom the commands speak to a running
	// gateway: GAFF_URL (without a slash at the end) and GAFF_TOKEN. The server does not
	// read them.
	ClientURL   string
	ClientToken Secret

	// Sources are the configured senders, by name, of gaff.yaml's "sources:". An entry
	// may also be named like a provider, or custom, to change its limits and retries, or
	// (custom only) its verifier.
	Sources map[string]Source
	// Destinations are where events are forwarded to, by name, of "destinations:".
	Destinations map[string]Destination

	// Limits of receiving and working. [Default] fills them all.
	Limits Limits
	// Retention is for how long things are kept. Zero keeps them for ever.
	Retention Retention
	// Retry is the policy of all deliveries where a source has none of its own.
	Retry Retry

	// File is the configuration file that was read; empty if there was none.
	File string
	// Warnings are remarks of [Load] on what is allowed but hardly meant.
	Warnings []string

	// origins tells where a value came from, by the setting's name or its path in the
	// file. What is not in it is a default.
	origins map[string]string

	load func() (*Config, error)
}

// Reload reads the configuration again, from where it came: the environment stays what it
// was at the start, but .env, gaff.yaml and the files of secrets are read as they are now.
func (c *Config) Reload() (*Config, error) {
	if c.load == nil {
		return nil, errors.New("this configuration was not read from anywhere")
	}
	return c.load()
}

// Source is a sender declared in the configuration.
type Source struct {
	// Preset names a kept description of a sender ("stripe"); Verify is one in full.
	// One of the two is set, but for the sources that gaff has itself.
	Preset string
	Verify *sender.Description
	// Secrets are resolved texts: "env:NAME" and "file:/path" were already read.
	Secrets []Secret
	// Settings are other values a scheme may refer to, such as callback_url.
	Settings map[string]string

	// JSON pointers into the body, over the verifier's own id and type locations.
	ID, Type, Status, Job, Project string

	// MaxBodyBytes bounds the body; zero means Limits.MaxBodyBytes.
	MaxBodyBytes int64
	AcceptGzip   bool
	// Allow lists the networks that may send (CIDR), ContentTypes the media types that
	// are taken; empty: all. Rate is how many requests a second are taken, Burst how many
	// at once; zero: no bound.
	Allow, ContentTypes []string
	Rate                float64
	Burst               int
	// Retry overrides Config.Retry field by field; nil keeps it.
	Retry *Retry
	// Jobs maps the body to job and media effects, over the preset's own; nil: its own.
	// NoJobs ("jobs: off") leaves the preset's out, too.
	Jobs   *sender.Jobs
	NoJobs bool
}

// Retry is gaff.RetryPolicy in the configuration's words. Zero fields keep the default.
type Retry struct {
	MaxAttempts int
	First, Max  time.Duration
	Factor      float64
	Timeout     time.Duration
}

// Policy returns r as the gateway's type.
func (r Retry) Policy() gaff.RetryPolicy {
	return gaff.RetryPolicy{MaxAttempts: r.MaxAttempts, First: r.First, Factor: r.Factor, Max: r.Max, Timeout: r.Timeout}
}

// Media says which files are kept, and how. [Default] fills all but Types.
type Media struct {
	MaxSize int64         // of one file; 1 GiB
	Types   []string      // content types, "image/*" for all images; empty: all but text/html
	Workers int           // downloads at once; 4
	LinkFor time.Duration // how long a signed link is good for; 24h
}

// Limits bounds what strangers and load can make the program do.
type Limits struct {
	MaxBodyBytes   int64         // of one webhook; 1 MiB
	MaxHeaderBytes int           // 16 KiB
	ReadTimeout    time.Duration // whole request; 15s
	HeaderTimeout  time.Duration // 5s
	IdleTimeout    time.Duration // 75s
	Connections    int           // open at once; 10000
	InFlightBytes  int64         // over all bodies; 256 MiB
	Workers        int           // handlers at once; 64
	Rejections     int           // kept; 10000
	Audit          int           // lines of the audit log that are kept; 100000
	Quarantine     int64         // bytes of refused requests kept whole; 64 MiB
	QuarantineFor  time.Duration // how long those are kept; 7 days
	Lease          time.Duration // on PostgreSQL: after which others take over; 30s
}

const day = 24 * time.Hour

// Retention is for how long things are kept; zero keeps them for ever. What is not done
// stays whole, and jobs and media stay until they are deleted.
type Retention struct {
	Payloads   time.Duration // bodies and headers of events; 30d
	Events     time.Duration // events, with their deliveries and attempts; 180d
	Rejections time.Duration // refused requests; 7d
	Audit      time.Duration // lines of the audit log; 365d
}

// MetricsOpen is the value of Config.MetricsAccess that lets everybody read /metrics.
const MetricsOpen = "open"

// Default returns the configuration of a gateway for which nothing is set.
func Default() *Config {
	p := gaff.DefaultRetryPolicy
	c := &Config{
		Addr:           ":3000",
		MetricsAccess:  "token",
		DataDir:        "./gaff-data",
		ReconcileAfter: 2 * time.Minute,
		ReconcileRate:  5,
		SubmitPatience: 2 * time.Hour,
		Media:          Media{MaxSize: 1 << 30, Workers: 4, LinkFor: 24 * time.Hour},
		LogFormat:      "text",
		LogLevel:       "info",
		Limits: Limits{
			MaxBodyBytes:   1 << 20,
			MaxHeaderBytes: 16 << 10,
			ReadTimeout:    15 * time.Second,
			HeaderTimeout:  5 * time.Second,
			IdleTimeout:    75 * time.Second,
			Connections:    10000,
			InFlightBytes:  256 << 20,
			Workers:        64,
			Rejections:     10000,
			Audit:          100000,
			Quarantine:     64 << 20,
			QuarantineFor:  7 * 24 * time.Hour,
			Lease:          30 * time.Second,
		},
		Retention: Retention{Payloads: 30 * day, Events: 180 * day, Rejections: 7 * day, Audit: 365 * day},
		Retry:     Retry{MaxAttempts: p.MaxAttempts, First: p.First, Max: p.Max, Factor: p.Factor, Timeout: p.Timeout},
	}
	for _, s := range all.Settings() {
		c.provided(s)
	}
	return c
}
