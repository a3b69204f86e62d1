package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gaff/internal/pgtest"
)

// backupIdentity makes an identity with the binary, and returns its file and its recipient.
func backupIdentity(t *testing.T) (file, recipient string) {
	t.Helper()
	key, err := exec.Command(binary, "secrets", "key").Output()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "backup.key")
	if err := os.WriteFile(file, append([]byte("# of the studio\n"), key...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "secrets", "recipient", file).Output()
	if err != nil || !strings.HasPrefix(string(out), "age1") {
		t.Fatalf("recipient: %v\n%s", err, out)
	}
	return file, strings.TrimSpace(string(out))
}

// noPlainText fails if a file has bytes of a SQLite database, a gzip file, a picture, or a webhook.
func noPlainText(t *testing.T, dir string) {
	t.Helper()
	files := 0
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/snapshots/") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, plain := range []string{"SQLite format 3", "\x89PNG\r\n\x1a\n", "job-one", "\x1f\x8b\x08\x00\x00"} {
			if bytes.Contains(text, []byte(plain)) {
				t.Errorf("%s contains %q", path, plain)
			}
		}
		return err
	}); err != nil || files == 0 {
		t.Fatalf("%d files in %s: %v", files, dir, err)
	}
}

// fails runs the binary, which must fail with all of the texts.
func (p *place) fails(t *testing.T, args []string, want ...string) {
	t.Helper()
	out, err := p.gaff(args...)
	if err == nil {
		t.Errorf("gaff %v succeeded\n%s", args, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("gaff %v: %q is missing in %s", args, text, out)
		}
	}
}

func TestBackupOfFilesIsEncrypted(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n" + strings.Repeat(r.URL.Path, 100)))
	}))
	t.Cleanup(provider.Close)
	p := newPlace(t, "GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")
	p.open(t)
	withFiles(t, p, provider.URL, "one", 2)
	to := t.TempDir()
	identity, recipient := backupIdentity(t)
	other, otherRecipient := backupIdentity(t)
	if out, err := p.gaff("backup", "--to", to, "--recipient", recipient); err != nil || !strings.Contains(out, "encrypted to "+recipient) {
		t.Fatalf("%v\n%s", err, out)
	}
	noPlainText(t, to)
	if left, _ := filepath.Glob(filepath.Join(p.dir, "data", "backup-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	out, err := p.gaff("restore", "--from", to, "--list")
	if err != nil || !strings.Contains(out, "ENCRYPTED") || !strings.Contains(out, " yes ") {
		t.Errorf("list: %v\n%s", err, out)
	}
	r := newPlace(t, "GAFF_MEDIA_URL=")
	r.fails(t, []string{"restore", "--from", to}, "encrypted to "+recipient, "--identity")
	r.fails(t, []string{"restore", "--from", to, "--identity", other}, "no identity in "+other, recipient)
	r.fails(t, []string{"restore", "--from", to, "--identity", filepath.Join(to, "none")}, "no such file")
	if left, _ := filepath.Glob(filepath.Join(r.dir, "data", "gaff.db*")); len(left) > 0 {
		t.Errorf("restores that failed left %v", left)
	}
	// A new recipient must be able to read the files of its snapshot, so they are copied once more.
	if out, err := p.gaff("backup", "--to", to, "--recipient", recipient, "--recipient", otherRecipient); err != nil || !strings.Contains(out, "files: 2 copied") {
		t.Fatalf("two recipients: %v\n%s", err, out)
	}
	if out, err := p.gaff("backup", "--to", to, "--recipient", otherRecipient, "--recipient", recipient); err != nil || !strings.Contains(out, " 2 there already") {
		t.Fatalf("the same two: %v\n%s", err, out)
	}
	for _, file := range []string{identity, other} {
		r := newPlace(t, "GAFF_MEDIA_URL=")
		if out, err := r.gaff("restore", "--from", to, "--identity", file); err != nil || !strings.Contains(out, "files: 2 copied") {
			t.Errorf("restore: %v\n%s", err, out)
		}
	}
	// A plain backup in the place of an encrypted one is noticed.
	if out, err := p.gaff("backup", "--to", to); err != nil {
		t.Fatalf("plain: %v\n%s", err, out)
	}
	newPlace(t).fails(t, []string{"restore", "--from", to, "--identity", identity}, "not encrypted", "leave out --identity")
}

func TestBackupOptionsOfEncryptionAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	identity, recipient := backupIdentity(t)
	secret, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(secret[bytes.Index(secret, []byte("AGE-")):]))
	to := t.TempDir()
	p.fails(t, []string{"backup", "--to", to, "--recipient", "age1x"}, `"age1x"`, "gaff secrets recipient")
	p.fails(t, []string{"backup", "--to", to, "--recipient", ""}, "--recipient")
	p.fails(t, []string{"backup", "--to", to, "--recipient", recipient, "--verify"}, "--verify")
	out, err := p.gaff("backup", "--to", to, "--recipient", key)
	if err == nil || !strings.Contains(out, "must stay secret") || strings.Contains(out, key) {
		t.Errorf("an identity as recipient: %v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "bad.key")
	if err := os.WriteFile(file, []byte(key[:len(key)-3]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = p.gaff("secrets", "recipient", file)
	if err == nil || !strings.Contains(out, "line 1") || strings.Contains(out, key[20:40]) {
		t.Errorf("a damaged identity: %v\n%s", err, out)
	}
}

func TestBackupFileIsEncrypted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t)
	first := busy(t, p.gateway, "before")()
	dir := t.TempDir()
	identity, recipient := backupIdentity(t)
	other, _ := backupIdentity(t)
	file, plain := filepath.Join(dir, "copy.db.age"), filepath.Join(dir, "copy.db")
	if out, err := p.gaff("backup", file, "--recipient", recipient); err != nil || !strings.Contains(out, "encrypted to "+recipient) {
		t.Fatalf("%v\n%s", err, out)
	}
	noPlainText(t, dir)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	p.fails(t, []string{"backup", file, "--recipient", recipient}, "exists already")
	if out, err := p.gaff("backup", plain); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := newPlace(t)
	r.fails(t, []string{"restore", "--from", file}, "is encrypted", "--identity")
	r.fails(t, []string{"restore", "--from", file, "--identity", other}, "no identity in")
	r.fails(t, []string{"restore", "--from", plain, "--identity", identity}, "not encrypted")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.age")
	if err := os.WriteFile(cut, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	r.fails(t, []string{"restore", "--from", cut, "--identity", identity})
	if left, _ := filepath.Glob(filepath.Join(r.dir, "data", "gaff.db*")); len(left) > 0 {
		t.Errorf("restores that failed left %v", left)
	}
	if out, err := r.gaff("restore", "--from", file, "--identity", identity); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	restored(t, r, first)
	s := newPlace(t)
	if out, err := s.gaff("restore", "--from", plain); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	restored(t, s, first)
}

// A backup that was killed leaves a copy of the database, until the next backup or start.
func TestBackupThatWasKilledIsRemoved(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.open(t)
	left := filepath.Join(p.dir, "data", "backup-1234")
	leave := func() {
		t.Helper()
		if err := os.MkdirAll(left, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"running.lock", "running", "gaff.db"} {
			if err := os.WriteFile(filepath.Join(left, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	leave()
	if out, err := p.gaff("backup", "--to", t.TempDir()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the next backup leaves it")
	}
	leave()
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p.open(t)
	if _, err := os.Stat(left); err == nil {
		t.Error("the next start leaves it")
	}
}

func TestBackupOfPostgreSQLEncryptsFiles(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = fmt.Fprint(w, "\x89PNG\r\n\x1a\n", r.URL.Path)
	}))
	t.Cleanup(provider.Close)
	settings := []string{"GAFF_DATABASE_URL=" + pgtest.URL(t), "GAFF_MEDIA_URL=", "GAFF_ALLOW_ADDRESSES=127.0.0.0/8"}
	p := newPlace(t, settings...)
	p.open(t)
	withFiles(t, p, provider.URL, "one", 2)
	identity, recipient := backupIdentity(t)
	to := t.TempDir()
	if out, err := p.gaff("backup", "--to", to, "--recipient", recipient); err != nil || !strings.Contains(out, "files: 2 copied") {
		t.Fatalf("%v\n%s", err, out)
	}
	noPlainText(t, to)
	p.fails(t, []string{"restore", "--from", to}, "is encrypted")
	if err := os.RemoveAll(filepath.Join(p.dir, "data", "media")); err != nil {
		t.Fatal(err)
	}
	if out, err := p.gaff("restore", "--from", to, "--identity", identity); err != nil || !strings.Contains(out, "files: 2 copied") {
		t.Fatalf("%v\n%s", err, out)
	}
}
