// Package config reads the settings: flags over environment over gaff.yaml over defaults.
//
// A setting is a field of [Config] with struct tags, and a line in the check method beside its
// struct if not every value is valid. The rest is derived from the tags: reading the file, the
// environment and the flags, the names in faults, "gaff config show" and the table in
// docs/configuration.md. The tags are:
//
//	env      the environment variable; its key in gaff.yaml is in lower case, without "gaff_".
//	         More names after commas are read if the first one is not set.
//	yaml     the key in gaff.yaml of a field without env, or "-" for a field that is not read there
//	alias    another key in gaff.yaml
//	flag     the flag, without dashes
//	default  the default, as it is written in gaff.yaml
//	help     what it sets, in a few words
//	unit     "bytes": an int64 that is written as a size
//	list     "commas": a list that may also be one text, with commas; "one": or one item
//	ref      "true": the value may be env:NAME or file:PATH, as that of secrets may
//	secret   for a field that is not of type [Secret]. "password": a URL that may contain one.
//	         "path": a URL whose path may be one. "value": a text that is one. For secrets, "pairs": name=value texts.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/provider/all"
)

// Secret is a text that prints as "[redacted]".
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

// Config has all settings. [Default] returns the defaults.
type Config struct {
	Addr string `env:"GAFF_ADDR,PORT" flag:"addr" default:":3000" help:"listen address"`
	// AdminAddr is empty if Addr serves everything.
	AdminAddr string `env:"GAFF_ADMIN_ADDR" flag:"admin-addr" help:"listen address of the console, the API and /metrics; GAFF_ADDR then serves only the public paths; empty: GAFF_ADDR serves all"`
	// TLSCert and TLSKey are the files of Addr, AdminTLSCert and AdminTLSKey those of AdminAddr.
	TLSCert      string `env:"GAFF_TLS_CERT,GAFF_TLS_CERT_FILE" flag:"tls-cert" help:"file with the certificate (PEM, intermediates after it) of GAFF_ADDR; empty: no TLS"`
	TLSKey       string `env:"GAFF_TLS_KEY,GAFF_TLS_KEY_FILE" flag:"tls-key" help:"file with the private key of GAFF_TLS_CERT"`
	AdminTLSCert string `env:"GAFF_ADMIN_TLS_CERT,GAFF_ADMIN_TLS_CERT_FILE" flag:"admin-tls-cert" help:"file with the certificate of GAFF_ADMIN_ADDR; empty: no TLS"`
	AdminTLSKey  string `env:"GAFF_ADMIN_TLS_KEY,GAFF_ADMIN_TLS_KEY_FILE" flag:"admin-tls-key" help:"file with the private key of GAFF_ADMIN_TLS_CERT"`

	DataDir         string   `env:"GAFF_DATA_DIR" flag:"data-dir" default:"./gaff-data" help:"data folder"`
	DatabaseURL     string   `env:"GAFF_DATABASE_URL,DATABASE_URL" flag:"database-url" secret:"password" help:"postgres://…, with several hosts as host1:5432,host2:5432; empty for SQLite in the data folder"`
	DatabaseReadURL string   `env:"GAFF_DATABASE_READ_URL" flag:"database-read-url" secret:"password" help:"postgres://… of a read replica that answers lists and searches while it is at most some seconds behind; empty: the database of GAFF_DATABASE_URL does"`
	SecretsKeys     []Secret `env:"GAFF_SECRETS_KEY" help:"keys that encrypt the secrets in the database (gaff secrets key makes one), separated by commas; the first encrypts, all decrypt; empty: plain text"`
	AdminToken      Secret   `env:"GAFF_ADMIN_TOKEN" help:"first admin token; empty on SQLite: generated at the first start"`
	// MetricsAccess is "token" or [MetricsOpen].
	MetricsAccess string `env:"GAFF_METRICS_ACCESS" default:"token" help:"who may read /metrics: token (callers with a token) or open (every caller that reaches the port)"`
	// PprofAddr is a loopback address, or empty.
	PprofAddr string `env:"GAFF_PPROF_ADDR" help:"loopback address that serves CPU and memory profiles (net/http/pprof), such as 127.0.0.1:6060; empty: none"`
	// BaseURL has no slash at its end.
	BaseURL string `env:"WEBHOOK_BASE_URL" flag:"base-url" help:"public base URL of this gateway; webhook URLs for providers begin with it"`

	// WebhookSecrets are all accepted; the first one signs.
	WebhookSecrets []Secret `env:"WEBHOOK_SECRET" help:"secrets of the source custom, separated by commas; the first signs"`

	// Providers has the values of the settings that providers declare, by name, as pointers.
	// Use ProviderValues and SetProvider.
	Providers provided

	// CallbackSecrets each sign callbacks. If empty, one is stored in the database.
	CallbackSecrets []Secret `env:"GAFF_CALLBACK_SECRET" help:"secrets (whsec_…, by commas; each signs) of requests to callback URLs; empty: generated and stored in the database"`

	// NgrokDomain is a bare host name.
	NgrokDomain    string `env:"NGROK_DOMAIN" help:"domain of the development tunnel"`
	NgrokAuthToken Secret `env:"NGROK_AUTH_TOKEN,NGROK_AUTHTOKEN" help:"token of the development tunnel"`
	// Tunnel opens it. It is a flag of commands, not a setting.
	Tunnel bool

	ReconcileAfter time.Duration `env:"GAFF_RECONCILE_AFTER" flag:"reconcile-after" default:"2m" help:"poll the provider of a job after no webhook or status came for this long"`
	ReconcileRate  float64       `env:"GAFF_RECONCILE_RATE" default:"5" help:"requests a second that reconciliation makes to each provider"`
	SubmitPatience time.Duration `env:"GAFF_SUBMIT_PATIENCE" default:"2h" help:"how long a job whose submit was not answered waits for its webhook"`
	// MediaURL is empty for the folder "media" in DataDir, or "off".
	MediaURL string `env:"GAFF_MEDIA_URL" flag:"media-url" secret:"password" help:"where files are stored: empty for \"media\" in the data folder, a URL such as s3://bucket or file:///folder (with ?shared=true if all nodes have it), or off"`
	// TrustedProxies and AllowAddresses parse with netip.ParsePrefix.
	TrustedProxies []string `env:"GAFF_TRUSTED_PROXIES" flag:"trusted-proxies" help:"proxies (CIDR, by commas) whose X-Forwarded-For is believed"`
	AllowAddresses []string `env:"GAFF_ALLOW_ADDRESSES" flag:"allow-addresses" help:"private networks (CIDR, by commas) that outgoing requests may reach"`

	// CORSOrigins are a scheme and host each, with the port if it is not the scheme's.
	CORSOrigins []string `env:"GAFF_CORS_ORIGINS" help:"origins of web pages (https://app.example.com, by commas) that may read the API with a token"`

	// Login is how people log in to the console.
	Login Login `yaml:",inline"`

	// WorkflowsDir is empty for "workflows" in the working folder, if it exists.
	WorkflowsDir    string   `env:"GAFF_WORKFLOWS" flag:"workflows" help:"folder of the workflow files; empty for workflows in the working folder, if it exists"`
	WorkflowLimits  []string `env:"GAFF_WORKFLOW_LIMITS" flag:"workflow-limits" help:"how many jobs of workflows may run at once at a provider: NAME=2, several by commas"`
	WorkflowSecrets []Secret `env:"GAFF_WORKFLOW_SECRETS" secret:"pairs" help:"what the headers of http steps may use as secrets.NAME: name=value, several by commas"`

	LogFormat string `env:"GAFF_LOG_FORMAT" flag:"log-format" default:"text" help:"text or json"`
	LogLevel  string `env:"GAFF_LOG_LEVEL" flag:"log-level" default:"info" help:"debug, info, warn or error"`

	// OpenTelemetry. The exporters read other OTEL_* variables themselves.
	OTLPEndpoint     string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" help:"URL to send traces, metrics and logs to by OTLP over HTTP, such as http://localhost:4318; empty sends none"`
	OTLPTraces       string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" help:"whole URL for traces, in place of the former"`
	OTLPMetrics      string `env:"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" help:"whole URL for metrics"`
	OTLPLogs         string `env:"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" help:"whole URL for logs"`
	TracesExporter   string `env:"OTEL_TRACES_EXPORTER" default:"otlp" help:"otlp or none"`
	MetricsExporter  string `env:"OTEL_METRICS_EXPORTER" default:"otlp" help:"otlp or none"`
	LogsExporter     string `env:"OTEL_LOGS_EXPORTER" default:"otlp" help:"otlp or none"`
	TracesSampler    string `env:"OTEL_TRACES_SAMPLER" help:"which traces are sent: parentbased_always_on (the default), traceidratio, always_off and so on"`
	TracesSamplerArg string `env:"OTEL_TRACES_SAMPLER_ARG" help:"share of traces for traceidratio, from 0 to 1"`
	OTLPHeaders      Secret `env:"OTEL_EXPORTER_OTLP_HEADERS" help:"headers for the collector: name=value, several by commas"`
	MetricInterval   int    `env:"OTEL_METRIC_EXPORT_INTERVAL" default:"60000" help:"milliseconds between two requests with metrics"`
	TelemetryOff     bool   `env:"OTEL_SDK_DISABLED" default:"false" help:"true sends nothing"`

	// ClientURL (without a slash at its end) and ClientToken are for commands that use a running
	// gateway. The server does not read them.
	ClientURL   string `env:"GAFF_URL" yaml:"-" help:"URL of the gateway that the commands use; else found in the data folder"`
	ClientToken Secret `env:"GAFF_TOKEN" yaml:"-" help:"token of the commands; else found in the data folder"`

	Media     Media     `yaml:"media"`
	Limits    Limits    `yaml:"limits"`
	Retention Retention `yaml:"retention"`
	// Retry is the policy of deliveries whose source has none.
	Retry Retry `yaml:"retry"`

	Alerts Alerts `yaml:"alerts"`

	// Prices say what jobs cost, for sums and budgets. The first entry that matches counts.
	Prices []PriceEntry `yaml:"prices"`
	// Reuse says for which models and projects results of earlier jobs answer equal submits. The first
	// entry that matches counts.
	Reuse []ReuseEntry `yaml:"reuse"`
	// Models are aliases, with their candidates in order: each is used if the former one failed.
	Models map[string][]Candidate `yaml:"models"`
	// Described are providers that a description sets up, by name.
	Described map[string]Provider `yaml:"providers"`
	// Sources are the configured senders, by name. An entry may be named like a provider, or
	// custom, to change its limits and retries, or (custom only) its verifier.
	Sources map[string]Source `yaml:"sources"`
	// Destinations are what events are forwarded to, by name.
	Destinations map[string]Destination `yaml:"destinations"`

	// Fixed is set by code that changes a loaded configuration, which a reload would undo.
	Fixed bool

	// File is the configuration file that was read; empty if none was.
	File string
	// Warnings are remarks of [Load] on values that are allowed but probably not intended.
	Warnings []string

	// origins says where a value was set, by the name of its setting or its path in the file.
	// Defaults are not in it.
	origins map[string]string

	load func() (*Config, error)
}

// MetricsOpen is the value of Config.MetricsAccess that lets every caller read /metrics.
const MetricsOpen = "open"

// normalize puts values into the form that the rest of the program expects.
func (c *Config) normalize() {
	for _, lower := range []*string{&c.MetricsAccess, &c.LogFormat, &c.LogLevel} {
		*lower = strings.ToLower(*lower)
	}
	for _, addr := range []*string{&c.Addr, &c.AdminAddr} {
		if isDigits(*addr) { // PORT, as hosting platforms set it
			*addr = ":" + *addr
		}
	}
	c.BaseURL, c.ClientURL = trimSlash(c.BaseURL), trimSlash(c.ClientURL)
	c.Login.ConsoleURL = trimSlash(c.Login.ConsoleURL)
	c.NgrokDomain = trimSlash(strings.TrimPrefix(c.NgrokDomain, "https://"))
	c.normalizeProvided()
	wholePrefixes(c.TrustedProxies)
	wholePrefixes(c.AllowAddresses)
	for _, source := range c.Sources {
		wholePrefixes(source.Allow)
	}
	for name, destination := range c.Destinations {
		destination.Spec.Name = name
		c.Destinations[name] = destination
	}
	for name, p := range c.Described {
		p.BaseURL = trimSlash(p.BaseURL)
		c.Described[name] = p
	}
}

// check reports the values of the top level that cannot work.
func (c *Config) check(k *checker) {
	k.value(&c.Addr, checkAddr(c.Addr))
	k.value(&c.PprofAddr, checkLoopback(c.PprofAddr))
	c.checkListeners(k)
	if c.DataDir == "" {
		k.value(&c.DataDir, errors.New("must name a folder, such as ./gaff-data"))
	}
	k.value(&c.DatabaseURL, checkDatabase(c.DatabaseURL))
	k.value(&c.DatabaseReadURL, c.checkReplica())
	k.value(&c.AdminToken, CheckAdminToken(c.AdminToken))
	k.value(&c.MetricsAccess, checkWord(c.MetricsAccess, "token", MetricsOpen))
	k.value(&c.BaseURL, checkPublicBase(c.BaseURL))
	c.checkProvided(k)
	k.value(&c.CallbackSecrets, checkSigning(c.CallbackSecrets))
	if strings.ContainsAny(c.NgrokDomain, "/:@? ") {
		k.value(&c.NgrokDomain, errors.New("must be a bare host name, such as example.ngrok.app"))
	}
	k.value(&c.NgrokAuthToken, checkToken(c.NgrokAuthToken))
	k.value(&c.ReconcileAfter, checkPositive(c.ReconcileAfter, "a duration such as 30s, 2m or 1d"))
	if !(c.ReconcileRate > 0 && c.ReconcileRate <= 1000) {
		k.value(&c.ReconcileRate, errors.New("must be more than 0 and at most 1000"))
	}
	k.value(&c.SubmitPatience, checkPositive(c.SubmitPatience, "a duration such as 30m or 2h"))
	k.value(&c.MediaURL, checkMedia(c.MediaURL))
	k.value(&c.TrustedProxies, checkPrefixes(c.TrustedProxies))
	k.value(&c.AllowAddresses, checkPrefixes(c.AllowAddresses))
	k.value(&c.CORSOrigins, checkOrigins(c.CORSOrigins))
	k.value(&c.WorkflowLimits, checkLimits(c.WorkflowLimits))
	k.value(&c.WorkflowSecrets, checkPairs(c.WorkflowSecrets))
	k.value(&c.LogFormat, checkWord(c.LogFormat, "text", "json"))
	k.value(&c.LogLevel, checkWord(c.LogLevel, "debug", "info", "warn", "error"))
	for _, p := range []*string{&c.OTLPEndpoint, &c.OTLPTraces, &c.OTLPMetrics, &c.OTLPLogs} {
		if *p != "" {
			k.value(p, checkBase(*p))
		}
	}
	k.value(&c.MetricInterval, checkAtLeast(int64(c.MetricInterval), 100, "milliseconds such as 60000"))
	for _, p := range []*string{&c.TracesExporter, &c.MetricsExporter, &c.LogsExporter} {
		k.value(p, checkWord(*p, "otlp", "none"))
	}
	k.value(&c.ClientURL, checkBase(c.ClientURL))
	c.checkPrices(k)
	c.checkModels(k)
	c.checkReuse(k)
	k.value(&c.ClientToken, checkToken(c.ClientToken))
}

// Validate reports all values that cannot work, as a [Faults].
func (c *Config) Validate() error {
	k := newChecker(c)
	c.check(k)
	c.Login.check(k)
	c.Media.check(k)
	c.Limits.check(k)
	c.Retention.check(k)
	c.Retry.check(k)
	c.Alerts.check(k)
	for _, name := range slices.Sorted(maps.Keys(c.Alerts.Channels)) {
		channel := c.Alerts.Channels[name]
		channel.check(name, k.below("alerts.channels."+name, &channel))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Described)) {
		p := c.Described[name]
		p.check(name, k.below("providers."+name, &p))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		source := c.Sources[name]
		inner := k.below("sources."+name, &source)
		if _, is := c.Described[name]; is {
			source.checkOwn(name, "providers."+name+".webhook_secrets", inner)
			source.checkBounds(inner)
			continue
		}
		source.check(name, inner)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		destination := c.Destinations[name]
		destination.check(k.below("destinations."+name, &destination))
	}
	return k.faults.err()
}

// Default returns the configuration of a gateway without any setting.
func Default() *Config {
	c := &Config{Retry: defaultRetry()}
	for _, s := range all.Settings() {
		c.provided(s)
	}
	for _, s := range settingsOf(c) {
		if s.preset == "" {
			continue
		}
		if err := s.assign(s.preset); err != nil {
			panic("config: default of " + s.name + ": " + err.Error())
		}
	}
	return c
}

// Reload loads the configuration again, from the same places: the environment is that of the
// start; .env, gaff.yaml and the files of secrets are read again.
func (c *Config) Reload() (*Config, error) {
	if c.load == nil {
		return nil, errors.New("this configuration was not loaded from files")
	}
	return c.load()
}

// Level returns LogLevel as slog's type.
func (c *Config) Level() slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(c.LogLevel)) != nil {
		return slog.LevelInfo
	}
	return l
}

// Retry is gaff.RetryPolicy in the file's words. Zero fields mean the default.
type Retry struct {
	MaxAttempts int           `yaml:"max_attempts" help:"attempts in all, including the first"`
	First       time.Duration `yaml:"first" help:"wait after the first failure"`
	Factor      float64       `yaml:"factor" help:"by what the wait grows"`
	Max         time.Duration `yaml:"max" help:"longest wait"`
	Timeout     time.Duration `yaml:"timeout" help:"how long one run of a handler may take"`
}

func defaultRetry() Retry {
	p := gaff.DefaultRetryPolicy
	return Retry{MaxAttempts: p.MaxAttempts, First: p.First, Factor: p.Factor, Max: p.Max, Timeout: p.Timeout}
}

// Policy returns r as the gateway's type.
func (r Retry) Policy() gaff.RetryPolicy {
	return gaff.RetryPolicy{MaxAttempts: r.MaxAttempts, First: r.First, Factor: r.Factor, Max: r.Max, Timeout: r.Timeout}
}

func (r *Retry) check(k *checker) {
	if r.MaxAttempts < 0 || r.MaxAttempts > 1000 {
		k.value(&r.MaxAttempts, errors.New("must be 1 to 1000"))
	}
	for _, d := range []*time.Duration{&r.First, &r.Max, &r.Timeout} {
		if *d < 0 {
			k.value(d, errors.New("must not be negative"))
		}
	}
	if r.Factor != 0 && !(r.Factor >= 1 && r.Factor <= 100) {
		k.value(&r.Factor, errors.New("must be 1 to 100"))
	}
	if r.First > 0 && r.Max > 0 && r.Max < r.First {
		k.value(&r.Max, fmt.Errorf("must not be shorter than first, %s", formatDuration(r.First)))
	}
}

// Media says which files are stored, and how.
type Media struct {
	MaxSize int64         `yaml:"max_size" unit:"bytes" default:"1GiB" help:"largest file that is stored"`
	Types   []string      `yaml:"types" list:"commas" help:"content types that are stored, such as image/*; empty: all but text/html"`
	Workers int           `yaml:"workers" default:"4" help:"files that are fetched at once"`
	LinkFor time.Duration `yaml:"link_for" default:"24h" help:"how long the links to stored files are valid"`
}

func (m *Media) check(k *checker) {
	k.value(&m.MaxSize, checkAtLeast(m.MaxSize, 1, "a size such as 1GiB"))
	k.value(&m.Types, checkTypes(m.Types))
	k.value(&m.Workers, checkAtLeast(int64(m.Workers), 1, "a number such as 4"))
	k.value(&m.LinkFor, checkPositive(m.LinkFor, "a duration such as 24h"))
}

// Limits bounds what untrusted clients and load can use up.
type Limits struct {
	MaxBodyBytes   int64         `yaml:"max_body" unit:"bytes" default:"1MiB" help:"largest webhook; some providers and presets take larger ones (docs/presets.md)"`
	MaxHeaderBytes int64         `yaml:"max_header" unit:"bytes" default:"16KiB" help:"largest header of a request"`
	ReadTimeout    time.Duration `yaml:"read_timeout" default:"15s" help:"time for a whole request"`
	HeaderTimeout  time.Duration `yaml:"header_timeout" default:"5s" help:"time for the header of a request"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" default:"75s" help:"time that an unused connection stays open"`
	Connections    int           `yaml:"connections" default:"10000" help:"connections open at once"`
	InFlightBytes  int64         `yaml:"in_flight" unit:"bytes" default:"256MiB" help:"bytes of all bodies being received"`
	Workers        int           `yaml:"workers" default:"64" help:"handlers at once"`
	Quarantine     int64         `yaml:"quarantine" unit:"bytes" default:"64MiB" help:"bytes of rejected requests that are stored whole"`
	QuarantineFor  time.Duration `yaml:"quarantine_for" default:"7d" help:"how long those are stored"`
	Rejections     int           `yaml:"rejections" default:"10000" help:"rejected requests that are stored"`
	Audit          int           `yaml:"audit" default:"100000" help:"lines of the audit log that are stored; of denied and failed calls a tenth"`
	Lease          time.Duration `yaml:"lease" default:"30s" help:"on PostgreSQL: after what time other nodes take over from one that is gone; on both databases: after what time a poll that a kill interrupted is repeated"`

	// Provider, Model, Project and User bound jobs, by name or by a pattern that ends in *.
	Provider map[string]JobLimit `yaml:"provider"`
	Model    map[string]JobLimit `yaml:"model"`
	Project  map[string]JobLimit `yaml:"project"`
	User     map[string]JobLimit `yaml:"user"`
}

// minLease leaves time to renew a lease on a slow disk.
const minLease = 2 * time.Second

// check reports limits of zero or less: without limits the program could be overrun.
func (l *Limits) check(k *checker) {
	for _, f := range fieldsOf(reflect.ValueOf(l).Elem()) {
		var n int64
		kind := "number"
		switch p := f.ptr.(type) {
		case *int:
			n = int64(*p)
		case *int64:
			n, kind = *p, "size"
		case *time.Duration:
			n, kind = int64(*p), "duration"
		default:
			continue
		}
		if n <= 0 {
			k.value(f.ptr, fmt.Errorf("must be more than zero: a %s such as %s", kind, f.preset))
		}
	}
	if l.MaxHeaderBytes >= 2<<30 {
		k.value(&l.MaxHeaderBytes, errors.New("must be less than 2GiB"))
	}
	if l.Lease > 0 && l.Lease < minLease {
		k.value(&l.Lease, fmt.Errorf("must be at least %s: a lease is renewed three times before it ends", minLease))
	}
	l.checkJobLimits(k)
}

// Retention is how long things are stored; zero stores them for ever. Unfinished events, jobs and
// runs stay.
type Retention struct {
	Payloads   time.Duration `yaml:"payloads" default:"30d" help:"how long bodies and headers of events are stored; 0 for ever"`
	Events     time.Duration `yaml:"events" default:"180d" help:"how long events are stored, with their deliveries and attempts; 0 for ever"`
	Rejections time.Duration `yaml:"rejections" default:"7d" help:"how long rejected requests are stored; 0 for ever, within their number"`
	Jobs       time.Duration `yaml:"jobs" default:"0" help:"how long jobs are stored after their end, with their inputs, results and files; 0 for ever"`
	Media      time.Duration `yaml:"media" default:"0" help:"how long files of jobs are stored, with their copies; 0 as long as their jobs"`
	Runs       time.Duration `yaml:"runs" default:"0" help:"how long runs are stored after their end, with their steps; 0 for ever"`
	Audit      time.Duration `yaml:"audit" default:"365d" help:"how long lines of the audit log are stored; 0 for ever, within their number"`
}

func (r *Retention) check(k *checker) {
	for _, d := range r.ages() {
		k.value(d, r.fault(d))
	}
}

func (r *Retention) ages() []*time.Duration {
	return []*time.Duration{&r.Payloads, &r.Events, &r.Rejections, &r.Jobs, &r.Media, &r.Runs, &r.Audit}
}

// fault returns an error for an age that is not valid.
func (r *Retention) fault(d *time.Duration) error {
	switch {
	case *d < 0 || *d > 0 && *d < time.Hour:
		return errors.New("must be at least an hour, such as 30d, or 0 for ever")
	case d == &r.Events && *d > 0 && (r.Payloads == 0 || r.Payloads > *d):
		return errors.New("must not be shorter than retention.payloads: a body is a part of its event")
	}
	return nil
}

// Validate returns an error for ages that a file could not have.
func (r *Retention) Validate() error {
	for _, d := range r.ages() {
		if err := r.fault(d); err != nil {
			return fmt.Errorf("retention %s: %w", *d, err)
		}
	}
	return nil
}
