package app

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"gaff/internal/blob"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/media"
	"gaff/internal/secretbox"
	"gaff/internal/sqlstore"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

// BackupOptions of [BackupTo].
type BackupOptions struct {
	To      string // a folder, or a URL such as s3://bucket/prefix
	NoMedia bool
	Verify  bool // also read the files that an earlier backup copied
	// Recipients (age1…) are those to whom the backup is encrypted. Empty: it is not encrypted.
	Recipients []string
}

// RestoreOptions of [Restore].
type RestoreOptions struct {
	From     string
	Snapshot string // name; empty is the newest
	NoMedia  bool
	Identity string // the file whose keys decrypt the backup; empty: it is not encrypted
}

// Snapshot describes one backup. It is stored as JSON beside what it describes.
type Snapshot struct {
	Name     string        `json:"name"`
	Created  time.Time     `json:"created"`
	Version  string        `json:"version"`            // of gaff
	Database *DatabaseCopy `json:"database,omitempty"` // nil for PostgreSQL
	Files    int64         `json:"files"`
	Previous string        `json:"previous,omitempty"` // name of the snapshot before it
	// Recipients are those to whom it is encrypted; empty if it is not.
	Recipients []string `json:"recipients,omitempty"`
}

// DatabaseCopy is a gzipped copy of a SQLite database, encrypted if the snapshot has recipients.
type DatabaseCopy struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"` // of the database itself
	Events int64  `json:"events"`
}

const (
	latestSnapshot = "latest"
	maxSnapshot    = 1 << 20 // bytes of its description
)

// freeName returns a name for a snapshot of a time. Two may be made within a second, and a clock may be
// set back: a name that exists gets a number, because each snapshot names the one before it.
func freeName(ctx context.Context, target blob.Store, at time.Time) (string, error) {
	base := strings.ToLower(at.Format("20060102T150405Z"))
	for n := 1; ; n++ {
		name := base
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		if _, err := readSnapshot(ctx, target, name); errors.Is(err, blob.ErrNotFound) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

func snapshotKey(name string) string { return "snapshots/" + name + ".json" }

// BackupTo copies database and files to a folder or a bucket, while a gateway may be running, and verifies
// the copies. Files that an earlier backup copied are not copied again.
func BackupTo(ctx context.Context, cfg *config.Config, o BackupOptions, out, progress io.Writer) error {
	recipients, err := secretbox.Recipients(o.Recipients)
	if err != nil {
		return fmt.Errorf("--recipient: %w", err)
	}
	if o.Verify && len(recipients) > 0 {
		return errors.New("--verify reads files, and encrypted ones can only be read with an identity: restore the backup to a folder instead")
	}
	target, err := blob.Open(o.To)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	defer func() { _ = target.Close() }()
	if err := target.Check(ctx); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	now := time.Now().UTC()
	name, err := freeName(ctx, target, now)
	if err != nil {
		return err
	}
	s := &Snapshot{Name: name, Created: now, Version: buildinfo.Get().Version, Recipients: o.Recipients}
	previous, err := readSnapshot(ctx, target, latestSnapshot)
	if err == nil {
		s.Previous = previous.Name
	} else if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	b := &backup{cfg: cfg, o: o, target: target, files: target, recipients: recipients, snapshot: s, progress: progress}
	if len(recipients) > 0 {
		b.files = blob.Encrypted(target, encryptedFolder(s.Recipients), recipients, nil)
	}
	report, err := b.run(ctx)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	// The snapshot exists when it is described; it is the newest when latest names it.
	for _, name := range []string{s.Name, latestSnapshot} {
		if err := target.Put(ctx, snapshotKey(name), bytes.NewReader(text), int64(len(text)), "application/json"); err != nil {
			return fmt.Errorf("back up: %w", err)
		}
	}
	if s.Database != nil {
		fmt.Fprintf(out, "database: %d events, verified\n", s.Database.Events)
	}
	printCopied(out, report)
	if len(recipients) > 0 {
		fmt.Fprintf(out, "encrypted to %s\n", strings.Join(s.Recipients, ", "))
	}
	fmt.Fprintf(out, "snapshot %s in %s\n", s.Name, target)
	return lostFiles(report, "in the backup")
}

func printCopied(out io.Writer, r media.CopyReport) {
	fmt.Fprintf(out, "files: %d copied (%d bytes), %d there already, %d missing, %d damaged\n", r.Copied, r.Bytes, r.Present, len(r.Missing), len(r.Damaged))
	for _, id := range r.Missing {
		fmt.Fprintln(out, "missing file of media", id)
	}
	for _, id := range r.Damaged {
		fmt.Fprintln(out, "damaged file of media", id)
	}
}

// lostFiles is an error if files could not be copied.
func lostFiles(r media.CopyReport, where string) error {
	if r.Faults() == 0 {
		return nil
	}
	return fmt.Errorf("%d files are missing or damaged, and are not %s; everything else is", r.Faults(), where)
}

// backup makes one snapshot.
type backup struct {
	cfg        *config.Config
	o          BackupOptions
	target     blob.Store
	files      blob.Store // where files go: target, or what encrypts them
	recipients []age.Recipient
	snapshot   *Snapshot
	progress   io.Writer
}

// run copies the database first: files that its rows name are stored by then.
func (b *backup) run(ctx context.Context) (report media.CopyReport, err error) {
	if b.cfg.DatabaseURL != "" {
		rows, err := postgres.Reader(ctx, b.cfg.DatabaseURL)
		if err != nil {
			return report, err
		}
		report, err = b.copyFiles(ctx, rows)
		return report, errors.Join(err, rows.Close())
	}
	dir, remove, err := backupFolder(b.cfg.DataDir)
	if err != nil {
		return report, err
	}
	defer remove()
	file := filepath.Join(dir, DatabaseFile)
	events, err := sqlite.Backup(ctx, filepath.Join(b.cfg.DataDir, DatabaseFile), file)
	if err != nil {
		return report, err
	}
	if err := b.database(ctx, file, events); err != nil {
		return report, err
	}
	rows, err := sqlite.Reader(file)
	if err != nil {
		return report, err
	}
	report, err = b.copyFiles(ctx, rows)
	return report, errors.Join(err, rows.Close())
}

// database stores a gzipped copy of the file, and reads it back.
func (b *backup) database(ctx context.Context, file string, events int64) error {
	suffix := ".gz"
	if len(b.recipients) > 0 {
		suffix = ".gz.age"
	}
	plain, stored, err := compressFile(file, file+suffix, b.recipients)
	if err != nil {
		return err
	}
	packed, err := os.Open(file + suffix)
	if err != nil {
		return err
	}
	defer packed.Close()
	info, err := packed.Stat()
	if err != nil {
		return err
	}
	d := &DatabaseCopy{Key: "database/" + b.snapshot.Name + ".db" + suffix, SHA256: plain, Events: events}
	if err := b.target.Put(ctx, d.Key, packed, info.Size(), "application/octet-stream"); err != nil {
		return err
	}
	if err := readBack(ctx, b.target, d.Key, stored); err != nil {
		return err
	}
	b.snapshot.Database = d
	return nil
}

// compressFile gzips a file, and encrypts it to recipients if there are any. It returns the SHA-256 of
// the contents and of the new file.
func compressFile(from, to string, recipients []age.Recipient) (plain, stored string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	contents, file := sha256.New(), sha256.New()
	w, err := encryptTo(io.MultiWriter(out, file), recipients)
	if err != nil {
		return "", "", err
	}
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	_, err = io.Copy(io.MultiWriter(z, contents), in)
	err = errors.Join(err, z.Close(), w.Close(), out.Close())
	return hex.EncodeToString(contents.Sum(nil)), hex.EncodeToString(file.Sum(nil)), err
}

// readBack fails if a stored file does not have the SHA-256.
func readBack(ctx context.Context, from blob.Store, key, sum string) error {
	f, err := from.Open(ctx, key)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return fmt.Errorf("%s: the copy of the database is damaged: its SHA-256 is %s, not %s", key, got, sum)
	}
	return nil
}

// readDatabase calls fn with the database, and fails if its SHA-256 is not that of the snapshot.
func readDatabase(ctx context.Context, from blob.Store, d *DatabaseCopy, keys *backupKeys, fn func(io.Reader) error) error {
	f, err := from.Open(ctx, d.Key)
	if err != nil {
		return err
	}
	defer f.Close()
	packed, err := keys.decrypt(f)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(packed)
	if err != nil {
		return fmt.Errorf("%s: the copy of the database is damaged: %w", d.Key, err)
	}
	hash := sha256.New()
	return fn(&verifiedReader{r: io.TeeReader(z, hash), sum: func() error {
		if got := hex.EncodeToString(hash.Sum(nil)); got != d.SHA256 {
			return fmt.Errorf("%s: the copy of the database is damaged: its SHA-256 is %s, not %s", d.Key, got, d.SHA256)
		}
		return nil
	}})
}

// verifiedReader fails at the end if the contents were not the right ones.
type verifiedReader struct {
	r   io.Reader
	sum func() error
}

func (v *verifiedReader) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	if errors.Is(err, io.EOF) {
		if fault := v.sum(); fault != nil {
			return n, fault
		}
	}
	return n, err
}

// copyFiles copies the files of the rows.
func (b *backup) copyFiles(ctx context.Context, rows *sqlstore.Reader) (media.CopyReport, error) {
	if b.o.NoMedia || b.cfg.MediaURL == mediaOff {
		return media.CopyReport{}, nil
	}
	from, err := mediaStore(b.cfg, false)
	if err != nil {
		return media.CopyReport{}, err
	}
	defer func() { _ = from.Close() }()
	if from.String() == b.target.String() {
		return media.CopyReport{}, fmt.Errorf("--to is %s, where gaff stores its files (GAFF_MEDIA_URL): name another place, or add --no-media", from)
	}
	report, err := media.CopyFiles(ctx, rows, from, b.files, b.o.Verify, func(r media.CopyReport) error {
		fmt.Fprintf(b.progress, "files: %d copied, %d there already\n", r.Copied, r.Present)
		return ctx.Err()
	})
	b.snapshot.Files = report.Copied + report.Present
	return report, err
}

// mediaStore opens the storage of files. One that does not exist is made, or has no files.
func mediaStore(cfg *config.Config, create bool) (blob.Store, error) {
	address := cmp.Or(cfg.MediaURL, filepath.Join(cfg.DataDir, mediaDir))
	if !create && !strings.Contains(address, "://") {
		if _, err := os.Stat(address); errors.Is(err, os.ErrNotExist) {
			return noFiles{}, nil
		}
	}
	blobs, err := blob.Open(address)
	if err != nil {
		return nil, fmt.Errorf("GAFF_MEDIA_URL: %w", err)
	}
	return blobs, nil
}

func readSnapshot(ctx context.Context, from blob.Store, name string) (*Snapshot, error) {
	f, err := from.Open(ctx, snapshotKey(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSnapshot))
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: the description of the backup is damaged: %w", snapshotKey(name), err)
	}
	return s, nil
}

// Snapshots lists the backups in a folder or a bucket, the newest first.
func Snapshots(ctx context.Context, from string) (list []*Snapshot, err error) {
	source, err := blob.Open(from)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	defer func() { _ = source.Close() }()
	seen := map[string]bool{}
	for name := latestSnapshot; name != ""; {
		s, err := readSnapshot(ctx, source, name)
		if errors.Is(err, blob.ErrNotFound) {
			return list, nil // older ones were removed
		}
		if err != nil {
			return list, err
		}
		if seen[s.Name] {
			return list, fmt.Errorf("%s: the snapshot names itself, or a newer one, as the previous one", snapshotKey(s.Name))
		}
		seen[s.Name] = true
		list = append(list, s)
		name = s.Previous
	}
	return list, nil
}

// Restore makes a data folder of a backup: the database, and the files that its rows name. On PostgreSQL,
// whose own tools restore the database, it restores the files. Interrupted, it can be repeated. A backup
// that is a single file has the database only.
func Restore(ctx context.Context, cfg *config.Config, o RestoreOptions, out, progress io.Writer) error {
	if info, err := os.Stat(o.From); err == nil && info.Mode().IsRegular() {
		return restoreFile(ctx, cfg, o, out)
	}
	source, err := blob.Open(o.From)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { _ = source.Close() }()
	name := cmp.Or(o.Snapshot, latestSnapshot)
	s, err := readSnapshot(ctx, source, name)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("%s has no snapshot %q: gaff restore --from … --list shows those that it has", source, name)
	}
	if err != nil {
		return err
	}
	keys, err := openKeys(o.Identity, s.Recipients)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	stored := source
	if len(s.Recipients) > 0 {
		stored = blob.Encrypted(source, encryptedFolder(s.Recipients), nil, keys.identities)
	}
	var report media.CopyReport
	files := func(rows *sqlstore.Reader) error {
		if o.NoMedia || cfg.MediaURL == mediaOff {
			return nil
		}
		to, err := mediaStore(cfg, true)
		if err != nil {
			return err
		}
		defer func() { _ = to.Close() }()
		report, err = media.CopyFiles(ctx, rows, stored, to, true, func(r media.CopyReport) error {
			fmt.Fprintf(progress, "files: %d restored, %d there already\n", r.Copied, r.Present)
			return ctx.Err()
		})
		return err
	}
	if err := restoreDatabase(ctx, cfg, source, s, keys, files, out); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	printCopied(out, report)
	return lostFiles(report, "restored")
}

// restoreDatabase restores a SQLite database, and calls files with its rows.
func restoreDatabase(ctx context.Context, cfg *config.Config, source blob.Store, s *Snapshot, keys *backupKeys, files func(*sqlstore.Reader) error, out io.Writer) error {
	switch {
	case cfg.DatabaseURL != "" && s.Database != nil:
		return errors.New("the backup has a SQLite database: restore it without GAFF_DATABASE_URL, then move it with gaff migrate --to")
	case cfg.DatabaseURL != "":
		rows, err := postgres.Reader(ctx, cfg.DatabaseURL)
		if err != nil {
			return err
		}
		return errors.Join(files(rows), rows.Close())
	case s.Database == nil:
		return errors.New("the backup has the files of a gateway on PostgreSQL: restore its database with pg_restore, and set GAFF_DATABASE_URL")
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	return readDatabase(ctx, source, s.Database, keys, func(r io.Reader) error {
		events, err := sqlite.Restore(ctx, r, filepath.Join(cfg.DataDir, DatabaseFile), files)
		if err == nil {
			fmt.Fprintf(out, "database of %s: %d events, verified\n", s.Created.Format(time.RFC3339), events)
		}
		return err
	})
}
