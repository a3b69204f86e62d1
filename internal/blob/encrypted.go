package blob

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"filippo.io/age"
)

// ErrEncrypted is wrapped by the error about reading a file without an identity.
var ErrEncrypted = errors.New("the file is encrypted")

// Encrypted returns a storage that encrypts files with age and has them below a folder of another
// storage. Without identities, files can be stored and their sizes read, but not their contents.
// Put always writes: two encryptions of a file differ.
func Encrypted(s Store, folder string, recipients []age.Recipient, identities []age.Identity) Store {
	return &encrypted{Store: s, folder: folder, recipients: recipients, identities: identities}
}

type encrypted struct {
	Store
	folder     string
	recipients []age.Recipient
	identities []age.Identity
}

func (e *encrypted) key(key string) (string, error) {
	return path.Join(e.folder, key), checkKey(key)
}

func (e *encrypted) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, _ string) error {
	key, err := e.key(key)
	if err != nil {
		return err
	}
	w := &encrypter{from: r, recipients: e.recipients}
	if err := w.start(); err != nil {
		return err
	}
	overhead := int64(w.out.Len()) // header and nonce
	return e.Store.Put(ctx, key, w, overhead+sealedSize(size), "application/octet-stream")
}

func (e *encrypted) Delete(ctx context.Context, key string) error {
	key, err := e.key(key)
	if err != nil {
		return err
	}
	return e.Store.Delete(ctx, key)
}

func (e *encrypted) Open(ctx context.Context, key string) (*File, error) {
	key, err := e.key(key)
	if err != nil {
		return nil, err
	}
	f, err := e.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	d := &decrypter{from: f, key: key, identities: e.identities}
	size, err := plainSize(f)
	if err == nil {
		d.size = size
		err = d.restart()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", key, err), f.Close())
	}
	return &File{ReadSeekCloser: d, Size: size, ModTime: f.ModTime}, nil
}

// The format of age, https://age-encryption.org/v1: a header in lines, a nonce, then chunks with a tag each.
const (
	nonceSize = 16
	chunkSize = 64 << 10
	tagSize   = 16
	// maxHeader bounds a header; one recipient takes about 100 bytes.
	maxHeader = 64 << 10
)

// sealedSize returns the size of the chunks of a plain text.
func sealedSize(plain int64) int64 {
	chunks := max(1, (plain+chunkSize-1)/chunkSize)
	return plain + chunks*tagSize
}

var errFormat = errors.New("the encrypted file is damaged")

// plainSize reads the header of a file, and returns the size of its plain text.
func plainSize(f *File) (int64, error) {
	lines := bufio.NewReader(io.LimitReader(f, maxHeader))
	var header int64
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return 0, errFormat
		}
		header += int64(len(line))
		if strings.HasPrefix(line, "---") {
			break
		}
	}
	sealed := f.Size - header - nonceSize
	chunks := (sealed + chunkSize + tagSize - 1) / (chunkSize + tagSize)
	plain := sealed - chunks*tagSize
	if chunks < 1 || plain < 0 {
		return 0, errFormat
	}
	return plain, nil
}

// encrypter encrypts while it is read. From its start it can be read again; the bytes then differ,
// as the key of the file does.
type encrypter struct {
	from       io.ReadSeeker
	recipients []age.Recipient
	out        bytes.Buffer
	w          io.WriteCloser // nil at the end
}

// start writes header and nonce into out.
func (e *encrypter) start() (err error) {
	e.out.Reset()
	if e.w, err = age.Encrypt(&e.out, e.recipients...); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	return nil
}

func (e *encrypter) Read(p []byte) (int, error) {
	for e.out.Len() == 0 && e.w != nil {
		_, err := io.CopyN(e.w, e.from, chunkSize)
		if errors.Is(err, io.EOF) {
			err, e.w = e.w.Close(), nil
		}
		if err != nil {
			return 0, err
		}
	}
	return e.out.Read(p)
}

func (e *encrypter) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.New("a file that is being encrypted can only be read from its start")
	}
	if _, err := e.from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return 0, e.start()
}

// decrypter reads the plain text of a file. Seeking back begins at the start.
type decrypter struct {
	from       *File
	key        string
	identities []age.Identity
	plain      io.Reader
	at, size   int64
}

func (d *decrypter) restart() error {
	d.at = 0
	if _, err := d.from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if len(d.identities) == 0 {
		return nil
	}
	plain, err := age.Decrypt(d.from, d.identities...)
	if err != nil {
		return fmt.Errorf("decrypt: %w", err)
	}
	d.plain = plain
	return nil
}

func (d *decrypter) Read(p []byte) (int, error) {
	if d.plain == nil {
		return 0, fmt.Errorf("%s: %w, and there is no identity to read it", d.key, ErrEncrypted)
	}
	n, err := d.plain.Read(p)
	d.at += int64(n)
	return n, err
}

func (d *decrypter) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.at
	case io.SeekEnd:
		offset += d.size
	}
	if offset < 0 || offset > d.size {
		return 0, fmt.Errorf("%s: seek to %d in %d bytes", d.key, offset, d.size)
	}
	if offset < d.at {
		if err := d.restart(); err != nil {
			return 0, err
		}
	}
	_, err := io.CopyN(io.Discard, d, offset-d.at)
	return d.at, err
}

func (d *decrypter) Close() error { return d.from.Close() }
