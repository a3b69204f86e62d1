package media_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gaff"
	"gaff/internal/blob"
	"gaff/internal/erase"
	"gaff/internal/media"
	"gaff/jobs"
)

func (w *world) insertJob(t *testing.T, id string) {
	t.Helper()
	err := w.store.Write(context.Background(), func(tx jobs.Tx) error {
		return tx.InsertJob(context.Background(), &jobs.Job{ID: id, Provider: "p", Status: jobs.JobCompleted})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) erase(t *testing.T, id string) {
	t.Helper()
	if _, err := w.store.Erase(context.Background(), erase.Target{Kind: erase.Job, ID: id}); err != nil {
		t.Fatal(err)
	}
}

func TestErasedFilesAreDeleted(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		for _, id := range []string{"job_1", "job_2"} {
			w.insertJob(t, id)
			w.add("https://files.test/a.png", func(m *jobs.Media) { m.JobID = id })
		}
		w.settle()
		if w.files("sha256") != 1 || w.files("thumbnail") != 1 {
			t.Fatalf("%d files and %d thumbnails, want one of each", w.files("sha256"), w.files("thumbnail"))
		}
		w.erase(t, "job_1")
		if err := w.keeper.RemoveErased(context.Background()); err != nil {
			t.Fatal(err)
		}
		if w.files("sha256") != 1 || w.files("thumbnail") != 1 {
			t.Error("a file that another job has was deleted")
		}
		w.erase(t, "job_2")
		w.stop() // the list is in the database
		w.start()
		if err := w.keeper.RemoveErased(context.Background()); err != nil {
			t.Fatal(err)
		}
		if w.files("sha256")+w.files("thumbnail") != 0 {
			t.Error("erased files are in storage")
		}
		keys, err := w.store.ErasedFiles(context.Background(), "", 10)
		if err != nil || len(keys) != 0 {
			t.Errorf("list of erased files: %v %v", keys, err)
		}
	})
}

func TestCopyOfErasedRowIsDeleted(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.insertJob(t, "job_1")
		erased := false
		w.hosts["files.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !erased { // while the file is downloaded
				erased = true
				w.erase(t, "job_1")
			}
			serveBytes("image/png", picture).ServeHTTP(rw, r)
		})
		id := w.add("https://files.test/a.png")
		time.Sleep(time.Minute)
		w.settle()
		if _, err := w.store.MediaByID(context.Background(), id); !errors.Is(err, gaff.ErrNotFound) {
			t.Fatalf("the row: %v", err)
		}
		if err := w.keeper.RemoveErased(context.Background()); err != nil {
			t.Fatal(err)
		}
		if w.files("sha256")+w.files("thumbnail") != 0 {
			t.Error("the copy of an erased row is in storage")
		}
		parts, err := os.ReadDir(w.dir + "/spool")
		if err != nil || len(parts) != 0 {
			t.Errorf("spool: %v %v", parts, err)
		}
	})
}

// Each node deletes the files in its own folder, so the list keeps their keys for a while.
func TestErasedFilesAreDeletedInEachFolder(t *testing.T) {
	run(t, func(o *media.Options) { o.FolderPerNode = true }, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		w.insertJob(t, "job_1")
		id := w.add("https://files.test/a.png")
		w.settle()
		key := w.row(id).StoredKey
		dir := t.TempDir()
		other, err := blob.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.Put(context.Background(), key, bytes.NewReader(picture), int64(len(picture)), "image/png"); err != nil {
			t.Fatal(err)
		}
		o := w.options
		o.Router, o.Blobs, o.Spool = w.gw, other, filepath.Join(dir, "spool")
		node, err := media.New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.erase(t, "job_1")
		for _, k := range []*media.Keeper{w.keeper, node} {
			if err := k.RemoveErased(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if w.files("sha256") != 0 {
			t.Error("the first node has the file")
		}
		if _, err := other.Open(context.Background(), key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("the second node has the file: %v", err)
		}
		time.Sleep(49 * time.Hour)
		if err := node.RemoveErased(context.Background()); err != nil {
			t.Fatal(err)
		}
		keys, err := w.store.ErasedFiles(context.Background(), "", 10)
		if err != nil || len(keys) != 0 {
			t.Errorf("list of erased files after two days: %v %v", keys, err)
		}
	})
}

// failing is a storage that deletes nothing while it is down.
type failing struct {
	blob.Store
	down bool
}

func (f *failing) Delete(ctx context.Context, key string) error {
	if f.down {
		return errors.New("503 Slow Down")
	}
	return f.Store.Delete(ctx, key)
}

func TestErasedFilesAreDeletedWhenStorageIsBack(t *testing.T) {
	storage := &failing{down: true}
	run(t, func(o *media.Options) { storage.Store, o.Blobs = o.Blobs, storage }, func(t *testing.T, w *world) {
		w.hosts["files.test"] = serveBytes("image/png", picture)
		w.insertJob(t, "job_1")
		w.add("https://files.test/a.png")
		w.settle()
		w.erase(t, "job_1")
		if err := w.keeper.RemoveErased(context.Background()); err == nil || w.files("sha256") != 1 {
			t.Fatalf("while the storage is down: %v, %d files", err, w.files("sha256"))
		}
		storage.down = false
		if err := w.keeper.RemoveErased(context.Background()); err != nil {
			t.Fatal(err)
		}
		if w.files("sha256")+w.files("thumbnail") != 0 {
			t.Error("erased files are in storage")
		}
	})
}
