package sqlstore

import (
	"fmt"
	"log/slog"
)

// Migrations are the names of migrations that were applied. Logs show how many, the first
// and the last.
type Migrations []string

// LogValue returns one name, or the number and range of several.
func (m Migrations) LogValue() slog.Value {
	switch len(m) {
	case 0:
		return slog.StringValue("none")
	case 1:
		return slog.StringValue(m[0])
	}
	return slog.StringValue(fmt.Sprintf("%d, %s to %s", len(m), m[0], m[len(m)-1]))
}

// LogMigrating returns a function that logs which migrations begin: until they are applied, the
// process does not listen, and what started it should know why.
func LogMigrating(log *slog.Logger) func(names []string) {
	return func(names []string) {
		log.Info("migrating the schema: the gateway listens when that is done, which may take minutes with millions of events", "migrations", Migrations(names))
	}
}

// LogMigrations logs which migrations were applied, in one line.
func LogMigrations(log *slog.Logger, names []string) {
	if len(names) > 0 {
		log.Info("schema migrated", "migrations", Migrations(names))
	}
}
