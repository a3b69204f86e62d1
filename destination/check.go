package destination

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/cel"
	"gaff/internal/javascript"
	"gaff/internal/jsonpointer"
)

// Fault is a mistake in a spec. Field is the JSON name.
type Fault struct{ Field, Problem string }

func (f Fault) Error() string { return f.Field + ": " + f.Problem }

// Faults are all mistakes in a spec.
type Faults []Fault

func (f Faults) Error() string {
	var all []string
	for _, one := range f {
		all = append(all, one.Error())
	}
	return strings.Join(all, "; ")
}

// Check returns all mistakes, as Faults that are gaff.ErrInvalid.
func (s *Spec) Check() error {
	_, err := s.compile()
	return err
}

// compiled is a valid spec.
type compiled struct {
	Spec
	globs   []glob
	filter  *cel.Expression
	pointer []string
	header  http.Header
	// standard are the secrets that sign by Standard Webhooks.
	standard  []string
	transform *cel.Expression
	script    *javascript.Script
	key       func(*gaff.Subject) string // nil without Key
	tls       *tls.Config                // nil without TLS
}

// Bounds of a spec.
const (
	maxConcurrency = 256
	maxEvents      = 64
	maxHeaders     = 32
	maxSecrets     = 4
	maxText        = 2048
	maxDelay       = Duration(30 * 24 * time.Hour)
)

var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func (given *Spec) compile() (*compiled, error) {
	c := &compiled{Spec: given.WithDefaults(), header: http.Header{}}
	var faults Faults
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}
	if !nameSyntax.MatchString(c.Name) {
		fault("name", "invalid name %.80q: want at most 64 lower case letters, digits, - and _, beginning with a letter or digit", c.Name)
	}
	c.checkTarget(fault)
	if len(c.Events) > maxEvents {
		fault("events", "more than %d", maxEvents)
	}
	for i, text := range c.Events {
		g, err := newGlob(text)
		if err != nil {
			fault(fmt.Sprintf("events[%d]", i), "%v", err)
		}
		c.globs = append(c.globs, g)
	}
	var err error
	if c.Filter != "" {
		if c.filter, err = cel.CompileBool(c.Filter, filterVars...); err != nil {
			fault("filter", "%v", err)
		}
	}
	c.checkBody(fault)
	c.checkHeaders(fault)
	c.checkSecrets(fault)
	if c.Order != "" || c.OrderBy != "" {
		if !slices.Contains([]string{OrderSkipDead, OrderHoldDead, OrderLatest}, c.Order) {
			fault("order", "unknown order %.40q: want skip-dead, hold-dead or latest", c.Order)
		}
		if c.pointer, err = parsePointer(c.OrderBy); err != nil {
			fault("orderBy", "%v", err)
		}
	}
	c.checkOAuth(fault)
	c.checkTLS(fault)
	c.checkKey(fault)
	c.checkBatch(fault)
	c.checkNumbers(fault)
	if faults != nil {
		return nil, fmt.Errorf("%w: %w", gaff.ErrInvalid, faults)
	}
	return c, nil
}

func (c *compiled) checkTarget(fault func(string, string, ...any)) {
	u, err := url.Parse(c.URL)
	switch c.Kind {
	case KindHTTP:
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(c.URL) > maxText:
			fault("url", "must be a whole URL, such as https://app.example.com/webhooks/gaff")
		case u.User != nil:
			fault("url", "must not hold a user or password: send it as a header (Authorization)")
		case u.Fragment != "":
			fault("url", "must not hold a fragment (#…)")
		}
		if c.Topic != "" {
			fault("topic", "is for the kind queue")
		}
	case KindPull:
		if c.URL != "" || c.Topic != "" {
			fault("url", "must be empty for kind pull: applications fetch from it")
		}
	case KindQueue:
		if err != nil || !slices.Contains([]string{"nats", "kafka", "redis", "rediss", "sqs"}, u.Scheme) {
			fault("url", "must name the broker: nats://, kafka://, redis://, rediss:// or sqs://")
		}
		if c.Topic == "" || len(c.Topic) > 512 {
			fault("topic", "must name the subject, topic, stream or queue")
		}
		if c.Format == FormatCloudEventsBinary {
			fault("format", "brokers are sent envelope, original or cloudevents")
		}
	case KindArchive:
		c.checkArchive(fault)
	default:
		fault("kind", "unknown kind %.40q: want http, pull, queue or archive", c.Kind)
	}
}

// own are headers that gaff sets itself.
var own = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Trailer", "Te", client.HeaderID, client.HeaderTimestamp, client.HeaderSignature}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// headerFault returns the mistake in a header to send; "" without one.
func headerFault(name, value string) string {
	switch {
	case !headerName.MatchString(name) || len(name) > 128:
		return fmt.Sprintf("invalid name of a header: %.40q", name)
	case slices.Contains(own, http.CanonicalHeaderKey(name)):
		return http.CanonicalHeaderKey(name) + " is set by gaff itself"
	case strings.ContainsAny(value, "\r\n\x00") || len(value) > maxText:
		return fmt.Sprintf("the value of %s holds a line break, or is longer than %d bytes", name, maxText)
	}
	return ""
}

func (c *compiled) checkHeaders(fault func(string, string, ...any)) {
	if len(c.Headers) > maxHeaders {
		fault("headers", "more than %d", maxHeaders)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if problem := headerFault(name, c.Headers[name]); problem != "" {
			fault("headers", "%s", problem)
		} else {
			c.header.Set(name, c.Headers[name])
		}
	}
}

func (c *compiled) checkNumbers(fault func(string, string, ...any)) {
	for _, f := range [...]struct {
		field string
		d     Duration
	}{{"timeout", c.Timeout}, {"firstWait", c.FirstWait}, {"longestWait", c.LongestWait}, {"breakFor", c.BreakFor}, {"breakWindow", c.BreakWindow}, {"lease", c.Lease}} {
		if f.d < Duration(time.Millisecond) || f.d > Duration(7*24*time.Hour) {
			fault(f.field, "must be between 1ms and 168h")
		}
	}
	if c.Delay < 0 || c.Delay > maxDelay {
		fault("delay", "must be between 0s and %s", time.Duration(maxDelay))
	}
	if c.Timeout > Duration(10*time.Minute) {
		fault("timeout", "must not be longer than 10m")
	}
	if c.LongestWait < c.FirstWait {
		fault("longestWait", "must not be shorter than firstWait")
	}
	if !(c.BreakRate >= 0 && c.BreakRate <= 1) {
		fault("breakRate", "must be a share of the attempts, such as 0.5, or 0 for never")
	}
	if c.MaxAttempts < 1 || c.MaxAttempts > 1000 {
		fault("maxAttempts", "must be 1 to 1000")
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		fault("concurrency", "must be 1 to %d", maxConcurrency)
	}
	if !(c.Rate >= 0 && c.Rate <= 1e6) {
		fault("rate", "must be 0 (no bound) to 1000000 a second")
	}
	if c.Burst < 1 || c.Burst > 1e6 {
		fault("burst", "must be 1 to 1000000")
	}
	for _, status := range c.Final {
		if status < 300 || status > 599 {
			fault("final", "%d is not the status of a rejection: want 300 to 599", status)
		}
	}
}

func parsePointer(text string) ([]string, error) {
	if text == "" || text[0] != '/' || len(text) > 512 {
		return nil, fmt.Errorf("invalid JSON pointer %.60q: want one such as /metadata/project_id", text)
	}
	return jsonpointer.Tokens(text), nil
}
