//go:build !slim

package blob

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"filippo.io/age"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestEncryptedFilesAreReadByTheirRecipients(t *testing.T) {
	first, second := identity(t), identity(t)
	for name, under := range stores(t) {
		t.Run(name, func(t *testing.T) {
			writer := Encrypted(under, "age/x", []age.Recipient{first.Recipient(), second.Recipient()}, nil)
			for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 20<<20 + 5} {
				plain := bytes.Repeat([]byte("marker-"), size/7+1)[:size]
				if err := writer.Put(t.Context(), "sha256/ab/x", bytes.NewReader(plain), int64(size), "image/png"); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				raw := get(t, under, "age/x/sha256/ab/x")
				if bytes.Contains([]byte(raw), []byte("marker")) {
					t.Errorf("%d bytes are stored in plain text", size)
				}
				locked, err := writer.Open(t.Context(), "sha256/ab/x")
				if err != nil || locked.Size != int64(size) {
					t.Fatalf("%d bytes: size %v, %v", size, locked, err)
				}
				if _, err := io.ReadAll(locked); !errors.Is(err, ErrEncrypted) {
					t.Errorf("read without identity: %v", err)
				}
				locked.Close()
				reader := Encrypted(under, "age/x", nil, []age.Identity{second})
				if got := get(t, reader, "sha256/ab/x"); got != string(plain) {
					t.Errorf("%d bytes: %d bytes come back", size, len(got))
				}
			}
		})
	}
}

func folderStore(t *testing.T) Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEncryptedFileIsReadFromAnyOffset(t *testing.T) {
	id, under := identity(t), folderStore(t)
	s := Encrypted(under, "age/x", []age.Recipient{id.Recipient()}, []age.Identity{id})
	plain := bytes.Repeat([]byte("0123456789"), 20000)
	if err := s.Put(t.Context(), "a", bytes.NewReader(plain), int64(len(plain)), ""); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, offset := range []int64{150003, 7, 0, 199999, 200000} {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, plain[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(rest), err)
		}
	}
}

func TestEncryptedFileThatIsDamagedIsAnError(t *testing.T) {
	id, under := identity(t), folderStore(t)
	s := Encrypted(under, "age/x", []age.Recipient{id.Recipient()}, []age.Identity{id})
	plain := bytes.Repeat([]byte("0123456789"), 20000)
	if err := s.Put(t.Context(), "a", bytes.NewReader(plain), int64(len(plain)), ""); err != nil {
		t.Fatal(err)
	}
	whole := []byte(get(t, under, "age/x/a"))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, damaged := range map[string][]byte{
		"empty": {}, "not age": []byte("hello"), "header": whole[:60], "cut": whole[:len(whole)/2], "cut at a chunk": whole[:len(whole)-20000%chunkSize], "flipped": flipped,
		"other identity": sealedFor(t, identity(t), plain),
	} {
		if err := under.Put(t.Context(), "age/x/a", bytes.NewReader(damaged), int64(len(damaged)), ""); err != nil {
			t.Fatal(err)
		}
		f, err := s.Open(t.Context(), "a")
		if err == nil {
			_, err = io.ReadAll(f)
			f.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func sealedFor(t *testing.T, id *age.X25519Identity, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.Recipient())
	if err == nil {
		_, err = w.Write(plain)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
