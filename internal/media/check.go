package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"gaff"
	"gaff/internal/blob"
	"gaff/jobs"
)

var (
	// ErrMissing: the storage does not have the copy of a file that counts as stored.
	ErrMissing = errors.New("the copy is missing")
	// ErrDamaged: the storage has other bytes than were copied.
	ErrDamaged = errors.New("the copy is damaged: its SHA-256 is not that of the file")
)

// Verify reads a stored copy and compares it with its row: ErrMissing, ErrDamaged, or another
// error if it could not be read.
func Verify(ctx context.Context, blobs blob.Store, m *jobs.Media) error {
	f, err := blobs.Open(ctx, m.StoredKey)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("media %s: %w in %s", m.ID, ErrMissing, blobs)
	}
	if err != nil {
		return fmt.Errorf("media %s: %w", m.ID, err)
	}
	defer f.Close()
	return verifyFile(ctx, m, f)
}

func verifyFile(ctx context.Context, m *jobs.Media, f *blob.File) error {
	if m.SHA256 == "" {
		return nil
	}
	if f.Size == m.Size {
		hash := sha256.New()
		if _, err := io.Copy(hash, &whileAlive{ctx, f}); err != nil {
			return fmt.Errorf("media %s: read the copy: %w", m.ID, err)
		}
		if hex.EncodeToString(hash.Sum(nil)) == m.SHA256 {
			return nil
		}
	}
	return fmt.Errorf("media %s: %w", m.ID, ErrDamaged)
}

// whileAlive ends a long read when its context does.
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

const (
	// verifyFor is how long a verified copy is served without being read once more.
	verifyFor = 24 * time.Hour
	// verifyUpTo is the size up to which a copy is verified before it is served. Larger ones
	// would keep the reader waiting; the daily check reads them.
	verifyUpTo = 64 << 20
	// maxVerified is how many copies are remembered as verified.
	maxVerified = 50_000
)

// verified remembers which copies were read to the end, as they lay there.
type verified struct {
	mu   sync.Mutex
	seen map[string]seen
}

type seen struct {
	size     int64
	modified time.Time
	at       time.Time
}

func (v *verified) has(key string, f *blob.File, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.seen[key]
	return ok && s.size == f.Size && s.modified.Equal(f.ModTime) && now.Sub(s.at) < verifyFor
}

func (v *verified) add(key string, f *blob.File, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil || len(v.seen) >= maxVerified {
		v.seen = map[string]seen{}
	}
	v.seen[key] = seen{f.Size, f.ModTime, now}
}

// sound verifies a copy that is about to be served, unless that was done lately.
func (s *Server) sound(ctx context.Context, m *jobs.Media, f *blob.File) error {
	if f.Size != m.Size && m.SHA256 != "" {
		return fmt.Errorf("media %s: %w", m.ID, ErrDamaged)
	}
	if f.Size > verifyUpTo || s.verified.has(m.StoredKey, f, s.now()) {
		return nil
	}
	if err := verifyFile(ctx, m, f); err != nil {
		return err
	}
	s.verified.add(m.StoredKey, f, s.now())
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// lost has a copy made again that turned out to be missing or damaged.
func (s *Server) lost(ctx context.Context, m *jobs.Media, err error) error {
	if s.o.Lost != nil && (errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged)) {
		s.o.Lost(context.WithoutCancel(ctx), m, err)
		return fmt.Errorf("%w: %w", err, gaff.ErrNotFound)
	}
	return err
}

// Lost has a copy made again that is damaged, or missing where no other node can have it. If
// the provider has the file no more, its row says "gone".
func (k *Keeper) Lost(ctx context.Context, m *jobs.Media, cause error) {
	if errors.Is(cause, ErrMissing) && k.o.FolderPerNode {
		k.o.Log.WarnContext(ctx, "a stored file is not in this node's folder; is GAFF_MEDIA_URL a folder that all nodes share, or a bucket?", "media", m.ID)
		return
	}
	k.o.Log.ErrorContext(ctx, "a stored file is lost; it is copied once more", "media", m.ID, "error", cause)
	if err := k.Again(ctx, m.ID); err != nil && !errors.Is(err, gaff.ErrConflict) && !errors.Is(err, gaff.ErrStopped) {
		k.o.Log.ErrorContext(ctx, "a lost file cannot be copied once more", "media", m.ID, "error", err)
	}
}

// FileReport is the result of a check of all copies.
type FileReport struct {
	Checked          int64
	Missing, Damaged []string // ids of rows
}

// CheckFiles reads every stored copy. found, unless nil, is called for each that is missing
// or damaged, and progress after each page of rows; an error of it ends the check.
func CheckFiles(ctx context.Context, rows interface {
	Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error)
}, blobs blob.Store, found func(*jobs.Media, error), progress func(FileReport) error,
) (report FileReport, err error) {
	stored := jobs.StorageStored
	f := jobs.MediaFilter{Storage: &stored, Cursor: gaff.Cursor{Limit: 100}}
	for {
		page, err := rows.Media(ctx, f)
		if err != nil {
			return report, err
		}
		for i := range page.Items {
			m := &page.Items[i]
			err := Verify(ctx, blobs, m)
			switch {
			case err == nil:
				report.Checked++
				continue
			case errors.Is(err, ErrMissing):
				report.Missing = append(report.Missing, m.ID)
			case errors.Is(err, ErrDamaged):
				report.Damaged = append(report.Damaged, m.ID)
			default:
				return report, err
			}
			if found != nil {
				found(m, err)
			}
		}
		if progress != nil {
			if err := progress(report); err != nil {
				return report, err
			}
		}
		if page.Next == "" {
			return report, nil
		}
		f.After = page.Next
	}
}

// Check reads every stored copy, with as much time in between as that takes, and has lost
// ones made again.
func (k *Keeper) Check(ctx context.Context) (FileReport, error) {
	began := time.Now()
	return CheckFiles(ctx, k.o.Store, k.o.Blobs, func(m *jobs.Media, err error) { k.Lost(ctx, m, err) }, func(FileReport) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Since(began)):
		}
		began = time.Now()
		return nil
	})
}
