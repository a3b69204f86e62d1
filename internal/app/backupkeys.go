package app

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	"gaff/internal/config"
	"gaff/internal/secretbox"
	"gaff/internal/sqlstore"
	"gaff/store/sqlite"
)

// encryptedFolder names the folder of files that are encrypted to the recipients. Other recipients have
// another folder: files that their identities could not decrypt are copied again.
func encryptedFolder(recipients []string) string {
	sorted := slices.Sorted(slices.Values(recipients))
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(sorted), "\n")))
	return "age/" + hex.EncodeToString(sum[:8])
}

// encryptTo returns a writer that encrypts, or one that does not if there are no recipients.
func encryptTo(w io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	if len(recipients) == 0 {
		return plainWriter{w}, nil
	}
	return age.Encrypt(w, recipients...)
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

// backupKeys decrypt a backup. Without identities it is plain.
type backupKeys struct {
	file       string // where the identities are from
	recipients []string
	identities []age.Identity
}

// openKeys reads the identities of a file. Whether there is one must agree with whether the backup is
// encrypted: a plain backup in the place of an encrypted one is not the expected one.
func openKeys(file string, recipients []string) (*backupKeys, error) {
	k := &backupKeys{file: file, recipients: recipients}
	switch {
	case file == "" && len(recipients) > 0:
		return nil, fmt.Errorf("the backup is encrypted to %s: name the file with the identity, --identity FILE", k.to())
	case file == "":
		return k, nil
	case len(recipients) == 0:
		return nil, errors.New("the backup is not encrypted: if that is right, leave out --identity")
	}
	var err error
	k.identities, _, err = secretbox.Identities(file)
	if err != nil {
		return nil, fmt.Errorf("--identity: %w", err)
	}
	return k, nil
}

func (k *backupKeys) to() string { return strings.Join(k.recipients, ", ") }

// decrypt returns the plain text of r.
func (k *backupKeys) decrypt(r io.Reader) (io.Reader, error) {
	if len(k.identities) == 0 {
		return r, nil
	}
	plain, err := age.Decrypt(r, k.identities...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return nil, fmt.Errorf("no identity in %s decrypts the backup, which is encrypted to %s", k.file, k.to())
	}
	if err != nil {
		return nil, fmt.Errorf("the encrypted copy of the database is damaged: %w", err)
	}
	return plain, nil
}

// backupFolder makes a folder for the copy of a database, and returns what removes it.
func backupFolder(dataDir string) (dir string, remove func(), err error) {
	removeLeftBackups(dataDir)
	if dir, err = os.MkdirTemp(dataDir, leftBackups); err != nil {
		return "", nil, err
	}
	unlock, err := sqlite.Lock(filepath.Join(dir, "running"))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() {
		_ = unlock()
		_ = os.RemoveAll(dir)
	}, nil
}

// leftBackups begins the names of folders that backups use while they run.
const leftBackups = "backup-"

// removeLeftBackups removes the folders of backups that were killed: each has a copy of the database.
func removeLeftBackups(dataDir string) {
	left, _ := filepath.Glob(filepath.Join(dataDir, leftBackups+"*"))
	for _, dir := range left {
		if _, err := os.Lstat(filepath.Join(dir, "running.lock")); err != nil {
			continue // it is not one, or begins just now
		}
		unlock, err := sqlite.Lock(filepath.Join(dir, "running"))
		if err != nil {
			continue // it is running
		}
		_ = unlock()
		_ = os.RemoveAll(dir)
	}
}

// Backup copies the SQLite database into a new file while a gateway may be running, encrypted if there
// are recipients.
func Backup(ctx context.Context, cfg *config.Config, file string, recipients []string, out io.Writer) error {
	if cfg.DatabaseURL != "" {
		return errors.New("gaff backup is for SQLite; back PostgreSQL up with its own tools: pg_dump --format=custom --file=FILE \"$GAFF_DATABASE_URL\"")
	}
	to, err := secretbox.Recipients(recipients)
	if err != nil {
		return fmt.Errorf("--recipient: %w", err)
	}
	path := filepath.Join(cfg.DataDir, DatabaseFile)
	var events int64
	if len(to) == 0 {
		events, err = sqlite.Backup(ctx, path, file)
	} else {
		events, err = backupEncrypted(ctx, cfg.DataDir, file, to)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d events (internal ones included), checked\n", file, events)
	if len(to) > 0 {
		fmt.Fprintf(out, "encrypted to %s\n", strings.Join(recipients, ", "))
	}
	return nil
}

// backupEncrypted copies the database beside itself, and the copy into the file.
func backupEncrypted(ctx context.Context, dataDir, file string, to []age.Recipient) (events int64, err error) {
	if _, err := os.Lstat(file); err == nil {
		return 0, fmt.Errorf("back up: %s exists already; name a new file", file)
	}
	dir, remove, err := backupFolder(dataDir)
	if err != nil {
		return 0, fmt.Errorf("back up: %w", err)
	}
	defer remove()
	plain := filepath.Join(dir, DatabaseFile)
	if events, err = sqlite.Backup(ctx, filepath.Join(dataDir, DatabaseFile), plain); err != nil {
		return 0, err
	}
	part := file + ".part"
	if err := encryptFile(plain, part, to); err != nil {
		return 0, fmt.Errorf("back up: %w", errors.Join(err, os.Remove(part)))
	}
	return events, os.Rename(part, file)
}

func encryptFile(from, to string, recipients []age.Recipient) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := age.Encrypt(out, recipients...)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return errors.Join(err, w.Close(), out.Sync(), out.Close())
}

// ageFormat begins a file that is encrypted with age.
const ageFormat = "age-encryption.org/v1\n"

// restoreFile restores what [Backup] made.
func restoreFile(ctx context.Context, cfg *config.Config, o RestoreOptions, out io.Writer) error {
	if cfg.DatabaseURL != "" {
		return errors.New("restore: a FILE is a SQLite database: restore it without GAFF_DATABASE_URL, then move it with gaff migrate --to")
	}
	if o.Snapshot != "" {
		return errors.New("restore: --snapshot is for backups that gaff backup --to made")
	}
	f, err := os.Open(o.From)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var recipients []string
	if head, err := in.Peek(len(ageFormat)); err == nil && string(head) == ageFormat {
		recipients = []string{"recipients that the file does not name"}
	}
	keys, err := openKeys(o.Identity, recipients)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	plain, err := keys.decrypt(in)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	events, err := sqlite.Restore(ctx, plain, filepath.Join(cfg.DataDir, DatabaseFile), func(*sqlstore.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fmt.Fprintf(out, "database: %d events, verified\n", events)
	return nil
}
