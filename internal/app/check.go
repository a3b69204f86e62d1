package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"gaff/internal/blob"
	"gaff/internal/config"
	"gaff/internal/media"
	"gaff/internal/sqlstore"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

// CheckReport is what a check of everything that is stored found.
type CheckReport struct {
	OK bool `json:"ok"`
	// Structure lists problems of the SQLite file.
	Structure []string     `json:"structure"`
	Bodies    checkedParts `json:"bodies"`
	Files     checkedParts `json:"files"`
}

type checkedParts struct {
	Checked  int64    `json:"checked"`
	Unhashed int64    `json:"unhashed"`
	Damaged  []string `json:"damaged"`
	Missing  []string `json:"missing"`
}

// ErrDamageFound is returned by Check after its report.
var ErrDamageFound = errors.New(`damage was found; see "Damage" in docs/operations.md`)

// Check verifies the database and all copies of files while a gateway may be running. The
// report goes to out, as JSON if asJSON is set, and progress to progress.
func Check(ctx context.Context, cfg *config.Config, asJSON bool, out, progress io.Writer) error {
	c := &checker{cfg: cfg, progress: progress, report: CheckReport{Structure: []string{}}}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	r := &c.report
	r.OK = len(r.Structure)+len(r.Bodies.Damaged)+len(r.Files.Damaged)+len(r.Files.Missing) == 0
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		r.print(out)
	}
	if !r.OK {
		return ErrDamageFound
	}
	return nil
}

type checker struct {
	cfg      *config.Config
	progress io.Writer
	told     time.Time
	report   CheckReport
}

// notify prints progress, at most once a second.
func (c *checker) notify(format string, args ...any) {
	if time.Since(c.told) >= time.Second {
		c.told = time.Now()
		fmt.Fprintf(c.progress, format+"\n", args...)
	}
}

func (c *checker) run(ctx context.Context) error {
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	bodies, err := db.CheckBodies(ctx, func(r sqlstore.BodyReport) error {
		c.notify("bodies: %d checked", r.Checked+r.Unhashed)
		return ctx.Err()
	})
	if err != nil && len(c.report.Structure) == 0 {
		return err
	}
	c.report.Bodies = checkedParts{Checked: bodies.Checked, Unhashed: bodies.Unhashed, Damaged: orEmpty(bodies.Damaged), Missing: []string{}}
	c.report.Files = checkedParts{Damaged: []string{}, Missing: []string{}}
	if c.cfg.MediaURL == mediaOff {
		return nil
	}
	err = c.files(ctx, db)
	if err != nil && len(c.report.Structure) == 0 {
		return err
	}
	return nil
}

func orEmpty(list []string) []string { return append([]string{}, list...) }

// open opens the database for reading, and verifies a SQLite file.
func (c *checker) open(ctx context.Context) (*sqlstore.Reader, error) {
	if c.cfg.DatabaseURL != "" {
		return postgres.Reader(ctx, c.cfg.DatabaseURL)
	}
	path := filepath.Join(c.cfg.DataDir, DatabaseFile)
	err := sqlite.Check(ctx, path, func(part string) { c.notify("structure: %s", part) })
	if damage, ok := errors.AsType[*sqlite.DamageError](err); ok {
		c.report.Structure = damage.Problems
	} else if err != nil {
		return nil, err
	}
	return sqlite.Reader(path)
}

func (c *checker) files(ctx context.Context, db *sqlstore.Reader) error {
	blobs, err := mediaStore(c.cfg, false)
	if err != nil {
		return err
	}
	defer func() { _ = blobs.Close() }()
	report, err := media.CheckFiles(ctx, db, blobs, nil, func(r media.FileReport) error {
		c.notify("files: %d checked", r.Checked)
		return ctx.Err()
	})
	c.report.Files.Checked = report.Checked
	c.report.Files.Damaged, c.report.Files.Missing = orEmpty(report.Damaged), orEmpty(report.Missing)
	return err
}

// noFiles is a folder that does not exist.
type noFiles struct{ blob.Store }

func (noFiles) Open(_ context.Context, key string) (*blob.File, error) {
	return nil, fmt.Errorf("%s: %w", key, blob.ErrNotFound)
}

func (noFiles) Close() error { return nil }

func (noFiles) String() string { return "the storage, which does not exist" }

func (r *CheckReport) print(out io.Writer) {
	for _, problem := range r.Structure {
		fmt.Fprintln(out, "structure:", problem)
	}
	for _, found := range []struct {
		what string
		ids  []string
	}{
		{"damaged body of event", r.Bodies.Damaged}, {"damaged file of media", r.Files.Damaged}, {"missing file of media", r.Files.Missing},
	} {
		for _, id := range found.ids {
			fmt.Fprintln(out, found.what, id)
		}
	}
	fmt.Fprintf(out, "%d bodies checked", r.Bodies.Checked)
	if r.Bodies.Unhashed > 0 {
		fmt.Fprintf(out, " (and %d of an older version, which have no SHA-256)", r.Bodies.Unhashed)
	}
	fmt.Fprintf(out, ", %d files checked; %d problems\n", r.Files.Checked,
		len(r.Structure)+len(r.Bodies.Damaged)+len(r.Files.Damaged)+len(r.Files.Missing))
}
