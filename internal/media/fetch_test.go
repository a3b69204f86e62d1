package media_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"gaff/internal/media"
	"gaff/jobs"
)

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// encodedAs serves bytes under a Content-Encoding.
func encodedAs(encoding string, data []byte) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", encoding)
		rw.Header().Set("Content-Length", strconv.Itoa(len(data)))
		rw.Header().Set("ETag", `"tag"`)
		_, _ = rw.Write(data)
	})
}

// partial serves the picture as a part of a file.
func partial(contentRange string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if contentRange != "" {
			rw.Header().Set("Content-Range", contentRange)
		}
		rw.WriteHeader(http.StatusPartialContent)
		_, _ = rw.Write(picture)
	})
}

// Storages hand back the Content-Encoding that an uploader wrote, true or not.
func TestEncodingsThatNobodyAskedFor(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		var deflated bytes.Buffer
		z := zlib.NewWriter(&deflated)
		_, _ = z.Write(picture)
		_ = z.Close()
		for name, host := range map[string]http.Handler{
			"gzip": encodedAs("gzip", zipped(picture)), "x-gzip": encodedAs("X-GZIP", zipped(picture)), "deflate": encodedAs("deflate", deflated.Bytes()),
			"twice": encodedAs("gzip, gzip", zipped(zipped(picture))), "aws": encodedAs("gzip,aws-chunked", zipped(picture)),
			"gzip-over-plain-bytes": encodedAs("gzip", picture), "br-over-plain-bytes": encodedAs("br", picture),
			"deflate-over-plain-bytes": encodedAs("deflate", picture),
			"utf-8":                    encodedAs("UTF-8", picture), "none": encodedAs("none", picture), "base64": encodedAs("base64", picture), "made-up": encodedAs("foo", picture),
			"whole-part": partial("bytes 0-69/70"),
		} {
			w.hosts[name+".test"] = host
			id := w.add("https://" + name + ".test/x.png")
			w.settle()
			m := w.row(id)
			if m.Storage != jobs.StorageStored || m.ContentType != "image/png" || !bytes.Equal(w.read(m.StoredKey), picture) {
				t.Errorf("%s: %s %s %s", name, m.Storage, m.StorageError, m.ContentType)
			}
		}
	})
}

func TestAResumedDownloadIsNotUnpacked(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		asked := 0
		w.hosts["cdn.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked++
			rw.Header().Set("Content-Encoding", "br")
			rw.Header().Set("ETag", `"tag"`)
			if r.Header.Get("Range") != "bytes=40-" {
				rw.Header().Set("Content-Length", strconv.Itoa(len(picture)))
				_, _ = rw.Write(picture[:40])
				return
			}
			rw.Header().Set("Content-Range", "bytes 40-69/70")
			rw.WriteHeader(http.StatusPartialContent)
			_, _ = rw.Write(picture[40:])
		})
		id := w.add("https://cdn.test/x.png")
		w.settle()
		if m := w.row(id); m.Storage != jobs.StorageStored || asked != 2 || !bytes.Equal(w.read(m.StoredKey), picture) {
			t.Errorf("%s after %d requests: %s", m.Storage, asked, m.StorageError)
		}
	})
}

// A host's answer for a file that is not there yet does not end the download.
func TestStatusesThatMeanNotYet(t *testing.T) {
	for _, code := range []int{201, 202, 204, 205, 408, 409, 420, 421, 423, 424, 425, 429, 430, 449, 500, 503, 529} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				asked := 0
				w.hosts["cdn.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if asked++; asked == 1 {
						rw.Header().Set("Retry-After", "2")
						rw.WriteHeader(code)
						return
					}
					serveBytes("image/png", picture).ServeHTTP(rw, r)
				})
				id := w.add("https://cdn.test/x.png")
				w.settle()
				if m := w.row(id); m.Storage != jobs.StorageStored || asked != 2 {
					t.Errorf("%s after %d requests: %s", m.Storage, asked, m.StorageError)
				}
			})
		})
	}
}

// A link is asked for as browsers ask for it.
func TestLinksAreEscaped(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		asked := ""
		w.hosts["cdn.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked = r.URL.RequestURI()
			serveBytes("image/png", picture).ServeHTTP(rw, r)
		})
		id := w.add("https://cdn.test/a%2Fb/café |.png?n=two words#x")
		w.settle()
		if want := "/a%2Fb/caf%C3%A9%20%7C.png?n=two%20words"; asked != want || w.row(id).Storage != jobs.StorageStored {
			t.Errorf("asked for %s, want %s", asked, want)
		}
	})
}

func TestNamesInOtherLetters(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.hosts["cdn.test"] = serveBytes("image/png", picture)
		for name, want := range map[string]string{
			"plain.png":        `inline; filename=plain.png`,
			"café au lait.png": `inline; filename="caf_ au lait.png"; filename*=UTF-8''caf%C3%A9%20au%20lait.png`,
			"100%;a.png":       `inline; filename=100__a.png; filename*=UTF-8''100%25%3Ba.png`,
			"it's 1+1.png":     `inline; filename="it's 1+1.png"`,
		} {
			facts, _ := json.Marshal(map[string]string{"file_name": name})
			id := w.add("https://cdn.test/"+name, func(m *jobs.Media) { m.Metadata = facts })
			w.settle()
			stored := w.server.Links(w.row(id)).StoredURL
			u, _ := url.Parse(stored)
			rec := httptest.NewRecorder()
			w.server.ServeHTTP(rec, httptest.NewRequest("GET", u.RequestURI(), nil))
			if got := rec.Header().Get("Content-Disposition"); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	})
}

// What a file is called ends as its type does, else as its link does.
func TestFileNamesEndings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contentType, link, want string }{
		{"model/vnd.usdz+zip", "https://h/a.zip", ".usdz"}, {"image/png", "https://h/a.jpg?x=.b", ".png"}, {"application/zip", "https://h/a.npz", ".npz"},
		{"application/zip", "https://h/a", ".zip"}, {"application/octet-stream", "https://h/w.safetensors#x", ".safetensors"},
		{"application/octet-stream", "https://h.example.com", ""}, {"application/octet-stream", "https://h/a.b%2Fc", ""}, {"text/plain", "https://h/A.LRC", ".lrc"},
		{"audio/ogg", "https://h/a.OPUS", ".opus"}, {"audio/ogg", "https://h/a.mp3", ".ogg"}, {"image/jpeg", "https://h/a.jpeg?x", ".jpeg"},
		{"model/vnd.usd", "https://h/a.usdc", ".usdc"}, {"image/vnd.adobe.photoshop", "https://h/a", ".psd"}, {"video/matroska", "https://h/a", ".mkv"},
		{"text/plain", "data:text/plain,x.y", ".txt"}, {"audio/wav", "data:audio/wav;base64,AA", ".wav"},
	} {
		got := media.FileName(&jobs.Media{ID: "med_1", ContentType: c.contentType, URL: c.link})
		if got != "med_1"+c.want {
			t.Errorf("%s at %s: %s, want med_1%s", c.contentType, c.link, got, c.want)
		}
	}
}

// A file's type follows from its bytes, its name, its provider and its host together.
func TestTypesOfGeneralFiles(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		var z bytes.Buffer
		archive := zip.NewWriter(&z)
		f, err := archive.CreateHeader(&zip.FileHeader{Name: "other.txt", Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte("x"))
		_ = archive.Close()
		for _, c := range []struct{ path, host, provider, body, contentType, mediaType string }{
			{"a.usdz", "application/octet-stream", "", z.String(), "model/vnd.usdz+zip", jobs.MediaModel},
			{"b", "application/zip", "model/vnd.usdz+zip", z.String(), "model/vnd.usdz+zip", jobs.MediaModel},
			{"c.zip", "text/html", "", z.String(), "application/zip", jobs.MediaFile},
			{"d.obj", "text/plain; charset=utf-8", "", "v 0 0 0\n", "model/obj", jobs.MediaModel},
			{"e.srt", "text/html", "", "1\n00:00:00,000 --> 00:00:01,000\nhi\n", "application/x-subrip", jobs.MediaFile},
			{"no-ending", "named by its host", "", "v 0 0 0\n", "model/obj", jobs.MediaModel},
			{"f.svg", "image/svg+xml", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", jobs.MediaImage},
		} {
			served := serveBytes(c.host, []byte(c.body))
			w.hosts["cdn.test"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Disposition", `attachment; filename="mesh.obj"`)
				served.ServeHTTP(rw, r)
			})
			id := w.add("https://cdn.test/"+c.path, func(m *jobs.Media) { m.ContentType, m.MediaType, m.Metadata = c.provider, jobs.MediaFile, nil })
			w.settle()
			if m := w.row(id); m.ContentType != c.contentType || m.MediaType != c.mediaType {
				t.Errorf("%s: %s %s %s, want %s %s", c.path, m.ContentType, m.MediaType, m.StorageError, c.contentType, c.mediaType)
			}
		}
	})
}
