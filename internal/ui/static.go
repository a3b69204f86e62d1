package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var static embed.FS

// asset is a static file. Without plain it is only embedded compressed.
type asset struct {
	contentType string
	plain       []byte
	zipped      func() []byte
}

// assets have URLs with a hash of their content, so that browsers can cache them without limit
// and never use an old version.
type assets struct {
	byPath map[string]asset
	urls   map[string]string
}

func loadAssets() assets {
	a := assets{byPath: map[string]asset{}, urls: map[string]string{}}
	entries, err := static.ReadDir("static")
	if err != nil {
		panic("ui: " + err.Error()) // embedded
	}
	for _, e := range entries {
		text, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic("ui: " + err.Error())
		}
		// Compressed when it is first asked for: all files take ten milliseconds of a start.
		a.add(e.Name(), text, asset{plain: text, zipped: sync.OnceValue(func() []byte { return compress(text) })})
	}
	if hasViewer() {
		a.add("viewer.js", viewer, asset{zipped: func() []byte { return viewer }})
	}
	return a
}

func compress(text []byte) []byte {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = z.Write(text)
	_ = z.Close()
	return packed.Bytes()
}

// add adds a file; content is what its URL depends on.
func (a assets) add(name string, content []byte, f asset) {
	sum := sha256.Sum256(content)
	address := "/static/" + hex.EncodeToString(sum[:6]) + "/" + name
	f.contentType = mime.TypeByExtension(path.Ext(name))
	a.byPath[address], a.urls[name] = f, address
}

// url returns the URL of a file of the folder static.
func (a assets) url(name string) string { return a.urls[name] }

// ServeHTTP serves the files. It needs no login: they hold no secrets.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.byPath[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Add("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(f.zipped())
		return
	}
	if f.plain == nil {
		if z, err := gzip.NewReader(bytes.NewReader(f.zipped())); err == nil {
			_, _ = io.Copy(w, z) //nolint:gosec // embedded
		}
		return
	}
	_, _ = w.Write(f.plain)
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, 5)
	return z
}}

func zip(w io.Writer, body []byte) {
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
}
