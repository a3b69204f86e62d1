//go:build !slim

package blob

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// bucket keeps files in a bucket of S3 or alike.
type bucket struct {
	client               *minio.Client
	bucket, prefix, name string
}

const (
	awsHost    = "s3.amazonaws.com"
	googleHost = "storage.googleapis.com"

	// tries of one request; the caller retries later, and for longer.
	tries = 3
	// partSize and threads bound the memory of one upload.
	partSize = 16 << 20
	threads  = 2
)

func openBucket(u *url.URL) (Store, error) {
	b := &bucket{bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if b.bucket == "" {
		return nil, fmt.Errorf("%s:// names no bucket: write %s://bucket/prefix", u.Scheme, u.Scheme)
	}
	b.name = u.Scheme + "://" + path.Join(b.bucket, b.prefix)
	if u.User != nil {
		return nil, fmt.Errorf("%s: keys do not belong into the address; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", b.name)
	}
	q := u.Query()
	for name := range q {
		switch name {
		case "region", "endpoint", "path_style":
		default:
			return nil, fmt.Errorf("%s: %q is not known; region, endpoint and path_style are", b.name, name)
		}
	}
	host, secure := awsHost, true
	if u.Scheme == "gs" {
		host = googleHost
	}
	if text := q.Get("endpoint"); text != "" {
		e, err := url.Parse(text)
		if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" || strings.Trim(e.Path, "/") != "" || e.User != nil {
			return nil, fmt.Errorf("%s: endpoint must be like https://s3.example.com", b.name)
		}
		host, secure = e.Host, e.Scheme == "https"
	}
	lookup := minio.BucketLookupAuto
	if text := q.Get("path_style"); text != "" {
		pathStyle, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%s: path_style must be true or false", b.name)
		}
		if lookup = minio.BucketLookupDNS; pathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	// The region of a bucket is asked for where it is not given.
	client, err := minio.New(host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
		}),
		Secure: secure, Region: q.Get("region"), BucketLookup: lookup, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.name, err)
	}
	b.client = client
	return b, nil
}

func (b *bucket) String() string { return b.name }
func (b *bucket) Close() error   { return nil }

func (b *bucket) key(key string) string { return path.Join(b.prefix, key) }

func (b *bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, contentType string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if info, err := b.client.StatObject(ctx, b.bucket, b.key(key), minio.StatObjectOptions{}); err == nil && info.Size == size {
		sum := md5.New() // the ETag of an object that went up in one part
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if tag := strings.Trim(info.ETag, `"`); tag == hex.EncodeToString(sum.Sum(nil)) || strings.Contains(tag, "-") {
			return nil // of several parts: the bucket checks its own
		}
	}
	// Large files go up in parts; the file is there when all of them are.
	_, err := b.client.PutObject(ctx, b.bucket, b.key(key), r, size, minio.PutObjectOptions{
		ContentType: contentType, PartSize: partSize, NumThreads: threads,
	})
	return b.fault("keep "+key, err)
}

func (b *bucket) Open(ctx context.Context, key string) (*File, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	o, err := b.client.GetObject(ctx, b.bucket, b.key(key), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.fault("open "+key, err)
	}
	info, err := o.Stat()
	if err != nil {
		return nil, errors.Join(b.fault("open "+key, err), o.Close())
	}
	return &File{ReadSeekCloser: o, Size: info.Size, ModTime: info.LastModified}, nil
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return b.fault("delete "+key, b.client.RemoveObject(ctx, b.bucket, b.key(key), minio.RemoveObjectOptions{}))
}

// abandonedAfter is longer than any upload in parts takes.
const abandonedAfter = 24 * time.Hour

// Sweep aborts abandoned multipart uploads: their parts are stored and billed, and appear in
// no list of files.
func (b *bucket) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the list
	prefix := b.prefix
	if prefix != "" {
		prefix += "/"
	}
	for u := range b.client.ListIncompleteUploads(ctx, b.bucket, prefix, true) {
		if u.Err != nil {
			return b.fault("list uploads", u.Err)
		}
		if time.Since(u.Initiated) < abandonedAfter {
			continue
		}
		if err := b.client.RemoveIncompleteUpload(ctx, b.bucket, u.Key); err != nil {
			return b.fault("end an upload", err)
		}
	}
	return nil
}

// Check writes an object, for keys may be good for reading only.
func (b *bucket) Check(ctx context.Context) error {
	name := path.Join(b.prefix, "check")
	_, err := b.client.PutObject(ctx, b.bucket, name, strings.NewReader("gaff"), 4, minio.PutObjectOptions{})
	if err == nil {
		err = b.client.RemoveObject(ctx, b.bucket, name, minio.RemoveObjectOptions{})
	}
	return b.fault("write", err)
}

func (b *bucket) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	resp := minio.ToErrorResponse(err)
	if resp.StatusCode == http.StatusNotFound && resp.Code == "NoSuchKey" {
		return fmt.Errorf("%s: %s: %w", b.name, what, ErrNotFound)
	}
	return fmt.Errorf("%s: %s: %w", b.name, what, err)
}
