package media_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"

	"gaff"
	"gaff/internal/erase"
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
