package standin_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"gaff/internal/standin"
)

func TestUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, standin.Options{})
	_, _, body := w.call("POST", "http://queue.test/storage/upload/initiate?storage_type=fal-cdn-v3", `{"content_type":"image/png","file_name":"in put.png"}`)
	var up struct {
		Upload string `json:"upload_url"`
		File   string `json:"file_url"`
	}
	if err := json.Unmarshal(body, &up); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := w.call("PUT", up.Upload, "some bytes"); code != 200 {
		t.Errorf("upload: %d", code)
	}
	if code, header, data := w.call("GET", up.File, ""); code != 200 || string(data) != "some bytes" || header.Get("Content-Type") != "image/png" {
		t.Errorf("file: %d %q", code, data)
	}
}

func TestUploadInParts(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{URL: "http://fal.test", Key: "k", Seed: 1})
	defer f.Close()
	call := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Key k")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		return w
	}
	var began struct {
		UploadURL string `json:"upload_url"`
		FileURL   string `json:"file_url"`
	}
	w := call("POST", "/storage/upload/initiate-multipart?storage_type=fal-cdn-v3", `{"content_type":"video/mp4","file_name":"a.mp4"}`)
	if err := json.Unmarshal(w.Body.Bytes(), &began); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	path := strings.TrimPrefix(began.UploadURL, "http://fal.test")
	var parts []string
	for n, text := range []string{"one ", "two"} {
		w := call("PUT", fmt.Sprint(path, "/", n+1), text)
		if w.Code != 200 {
			t.Fatalf("part: %d %s", w.Code, w.Body)
		}
		parts = append(parts, w.Body.String())
	}
	if w := call("POST", path+"/complete", `{"parts":[{"partNumber":3,"etag":"x"}]}`); w.Code != 400 {
		t.Errorf("a part that is missing: %d", w.Code)
	}
	if w := call("POST", path+"/complete", `{"parts":[`+strings.Join(parts, ",")+`]}`); w.Code != 200 {
		t.Errorf("complete: %d %s", w.Code, w.Body)
	}
	w = call("GET", strings.TrimPrefix(began.FileURL, "http://fal.test"), "")
	if w.Body.String() != "one two" || w.Header().Get("Content-Type") != "video/mp4" {
		t.Errorf("the file is %q, %s", w.Body, w.Header().Get("Content-Type"))
	}
}
