package media

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/blob"
	"gaff/internal/httpx"
	"gaff/internal/sharedkey"
	"gaff/jobs"
)

// Prefix is where the signed links lie.
const Prefix = "/media/"

// linkPrefix is where the permanent links lie.
const linkPrefix = "/files/"

// Variants of a file that links lead to.
const (
	variantFile      = "file"
	variantThumbnail = "thumbnail"
)

const (
	keySetting = "media_link_key"
	// writePatience is how long a reader may take for what one write holds.
	writePatience = 30 * time.Second
)

// ServerOptions of a server. All are required.
type ServerOptions struct {
	Store interface {
		jobs.Store
		jobs.Reader
	}
	Blobs blob.Store
	// Base is before the links, without a slash at the end, such as "https://gaff.example.com".
	Base string
	// LinkFor is how long a link is good for. They end on the hour after it, so that the
	// same link is given out for a while, and caches know it again.
	LinkFor time.Duration
	// Announce is how long other nodes have to read a new key of the links before it signs.
	Announce time.Duration
	// Client returns the address of a request's client; nil: the peer's.
	Client func(*http.Request) string
	// Lost handles copies that are missing or damaged; may be nil.
	Lost func(context.Context, *jobs.Media, error)
	Log  *slog.Logger
}

// Server signs links to kept files, and answers them.
type Server struct {
	o    ServerOptions
	keys *sharedkey.Keys
	now  func() time.Time

	verified verified
	misses   misses
}

// NewServer makes a server. The key that signs is kept in the store, so that all nodes,
// and this one after a restart, know each other's links.
func NewServer(ctx context.Context, o ServerOptions) (*Server, error) {
	keys, err := jobs.OpenKeys(ctx, o.Store, sharedkey.Options{
		Name: keySetting, Announce: o.Announce, Check: checkKey,
		Fresh: func() string { return base64.RawStdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())) },
	})
	if err != nil {
		return nil, fmt.Errorf("key of the media links: %w", err)
	}
	return &Server{o: o, keys: keys, now: time.Now}, nil
}

// checkKey returns an error for a key that is not 16 bytes or more in base64.
func checkKey(text string) error {
	if raw, err := base64.RawStdEncoding.DecodeString(text); err != nil || len(raw) < 16 {
		return errors.New("want 16 bytes or more in base64")
	}
	return nil
}

// Keys sign the links.
func (s *Server) Keys() *sharedkey.Keys { return s.keys }

// Links returns links to a file's copy and to its thumbnail, empty if missing. Permanent links are
// returned before the copy is stored, too; until then they are answered with 404.
func (s *Server) Links(m *jobs.Media) (l jobs.MediaLinks) {
	if m.LinkToken != "" {
		l.LinkURL = s.o.Base + linkPrefix + m.LinkToken
		if m.ThumbnailKey != "" {
			l.LinkThumbnailURL = l.LinkURL + "/" + variantThumbnail
		}
	}
	if m.Storage != jobs.StorageStored {
		return l
	}
	l.ExpiresAt = s.now().Add(s.o.LinkFor).Truncate(time.Hour).Add(time.Hour)
	expires := l.ExpiresAt.Unix()
	link := func(variant, name string) string {
		q := url.Values{"expires": {strconv.FormatInt(expires, 10)}, "signature": {signLink(s.keys.Signing(), m.ID, variant, expires)}}
		return s.o.Base + Prefix + m.ID + "/" + variant + name + "?" + q.Encode()
	}
	l.StoredURL = link(variantFile, "/"+url.PathEscape(FileName(m)))
	if m.ThumbnailKey != "" {
		l.ThumbnailURL = link(variantThumbnail, "")
	}
	return l
}

// signed reports whether a signature is of a key that is accepted.
func (s *Server) signed(signature, id, variant string, expires int64) bool {
	return slices.ContainsFunc(s.keys.All(), func(key string) bool {
		return subtle.ConstantTimeCompare([]byte(signature), []byte(signLink(key, id, variant, expires))) == 1
	})
}

func signLink(key, id, variant string, expires int64) string {
	raw, _ := base64.RawStdEncoding.DecodeString(key) // checkKey found no fault
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "media link\n%s\n%s\n%d", id, variant, expires)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ServeHTTP answers signed and permanent links.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET and HEAD are possible here", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if rest, ok := strings.CutPrefix(r.URL.Path, linkPrefix); ok {
		s.servePermanent(w, r, rest)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, Prefix), "/")
	if len(parts) < 2 || len(parts) > 3 || parts[1] != variantFile && parts[1] != variantThumbnail {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	q := r.URL.Query()
	expires, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || !s.signed(q.Get("signature"), parts[0], parts[1], expires) {
		http.Error(w, "the link is not signed by this gateway", http.StatusForbidden)
		return
	}
	left := time.Unix(expires, 0).Sub(s.now())
	if left <= 0 {
		http.Error(w, "the link has expired; the API gives out a new one", http.StatusGone)
		return
	}
	m, err := s.o.Store.MediaByID(r.Context(), parts[0])
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if err := s.serve(w, r, m, parts[1] == variantThumbnail, fmt.Sprintf("private, max-age=%d, immutable", int(left.Seconds()))); err != nil {
		s.fail(w, r, err)
	}
}

// servePermanent answers a permanent link; rest is its token, with "/thumbnail" or not.
func (s *Server) servePermanent(w http.ResponseWriter, r *http.Request, rest string) {
	token, variant, _ := strings.Cut(rest, "/")
	if !isLinkToken(token) || variant != "" && variant != variantThumbnail {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	client := httpx.ClientAt(s.clientOf(r))
	if !s.misses.allows(client, token, s.now()) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many unknown links", http.StatusTooManyRequests)
		return
	}
	m, err := s.o.Store.MediaByLink(r.Context(), token)
	if err == nil || errors.Is(err, gaff.ErrNotFound) {
		s.misses.note(client, token, err == nil, s.now())
	}
	if err == nil {
		err = s.serve(w, r, m, variant == variantThumbnail, permanentCache)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) clientOf(r *http.Request) string {
	if s.o.Client != nil {
		return s.o.Client(r)
	}
	return httpx.Peer(r)
}

// permanentCache has browsers show a file for five minutes at most after its link was revoked.
const permanentCache = "private, max-age=300"

// newLinkToken makes the secret part of a permanent link, of 130 random bits.
func newLinkToken() string { return strings.ToLower(rand.Text()) }

// isLinkToken reports whether a text has the form of newLinkToken's; other texts cost no query.
func isLinkToken(text string) bool {
	return len(text) == linkTokenLength && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

const linkTokenLength = 26

// Link makes permanent links to a file, unless it has them.
func (s *Server) Link(ctx context.Context, id string) error {
	return s.setLinkToken(ctx, id, func(m *jobs.Media) string { return cmp.Or(m.LinkToken, newLinkToken()) })
}

// Unlink revokes a file's permanent links: the next ones are others.
func (s *Server) Unlink(ctx context.Context, id string) error {
	return s.setLinkToken(ctx, id, func(*jobs.Media) string { return "" })
}

func (s *Server) setLinkToken(ctx context.Context, id string, token func(*jobs.Media) string) error {
	return s.o.Store.Write(ctx, func(tx jobs.Tx) error {
		m, err := tx.Media(ctx, id)
		if err != nil {
			return err
		}
		set := token(m)
		if set == m.LinkToken {
			return nil
		}
		m.LinkToken = set
		return tx.SaveMedia(ctx, m)
	})
}

// ErrNotStored is returned for a file of which there is no copy.
var ErrNotStored = fmt.Errorf("no copy of the file is kept: %w", gaff.ErrNotFound)

// Serve answers with a file's copy, or with its thumbnail: for callers that have checked
// by themselves who asks. An error means that nothing was written.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, m *jobs.Media, thumbnail bool) error {
	return s.serve(w, r, m, thumbnail, "private, no-cache")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, m *jobs.Media, thumbnail bool, cache string) error {
	key, contentType, name, tag := m.StoredKey, m.ContentType, FileName(m), m.SHA256
	if thumbnail {
		key, contentType, name, tag = m.ThumbnailKey, "image/jpeg", m.ID+"-thumbnail.jpg", m.SHA256+"-t"
	}
	if m.Storage != jobs.StorageStored || key == "" {
		return fmt.Errorf("media %s: %w", m.ID, ErrNotStored)
	}
	f, err := s.o.Blobs.Open(r.Context(), key)
	if errors.Is(err, blob.ErrNotFound) {
		return s.lost(r.Context(), m, fmt.Errorf("media %s: %w in %s", m.ID, ErrMissing, s.o.Blobs))
	}
	if err != nil {
		return fmt.Errorf("media %s: %w: %w", m.ID, gaff.ErrUnavailable, err)
	}
	defer f.Close()
	if !thumbnail {
		if err := s.sound(r.Context(), m, f); err != nil {
			return s.lost(r.Context(), m, err)
		}
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("ETag", `"`+tag+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	// With any content of the file, no script of it runs in the name of this address.
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Referrer-Policy", "no-referrer")
	kind := "inline"
	if !showable(contentType) {
		kind = "attachment"
	}
	h.Set("Content-Disposition", disposition(kind, name))
	h.Set("Cache-Control", cache)
	http.ServeContent(&patient{w}, r, "", m.StoredAt, f)
	return nil
}

// fail answers 404 for a missing file, and hides every other error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, gaff.ErrNotFound) {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	s.o.Log.ErrorContext(r.Context(), "serve a file", "path", r.URL.Path, "error", err)
	w.Header().Set("Retry-After", "10")
	http.Error(w, "the file cannot be read just now", http.StatusServiceUnavailable)
}

// patient lets a slow reader of a large file go on as long as it reads.
type patient struct{ http.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(writePatience))
	return p.ResponseWriter.Write(b)
}

// showable are the types that a browser shows and that hold no script.
func showable(contentType string) bool {
	switch contentType {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp":
		return true
	}
	kind, _, _ := strings.Cut(contentType, "/")
	return kind == "video" || kind == "audio"
}
