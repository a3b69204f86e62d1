package media

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gaff"
	"gaff/internal/blob"
	"gaff/jobs"
)

// CopyReport is the result of copying files to another storage.
type CopyReport struct {
	Copied, Present  int64    // files that were copied, or were there already
	Bytes            int64    // of those that were copied
	Missing, Damaged []string // ids of rows whose file cannot be copied
}

// Faults returns how many files could not be copied.
func (r *CopyReport) Faults() int { return len(r.Missing) + len(r.Damaged) }

// CopyFiles copies the stored file of each row, and its thumbnail, to another storage. A file is
// compared with its SHA-256 before it is copied. One that is there already with the same size is left
// alone; with verify it is read as well, and copied again if it is damaged. progress is called after
// each page of rows; an error of it ends the copying.
func CopyFiles(ctx context.Context, rows interface {
	Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error)
}, from, to blob.Store, verify bool, progress func(CopyReport) error,
) (report CopyReport, err error) {
	stored := jobs.StorageStored
	f := jobs.MediaFilter{Storage: &stored, Cursor: gaff.Cursor{Limit: 100}}
	c := &copier{from: from, to: to, verify: verify, report: &report}
	for {
		page, err := rows.Media(ctx, f)
		if err != nil {
			return report, err
		}
		for i := range page.Items {
			if err := c.row(ctx, &page.Items[i]); err != nil {
				return report, err
			}
		}
		if err := progress(report); err != nil {
			return report, err
		}
		if page.Next == "" {
			return report, nil
		}
		f.After = page.Next
	}
}

type copier struct {
	from, to blob.Store
	verify   bool
	report   *CopyReport
}

// row copies what one row names.
func (c *copier) row(ctx context.Context, m *jobs.Media) error {
	err := c.file(ctx, m, m.StoredKey)
	switch {
	case errors.Is(err, ErrDamaged):
		c.report.Damaged = append(c.report.Damaged, m.ID)
	case errors.Is(err, blob.ErrNotFound):
		c.report.Missing = append(c.report.Missing, m.ID)
	case err != nil:
		return err
	}
	if m.ThumbnailKey == "" {
		return nil
	}
	// A thumbnail has no SHA-256, and is no loss.
	picture := &jobs.Media{ID: m.ID}
	if err := c.file(ctx, picture, m.ThumbnailKey); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return nil
}

// file copies one file; m has its size and SHA-256.
func (c *copier) file(ctx context.Context, m *jobs.Media, key string) error {
	there, err := c.present(ctx, m, key)
	if err != nil {
		return err
	}
	if there {
		c.report.Present++
		return nil
	}
	f, err := c.from.Open(ctx, key)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := verifyFile(ctx, m, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := c.to.Put(ctx, key, f, f.Size, m.ContentType); err != nil {
		return fmt.Errorf("copy the file of media %s: %w", m.ID, err)
	}
	c.report.Copied++
	c.report.Bytes += f.Size
	return nil
}

// present reports whether the other storage has the file.
func (c *copier) present(ctx context.Context, m *jobs.Media, key string) (bool, error) {
	f, err := c.to.Open(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if m.SHA256 == "" {
		return true, nil
	}
	if f.Size != m.Size {
		return false, nil
	}
	if !c.verify {
		return true, nil
	}
	err = verifyFile(ctx, m, f)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	return err == nil, err
}
