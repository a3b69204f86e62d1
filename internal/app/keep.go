package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/config"
	"gaff/internal/sqlstore"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

const (
	// pruneFirst lets a gateway start in peace; pruneEvery is the time between two removals of
	// expired rows.
	pruneFirst = time.Minute
	pruneEvery = 10 * time.Minute
)

// prune removes expired rows until ctx ends. archived returns the number of the last event that is
// archived, and whether any are.
func prune(ctx context.Context, r config.Retention, st *sqlstore.Store, archived func(context.Context) (int64, bool, error), log *slog.Logger) {
	for wait := pruneFirst; ; wait = pruneEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		ages := before(began, r)
		var err error
		if ages.Archived, ages.Archives, err = archived(ctx); err != nil {
			log.Warn("retention: nothing is removed while the archives' positions cannot be read", "error", err)
			continue
		}
		f, err := st.Prune(ctx, ages)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped):
			log.Warn("retention", "error", err)
		case f != (sqlstore.Pruned{}):
			log.Info("retention", "payloads", f.Payloads, "events", f.Events, "rejections", f.Rejections, "issues", f.Issues, "jobs", f.Jobs, "media", f.Media,
				"runs", f.Runs, "took", time.Since(began).Round(time.Millisecond).String())
		}
	}
}

// checkEvery is the time between two checks of all stored bodies.
const checkEvery = 24 * time.Hour

// checkBodies compares every stored body with its hash, after wait and from then on each
// day, until ctx ends.
func checkBodies(ctx context.Context, wait time.Duration, st *sqlstore.Store, log *slog.Logger) {
	for ; ; wait = checkEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		r, err := st.CheckBodies(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped):
			log.Warn("check of the stored bodies", "error", err)
		case len(r.Damaged) > 0:
			log.Error("stored bodies are damaged", "damaged", len(r.Damaged), "checked", r.Checked, "took", time.Since(began).Round(time.Millisecond).String())
		}
	}
}

// firstCheck is soon where one gateway owns the database. Nodes that share one check it only
// if they run for a day, so that a rolling upgrade does not read it many times.
func firstCheck(cfg *config.Config) time.Duration {
	if cfg.DatabaseURL == "" {
		return 0
	}
	return checkEvery
}

// pruneSessions removes expired sessions, and the identity provider's tokens of ended ones, until ctx
// ends.
func pruneSessions(ctx context.Context, guard *access.Guard, log *slog.Logger) {
	for wait := pruneFirst; ; wait = pruneEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := guard.PruneSessions(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
			log.Warn("removal of ended sessions", "error", err)
		}
	}
}

// pruneAudit bounds the audit log in age and number, until ctx ends.
func pruneAudit(ctx context.Context, cfg *config.Config, st *sqlstore.Store, log *slog.Logger) {
	for wait := pruneFirst; ; wait = pruneEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var oldest time.Time
		if age := cfg.Retention.Audit; age > 0 {
			oldest = time.Now().Add(-age)
		}
		removed, err := st.PruneAudit(ctx, oldest, int64(cfg.Limits.Audit))
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped):
			log.Warn("retention of the audit log", "error", err)
		case removed > 0:
			log.Info("retention of the audit log", "lines", removed)
		}
	}
}

// issueAge is how long after its last failure an issue is stored, and after its end an alert;
// shorter if events are.
const issueAge = 90 * 24 * time.Hour

// before turns ages into times; zero stays zero.
func before(now time.Time, r config.Retention) (s sqlstore.Retention) {
	issues := issueAge
	if r.Events > 0 {
		issues = min(issues, r.Events)
	}
	for at, age := range map[*time.Time]time.Duration{
		&s.Payloads: r.Payloads, &s.Events: r.Events, &s.Rejections: r.Rejections, &s.Issues: issues,
		&s.Jobs: r.Jobs, &s.Media: r.Media, &s.Runs: r.Runs,
	} {
		if age > 0 {
			*at = now.Add(-age)
		}
	}
	return s
}

// Import copies the contents of a SQLite file (sqlite://PATH; empty: the data folder's) into an
// empty PostgreSQL database.
func Import(ctx context.Context, cfg *config.Config, from, to string, out io.Writer) error {
	path := filepath.Join(cfg.DataDir, DatabaseFile)
	if from != "" {
		var ok bool
		if path, ok = strings.CutPrefix(from, "sqlite://"); !ok || path == "" {
			return fmt.Errorf("--from %q: must be sqlite:// and the path of a gaff.db, such as sqlite:///var/lib/gaff/gaff.db", from)
		}
	}
	if !strings.HasPrefix(to, "postgres://") && !strings.HasPrefix(to, "postgresql://") {
		return errors.New("--to: must be postgres://user:password@host/database")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := mustExist(path); err != nil {
		return err
	}
	// Opened as a gateway would: its schema is brought up to date, and no gateway can run.
	st, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		return err
	}
	err = postgres.Import(ctx, st, path, to, out)
	if err := errors.Join(err, st.Close()); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	fmt.Fprintln(out, "done: start gaff with GAFF_DATABASE_URL set to the new address; keep the file until you have seen it work")
	return nil
}
