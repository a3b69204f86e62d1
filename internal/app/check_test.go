package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/config"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// checked is the report on a data folder, and the error of the command.
func checked(t *testing.T, dir string) (CheckReport, error) {
	t.Helper()
	var out bytes.Buffer
	err := Check(t.Context(), &config.Config{DataDir: dir}, true, &out, io.Discard)
	var r CheckReport
	if jerr := json.Unmarshal(out.Bytes(), &r); jerr != nil {
		t.Fatalf("%v, %v: %s", err, jerr, out.String())
	}
	return r, err
}

func TestCheckFindsDamageBesideAGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, DatabaseFile)
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var ids []string
	for n := range 3 {
		body := fmt.Appendf(nil, `{"n":%d}`, n)
		rc, err := st.Accept(t.Context(), gaff.AcceptParams{Event: &gaff.Event{
			Source: "s", Type: "t", DedupeKey: fmt.Sprint(n), ReceivedAt: time.Now(), Data: body, Request: &gaff.Request{Method: "POST", URL: "/", Body: body},
		}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rc.ID)
	}
	var files []string
	for _, text := range []string{"sound", "harmed", "removed"} {
		files = append(files, addFile(t, st, dir, text))
	}
	if r, err := checked(t, dir); err != nil || !r.OK || r.Bodies.Checked != 3 || r.Files.Checked != 3 {
		t.Fatalf("sound: %+v, %v", r, err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`update payload set body = x'7b7d' where seq = 2`); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, mediaDir, "harmed"), []byte("hurt!!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, mediaDir, "removed")); err != nil {
		t.Fatal(err)
	}
	r, err := checked(t, dir)
	if !errors.Is(err, ErrDamageFound) {
		t.Errorf("error %v", err)
	}
	want := CheckReport{
		Structure: []string{},
		Bodies:    checkedParts{Checked: 2, Damaged: ids[1:2], Missing: []string{}},
		Files:     checkedParts{Checked: 1, Damaged: files[1:2], Missing: files[2:3]},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// addFile makes a stored row, and its file, which has the text as name and content.
func addFile(t *testing.T, st *sqlite.Store, dir, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, mediaDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, mediaDir, text), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	m := &jobs.Media{JobID: "job_1", Position: text, URL: "https://files.test/" + text, MediaType: jobs.MediaFile}
	err := st.Write(t.Context(), func(tx jobs.Tx) error {
		ctx := context.Background()
		if _, err := tx.AddMedia(ctx, m); err != nil {
			return err
		}
		m.Storage, m.StoredKey, m.Size, m.SHA256 = jobs.StorageStored, text, int64(len(text)), hex.EncodeToString(sum[:])
		return tx.SaveMedia(ctx, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.ID
}

func TestCheckReportsStructure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, DatabaseFile)
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)-20000:], strings.Repeat("x", 20000))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := checked(t, dir); !errors.Is(err, ErrDamageFound) || r.OK || len(r.Structure) == 0 {
		t.Errorf("report %+v, error %v", r, err)
	}
}
