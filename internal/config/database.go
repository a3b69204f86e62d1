package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// databaseURL is a PostgreSQL URL in parts. net/url does not read several hosts.
type databaseURL struct {
	scheme, user, password string
	hasPassword            bool
	hosts                  []string // each with its port, if it has one
	path                   string   // with its slash
	query                  []string // name=value
}

var errDatabaseURL = errors.New("must be postgres://user:password@host:5432/database, with several hosts as host1:5432,host2:5432, or empty for SQLite in the data folder")

// parseDatabaseURL splits a URL. Its errors do not quote the text, which may have a password.
func parseDatabaseURL(text string) (u databaseURL, err error) {
	var rest, query string
	u.scheme, rest, _ = strings.Cut(text, "://")
	if u.scheme != "postgres" && u.scheme != "postgresql" {
		return u, errDatabaseURL
	}
	rest, query, _ = strings.Cut(rest, "?")
	if query != "" {
		u.query = strings.Split(query, "&")
	}
	hosts := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		hosts, u.path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		u.user, u.password, u.hasPassword = strings.Cut(hosts[:i], ":")
		hosts = hosts[i+1:]
	}
	// A slash that is not encoded in a password would make a part of it a path.
	if strings.Contains(u.path, "@") {
		return u, errDatabaseURL
	}
	for _, host := range strings.Split(hosts, ",") {
		if !isHost(host) {
			return u, errDatabaseURL
		}
		u.hosts = append(u.hosts, host)
	}
	return u, nil
}

// isHost reports whether a text is a host, with or without a port; an empty one is the default's.
func isHost(text string) bool {
	var name, port string
	var hasPort bool
	if rest, ok := strings.CutPrefix(text, "["); ok { // IPv6
		if name, port, ok = strings.Cut(rest, "]"); !ok {
			return false
		}
		if port != "" && port[0] != ':' {
			return false
		}
		hasPort, port = port != "", strings.TrimPrefix(port, ":")
	} else {
		name, port, hasPort = strings.Cut(text, ":")
	}
	if n, err := strconv.Atoi(port); hasPort && (err != nil || n < 1 || n > 65535) {
		return false
	}
	return !strings.ContainsAny(name, " \t\"'\\")
}

func checkDatabase(text string) error {
	if text == "" {
		return nil
	}
	_, err := parseDatabaseURL(text)
	return err
}

// checkReplica checks the address of the read replica.
func (c *Config) checkReplica() error {
	if c.DatabaseReadURL != "" && c.DatabaseURL == "" {
		return errors.New("needs GAFF_DATABASE_URL: SQLite has no replicas")
	}
	return checkDatabase(c.DatabaseReadURL)
}

// shownParameters of a PostgreSQL URL are not secret.
var shownParameters = []string{"application_name", "connect_timeout", "host", "port", "sslmode", "target_session_attrs", "user"}

// redactDatabase returns a PostgreSQL URL without its password.
func redactDatabase(text string) string {
	u, err := parseDatabaseURL(text)
	if err != nil {
		return "[redacted]"
	}
	var b strings.Builder
	b.WriteString(u.scheme + "://" + u.user)
	if u.hasPassword {
		b.WriteString(":[redacted]")
	}
	if u.user != "" || u.hasPassword {
		b.WriteByte('@')
	}
	b.WriteString(strings.Join(u.hosts, ",") + u.path)
	var shown []string
	hidden := false
	for _, parameter := range u.query {
		name, _, _ := strings.Cut(parameter, "=")
		if slices.Contains(shownParameters, name) {
			shown = append(shown, parameter)
		} else {
			hidden = true
		}
	}
	if hidden {
		shown = append(shown, "[redacted]")
	}
	if len(shown) > 0 {
		b.WriteString("?" + strings.Join(shown, "&"))
	}
	return b.String()
}
