package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// folder keeps files below one folder. os.Root sees to it that no key and no symbolic
// link leads out of it.
type folder struct {
	root *os.Root
	name string
	n    atomic.Uint64
}

// partial is where files are written before they have their names.
const partial = "partial"

func openFolder(dir string) (Store, error) {
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("storage folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("storage folder: %w", err)
	}
	f := &folder{root: root, name: dir}
	if err := root.MkdirAll(partial, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("storage folder: %w", err), root.Close())
	}
	return f, nil
}

// makeFolder creates a folder whose name survives a power cut.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	_ = parent.Sync() // some file systems cannot
	return parent.Close()
}

// leftAfter is how long a file must not have grown to count as left behind. Other
// processes may be writing into the same folder.
const leftAfter = time.Hour

func (f *folder) Sweep(ctx context.Context) error {
	entries, err := fs.ReadDir(f.root.FS(), partial)
	if err != nil {
		return fmt.Errorf("storage folder: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftAfter {
			_ = f.root.Remove(path.Join(partial, e.Name()))
		}
	}
	return nil
}

func (f *folder) String() string { return f.name }
func (f *folder) Close() error   { return f.root.Close() }

func (f *folder) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, _ string) (err error) {
	if err := checkKey(key); err != nil {
		return err
	}
	if same, err := f.holds(ctx, key, r, size); err != nil || same {
		return err
	}
	temp := path.Join(partial, strconv.FormatUint(f.n.Add(1), 10)+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	w, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep %s: %w", key, err)
			_ = f.root.Remove(temp)
		}
	}()
	n, err := io.Copy(w, &whileAlive{ctx, r})
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	dir := path.Dir(key)
	if err := f.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := f.root.Rename(temp, key); err != nil {
		return err
	}
	// The name is durable when its folder is, and a new folder's own name likewise.
	for ; ; dir = path.Dir(dir) {
		if err := f.syncDir(dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// holds reports whether the key has the bytes of r, which is at its start afterwards.
func (f *folder) holds(ctx context.Context, key string, r io.ReadSeeker, size int64) (bool, error) {
	have, err := f.Open(ctx, key)
	if err != nil || have.Size != size {
		if err == nil {
			have.Close()
		}
		return false, nil //nolint:nilerr // what cannot be read is written again
	}
	defer have.Close()
	same := equal(&whileAlive{ctx, have}, r)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	_, err = r.Seek(0, io.SeekStart)
	return same && err == nil, err
}

// equal reports whether two readers have the same bytes.
func equal(a, b io.Reader) bool {
	one, other := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, one)
		m, merr := io.ReadFull(b, other)
		if n != m || !bytes.Equal(one[:n], other[:m]) {
			return false
		}
		if err != nil || merr != nil {
			return ended(err) && ended(merr)
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func (f *folder) syncDir(name string) error {
	d, err := f.root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, fs.ErrInvalid) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // of file systems that have no such thing
	}
	return errors.Join(err, d.Close())
}

// whileAlive ends a copy when its context does.
type whileAlive struct {
	ctx context.Context
	r   io.Reader
}

func (w *whileAlive) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

func (f *folder) Open(_ context.Context, key string) (*File, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	file, err := f.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &File{ReadSeekCloser: file, Size: info.Size(), ModTime: info.ModTime()}, nil
}

func (f *folder) Delete(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := f.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Check writes a file, for a folder may be readable and full, or mounted for reading.
func (f *folder) Check(context.Context) error {
	name := path.Join(partial, "check-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	err := f.root.WriteFile(name, []byte("gaff"), 0o600)
	return errors.Join(err, f.root.Remove(name))
}
