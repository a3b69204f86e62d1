// Package config holds every setting of the program in one struct: defaults, then
// gaff.yaml, then the environment, then flags.
package config

import (
	"time"

	"gaff/verify"
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

// Config is every setting. [Default] gives the defaults.
type Config struct {
	Addr        string // GAFF_ADDR, PORT
	DataDir     string // GAFF_DATA_DIR
	DatabaseURL string // GAFF_DATABASE_URL, DATABASE_URL; empty: SQLite in DataDir
	AdminToken  Secret // GAFF_ADMIN_TOKEN
	BaseURL     string // WEBHOOK_BASE_URL; without a slash at the end

	FalWebhookURL, LastFrameWebhookURL string // FAL_WEBHOOK_URL, LASTFRAME_WEBHOOK_URL

	// Several of each: all are accepted, the first signs.
	WebhookSecrets, FalWebhookSecrets, LastFrameWebhookSecrets []Secret

	FalKey      Secret // FAL_KEY
	FalQueueURL string // GAFF_FAL_QUEUE_URL
	FalJWKSURL  string // GAFF_FAL_JWKS_URL

	NgrokDomain    string // NGROK_DOMAIN
	NgrokAuthToken Secret // NGROK_AUTH_TOKEN, NGROK_AUTHTOKEN

	ReconcileAfter time.Duration // GAFF_RECONCILE_AFTER
	MediaURL       string        // GAFF_MEDIA_URL
	AllowAddresses []string      // GAFF_ALLOW_ADDRESSES, CIDR

	LogFormat, LogLevel string // GAFF_LOG_FORMAT, GAFF_LOG_LEVEL

	// Sources are the configured senders, by name, of gaff.yaml's "sources:". An entry
	// may also be named fal, lastframe or custom to change its limits and retries, or
	// (custom only) its verifier.
	Sources map[string]Source

	// Limits of receiving and working. Zero fields have defaults; see the yaml tags.
	Limits Limits
	// Retry is the policy of all deliveries where a source has none of its own.
	Retry Retry
}

// Source is a sender declared in the configuration.
type Source struct {
	// Preset names a kept description of a sender ("stripe"); Verify is one in full.
	// One of the two is set.
	Preset string
	Verify *verify.Scheme
	// Secrets are resolved texts: "env:NAME" and "file:/path" were already read.
	Secrets []Secret
	// Settings are other values a scheme may refer to, such as callback_url.
	Settings map[string]string

	// JSON pointers into the body, over the verifier's own id and type locations.
	ID, Type, Status, Job, Project string

	MaxBodyBytes int64
	AcceptGzip   bool
	Retry        *Retry
	// Effects maps the body to job and media effects; nil: none. Reserved for senders
	// without a provider package of their own.
	Effects *Effects
}

// Effects says where a sender's body holds what a job needs, as JSON pointers.
type Effects struct {
	Job, RequestID, Status, Error, Output, Project, User, Kind string
	// Words maps the sender's status words to queued, processing, completed, failed,
	// cancelled.
	Words map[string]string
}

// Retry is gaff.RetryPolicy in the configuration's words. Zero fields keep the default.
type Retry struct {
	MaxAttempts int
	First, Max  time.Duration
	Factor      float64
	Timeout     time.Duration
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
}
