// Package media keeps copies of the files that jobs produce, and serves them: a provider's
// links end, and a result that was paid for must not.
//
// A copy is made by a handler of the inner event "media.created", so it is tried again as
// any delivery is, and goes on after a restart. What it finds out is written in one
// transaction with the delivery's success.
package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/blob"
	"gaff/internal/excerpt"
	"gaff/internal/mediafile"
	"gaff/internal/safehttp"
	"gaff/jobs"
)

// Policy is when a copy that failed is tried again: ten times within about twenty hours.
var Policy = gaff.RetryPolicy{MaxAttempts: 10, First: 20 * time.Second, Factor: 3, Max: 6 * time.Hour, Timeout: 15 * time.Minute}

const (
	// goneAfter is how many answers of "not there" are believed: a file may come to the
	// provider's hosts a little after the webhook.
	goneAfter = 3
	// A download must bring minProgress bytes in each stallAfter, or end within it.
	stallAfter  = 30 * time.Second
	minProgress = 32 << 10
	// maxWait bounds how far off a host can put us with Retry-After.
	maxWait = time.Hour
)

// Options of a keeper. All but Types are required.
type Options struct {
	Store interface {
		jobs.Store
		jobs.Reader
		ErasedStore
	}
	Router jobs.Router
	Blobs  blob.Store
	// Client fetches; it must judge the addresses itself (safehttp).
	Client *http.Client
	// Headers returns the headers with which a file of a provider's result is fetched from a URL, such
	// as a key; nil for none. It is asked again for each redirect. It may be nil.
	Headers func(provider, address string) http.Header
	// Spool is a folder of this process for downloads that are under way.
	Spool string
	// MaxSize bounds a file, in bytes.
	MaxSize int64
	// Types are the content types that are kept, "image/*" standing for all images. Empty:
	// all but text/html, which is what a host answers with that has no such file.
	Types []string
	// FolderPerNode is set if several nodes may each have a folder of their own: a file that is
	// missing here may be there.
	FolderPerNode bool
	Log           *slog.Logger
}

// Keeper makes copies. It is a gaff.Handler of the source "gaff" and type "media.created".
type Keeper struct {
	o Options
	// painting bounds the memory for thumbnails: a decoded picture is much larger than its
	// file.
	painting sync.Mutex
	busy     sync.Map // ids of rows whose part is open
	contents contentLocks
}

// New makes a keeper and its spool folder.
func New(o Options) (*Keeper, error) {
	if err := os.MkdirAll(o.Spool, 0o700); err != nil {
		return nil, fmt.Errorf("spool folder: %w", err)
	}
	if o.Headers != nil {
		client := *o.Client
		client.Transport = &withHeaders{next: client.Transport, headers: o.Headers}
		o.Client = &client
	}
	return &Keeper{o: o}, nil
}

// Handle makes the copy that an event asks for.
func (k *Keeper) Handle(ctx context.Context, ev *gaff.Event) error {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return gaff.Discard(errors.New("media keeper called outside a delivery"))
	}
	var asked jobs.MediaEvent
	if err := json.Unmarshal(ev.Data, &asked); err != nil {
		return gaff.Discard(fmt.Errorf("read %s: %w", ev.Type, err))
	}
	m, err := k.o.Store.MediaByID(ctx, asked.MediaID)
	if errors.Is(err, gaff.ErrNotFound) {
		return gaff.Discard(err)
	}
	if err != nil {
		return err
	}
	if m.Storage == jobs.StorageStored {
		return nil
	}
	c, err := k.copy(ofProvider(ctx, m), m)
	if errors.Is(err, errBusy) {
		return gaff.Snooze(busyFor)
	}
	if err != nil {
		return k.failed(ctx, ev, m, lease.Attempt, err)
	}
	err = k.o.Store.Apply(jobs.ReadsJob(ctx, jobs.JobRef{ID: m.JobID}), lease, func(tx jobs.Tx) error { return k.record(ctx, tx, ev, m, c) })
	c.release()
	if errors.Is(err, gaff.ErrNotFound) {
		return gaff.Discard(errors.Join(err, k.drop(context.WithoutCancel(ctx), c)))
	}
	if err != nil {
		return err
	}
	return gaff.Finished
}

// made is a copy that is kept, with what its bytes told.
type made struct {
	key, thumbnail string
	size           int64
	sha256         string
	info           mediafile.Info
	// release lets others delete the content; the row that names it is stored by then.
	release func()
}

func (k *Keeper) record(ctx context.Context, tx jobs.Tx, cause *gaff.Event, read *jobs.Media, c *made) error {
	id := read.ID
	j, err := jobs.LockJob(ctx, tx, read)
	if err != nil {
		return err
	}
	m, err := tx.Media(ctx, id)
	if err != nil {
		return err
	}
	if m.Storage == jobs.StorageStored {
		return nil
	}
	m.Storage, m.StorageError, m.StoredAt = jobs.StorageStored, "", tx.Now()
	m.StoredKey, m.ThumbnailKey, m.Size, m.SHA256, m.ContentType = c.key, c.thumbnail, c.size, c.sha256, c.info.ContentType
	if m.MediaType == jobs.MediaFile {
		// Nothing had told what it is; its bytes do.
		m.MediaType = jobs.MediaTypeOf(c.info.ContentType, "", "")
	}
	if m.Metadata, err = withFacts(m.Metadata, c.info); err != nil {
		return fmt.Errorf("media %s: %w", id, err)
	}
	if err := givePublicLink(ctx, tx, m); err != nil {
		return err
	}
	if err := tx.SaveMedia(ctx, m); err != nil {
		return err
	}
	ev, err := m.Event(jobs.MediaStored, "stored", tx.Now())
	if err != nil {
		return err
	}
	ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	if err := tx.Emit(ctx, ev, k.o.Router.Route(ev)); err != nil {
		return err
	}
	return jobs.NoteCopy(ctx, tx, k.o.Router, cause, j)
}

// givePublicLink gives a file of a project with PublicMedia a permanent link.
func givePublicLink(ctx context.Context, tx jobs.Tx, m *jobs.Media) error {
	if m.ProjectID == "" || m.LinkToken != "" {
		return nil
	}
	p, err := tx.Project(ctx, m.ProjectID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err == nil && p.PublicMedia {
		m.LinkToken = newLinkToken()
	}
	return err
}

// withFacts puts what the file itself says over what the provider said of it.
func withFacts(metadata json.RawMessage, info mediafile.Info) (json.RawMessage, error) {
	facts := map[string]json.RawMessage{}
	if len(metadata) > 0 {
		if err := json.Unmarshal(metadata, &facts); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
	}
	for name, value := range map[string]float64{
		"width": float64(info.Width), "height": float64(info.Height), "duration": info.Duration,
	} {
		if value > 0 {
			facts[name] = json.RawMessage(strconv.FormatFloat(value, 'f', -1, 64))
		}
	}
	return json.Marshal(facts)
}

// fault is a failure with the state in which it leaves the file.
type fault struct {
	storage jobs.Storage  // StorageGone or StorageFailed
	final   bool          // no further attempt will change it
	wait    time.Duration // what the host asked for; zero if it did not
	err     error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func never(format string, args ...any) error {
	return &fault{storage: jobs.StorageFailed, final: true, err: fmt.Errorf(format, args...)}
}

// failed records the error on the row, for people to see, and returns how the delivery
// continues.
func (k *Keeper) failed(ctx context.Context, cause *gaff.Event, m *jobs.Media, attempt int, err error) error {
	if errors.Is(context.Cause(ctx), gaff.ErrStopped) {
		return err // the gateway stops; nothing is wrong with the file
	}
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = &fault{storage: jobs.StorageFailed, err: err}
	}
	if errors.Is(err, safehttp.ErrForbidden) {
		f = &fault{storage: jobs.StorageFailed, final: true, err: err}
	}
	if f.storage == jobs.StorageGone && attempt >= goneAfter {
		f.final = true
	}
	state := jobs.StoragePending
	if f.final || attempt >= Policy.MaxAttempts {
		state = f.storage
		removePart(k.partPath(m.ID))
	}
	reason := clean(err)
	noted := k.o.Store.Write(context.WithoutCancel(ctx), func(tx jobs.Tx) error {
		j, err := jobs.LockJob(ctx, tx, m)
		if err != nil {
			return err
		}
		row, err := tx.Media(ctx, m.ID)
		if err != nil || row.Storage == jobs.StorageStored || row.Storage == state && row.StorageError == reason {
			return err
		}
		row.Storage, row.StorageError = state, reason
		if err := tx.SaveMedia(ctx, row); err != nil || state == jobs.StoragePending {
			return err
		}
		return jobs.NoteCopy(ctx, tx, k.o.Router, cause, j)
	})
	if noted != nil && !errors.Is(noted, gaff.ErrNotFound) {
		return errors.Join(err, noted)
	}
	switch {
	case f.final:
		return gaff.Discard(err)
	case f.wait > 0:
		return gaff.RetryAfter(f.wait, err)
	}
	return err
}

// clean is an error as a row shows it. Addresses lose their query: it may hold a key.
func clean(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = u.Err.Error()
	}
	return strings.ToValidUTF8(excerpt.Text(text, 500), "�")
}

// copy fetches a file, looks at it and stores it. Downloaded bytes wait for the next
// attempt if it can resume.
func (k *Keeper) copy(ctx context.Context, m *jobs.Media) (*made, error) {
	if c := k.adopt(ctx, m); c != nil {
		return c, nil
	}
	p, done, err := k.open(m.ID)
	if err != nil {
		return nil, err
	}
	defer done()
	link, err := k.linkOf(ctx, m)
	if err == nil {
		err = k.fetch(ctx, link, p)
	}
	if err != nil {
		p.leave()
		return nil, err
	}
	c, err := k.examine(m, p)
	if err != nil {
		p.remove()
		return nil, err
	}
	c.release = k.contents.lock(c.sha256)
	if err := k.put(ctx, p, c); err != nil {
		c.release()
		p.leave()
		return nil, err
	}
	p.remove()
	return c, nil
}

// adopt returns the copy that the row names already, since it is that of another job's file, if it is
// sound; else nil.
func (k *Keeper) adopt(ctx context.Context, m *jobs.Media) *made {
	if m.StoredKey == "" || m.SHA256 == "" {
		return nil
	}
	release := k.contents.lock(m.SHA256)
	if err := Verify(ctx, k.o.Blobs, m); err != nil {
		release()
		return nil
	}
	return &made{
		key: m.StoredKey, thumbnail: m.ThumbnailKey, size: m.Size, sha256: m.SHA256, release: release,
		info: mediafile.Info{ContentType: m.ContentType},
	}
}

// linkOf is a row's link, in full.
func (k *Keeper) linkOf(ctx context.Context, m *jobs.Media) (string, error) {
	if !m.Shortened() {
		return m.URL, nil
	}
	j, err := k.o.Store.Job(ctx, m.JobID)
	if err != nil && !errors.Is(err, gaff.ErrNotFound) {
		return "", err
	}
	if err == nil {
		if link, ok := jobs.WholeLink(j.Result, m.URL); ok {
			return link, nil
		}
	}
	return "", never("the job's result, which held the file, has it no more")
}

// examine determines the type and measures of a download.
func (k *Keeper) examine(m *jobs.Media, p *part) (*made, error) {
	if p.size == 0 {
		return nil, errors.New("the file is empty")
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, p.content()); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	info, err := mediafile.Probe(p.f, p.size)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	info.ContentType = mediafile.Kind(info.ContentType, []string{m.ContentType, p.mark.Type}, []string{givenName(m), linkName(m), p.mark.Name})
	if err := k.allowed(info.ContentType); err != nil {
		return nil, err
	}
	c := &made{size: p.size, sha256: hex.EncodeToString(hash.Sum(nil)), info: info}
	c.key = keyOf("sha256", c.sha256)
	return c, nil
}

// put keeps the file, and a small picture of it.
func (k *Keeper) put(ctx context.Context, p *part, c *made) (err error) {
	if err := k.o.Blobs.Put(ctx, c.key, p.content(), c.size, c.info.ContentType); err != nil {
		return err
	}
	if strings.HasPrefix(c.info.ContentType, "image/") {
		c.thumbnail, err = k.thumbnail(ctx, p.f, c)
	}
	return err
}

// keyOf spreads keys over folders: "sha256/ab/abcd…".
func keyOf(kind, hash string) string { return path.Join(kind, hash[:2], hash) }

// thumbnail keeps a small picture, and returns its key; empty where none can be made.
func (k *Keeper) thumbnail(ctx context.Context, file *os.File, c *made) (string, error) {
	k.painting.Lock()
	data, err := mediafile.Thumbnail(file, c.size)
	k.painting.Unlock()
	if err != nil {
		k.o.Log.DebugContext(ctx, "no thumbnail", "sha256", c.sha256, "error", err)
		return "", nil
	}
	key := keyOf("thumbnail", c.sha256)
	return key, k.o.Blobs.Put(ctx, key, strings.NewReader(string(data)), int64(len(data)), "image/jpeg")
}

func (k *Keeper) allowed(contentType string) error {
	if len(k.o.Types) == 0 {
		if contentType == "text/html" {
			// Often a passing error page with the status of a success.
			return &fault{storage: jobs.StorageFailed, err: errors.New("the link answers with a web page, not with a file")}
		}
		return nil
	}
	for _, pattern := range k.o.Types {
		if Matches(pattern, contentType) {
			return nil
		}
	}
	return never("content type %s is not among media.types", contentType)
}

// Matches reports whether a content type is one of a pattern: "image/png", "image/*", "*/*".
func Matches(pattern, contentType string) bool {
	if kind, all := strings.CutSuffix(pattern, "/*"); all {
		return kind == "*" || strings.HasPrefix(contentType, kind+"/")
	}
	return pattern == contentType
}

// cause prefers why a request was ended over that it was.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && errors.Is(err, context.Canceled) {
		return c
	}
	return err
}

var errStalled = fmt.Errorf("the download has stalled: less than %d KiB in %s", minProgress>>10, stallAfter)

// stallWatch ends a download that hardly moves, so that a few slow hosts cannot hold all
// workers.
type stallWatch struct {
	r     io.Reader
	stall func()

	mu    sync.Mutex
	timer *time.Timer
	got   int64
	ended bool
}

func (s *stallWatch) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.mu.Lock()
	s.got += int64(n)
	s.mu.Unlock()
	return n, err
}

func (s *stallWatch) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.got < minProgress {
		s.stall()
		return
	}
	s.got = 0
	s.timer.Reset(stallAfter)
}

func (s *stallWatch) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}

// Again asks for the copy of a file once more: of one that failed, that was made while nothing
// was kept, or whose copy is missing or damaged.
func (k *Keeper) Again(ctx context.Context, id string) error {
	row, err := k.o.Store.MediaByID(ctx, id)
	if err != nil {
		return err
	}
	lost := ""
	if row.Storage == jobs.StorageStored {
		switch err := Verify(ctx, k.o.Blobs, row); {
		case err == nil:
			return fmt.Errorf("media %s is stored, and its copy is sound: %w", id, gaff.ErrConflict)
		case errors.Is(err, ErrMissing), errors.Is(err, ErrDamaged):
			lost = row.StoredKey
		default:
			return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
		}
	}
	return k.o.Store.Write(ctx, func(tx jobs.Tx) error {
		m, err := tx.Media(ctx, id)
		if err != nil {
			return err
		}
		if m.Storage == jobs.StorageStored && m.StoredKey != lost {
			return fmt.Errorf("media %s is stored: %w", id, gaff.ErrConflict)
		}
		m.Storage, m.StorageError = jobs.StoragePending, ""
		if err := tx.SaveMedia(ctx, m); err != nil {
			return err
		}
		ev, err := m.Event(jobs.MediaCreated, "again:"+strconv.FormatInt(tx.Now().UnixMicro(), 10), tx.Now())
		if err != nil {
			return err
		}
		// Only the copy is asked for again: who else listens has heard of the file.
		ds := k.o.Router.Route(ev)
		var own []gaff.Delivery
		for _, d := range ds {
			if d.Handler == jobs.KeepFiles {
				own = append(own, d)
			}
		}
		return tx.Emit(ctx, ev, own)
	})
}
