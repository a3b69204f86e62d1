package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"gaff/destination"
	"gaff/internal/redact"
	"gaff/internal/safehttp"
)

// Destination is where events are forwarded to, as gaff.yaml declares it.
type Destination struct {
	// Spec has neither secrets nor headers, which may hold some.
	Spec    destination.Spec
	Secrets []Secret
	Headers map[string]Secret
}

// warnPrivate finds destinations on this machine or in a private network that no setting allows.
// Names other than localhost are resolved, and judged, when they are called.
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

// Full returns the spec with what is secret in it.
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

// destinationFields are the keys of an entry that hold one plain value.
func destinationFields(s *destination.Spec) map[string]any {
	return map[string]any{
		"kind": &s.Kind, "url": &s.URL, "topic": &s.Topic, "filter": &s.Filter, "format": &s.Format,
		"timeout": (*time.Duration)(&s.Timeout), "max_attempts": &s.MaxAttempts,
		"first_wait": (*time.Duration)(&s.FirstWait), "longest_wait": (*time.Duration)(&s.LongestWait),
		"concurrency": &s.Concurrency, "rate": &s.Rate, "burst": &s.Burst, "order": &s.Order, "order_by": &s.OrderBy,
		"break_after": &s.BreakAfter, "break_for": (*time.Duration)(&s.BreakFor), "lease": (*time.Duration)(&s.Lease),
	}
}

func (l *loader) destination(name, path string, n ast.Node) (d Destination) {
	d.Spec.Name = name
	keys := map[string]func(string, ast.Node){
		"secrets": func(path string, n ast.Node) { d.Secrets, _ = l.secrets(path, n, false) },
		"events":  func(path string, n ast.Node) { d.Spec.Events = l.texts(path, n) },
		"final": func(path string, n ast.Node) {
			d.Spec.Final = []int{}
			for _, text := range l.texts(path, n) {
				status, err := strconv.Atoi(text)
				if err != nil {
					l.fault(path, text, l.at(n), "must be a list of statuses, such as [400, 422]")
					continue
				}
				d.Spec.Final = append(d.Spec.Final, status)
			}
		},
		"headers": func(path string, n ast.Node) {
			d.Headers = make(map[string]Secret)
			l.each(path, n, func(key, path string, n ast.Node) {
				value, ok := refText(n)
				if !ok {
					l.fault(path, "", l.at(n), wantText)
				} else if value, ok = l.resolve(path, value, l.at(n)); ok {
					d.Headers[key] = Secret(value)
				}
			})
		},
	}
	for key, field := range destinationFields(&d.Spec) {
		keys[key] = func(path string, n ast.Node) {
			value, ok := refText(n)
			if !ok {
				l.fault(path, "", l.at(n), wantText)
				return
			}
			if key == "url" || key == "topic" {
				// A broker's address may hold a password.
				if value, ok = l.resolve(path, value, l.at(n)); !ok {
					return
				}
			}
			if value == "" {
				return
			}
			if err := assign(field, value); err != nil {
				l.fault(path, value, l.at(n), err.Error())
			}
		}
	}
	l.mapping(path, n, keys)
	return d
}

// texts reads a text or a list of them.
func (l *loader) texts(path string, n ast.Node) (all []string) {
	nodes := []ast.Node{n}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		nodes = n.Values
	}
	for _, n := range nodes {
		one, ok := text(n)
		if !ok {
			l.fault(path, "", l.at(n), wantText)
			continue
		}
		all = append(all, one)
	}
	return all
}

// checkDestinations reports what is wrong with the destinations.
func (c *Config) checkDestinations(add func(Fault)) {
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		path := "destinations." + name
		spec := c.Destinations[name].Full()
		faults, _ := errors.AsType[destination.Faults](spec.Check())
		for _, f := range faults {
			full := path
			if f.Field != "name" {
				full += "." + snake(f.Field)
			}
			from := c.origins[strings.SplitN(full, "[", 2)[0]]
			if from == "" {
				from = c.origins[path]
			}
			add(Fault{Name: full, From: from, Problem: f.Problem})
		}
	}
}

// snake turns a field's name in JSON into the one in the file: orderBy, order_by.
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

// showDestinations lists what was set, without what may be secret.
func (c *Config) showDestinations(add func(name, value, help string)) {
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		d := c.Destinations[name]
		path := "destinations." + name
		fields := destinationFields(&d.Spec)
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if c.origins[path+"."+key] == "" {
				continue
			}
			value := display(fields[key], false)
			if key == "url" { // viewers read the settings, and of many receivers the path is the secret
				value = redact.Host(value)
			}
			add(path+"."+key, value, "")
		}
		if len(d.Spec.Events) > 0 {
			add(path+".events", strings.Join(d.Spec.Events, ","), "")
		}
		if len(d.Secrets) > 0 {
			add(path+".secrets", display(&d.Secrets, false), "")
		}
		for _, key := range slices.Sorted(maps.Keys(d.Headers)) {
			add(path+".headers."+key, "[redacted]", "")
		}
	}
}
