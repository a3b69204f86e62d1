//go:build !slim

package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"gaff/internal/s3test"
)

// stores are run by the same suite.
func stores(t *testing.T) map[string]Store {
	open := func(address string) Store {
		s, err := Open(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	return map[string]Store{"folder": open(t.TempDir()), "s3": open(startServer(t).address("films"))}
}

// server is a real S3 server.
type server struct {
	*s3test.Server
	endpoint, dir string
}

// startServer runs an S3 server with a bucket named films.
func startServer(t *testing.T) *server {
	t.Helper()
	s := s3test.Start(t, filepath.Join("..", "..", "tools"), "films")
	for _, variable := range s3test.Environ {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	return &server{s, s.Endpoint, s.Dir}
}

func (s *server) address(bucket string) string { return s.URL(bucket, "a/prefix") }

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
			// Writing the same again succeeds, and a part can be read.
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
				t.Errorf("open a missing key: %v", err)
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
			large := make([]byte, 17<<20)
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
			if err := s.Sweep(ctx); err != nil {
				t.Error(err)
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

func TestBucketsThatRefuse(t *testing.T) {
	s3 := startServer(t)
	for name, c := range map[string]struct{ bucket, secret, says string }{
		"no such bucket":   {"nothing", "test-secret", "s3://nothing"},
		"the wrong secret": {"films", "another-secret", "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_SECRET_ACCESS_KEY", c.secret)
			s, err := Open(s3.address(c.bucket))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for what, err := range map[string]error{
				"check": s.Check(context.Background()),
				"put":   s.Put(context.Background(), "sha256/x", strings.NewReader("x"), 1, ""),
				"sweep": s.Sweep(context.Background()),
			} {
				if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.secret) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// An upload in parts that was cut off is ended once it is old.
func TestUploadsThatWereLeftAreEnded(t *testing.T) {
	ctx := context.Background()
	s3 := startServer(t)
	s, err := Open(s3.address("films"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := s.(*bucket)
	core := minio.Core{Client: b.client}
	for _, key := range []string{"sha256/old", "sha256/new", "elsewhere"} {
		name := b.key(key)
		if key == "elsewhere" {
			name = key
		}
		id, err := core.NewMultipartUpload(ctx, b.bucket, name, minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := core.PutObjectPart(ctx, b.bucket, name, id, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (keys []string) {
		t.Helper()
		for u := range b.client.ListIncompleteUploads(ctx, b.bucket, "", true) {
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			keys = append(keys, u.Key)
		}
		slices.Sort(keys)
		return keys
	}
	if err := s.Sweep(ctx); err != nil || len(left()) != 3 {
		t.Fatalf("young uploads: %v, %v", left(), err)
	}
	s3.age(t, b.key("sha256/old"))
	s3.age(t, "elsewhere")
	if err := s.Sweep(ctx); err != nil || !slices.Equal(left(), []string{"a/prefix/sha256/new", "elsewhere"}) {
		t.Errorf("after the sweep: %v, %v", left(), err)
	}
}

// age makes the uploads in parts of a key two days old.
func (s *server) age(t *testing.T, key string) {
	t.Helper()
	sum := sha256.Sum256([]byte(key))
	uploads, err := filepath.Glob(filepath.Join(s.dir, "films", ".sgwtmp", "multipart", hex.EncodeToString(sum[:]), "*"))
	if err != nil || len(uploads) == 0 {
		t.Fatalf("the server's uploads of %s: %v, %v", key, uploads, err)
	}
	for _, path := range uploads {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodeLocal(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"": true, "media": true, "/var/media": true, "file:///var/media": true, "file:///var/media?shared=false": true,
		"file:///var/media?shared=true": false, "s3://films": false, "gs://films/prefix": false,
	} {
		if got := NodeLocal(address); got != want {
			t.Errorf("NodeLocal(%q) = %v, want %v", address, got, want)
		}
	}
}

func TestFolderParametersAreChecked(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{"shard=true": `"shard"`, "shared=maybe": `"maybe"`} {
		if _, err := Open("file://" + t.TempDir() + "?" + query); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", query, err, want)
		}
	}
}
