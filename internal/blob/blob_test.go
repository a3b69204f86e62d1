package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// stores are run by the same suite. The fake does not check signatures, and is wrong about
// uploads in parts; "make s3" names a real server, which is started here.
func stores(t *testing.T) map[string]Store {
	open := func(address string) Store {
		s, err := Open(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
	backend := s3mem.New()
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(srv.Close)
	if err := backend.CreateBucket("films"); err != nil {
		t.Fatal(err)
	}
	all := map[string]Store{
		"folder": open(t.TempDir()),
		"s3":     open("s3://films/a/prefix?region=us-east-1&path_style=true&endpoint=" + url.QueryEscape(srv.URL)),
	}
	if program := os.Getenv("GAFF_TEST_S3_SERVER"); program != "" {
		all["server"] = open(startServer(t, program))
	}
	return all
}

// startServer runs versitygw over a folder and returns the address of a bucket in it.
func startServer(t *testing.T, program string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "films"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--access", "test-key", "--secret", "test-secret", "--port", addr, "--quiet", "posix", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "s3://films/a/prefix?region=us-east-1&path_style=true&endpoint=" + url.QueryEscape("http://"+addr)
}

func get(t *testing.T, s Store, key string) string {
	t.Helper()
	f, err := s.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || int64(len(data)) != f.Size {
		t.Errorf("%s: %d bytes, size %d, %v", key, len(data), f.Size, err)
	}
	return string(data)
}

func TestStores(t *testing.T) {
	ctx := context.Background()
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			put := func(key, text string) error {
				return s.Put(ctx, key, strings.NewReader(text), int64(len(text)), "text/plain")
			}
			if err := s.Check(ctx); err != nil {
				t.Fatal(err)
			}
			for key, text := range map[string]string{"sha256/ab/abcd.txt": "hello", "thumb/x": "x"} {
				if err := put(key, text); err != nil {
					t.Fatal(err)
				}
				if got := get(t, s, key); got != text {
					t.Errorf("%s: %q, want %q", key, got, text)
				}
			}
			// The same again is no error, and a part can be read.
			if err := put("sha256/ab/abcd.txt", "hello"); err != nil {
				t.Error(err)
			}
			f, err := s.Open(ctx, "sha256/ab/abcd.txt")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(-3, io.SeekEnd); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(f); string(rest) != "llo" || err != nil {
				t.Errorf("the last three: %q %v", rest, err)
			}
			if _, err := f.Seek(1, io.SeekStart); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(f); string(rest) != "ello" || err != nil {
				t.Errorf("from the second: %q %v", rest, err)
			}
			f.Close()

			if _, err := s.Open(ctx, "sha256/no/no.txt"); !errors.Is(err, ErrNotFound) {
				t.Errorf("open what is not there: %v", err)
			}
			if _, err := s.Open(ctx, "sha256/ab"); err == nil {
				t.Error("a folder was opened")
			}
			for _, bad := range []string{"", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "A", "a b", "a/.hidden", strings.Repeat("a", 300)} {
				if err := put(bad, "x"); err == nil {
					t.Errorf("key %q was taken", bad)
				}
				if _, err := s.Open(ctx, bad); err == nil || errors.Is(err, ErrNotFound) {
					t.Errorf("open %q: %v", bad, err)
				}
			}
			// A source that ends early leaves nothing behind.
			if err := s.Put(ctx, "sha256/cut", strings.NewReader("abc"), 10, ""); err == nil {
				t.Error("a short source was taken")
			}
			if _, err := s.Open(ctx, "sha256/cut"); !errors.Is(err, ErrNotFound) {
				t.Errorf("after a short source: %v", err)
			}
			for range 2 {
				if err := s.Delete(ctx, "thumb/x"); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
			if _, err := s.Open(ctx, "thumb/x"); !errors.Is(err, ErrNotFound) {
				t.Errorf("after the delete: %v", err)
			}
			// Several at once, one of them in parts.
			large := make([]byte, map[bool]int{true: 300 << 10, false: 17 << 20}[name == "s3"])
			_, _ = rand.Read(large)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := put("sha256/same", "same"); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				if err := s.Put(ctx, "sha256/large", bytes.NewReader(large), int64(len(large)), ""); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if got := get(t, s, "sha256/large"); got != string(large) {
				t.Error("the large one came back as another")
			}
		})
	}
}

func TestFolderKeepsToItself(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, partial), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"left": 61 * time.Minute, "under way": time.Minute} {
		name = filepath.Join(dir, partial, name)
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open("file://" + filepath.ToSlash(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Open(context.Background(), "link/secret"); err == nil {
		t.Error("a link leads out")
	}
	if err := s.Put(context.Background(), "link/new", strings.NewReader("x"), 1, ""); err == nil {
		t.Error("a link leads out, for writing")
	}
	if err := s.Sweep(context.Background()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, partial)); len(left) != 1 || left[0].Name() != "under way" {
		t.Errorf("half-written files after a sweep: %v", left)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Put(ctx, "late", strings.NewReader("x"), 1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("put after the end: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"ftp://host/":                           "not known",
		"s3:///prefix":                          "no bucket",
		"s3://key:secret@bucket/":               "AWS_ACCESS_KEY_ID",
		"s3://bucket/?endpoint=minio":           "endpoint must be like",
		"s3://bucket/?path_style=maybe":         "true or false",
		"s3://bucket/?colour=blue":              "is not known",
		"file://folder/x":                       "three slashes",
		"/dev/null/x":                           "folder",
		"s3://bucket/?endpoint=http://h/a/path": "endpoint must be like",
	} {
		if s, err := Open(address); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v %v, want %q", address, s, err, want)
		}
	}
}

func TestABucketThatIsNotThere(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	srv := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	defer srv.Close()
	s, err := Open("s3://nothing?region=us-east-1&path_style=true&endpoint=" + url.QueryEscape(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(context.Background()); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "s3://nothing") {
		t.Errorf("check: %v", err)
	}
}
