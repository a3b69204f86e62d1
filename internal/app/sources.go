package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/pipeline"
	"gaff/provider/custom"
	"gaff/provider/fal"
	"gaff/provider/lastframe"
	"gaff/verify"
)

// Source is a source with the means to play its sender, for "gaff send" and "gaff sign".
type Source struct {
	gaff.Source
	// Address is where the sender has to send to, as far as it is known.
	Address string
	// Interpreter reads the source's events as changes to jobs; nil: they change none.
	Interpreter pipeline.Interpreter
	// Sign adds to r what makes its body authentic at the time; nil where the signing
	// key is not ours to hold. secret overrides the configured one if not empty.
	Sign func(r *gaff.Request, at time.Time, secret string) error
	// Types lists the event types for which Sample has a payload.
	Types []string
	// Sample makes a payload of a type, new ids each time; the empty type is the first
	// of Types.
	Sample func(eventType string) ([]byte, error)
}

// Sources builds the configured sources, by name. The error joins all that is wrong.
func Sources(cfg *config.Config) ([]Source, error) {
	built := []Source{falSource(cfg), lastFrameSource(cfg)}
	names := slices.Sorted(maps.Keys(cfg.Sources))
	if !slices.Contains(names, custom.DefaultName) {
		names = append(names, custom.DefaultName)
	}
	var faults []error
	for _, name := range names {
		if name == fal.Name || name == lastframe.Name {
			continue
		}
		src, err := customSource(cfg, name)
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
	slices.SortFunc(built, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return built, nil
}

// limit applies what the configuration says of any source.
func (s *Source) limit(cfg *config.Config) {
	set := cfg.Sources[s.Name]
	s.MaxBodyBytes = cfg.Limits.MaxBodyBytes
	if set.MaxBodyBytes > 0 {
		s.MaxBodyBytes = set.MaxBodyBytes
	}
	s.AcceptGzip = set.AcceptGzip
	if set.Retry != nil {
		policy := set.Retry.Policy()
		s.Retry = &policy
	}
}

func texts(secrets []config.Secret) []string {
	var all []string
	for _, secret := range secrets {
		all = append(all, string(secret))
	}
	return all
}

func newToken() string { return "gaff_" + rand.Text() }
