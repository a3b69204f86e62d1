// Package blob keeps files under keys: in a folder, or in a bucket of S3 or of anything
// that speaks S3's language.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrNotFound is wrapped by the errors about keys that hold nothing.
var ErrNotFound = errors.New("no such file")

// Store keeps files. Keys have the form that [Key] accepts. Calls may come from many
// goroutines at once.
type Store interface {
	// Put keeps size bytes of r under the key. When it returns nil they are durable; when
	// it fails, the key holds what it held before. A key that holds the same bytes already is
	// left alone; if it holds other ones, they were damaged, and are replaced.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64, contentType string) error
	// Open opens the file for reading. The caller closes it.
	Open(ctx context.Context, key string) (*File, error)
	// Delete removes the file. Deleting a missing key is not an error.
	Delete(ctx context.Context, key string) error
	// Sweep removes what crashes left half written, once it is surely not being written
	// any more.
	Sweep(ctx context.Context) error
	// Check finds out whether files can be kept, for the start.
	Check(ctx context.Context) error
	// String says where the files are, without secrets.
	String() string
	Close() error
}

// File is an open file.
type File struct {
	io.ReadSeekCloser
	Size    int64
	ModTime time.Time
}

var keyForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9._-]*)*$`)

// Key reports whether a text may be a key: lower-case letters and digits, with "/", ".",
// "_" and "-" between them.
func Key(text string) bool {
	return len(text) <= 200 && keyForm.MatchString(text) && !strings.Contains(text, "..")
}

func checkKey(key string) error {
	if !Key(key) {
		return fmt.Errorf("key %.60q has no good form", key)
	}
	return nil
}

// Open opens the storage at an address:
//
//	/a/folder or file:///a/folder, with ?shared=true if all nodes have it
//	s3://bucket/prefix?region=eu-central-1&endpoint=https://s3.example.com&path_style=true
//	gs://bucket/prefix
//
// A bucket must exist. Its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
// the file of AWS's tools, or the machine's role; gs:// is Google's storage by its S3
// form, with HMAC keys in the same variables.
func Open(address string) (Store, error) {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok {
		return openFolder(address)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the storage cannot be read") // it may hold a secret
	}
	switch scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("file://%s: write file:///%s with three slashes for an absolute folder", u.Host, u.Host)
		}
		if _, err := sharedFolder(u); err != nil {
			return nil, err
		}
		return openFolder(filepath.FromSlash(u.Path))
	case "s3", "gs":
		return openBucket(u)
	}
	return nil, fmt.Errorf("storage %s:// is not known; there are file://, s3:// and gs://", scheme)
}

// NodeLocal reports whether the storage at an address is a folder that is not marked as shared, so
// that only one node has its files.
func NodeLocal(address string) bool {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok {
		return true
	}
	if scheme != "file" {
		return false
	}
	u, err := url.Parse(address)
	if err != nil {
		return true
	}
	shared, _ := sharedFolder(u)
	return !shared
}

// sharedFolder reads the parameters of a folder's URL.
func sharedFolder(u *url.URL) (shared bool, err error) {
	for name, values := range u.Query() {
		if name != "shared" {
			return false, fmt.Errorf("file://: unknown parameter %q: want shared=true or none", name)
		}
		if shared, err = strconv.ParseBool(values[0]); err != nil {
			return false, fmt.Errorf("file://: shared=%q: want true or false", values[0])
		}
	}
	return shared, nil
}
