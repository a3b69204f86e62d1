package config

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"gaff"
	"gaff/internal/suggest"
	"gaff/sender"
	"gaff/verify"
)

// Source is a sender declared in the configuration.
type Source struct {
	// Preset names a built-in description of a sender ("stripe"); Verify is a whole one.
	// One of the two is set, except for gaff's own sources.
	Preset string              `yaml:"preset"`
	Verify *sender.Description `yaml:"verify"`
	// Secrets are plain texts: references were resolved.
	Secrets []Secret `yaml:"secrets"`
	// Settings are other values that a scheme may refer to, such as callback_url.
	Settings map[string]string `yaml:"settings" ref:"true" secret:"true"`

	// JSON pointers into the body, over the verifier's own id and type locations.
	ID      string `yaml:"id"`
	Type    string `yaml:"type"`
	Status  string `yaml:"status"`
	Job     string `yaml:"job"`
	Project string `yaml:"project"`

	// MaxBodyBytes bounds the body; zero means Limits.MaxBodyBytes.
	MaxBodyBytes int64 `yaml:"max_body" unit:"bytes"`
	AcceptGzip   bool  `yaml:"accept_gzip"`
	// Retry overrides Config.Retry field by field; nil keeps it.
	Retry *Retry `yaml:"retry"`
	// Jobs maps the body to job and media effects, over the preset's own; nil: its own.
	// NoJobs ("jobs: off") disables the preset's own mapping.
	Jobs   *sender.Jobs `yaml:"jobs" alias:"effects"`
	NoJobs bool
	// Allow lists the networks that may send (CIDR), ContentTypes the accepted media types;
	// empty: all. Rate is how many requests are accepted a second, Burst how many at once;
	// zero: no bound.
	Allow        []string `yaml:"allow" list:"commas"`
	ContentTypes []string `yaml:"content_types" list:"commas"`
	Rate         float64  `yaml:"rate"`
	Burst        int      `yaml:"burst"`
	// Redact names values that are not stored; nil: all are.
	Redact *Redact `yaml:"redact"`
	// Answer has the sender wait for a destination's response; nil: the usual answer.
	Answer *Answer `yaml:"answer"`
	// Schemas are JSON Schemas of the data, by event type; "*" is for types without one. OnViolation
	// is warn (the default) or refuse.
	Schemas     map[string]Schema `yaml:"schemas"`
	OnViolation string            `yaml:"on_violation"`
}

// Redact names values of requests that are not stored.
type Redact struct {
	// Pointers are JSON pointers into the body, with "*" for each item of a list.
	Pointers []string `yaml:"pointers" list:"commas"`
	Headers  []string `yaml:"headers" list:"commas"`
	// When is receive (the default: before the event is stored) or processed (after its handlers).
	When string `yaml:"when"`
	// FailedAfter is how long a failed event keeps the values, with "when: processed". 0: a week.
	FailedAfter time.Duration `yaml:"failed_after"`
}

// FailedFor returns how long a failed event keeps the values.
func (r *Redact) FailedFor() time.Duration { return cmp.Or(r.FailedAfter, 7*24*time.Hour) }

// When a value is redacted.
const (
	RedactReceive   = "receive"
	RedactProcessed = "processed"
)

func (r *Redact) check(k *checker) {
	for _, pointer := range r.Pointers {
		checkPointer(k, &r.Pointers, pointer)
	}
	for _, name := range r.Headers {
		if name == "" || strings.ContainsFunc(name, notToken) {
			k.part(&r.Headers, "", name, "is not a name of a header")
		}
	}
	if len(r.Pointers)+len(r.Headers) == 0 {
		k.part(&r.Pointers, "", "", "is not set, and no headers: either; redact: needs one of them")
	}
	if words := []string{RedactReceive, RedactProcessed}; r.When != "" && !slices.Contains(words, r.When) {
		k.value(&r.When, errors.New("is not known"+cmp.Or(suggest.Hint(r.When, words), "; want receive or processed")))
	}
	name := k.fields[&r.FailedAfter].name
	if k.origins[name] == "" {
		return
	}
	if r.FailedAfter < time.Second {
		k.value(&r.FailedAfter, errors.New("must be at least 1s"))
	}
	if r.When != RedactProcessed {
		k.value(&r.FailedAfter, errors.New("has no effect, since values are removed on receipt; add when: processed"))
	}
}

// notToken reports whether a character cannot be in a header's name (RFC 9110).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// readKey reads "jobs: off".
func (s *Source) readKey(key string, n ast.Node) bool {
	word, ok := text(n)
	s.NoJobs = s.NoJobs || ok && key == "jobs" && (word == "off" || word == "false")
	return key == "jobs" && s.NoJobs
}

var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

var jobStatuses = []string{"queued", "processing", "completed", "failed", "cancelled"}

// check reports the faults of a source.
func (s *Source) check(name string, k *checker) {
	if err := gaff.CheckSourceName(name); err != nil {
		k.report(k.path, "", err.Error())
	}
	if secret, own := sourceSecrets(name); own && name != customSource {
		s.checkOwn(name, secret, k)
	} else if s.Preset != "" && s.Verify != nil {
		k.part(&s.Verify, "", "", "preset is set too; keep one of the two")
	} else if s.Preset == "" && s.Verify == nil && !own {
		k.part(&s.Verify, "", "", "is not set, and no preset: (such as stripe) either; one of them says how the sender signs")
	}
	s.checkVerifier(k)
	for _, pointer := range []*string{&s.ID, &s.Type, &s.Status, &s.Job, &s.Project} {
		checkPointer(k, pointer, *pointer)
	}
	s.checkJobs(k)
	s.checkBounds(k)
	s.checkSchemas(k)
	if s.Retry != nil {
		s.Retry.check(k)
	}
	if s.Redact != nil {
		s.Redact.check(k)
	}
}

// checkOwn reports what cannot be set for a source that gaff describes itself.
func (s *Source) checkOwn(name, secret string, k *checker) {
	for _, field := range []struct {
		ptr any
		set bool
	}{
		{&s.Preset, s.Preset != ""}, {&s.Verify, s.Verify != nil}, {&s.Settings, len(s.Settings) > 0},
		{&s.ID, s.ID != ""}, {&s.Type, s.Type != ""}, {&s.Status, s.Status != ""}, {&s.Job, s.Job != ""},
		{&s.Project, s.Project != ""}, {&s.Jobs, s.Jobs != nil},
	} {
		if field.set {
			k.part(field.ptr, "", "", "gaff knows how "+name+" signs and what it sends; give a source of your own another name")
		}
	}
	if len(s.Secrets) > 0 {
		k.part(&s.Secrets, "", "", "set "+secret+" instead")
	}
}

// checkVerifier reports faults in how the source is verified.
func (s *Source) checkVerifier(k *checker) {
	var scheme sender.Description
	switch {
	case s.Preset != "":
		var ok bool
		if scheme, ok = sender.Preset(s.Preset); !ok {
			hint := suggest.Hint(s.Preset, sender.Presets())
			if hint == "" {
				hint = "; known: " + strings.Join(sender.Presets(), ", ")
			}
			k.value(&s.Preset, errors.New("is not known"+hint))
			return
		}
	case s.Verify != nil:
		scheme = *s.Verify
	default:
		return
	}
	o := verify.Options{Settings: s.Settings}
	for _, secret := range s.Secrets {
		o.Secrets = append(o.Secrets, string(secret))
	}
	for _, f := range scheme.Check(o) {
		path := k.path + ".verify." + f.Path
		switch {
		case f.Path == "secrets" && len(s.Secrets) == 0:
			continue // a source without secrets is allowed: it rejects everything
		case strings.HasPrefix(f.Path, "secrets") || strings.HasPrefix(f.Path, "settings"):
			path = k.path + "." + f.Path
		}
		k.report(path, "", f.Problem)
	}
}

func (s *Source) checkJobs(k *checker) {
	j := s.Jobs
	if j == nil {
		return
	}
	for _, list := range []*sender.Pointers{
		&j.ID, &j.Job, &j.Status, &j.Error, &j.ErrorType, &j.Output, &j.Project, &j.User, &j.Kind,
	} {
		for _, pointer := range *list {
			checkPointer(k, list, pointer)
		}
	}
	if len(j.ID)+len(j.Job) == 0 {
		k.part(&j.ID, "", "", "is not set; set where the body names the job, such as /id")
	}
	if len(j.Words) == 0 {
		k.part(&j.Words, "", "", "is not set; set what the sender's status words mean, such as {succeeded: completed, failed: failed}")
	}
	for _, word := range slices.Sorted(maps.Keys(j.Words)) {
		if !slices.Contains(jobStatuses, j.Words[word]) {
			k.part(&j.Words, "."+word, j.Words[word], "must be one of "+strings.Join(jobStatuses, ", "))
		}
	}
}

func (s *Source) checkBounds(k *checker) {
	if err := checkPrefixes(s.Allow); err != nil {
		k.part(&s.Allow, "", "", err.Error())
	}
	if s.Rate < 0 || s.Rate > 1e6 || math.IsNaN(s.Rate) {
		k.value(&s.Rate, errors.New("must be requests a second, more than zero and at most a million"))
	}
	if s.Burst < 0 || s.Burst > 0 && s.Rate == 0 {
		k.part(&s.Burst, "", strconv.Itoa(s.Burst), "must be a number of requests, and needs rate")
	}
	for _, kind := range s.ContentTypes {
		if t, _, err := mime.ParseMediaType(kind); err != nil || t != strings.ToLower(kind) || !strings.Contains(kind, "/") {
			k.part(&s.ContentTypes, "", kind, "is not a media type; write them like application/json")
		}
	}
	if s.MaxBodyBytes < 0 {
		k.value(&s.MaxBodyBytes, errors.New("must not be negative"))
	}
	if s.Answer != nil {
		s.Answer.check(k)
	}
}

// checkPointer reports a text that is not a JSON pointer (RFC 6901). The empty one, which points
// at the whole body, is allowed as "not set".
func checkPointer(k *checker, ptr any, text string) {
	rest := strings.ReplaceAll(strings.ReplaceAll(text, "~0", ""), "~1", "")
	if text != "" && (text[0] != '/' || strings.Contains(rest, "~")) {
		k.part(ptr, "", text, "is not a JSON pointer; write one like /data/id, with ~1 for / and ~0 for ~ in a name")
	}
}
