package media

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"gaff/internal/excerpt"
	"gaff/jobs"
)

// missingName is the file of an archive that names the files without a copy.
const missingName = "MISSING.txt"

// Zip answers with an archive of copies, which it sends while it reads them: the memory that it
// needs does not depend on their size. Files without a copy are named in a text file. If it returns
// an error, nothing was written.
func (s *Server) Zip(w http.ResponseWriter, r *http.Request, files []*jobs.Media) error {
	var missing strings.Builder
	stored := files[:0:0]
	for _, m := range files {
		if m.Storage == jobs.StorageStored && m.StoredKey != "" {
			stored = append(stored, m)
		} else {
			fmt.Fprintf(&missing, "%s: %s\n", m.ID, m.Storage)
		}
	}
	if len(stored) == 0 {
		return fmt.Errorf("of %d files: %w", len(files), ErrNotStored)
	}
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="media.zip"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-store")
	out := zip.NewWriter(&patient{w})
	used := map[string]bool{missingName: true}
	for _, m := range stored {
		if err := s.addTo(r.Context(), out, m, used); err != nil {
			if r.Context().Err() != nil {
				panic(http.ErrAbortHandler) // a cut archive must not look complete
			}
			fmt.Fprintf(&missing, "%s: %s\n", m.ID, excerpt.Text(err.Error(), 300))
		}
	}
	if missing.Len() > 0 {
		if f, err := out.Create(missingName); err == nil {
			_, _ = io.WriteString(f, missing.String())
		}
	}
	if err := out.Close(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// addTo adds the copy of a file to an archive, uncompressed: pictures and films are compressed. An
// error means that nothing of it was added.
func (s *Server) addTo(ctx context.Context, out *zip.Writer, m *jobs.Media, used map[string]bool) error {
	f, err := s.o.Blobs.Open(ctx, m.StoredKey)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.sound(ctx, m, f); err != nil {
		return err
	}
	name := FileName(m)
	if used[name] {
		ext := path.Ext(name)
		name = strings.TrimSuffix(name, ext) + "-" + m.ID + ext
	}
	used[name] = true
	entry, err := out.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: m.CreatedAt})
	if err != nil {
		return err
	}
	if _, err := io.Copy(entry, f); err != nil {
		panic(http.ErrAbortHandler) // a part of it was sent
	}
	return nil
}
