package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"gaff/destination"
	"gaff/internal/safehttp"
)

// Destination is what events are forwarded to, as gaff.yaml declares it.
type Destination struct {
	// Spec is without secrets, and without headers, which may contain some.
	Spec    destination.Spec  `yaml:",inline"`
	Secrets []Secret          `yaml:"secrets"`
	Headers map[string]Secret `yaml:"headers"`
}

// warnPrivate finds destinations on this machine or in a private network that no setting allows.
// Names other than localhost are resolved, and checked, when they are called.
func (c *Config) warnPrivate() {
	allow, err := safehttp.Prefixes(c.AllowAddresses)
	if err != nil {
		return // a fault of its own
	}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		u, err := url.Parse(c.Destinations[name].Spec.URL)
		if err != nil {
			continue
		}
		host := u.Hostname()
		if host == "localhost" {
			host = "127.0.0.1"
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			continue
		}
		if err := safehttp.CheckAddr(addr, allow); err != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("destination %s: gaff serve delivers nothing to it: %v", name, err))
		}
	}
}

// Full returns the spec with its secrets and headers.
func (d Destination) Full() destination.Spec {
	s := d.Spec
	for _, secret := range d.Secrets {
		s.Secrets = append(s.Secrets, string(secret))
	}
	for name, value := range d.Headers {
		if s.Headers == nil {
			s.Headers = map[string]string{}
		}
		s.Headers[name] = string(value)
	}
	return s
}

// check reports the faults of a destination.
func (d *Destination) check(k *checker) {
	spec := d.Full()
	faults, _ := errors.AsType[destination.Faults](spec.Check())
	for _, f := range faults {
		path := k.path
		if f.Field != "name" {
			path += "." + snake(f.Field)
		}
		k.report(path, "", f.Problem)
	}
}

// snake returns the key in the file of a field's name in JSON: order_by for orderBy.
func snake(field string) string {
	var b strings.Builder
	for _, r := range field {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
