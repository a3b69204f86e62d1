package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/sorting"
	"gaff/jobs"
	"gaff/provider"
	"gaff/provider/all"
	"gaff/provider/custom"
	"gaff/sender"
	"gaff/verify"
)

// Source is a source with the means to imitate its sender, for "gaff send" and "gaff sign".
type Source struct {
	gaff.Source
	// Address is the URL for the sender, as far as it is known.
	Address string
	// Interpreter reads the source's events as changes to jobs; nil: they change none.
	Interpreter jobs.Interpreter
	// Sign adds the headers to r that make its body authentic at the time; nil if only the
	// sender has the signing key. secret overrides the configured one if not empty.
	Sign func(r *gaff.Request, at time.Time, secret string) error
	// Types lists the event types for which Sample has a payload.
	Types []string
	// Sample makes a payload of a type, with new ids each time; the empty type is the first
	// of Types.
	Sample func(eventType string) ([]byte, error)
	// SampleHeader are the headers that go with a sample of a type; nil: the usual.
	SampleHeader func(eventType string) http.Header
}

// keys are the keys that senders handed over in a handshake, for sources without a
// configured one.
type keys struct {
	// kept by source. keep stores one if the source has no key yet; nil stores none.
	kept map[string]string
	keep func(ctx context.Context, source, key string) (bool, error)
}

// Sources builds the configured sources, sorted by name. The error joins all faults.
func Sources(cfg *config.Config, _ *slog.Logger) ([]Source, error) { return buildSources(cfg, keys{}) }

func buildSources(cfg *config.Config, kept keys) ([]Source, error) {
	var built []Source
	var faults []error
	values := cfg.ProviderValues()
	for _, p := range all.Providers() {
		src, err := providerSource(p, values)
		built, faults = append(built, src), append(faults, err)
	}
	more, err := describedSources(cfg, kept)
	built, faults = append(built, more...), append(faults, err)
	names := slices.Sorted(maps.Keys(cfg.Sources))
	if !slices.Contains(names, custom.DefaultName) {
		names = append(names, custom.DefaultName)
	}
	for _, name := range names {
		if _, is := cfg.Described[name]; is {
			continue
		}
		if _, known := all.Find(name); known {
			continue
		}
		src, err := customSource(cfg, name, kept)
		if err != nil {
			faults = append(faults, fmt.Errorf("sources.%s: %w", name, err))
			continue
		}
		built = append(built, src)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for i := range built {
		built[i].limit(cfg)
		built[i].Address = address(cfg, "", built[i].Name)
	}
	sorting.By(built, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return built, nil
}

// limit applies the limits and retries of the configuration.
func (s *Source) limit(cfg *config.Config) { s.limitTo(cfg.Sources[s.Name], cfg) }

// limitTo applies the limits and retries of a source's description.
func (s *Source) limitTo(set config.Source, cfg *config.Config) {
	// A sender whose bodies are known to be larger brings its own limit.
	s.MaxBodyBytes = max(s.MaxBodyBytes, cfg.Limits.MaxBodyBytes)
	if set.MaxBodyBytes > 0 {
		s.MaxBodyBytes = set.MaxBodyBytes
	}
	s.AcceptGzip = set.AcceptGzip
	s.Guard = gaff.Guard{Allow: prefixes(set.Allow), Rate: set.Rate, Burst: set.Burst, ContentTypes: set.ContentTypes}
	s.Redaction, s.Answer = redactionOf(set), set.Answer.Source()
	if s.Answer != nil && s.Answer.Handler != "" {
		about := map[string]string{"answer": fmt.Sprintf("the response of %s, waiting up to %s", s.Answer.Handler, s.Answer.Wait)}
		maps.Copy(about, s.About)
		s.About = about
	}
	if s.Schemas = schemasOf(set); s.Schemas != nil {
		about := map[string]string{"schemas": describeSchemas(set)}
		maps.Copy(about, s.About)
		s.About = about
	}
	if set.Retry != nil {
		policy := set.Retry.Policy()
		s.Retry = &policy
	}
}

// prefixes parses networks, which the configuration has checked.
func prefixes(list []string) (out []netip.Prefix) {
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// ownSource reports whether gaff itself defines a source.
func ownSource(name string) bool {
	_, known := all.Find(name)
	return known || name == custom.DefaultName
}

func texts(secrets []config.Secret) []string {
	var all []string
	for _, secret := range secrets {
		all = append(all, string(secret))
	}
	return all
}

func newToken() string { return "gaff_" + rand.Text() }

// providerSource builds the source of a provider.
func providerSource(p provider.Provider, values provider.Values) (Source, error) {
	src, err := p.Source(values)
	if err != nil {
		return Source{}, err
	}
	setting := p.Setting(provider.WebhookSecrets)
	return Source{
		Source: src.Source, Interpreter: src.Interpreter, Types: src.Types,
		Sign:   signer(setting, values.List(setting), src.Sign),
		Sample: func(eventType string) ([]byte, error) { return src.Sample(eventType, time.Now()) },
	}, nil
}

// customSource builds a configured source, or the default one.
func customSource(cfg *config.Config, name string, kept keys) (Source, error) {
	set, configured := cfg.Sources[name]
	if configured && (set.Verify != nil || set.Preset != "") {
		return describedSource(name, set, kept, "sources."+name+".secrets")
	}
	secrets := texts(cfg.WebhookSecrets)
	if len(set.Secrets) > 0 {
		secrets = texts(set.Secrets)
	}
	src, err := custom.Default(secrets)
	if err != nil {
		return Source{}, err
	}
	return Source{
		Source: src, Types: []string{"test"}, Sign: signer("WEBHOOK_SECRET", secrets, custom.Sign),
		Sample: func(eventType string) ([]byte, error) { return custom.Sample(eventType, time.Now()) },
	}, nil
}

// describedSource builds a source from a preset, or from a description. secretsAt is the setting with its
// secrets; empty: they are stored in the database.
func describedSource(name string, set config.Source, kept keys, secretsAt string) (Source, error) {
	description, err := describe(set)
	if err != nil {
		return Source{}, err
	}
	secrets, about := secretsOf(name, set, description, kept)
	if about["secret"] == "" && verify.NeedsSecret(description.Scheme) {
		about["secret"] = "the value of " + secretsAt
		if secretsAt == "" {
			about["secret"] = "stored in the database; gaff sources rotate " + name + " replaces it"
		}
	}
	o := custom.Options{
		Name: name, Scheme: description, ID: set.ID, Type: set.Type, Status: set.Status, Correlation: set.Job, About: about,
		Jobs: description.Jobs,
	}
	if set.Jobs != nil || set.NoJobs {
		o.Jobs = set.Jobs
	}
	v, err := sender.New(description, verify.Options{Secrets: secrets, Settings: set.Settings})
	switch {
	case err == nil:
		o.Verifier = v
		about["verifier"] = v.Describe()
	case len(secrets) == 0 && verify.NeedsSecret(description.Scheme) && set.Settings["jwks_url"] == "":
		o.DisabledReason = "it has no secret: set " + secretsAt
	default:
		return Source{}, err
	}
	hand, err := sender.NewHandshaker(description, sender.HandshakeOptions{
		Secrets: secrets, Settings: set.Settings,
		Keep: func(ctx context.Context, key string) (bool, error) {
			if kept.keep == nil {
				return false, nil
			}
			return kept.keep(ctx, name, key)
		},
	})
	if err != nil {
		return Source{}, err
	}
	if hand != nil {
		o.Handshaker = hand
	}
	out := Source{Types: []string{"test"}, Sign: senderSign(description, set.Settings, v)}
	if out.Source, err = custom.Source(o); err != nil {
		return Source{}, err
	}
	if o.Jobs != nil {
		if out.Interpreter, err = custom.NewInterpreter(name, *o.Jobs); err != nil {
			return Source{}, err
		}
	}
	out.Sample, out.SampleHeader = samples(description, set)
	return out, nil
}

// describe returns the description of a source's sender.
func describe(set config.Source) (sender.Description, error) {
	if set.Verify != nil {
		return *set.Verify, nil
	}
	description, ok := sender.Preset(set.Preset)
	if !ok {
		return description, fmt.Errorf("preset %q is not known; gaff sources presets lists them", set.Preset)
	}
	return description, nil
}

// secretsOf returns the secrets of a source, and facts about the source for people.
func secretsOf(name string, set config.Source, d sender.Description, kept keys) (secrets []string, about map[string]string) {
	secrets, about = texts(set.Secrets), map[string]string{}
	if key := kept.kept[name]; len(secrets) == 0 && key != "" {
		secrets = []string{key}
		about["secret"] = "handed over by the sender in a handshake; " + verify.Fingerprint(key, d.Scheme)
	}
	for i, secret := range set.Secrets {
		if id := verify.Fingerprint(string(secret), d.Scheme); id != "" {
			about[fmt.Sprintf("key %d", i+1)] = id
		}
	}
	if d.CoversBody != nil && !*d.CoversBody {
		about["body"] = "not covered by the signature: take it as a hint, and fetch the object from the sender"
	}
	if set.Preset != "" {
		about["preset"] = set.Preset
	}
	return secrets, about
}

// samples returns functions for the body and the headers of a sender's samples. They have id, type and
// job where the source looks for them.
func samples(d sender.Description, set config.Source) (func(eventType string) ([]byte, error), func(eventType string) http.Header) {
	sample := func(eventType string) ([]byte, http.Header, error) {
		id := "test_" + strings.ToLower(rand.Text())
		eventType = cmp.Or(eventType, "test")
		at := map[string]string{set.Job: id, set.ID: id}
		at[set.Type] = eventType
		return d.SampleAt(id, eventType, map[string]any{"gaffSample": id}, at)
	}
	body := func(eventType string) ([]byte, error) {
		body, _, err := sample(eventType)
		return body, err
	}
	header := func(eventType string) http.Header {
		_, header, _ := sample(eventType)
		return header
	}
	return body, header
}

// senderSign signs with the given secret, else with v. v is nil if the source has no secret.
func senderSign(d sender.Description, settings map[string]string, v *sender.Verifier) func(*gaff.Request, time.Time, string) error {
	return func(r *gaff.Request, at time.Time, secret string) error {
		signing := v
		if secret != "" || signing == nil {
			o := verify.Options{Settings: settings}
			if secret != "" {
				o.Secrets = []string{secret}
			}
			var err error
			if signing, err = sender.New(d, o); err != nil {
				return err
			}
		}
		return signing.Sign(r, at)
	}
}

// signer signs with the given secret, else with the first configured one.
func signer(name string, secrets []string, sign func(*gaff.Request, string, time.Time)) func(*gaff.Request, time.Time, string) error {
	return func(r *gaff.Request, at time.Time, secret string) error {
		if secret == "" {
			if len(secrets) == 0 {
				return fmt.Errorf("no secret to sign with: set %s, or give --secret", name)
			}
			secret = secrets[0]
		}
		sign(r, secret, at)
		return nil
	}
}

// address returns the URL for a source's sender. It begins with base if no public base URL is
// configured.
func address(cfg *config.Config, base, name string) string {
	if p, ok := all.Find(name); ok {
		if url := cfg.ProviderValues().Text(p.Setting(provider.WebhookURL)); url != "" {
			return url
		}
	}
	return cmp.Or(cfg.BaseURL, base) + gaff.PathPrefix + name
}

// greet prints the URLs of the sources, for the person who starts the gateway.
func greet(out io.Writer, cfg *config.Config, local string, sources []Source) {
	fmt.Fprintf(out, "gaff is listening on %s\n\n", local)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, src := range sources {
		note := ""
		if src.DisabledReason != "" {
			note = "refuses everything: " + src.DisabledReason
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", src.Name, address(cfg, local, src.Name), note)
	}
	_ = table.Flush()
}
