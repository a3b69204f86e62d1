package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/client"
	"gaff/provider/all"
)

// setting is one row of the table of settings.
type setting struct {
	// name is the environment variable and, in lower case without "gaff_", the key in
	// the file. A name with a dot ("limits.workers") stands in the file only.
	name    string
	aliases []string // other environment variables, read in this order if name is not set
	flag    string   // without dashes; empty: no flag
	help    string
	// field returns the pointer that [assign] fills and [display] prints.
	field func(c *Config) any
	// norm rewrites a text before it is assigned: what people write, to what is kept.
	norm func(text string) string
	// check judges the value; nil accepts all.
	check func(c *Config) error
	// guarded values may hold a password although their type is not Secret: they are
	// never quoted in a fault and printed without it.
	guarded bool
	// clientOnly settings are of the commands that speak to a gateway: not in the file.
	clientOnly bool
}

// key is the setting's key in the file.
func (s *setting) key() string {
	return strings.TrimPrefix(strings.ToLower(s.name), "gaff_")
}

// fileOnly tells that the setting has no environment variable.
func (s *setting) fileOnly() bool { return strings.Contains(s.name, ".") }

// secret tells that the value must not be shown.
func (s *setting) secret() bool {
	switch s.field(new(Config)).(type) {
	case *Secret, *[]Secret:
		return true
	}
	return s.guarded
}

var settings = slices.Concat([]setting{
	{
		name: "GAFF_ADDR", aliases: []string{"PORT"}, flag: "addr",
		help:  "listen address",
		field: func(c *Config) any { return &c.Addr },
		norm: func(text string) string {
			if isDigits(text) { // PORT, as hosting platforms set it
				return ":" + text
			}
			return text
		},
		check: func(c *Config) error { return checkAddr(c.Addr) },
	},
	{
		name: "GAFF_DATA_DIR", flag: "data-dir",
		help:  "data folder",
		field: func(c *Config) any { return &c.DataDir },
		check: func(c *Config) error {
			if c.DataDir == "" {
				return errors.New("must name a folder, such as ./gaff-data")
			}
			return nil
		},
	},
	{
		name: "GAFF_DATABASE_URL", aliases: []string{"DATABASE_URL"}, flag: "database-url", guarded: true,
		help:  "postgres://…; empty for SQLite in the data folder",
		field: func(c *Config) any { return &c.DatabaseURL },
		check: func(c *Config) error { return checkDatabase(c.DatabaseURL) },
	},
	{
		name:  "GAFF_ADMIN_TOKEN",
		help:  "first admin token; empty on SQLite: one is made at the first start",
		field: func(c *Config) any { return &c.AdminToken },
		check: func(c *Config) error { return CheckAdminToken(c.AdminToken) },
	},
	{
		name: "GAFF_METRICS_ACCESS", norm: strings.ToLower,
		help:  "who may read /metrics: token (callers with a token) or open (every caller that reaches the port)",
		field: func(c *Config) any { return &c.MetricsAccess },
		check: func(c *Config) error {
			if c.MetricsAccess != "token" && c.MetricsAccess != MetricsOpen {
				return errors.New("must be token or open")
			}
			return nil
		},
	},
	{
		name: "WEBHOOK_BASE_URL", flag: "base-url", norm: trimSlash,
		help:  "public base of this gateway, from which the addresses for providers are built",
		field: func(c *Config) any { return &c.BaseURL },
		check: func(c *Config) error { return checkPublicBase(c.BaseURL) },
	},
	{
		name:  "WEBHOOK_SECRET",
		help:  "secrets of the source custom, separated by commas; the first signs",
		field: func(c *Config) any { return &c.WebhookSecrets },
	},
}, providerSettings(), []setting{
	{
		name:  "GAFF_CALLBACK_SECRET",
		help:  "secrets (whsec_…, by commas; each signs) of what is posted to callback URLs; empty: one is made and kept in the database",
		field: func(c *Config) any { return &c.CallbackSecrets },
		check: func(c *Config) error { return checkSigning(c.CallbackSecrets) },
	},
	{
		name: "NGROK_DOMAIN",
		help: "domain of the development tunnel",
		norm: func(text string) string {
			return trimSlash(strings.TrimPrefix(text, "https://"))
		},
		field: func(c *Config) any { return &c.NgrokDomain },
		check: func(c *Config) error {
			if strings.ContainsAny(c.NgrokDomain, "/:@? ") {
				return errors.New("must be a bare host name, such as example.ngrok.app")
			}
			return nil
		},
	},
	{
		name: "NGROK_AUTH_TOKEN", aliases: []string{"NGROK_AUTHTOKEN"},
		help:  "token of the development tunnel",
		field: func(c *Config) any { return &c.NgrokAuthToken },
		check: func(c *Config) error { return checkToken(c.NgrokAuthToken) },
	},
	{
		name: "GAFF_RECONCILE_AFTER", flag: "reconcile-after",
		help:  "ask a provider after a job of which nothing was heard for this long",
		field: func(c *Config) any { return &c.ReconcileAfter },
		check: func(c *Config) error { return checkPositive(c.ReconcileAfter, "a duration such as 30s, 2m or 1d") },
	},
	{
		name:  "GAFF_RECONCILE_RATE",
		help:  "requests a second that reconciliation makes to each provider",
		field: func(c *Config) any { return &c.ReconcileRate },
		check: func(c *Config) error {
			if !(c.ReconcileRate > 0 && c.ReconcileRate <= 1000) {
				return errors.New("must be more than 0 and at most 1000")
			}
			return nil
		},
	},
	{
		name:  "GAFF_SUBMIT_PATIENCE",
		help:  "how long a job whose submit was not answered waits for its webhook",
		field: func(c *Config) any { return &c.SubmitPatience },
		check: func(c *Config) error { return checkPositive(c.SubmitPatience, "a duration such as 30m or 2h") },
	},
	{
		name: "GAFF_MEDIA_URL", flag: "media-url", guarded: true,
		help:  `where files are kept: empty for "media" in the data folder, an address such as s3://bucket or file:///folder, or off`,
		field: func(c *Config) any { return &c.MediaURL },
		check: func(c *Config) error { return checkMedia(c.MediaURL) },
	},
	{
		name: "GAFF_TRUSTED_PROXIES", flag: "trusted-proxies",
		help:  "proxies (CIDR, by commas) whose X-Forwarded-For is believed",
		field: func(c *Config) any { return &c.TrustedProxies },
		check: func(c *Config) error { return checkPrefixes(c.TrustedProxies) },
	},
	{
		name: "GAFF_ALLOW_ADDRESSES", flag: "allow-addresses",
		help:  "private addresses (CIDR, by commas) that outgoing requests may reach all the same",
		field: func(c *Config) any { return &c.AllowAddresses },
		check: func(c *Config) error { return checkPrefixes(c.AllowAddresses) },
	},
	{
		name: "GAFF_WORKFLOWS", flag: "workflows",
		help:  "folder of the workflow files; empty for workflows in the working folder, if it is there",
		field: func(c *Config) any { return &c.WorkflowsDir },
	},
	{
		name: "GAFF_WORKFLOW_LIMITS", flag: "workflow-limits",
		help:  "how many jobs of workflows may be under way at once at a provider: " + limitExample,
		field: func(c *Config) any { return &c.WorkflowLimits },
		check: func(c *Config) error { return checkLimits(c.WorkflowLimits) },
	},
	{
		name:  "GAFF_WORKFLOW_SECRETS",
		help:  "what the headers of http steps may use as secrets.NAME: name=value, several by commas",
		field: func(c *Config) any { return &c.WorkflowSecrets },
		check: func(c *Config) error {
			for _, secret := range c.WorkflowSecrets {
				if name, _, ok := strings.Cut(string(secret), "="); !ok || strings.TrimSpace(name) == "" {
					return errors.New("must be name=value, several by commas")
				}
			}
			return nil
		},
	},
	{
		name: "GAFF_LOG_FORMAT", flag: "log-format", norm: strings.ToLower,
		help:  "text or json",
		field: func(c *Config) any { return &c.LogFormat },
		check: func(c *Config) error {
			if c.LogFormat != "text" && c.LogFormat != "json" {
				return errors.New("must be text or json")
			}
			return nil
		},
	},
	{
		name: "GAFF_LOG_LEVEL", flag: "log-level", norm: strings.ToLower,
		help:  "debug, info, warn or error",
		field: func(c *Config) any { return &c.LogLevel },
		check: func(c *Config) error {
			if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
				return errors.New("must be debug, info, warn or error")
			}
			return nil
		},
	},
	{
		name: "GAFF_URL", clientOnly: true, norm: trimSlash,
		help:  "the gateway that the commands speak to; else found in the data folder",
		field: func(c *Config) any { return &c.ClientURL },
		check: func(c *Config) error { return checkBase(c.ClientURL) },
	},
	{
		name: "GAFF_TOKEN", clientOnly: true,
		help:  "the token that the commands show it; else found in the data folder",
		field: func(c *Config) any { return &c.ClientToken },
		check: func(c *Config) error { return checkToken(c.ClientToken) },
	},

	{
		name: "media.max_size", help: "largest file that is kept",
		field: func(c *Config) any { return &c.Media.MaxSize },
		check: func(c *Config) error { return checkAtLeast(c.Media.MaxSize, 1, "a size such as 1GiB") },
	},
	{
		name: "media.types", help: "content types that are kept, such as image/*; empty: all but text/html",
		field: func(c *Config) any { return &c.Media.Types },
		check: func(c *Config) error { return checkTypes(c.Media.Types) },
	},
	{
		name: "media.workers", help: "files that are fetched at once",
		field: func(c *Config) any { return &c.Media.Workers },
		check: func(c *Config) error { return checkAtLeast(int64(c.Media.Workers), 1, "a number such as 4") },
	},
	{
		name: "media.link_for", help: "how long the links to kept files are good for",
		field: func(c *Config) any { return &c.Media.LinkFor },
		check: func(c *Config) error { return checkPositive(c.Media.LinkFor, "a duration such as 24h") },
	},

	limit("max_body", "largest webhook; some providers and presets take larger ones (docs/presets.md)", "a size such as 1MiB", func(l *Limits) any { return &l.MaxBodyBytes }),
	limit("max_header", "largest header of a request", "a size such as 16KiB", func(l *Limits) any { return (*size)(&l.MaxHeaderBytes) }),
	limit("read_timeout", "time for a whole request", "a duration such as 15s", func(l *Limits) any { return &l.ReadTimeout }),
	limit("header_timeout", "time for the header of a request", "a duration such as 5s", func(l *Limits) any { return &l.HeaderTimeout }),
	limit("idle_timeout", "time an unused connection is kept", "a duration such as 75s", func(l *Limits) any { return &l.IdleTimeout }),
	limit("connections", "connections open at once", "a number such as 10000", func(l *Limits) any { return &l.Connections }),
	limit("in_flight", "bytes of all bodies being received", "a size such as 256MiB", func(l *Limits) any { return &l.InFlightBytes }),
	limit("workers", "handlers at once", "a number such as 64", func(l *Limits) any { return &l.Workers }),
	limit("quarantine", "bytes of refused requests that are kept whole", "a size such as 64MiB", func(l *Limits) any { return &l.Quarantine }),
	limit("quarantine_for", "how long those are kept", "a duration such as 7d", func(l *Limits) any { return &l.QuarantineFor }),
	limit("rejections", "refused requests that are kept", "a number such as 10000", func(l *Limits) any { return &l.Rejections }),
	limit("audit", "lines of the audit log that are kept; of refused and failed calls a tenth", "a number such as 100000", func(l *Limits) any { return &l.Audit }),

	limit("lease", "on PostgreSQL: after what time others take over from a node that is gone", "a duration such as 30s", func(l *Limits) any { return &l.Lease }),

	keep("payloads", "how long bodies and headers of events are kept; 0 keeps them for ever", func(r *Retention) *time.Duration { return &r.Payloads }),
	keep("events", "how long events are kept, with their deliveries and attempts; 0 keeps them for ever", func(r *Retention) *time.Duration { return &r.Events }),
	keep("rejections", "how long refused requests are kept; 0 for ever, within their number", func(r *Retention) *time.Duration { return &r.Rejections }),
	keep("audit", "how long lines of the audit log are kept; 0 keeps them for ever, within their number", func(r *Retention) *time.Duration { return &r.Audit }),

	retrySetting("max_attempts", "tries in all, the first included"),
	retrySetting("first", "wait after the first failure"),
	retrySetting("factor", "by what the wait grows"),
	retrySetting("max", "longest wait"),
	retrySetting("timeout", "how long one run of a handler may take"),
})

// words is a list of texts that are no addresses.
type words []string

// size is an int that is written as a size.
type size int

func limit(name, help, want string, field func(*Limits) any) setting {
	return setting{
		name: "limits." + name, help: help,
		field: func(c *Config) any { return field(&c.Limits) },
		check: func(c *Config) error {
			ok := true
			switch p := field(&c.Limits).(type) {
			case *int:
				ok = *p > 0
			case *size:
				ok = *p > 0
			case *int64:
				ok = *p > 0
			case *time.Duration:
				ok = *p > 0
			}
			if !ok {
				return errors.New("must be more than zero: " + want)
			}
			return nil
		},
	}
}

func keep(name, help string, field func(*Retention) *time.Duration) setting {
	return setting{
		name: "retention." + name, help: help,
		field: func(c *Config) any { return field(&c.Retention) },
		check: func(c *Config) error {
			switch d := *field(&c.Retention); {
			case d < 0 || d > 0 && d < time.Hour:
				return errors.New("must be at least an hour, such as 30d, or 0 to keep for ever")
			case name == "events" && d > 0 && (c.Retention.Payloads == 0 || c.Retention.Payloads > d):
				return errors.New("must not be shorter than retention.payloads: a body is a part of its event")
			}
			return nil
		},
	}
}

func retrySetting(name, help string) setting {
	return setting{
		name: "retry." + name, help: help,
		field: func(c *Config) any { return retryField(&c.Retry, name) },
		check: func(c *Config) error { return checkRetry(c.Retry)[name] },
	}
}

// retryField returns the field of r that has the name in the file.
func retryField(r *Retry, name string) any {
	switch name {
	case "max_attempts":
		return &r.MaxAttempts
	case "first":
		return &r.First
	case "factor":
		return &r.Factor
	case "max":
		return &r.Max
	default:
		return &r.Timeout
	}
}

var retryNames = []string{"max_attempts", "first", "factor", "max", "timeout"}

// checkRetry returns what is wrong, by the field's name in the file. Zero fields are
// right: they keep the default.
func checkRetry(r Retry) map[string]error {
	bad := make(map[string]error)
	if r.MaxAttempts < 0 || r.MaxAttempts > 1000 {
		bad["max_attempts"] = errors.New("must be 1 to 1000")
	}
	for name, d := range map[string]time.Duration{"first": r.First, "max": r.Max, "timeout": r.Timeout} {
		if d < 0 {
			bad[name] = errors.New("must not be negative")
		}
	}
	if r.Factor != 0 && (r.Factor < 1 || r.Factor > 100 || math.IsNaN(r.Factor)) {
		bad["factor"] = errors.New("must be 1 to 100")
	}
	if r.First > 0 && r.Max > 0 && r.Max < r.First {
		bad["max"] = fmt.Errorf("must not be shorter than first, %s", formatDuration(r.First))
	}
	return bad
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("is no listen address; write host:port or :port, such as :3000 or 127.0.0.1:3000")
	}
	return nil
}

func checkDatabase(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	// The parser's own words are left out: they quote the text, password and all.
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("must be postgres://user:password@host/database, or empty for SQLite in the data folder")
	}
	return nil
}

func checkMedia(text string) error {
	if text == "" || text == "off" {
		return nil
	}
	if u, err := url.Parse(text); err != nil || u.Scheme == "" {
		return errors.New(`must be empty, off, or an address such as s3://bucket/prefix or file:///a/folder`)
	}
	return nil
}

func checkAtLeast(n, least int64, want string) error {
	if n < least {
		return fmt.Errorf("must be at least %d: %s", least, want)
	}
	return nil
}

var contentType = regexp.MustCompile(`^(\*|[a-z0-9.+-]+)/(\*|[a-z0-9.+-]+)$`)

func checkTypes(list []string) error {
	for _, text := range list {
		if !contentType.MatchString(text) {
			return fmt.Errorf("%.60q is no content type; write them like image/png or video/*", text)
		}
	}
	return nil
}

// checkToken refuses what cannot stand in a header.
func checkToken(s Secret) error {
	for _, r := range string(s) {
		if r <= ' ' || r > '~' {
			return errors.New("holds a space, a line break or another sign that no token can have; check how it was copied")
		}
	}
	return nil
}

// minAdminToken is the shortest admin token that cannot be guessed, in characters.
const minAdminToken = 20

// CheckAdminToken returns what is wrong with an admin token; nil for an empty one.
func CheckAdminToken(s Secret) error {
	if err := checkToken(s); err != nil {
		return err
	}
	if s != "" && len(s) < minAdminToken {
		return fmt.Errorf("has %d characters and could be guessed: set at least %d, such as what \"openssl rand -hex 24\" prints", len(s), minAdminToken)
	}
	return nil
}

func checkSigning(secrets []Secret) error {
	if len(secrets) > 4 {
		return errors.New("must be at most four secrets")
	}
	for _, secret := range secrets {
		if _, err := client.Key(string(secret)); err != nil {
			return errors.New(`must be "whsec_" and at least 16 random bytes in base64`)
		}
	}
	return nil
}

func checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("must be a whole URL, such as https://hooks.example.com")
	}
	if u.User != nil {
		return errors.New("must not hold a user or password")
	}
	if strings.Contains(text, "#") {
		return errors.New("must not hold a fragment (#…)")
	}
	return nil
}

func checkBase(text string) error {
	if err := checkURL(text); err != nil {
		return err
	}
	if strings.Contains(text, "?") {
		return errors.New("must not hold a query (?…): paths are joined to it")
	}
	return nil
}

// receivingPath is where webhooks come in, below the public base.
const receivingPath = "/api/v1/webhooks"

// receiving counts how often a URL's path has the receiving path in it.
func receiving(text string) int {
	u, err := url.Parse(text)
	if err != nil {
		return 0
	}
	return strings.Count(strings.ToLower(path.Clean(u.Path))+"/", receivingPath+"/")
}

func checkPublicBase(text string) error {
	if receiving(text) > 0 {
		return fmt.Errorf("must be the base only, without %s: gaff joins the path and the source's name to it", receivingPath)
	}
	return checkBase(text)
}

// checkWebhookURL checks a whole webhook address, to which gaff joins a callback token.
func checkWebhookURL(text string) error {
	if receiving(text) > 1 {
		return fmt.Errorf("holds the path %s twice; write it once, such as https://hooks.example.com%s/NAME", receivingPath, receivingPath)
	}
	return checkBase(text)
}

func checkPositive(d time.Duration, want string) error {
	if d <= 0 {
		return errors.New("must be more than zero: " + want)
	}
	return nil
}

func checkPrefixes(list []string) error {
	for _, text := range list {
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("%q is no address or network; write them like 127.0.0.1 or 10.1.0.0/16", text)
		}
	}
	return nil
}

func trimSlash(text string) string { return strings.TrimRight(text, "/") }

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// assign parses text into the field. Its errors say what would be right; they do not
// repeat the text.
func assign(field any, text string) error {
	switch p := field.(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *bool:
		switch strings.ToLower(text) {
		case "true":
			*p = true
		case "false":
			*p = false
		default:
			return errors.New("must be true or false")
		}
	case *[]string:
		*p = nil
		for _, item := range splitList(text) {
			if addr, err := netip.ParseAddr(item); err == nil && addr.Zone() == "" {
				item = netip.PrefixFrom(addr, addr.BitLen()).String()
			}
			*p = append(*p, item)
		}
	case *words:
		*p = splitList(text)
	case *[]Secret:
		*p = nil
		list, err := splitSecrets(text)
		if err != nil {
			return err
		}
		for _, item := range list {
			*p = append(*p, Secret(item))
		}
	case *time.Duration:
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		*p = d
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("must be a whole number")
		}
		*p = n
	case *size:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		if n > math.MaxInt32 {
			return errors.New("must be less than 2GiB")
		}
		*p = size(n)
	case *int64:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		*p = n
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("must be a number")
		}
		*p = f
	default:
		return fmt.Errorf("has a type that cannot be set: %T", field)
	}
	return nil
}

// splitList takes "a, b,,c" apart; empty items are dropped.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// splitSecrets takes secrets apart: at line breaks if there are any, with commas as a part of
// each; else at commas, but those that are written as \,
func splitSecrets(text string) ([]string, error) {
	if strings.ContainsRune(text, '\n') {
		var list []string
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSpace(line)
			if strings.HasSuffix(line, ",") {
				return nil, errors.New("has several lines, one of which ends with a comma: write one secret a line, without commas between them")
			}
			if line != "" {
				list = append(list, line)
			}
		}
		return list, nil
	}
	const comma = "\x00" // no setting holds one
	list := splitList(strings.ReplaceAll(text, `\,`, comma))
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], comma, ",")
	}
	return list, nil
}

// ParseDuration is time.ParseDuration with days in front: 1d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	wrong := errors.New("is no duration; write one like 30s, 2m, 1h30m or 1d")
	rest := text
	var days time.Duration
	if head, tail, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, wrong
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days > 0 && (d < 0 || d > math.MaxInt64-days) {
		return 0, wrong
	}
	return days + d, nil
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}, {"", 1},
}

// parseSize reads a number of bytes: 65536, 64KiB, 2MiB, 1GB.
func parseSize(text string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(lower, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, errors.New("is no size; write one like 65536, 64KiB or 2MiB")
}

// display writes the field as [assign] would read it, without what is secret.
func display(field any, guarded bool) string {
	switch p := field.(type) {
	case *string:
		if guarded {
			return redactURL(*p)
		}
		return *p
	case *Secret:
		return p.String()
	case *[]Secret:
		if n := len(*p); n > 1 {
			return fmt.Sprintf("[redacted] (%d)", n)
		} else if n == 0 {
			return ""
		}
		return "[redacted]"
	case *[]string:
		return strings.Join(*p, ",")
	case *words:
		return strings.Join(*p, ",")
	case *time.Duration:
		return formatDuration(*p)
	case *int64:
		return formatSize(*p)
	case *size:
		return formatSize(int64(*p))
	case *int:
		return strconv.Itoa(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *bool:
		return strconv.FormatBool(*p)
	}
	return ""
}

// redactURL keeps of a URL what cannot be a password: scheme, user, host and path.
func redactURL(text string) string {
	if text == "" || text == "off" {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return "[redacted]"
	}
	if u.RawQuery != "" {
		u.RawQuery = "[redacted]"
	}
	if u.Opaque != "" {
		u.Opaque = "[redacted]"
	}
	if _, has := u.User.Password(); has {
		u.User = url.User(u.User.Username())
		return strings.Replace(u.String(), "@", ":[redacted]@", 1)
	}
	return u.String()
}

func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

func formatSize(n int64) string {
	for i, suffix := range []string{"GiB", "MiB", "KiB"} {
		if unit := int64(1) << (30 - 10*i); n >= unit && n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// Level returns LogLevel as slog's type.
func (c *Config) Level() slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(c.LogLevel)) != nil {
		return slog.LevelInfo
	}
	return l
}

// limitExample is a value of GAFF_WORKFLOW_LIMITS.
var limitExample = strings.Join(all.Names(), "=2,") + "=4"

// checkLimits checks texts such as [limitExample].
func checkLimits(limits []string) error {
	for _, text := range limits {
		name, number, ok := strings.Cut(text, "=")
		if n, err := strconv.Atoi(strings.TrimSpace(number)); !ok || err != nil || n < 1 || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%q is not a limit; write one like %s", text, limitExample)
		}
	}
	return nil
}
