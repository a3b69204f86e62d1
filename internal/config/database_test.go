package config

import (
	"strings"
	"testing"
)

func TestDatabaseURLWithSeveralHosts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://db/gaff":                                                         "postgres://db/gaff",
		"postgres://gaff:hush@db1:5432,db2:5433/gaff":                                "postgres://gaff:[redacted]@db1:5432,db2:5433/gaff",
		"postgresql://gaff:hush@db1,db2:5433,[::1]:5434/gaff":                        "postgresql://gaff:[redacted]@db1,db2:5433,[::1]:5434/gaff",
		"postgres://gaff:hu@sh:hush@db1,db2/gaff":                                    "postgres://gaff:[redacted]@db1,db2/gaff",
		"postgres://gaff:hush@db1,gaff:hush@db2/gaff":                                "postgres://gaff:[redacted]@db2/gaff",
		"postgres://:hush@db/gaff":                                                   "postgres://:[redacted]@db/gaff",
		"postgres://gaff@db1:1,db2:2/gaff?target_session_attrs=primary":              "postgres://gaff@db1:1,db2:2/gaff?target_session_attrs=primary",
		"postgres://db1,db2/gaff?sslmode=require&password=hush&sslpassword=hush&x=y": "postgres://db1,db2/gaff?sslmode=require&[redacted]",
		"postgres:///gaff?host=db1,db2&port=1,2&password=hush":                       "postgres:///gaff?host=db1,db2&port=1,2&[redacted]",
		"postgres:///gaff?host=/run/postgresql":                                      "postgres:///gaff?host=/run/postgresql",
	} {
		if err := checkDatabase(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := redactURL(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

func TestDatabaseURLFaultsShowNoPassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"mysql://gaff:hush@db/gaff", "postgres:gaff:hush@db", "postgres://gaff:hu/sh@db/gaff", "postgres://gaff:hush@db:port/gaff",
		"postgres://gaff:hush@db1:5432,db2:99999/gaff", "postgres://gaff:hush@[::1/gaff", "postgres://gaff:hush@d b/gaff", "postgres://gaff:hush/gaff", "host=db password=hush",
	} {
		err := checkDatabase(text)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		if shown := err.Error() + redactURL(text); strings.Contains(shown, "hush") || strings.Contains(shown, "sh@") {
			t.Errorf("%s: shown as %s", text, shown)
		}
	}
}
