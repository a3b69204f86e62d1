package standin

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
)

const (
	// maxUpload bounds one file of a client, or one part of it: fal's client sends files of
	// more than 90 MB in parts.
	maxUpload = 100 << 20
	// maxUploads and maxUploadBytes limit the uploads in memory; the oldest are removed first.
	maxUploads     = 64
	maxUploadBytes = 512 << 20
)

// upload is a file of a client.
type upload struct {
	contentType string
	data        []byte
	parts       map[int][]byte // by number, until the upload is completed
}

func (u *upload) size() int {
	n := len(u.data)
	for _, part := range u.parts {
		n += len(part)
	}
	return n
}

// uploads are files of clients, the oldest first. The desk's lock is theirs.
type uploads struct {
	files map[string]*upload
	order []string
}

func (u *uploads) add(name string, file *upload) {
	if u.files == nil {
		u.files = map[string]*upload{}
	}
	u.files[name] = file
	u.order = append(u.order, name)
	u.bound()
}

// bound forgets the oldest files beyond the bounds, but not the newest one.
func (u *uploads) bound() {
	total := 0
	for _, file := range u.files {
		total += file.size()
	}
	for len(u.order) > 1 && (len(u.order) > maxUploads || total > maxUploadBytes) {
		total -= u.files[u.order[0]].size()
		delete(u.files, u.order[0])
		u.order = slices.Delete(u.order, 0, 1)
	}
}

// mountUploads adds the addresses of rest.fal.ai and of the CDN by which clients upload.
func (f *Fal) mountUploads() {
	f.mux.HandleFunc("POST /storage/upload/initiate", f.initiateUpload)
	f.mux.HandleFunc("POST /storage/upload/initiate-multipart", f.initiateUpload)
	f.mux.HandleFunc("PUT /upload/{name}", f.takeUpload)
	f.mux.HandleFunc("PUT /upload/{name}/{part}", f.takePart)
	f.mux.HandleFunc("POST /upload/{name}/complete", f.completeUpload)
	f.mux.HandleFunc("GET /upload/{name}", f.serveUpload)
}

func (f *Fal) initiateUpload(w http.ResponseWriter, r *http.Request) {
	if !authorized(w, r, f.o.Key) {
		return
	}
	var asked struct {
		ContentType string `json:"content_type"`
		FileName    string `json:"file_name"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, modelError("json_invalid", "JSON decode error", "body").body)
		return
	}
	f.mu.Lock()
	f.count++
	name := newUUID(f.o.random(f.count)) + path.Ext(url.PathEscape(asked.FileName))
	f.uploads.add(name, &upload{contentType: asked.ContentType})
	f.mu.Unlock()
	address := f.o.base(r) + "/upload/" + name
	writeJSON(w, http.StatusOK, map[string]string{"upload_url": address, "file_url": address})
}

// body reads a file or a part, and answers if that cannot be done.
func (f *Fal) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"detail": "Request body too large"})
	}
	return data, err == nil
}

// change calls fn with the upload that a request names, or answers 404.
func (f *Fal) change(w http.ResponseWriter, r *http.Request, fn func(*upload)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	up := f.uploads.files[r.PathValue("name")]
	if up == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
		return
	}
	fn(up)
	f.uploads.bound()
}

func (f *Fal) takeUpload(w http.ResponseWriter, r *http.Request) {
	if data, ok := f.body(w, r); ok {
		f.change(w, r, func(up *upload) {
			up.data = data
			w.WriteHeader(http.StatusOK)
		})
	}
}

func etag(data []byte) string {
	sum := md5.Sum(data) // as S3 does
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (f *Fal) takePart(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("part"))
	if err != nil || number < 1 || number > 10_000 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"detail": "Invalid part number"})
		return
	}
	if data, ok := f.body(w, r); ok {
		f.change(w, r, func(up *upload) {
			if up.parts == nil {
				up.parts = map[int][]byte{}
			}
			up.parts[number] = data
			w.Header().Set("ETag", etag(data))
			writeJSON(w, http.StatusOK, map[string]any{"partNumber": number, "etag": etag(data)})
		})
	}
}

func (f *Fal) completeUpload(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Parts []struct {
			PartNumber int    `json:"partNumber"`
			ETag       string `json:"etag"`
		} `json:"parts"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Parts) == 0 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"detail": "Invalid parts"})
		return
	}
	f.change(w, r, func(up *upload) {
		var data []byte
		for _, part := range asked.Parts {
			have, ok := up.parts[part.PartNumber]
			if !ok || etag(have) != part.ETag {
				writeJSON(w, http.StatusBadRequest, map[string]string{"detail": "Part " + strconv.Itoa(part.PartNumber) + " was not uploaded"})
				return
			}
			data = append(data, have...)
		}
		up.data, up.parts = data, nil
		writeJSON(w, http.StatusOK, map[string]any{})
	})
}

func (f *Fal) serveUpload(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	up := f.uploads.files[r.PathValue("name")]
	var contentType string
	var data []byte
	if up != nil {
		contentType, data = up.contentType, up.data
	}
	f.mu.Unlock()
	if up == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(data)
}
