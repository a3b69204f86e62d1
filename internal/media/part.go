package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

const (
	// markEvery is how much may have to be downloaded again after a crash.
	markEvery = 16 << 20
	// keepParts is longer than a copy is tried.
	keepParts = 24 * time.Hour

	partPrefix = "copy-"
	markSuffix = ".mark"
)

// part is a download under way. It is in the spool folder under its row's id, so that
// the next attempt, or the next process, continues where this one was interrupted.
type part struct {
	f    *os.File
	size int64
	mark mark
}

// mark records, in a file beside the part, how much of it was synced, and of which version. Bytes that were not
// synced may be gone after a crash, or be zeros.
type mark struct {
	// From is the host's ETag, or time of change, of the file that this is a part of.
	// Empty if the host sent neither: the download must then restart.
	From string `json:"from,omitempty"`
	Size int64  `json:"size"`
	// Whole is set when nothing is missing. The host need not be asked again then, which
	// may not have the file any more by the time that the storage takes it.
	Whole bool `json:"whole,omitempty"`
	// Type is the content type that came with it, and Name the file's name, if the host gave one.
	Type string `json:"type,omitempty"`
	Name string `json:"name,omitempty"`
}

func openPart(path string) (*part, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &part{f: f}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if text, err := os.ReadFile(path + markSuffix); err != nil || json.Unmarshal(text, &p.mark) != nil || p.mark.Size > info.Size() {
		p.mark = mark{}
	}
	if err := p.cutTo(p.mark.Size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

func (p *part) cutTo(size int64) error {
	p.size = size
	if err := p.f.Truncate(size); err != nil {
		return err
	}
	_, err := p.f.Seek(size, io.SeekStart)
	return err
}

// content reads the part from its start.
func (p *part) content() io.ReadSeeker { return io.NewSectionReader(p.f, 0, p.size) }

// begin empties the part, for a download from the start.
func (p *part) begin(m mark) error {
	p.mark = m
	if err := os.Remove(p.f.Name() + markSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return p.cutTo(0)
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.size += int64(n)
	if err == nil && p.mark.From != "" && p.size-p.mark.Size >= markEvery {
		err = p.save()
	}
	return n, err
}

// save syncs the downloaded bytes, so that a later attempt can continue from them.
func (p *part) save() error {
	if err := p.f.Sync(); err != nil {
		return err
	}
	p.mark.Size = p.size
	text, err := json.Marshal(p.mark)
	if err != nil {
		return err
	}
	name := p.f.Name() + markSuffix
	// If a crash cut it off, it is not JSON and is ignored.
	return os.WriteFile(name, text, 0o600)
}

// leave closes the part, to be gone on from if that is possible.
func (p *part) leave() {
	if (p.mark.From != "" || p.mark.Whole) && p.size > 0 && p.save() == nil {
		_ = p.f.Close()
		return
	}
	p.remove()
}

func (p *part) remove() {
	_ = p.f.Close()
	removePart(p.f.Name())
}

func removePart(path string) {
	_ = os.Remove(path)
	_ = os.Remove(path + markSuffix)
}

// ask adds the headers that request the missing part.
func (p *part) ask(req *http.Request) {
	if p.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		req.Header.Set("If-Range", p.mark.From)
	}
}

// take prepares for an answer's body: the rest of the file, or all of it, if the host has
// another by now or does not know of parts. A packed body is always all of it: one that is
// cut off starts over.
func (p *part) take(resp *http.Response, packed bool) error {
	got := resp.Header.Get("Content-Range")
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusNonAuthoritativeInfo || code == http.StatusPartialContent && p.size == 0:
		m := mark{From: validator(resp.Header), Type: resp.Header.Get("Content-Type")}
		if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err == nil {
			m.Name = params["filename"]
		}
		if packed {
			m.From = ""
		}
		return p.begin(m)
	case code != http.StatusPartialContent || packed || !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", p.size)):
		return errors.Join(fmt.Errorf("asked for what follows byte %d, the link answers %s %.60q", p.size, resp.Status, got), p.begin(mark{}))
	}
	return nil
}

// validator is by what a host's file is known again; empty if nothing says so for sure.
func validator(h http.Header) string {
	if h.Get("Accept-Ranges") == "none" {
		return ""
	}
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) && len(tag) < 1000 {
		return tag
	}
	changed, err := http.ParseTime(h.Get("Last-Modified"))
	now, nerr := http.ParseTime(h.Get("Date"))
	// It might have changed twice in one second.
	if err != nil || nerr != nil || now.Sub(changed) < time.Minute {
		return ""
	}
	return h.Get("Last-Modified")
}

// errBusy: an earlier try at the same row is still under way. busyFor is when to look again.
var errBusy = errors.New("the file is being copied already")

const busyFor = 10 * time.Second

// open opens a row's part for one copy at a time.
func (k *Keeper) open(id string) (p *part, done func(), err error) {
	if _, busy := k.busy.LoadOrStore(id, true); busy {
		return nil, nil, errBusy
	}
	if p, err = openPart(k.partPath(id)); err != nil {
		k.busy.Delete(id)
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	return p, func() { k.busy.Delete(id) }, nil
}

func (k *Keeper) partPath(id string) string {
	return filepath.Join(k.o.Spool, partPrefix+filepath.Base(id))
}

// Sweep removes what crashes left: parts of files that are no longer to be copied, and
// half-written files in the storage.
func (k *Keeper) Sweep(ctx context.Context) error {
	if err := k.sweepSpool(ctx); err != nil {
		return err
	}
	return k.o.Blobs.Sweep(ctx)
}

func (k *Keeper) sweepSpool(ctx context.Context) error {
	entries, err := os.ReadDir(k.o.Spool)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		id := strings.TrimSuffix(strings.TrimPrefix(e.Name(), partPrefix), markSuffix)
		info, err := e.Info()
		if _, busy := k.busy.Load(id); busy || err != nil {
			continue
		}
		m, err := k.o.Store.MediaByID(ctx, id)
		if err != nil && !errors.Is(err, gaff.ErrNotFound) {
			return err
		}
		if err != nil || m.Storage != jobs.StoragePending || time.Since(info.ModTime()) > keepParts {
			_ = os.Remove(filepath.Join(k.o.Spool, e.Name()))
		}
	}
	return nil
}
