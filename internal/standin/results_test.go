package standin_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff/internal/standin"
	"gaff/jobs"
)

func TestResultsHaveTheirModelsShape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		for model, want := range map[string]map[string]string{
			"fal-ai/veo3.1":                             {"/video": "generated-video"},
			"fal-ai/kling-video/v2.5-turbo/pro":         {"/video": "generated-video"},
			"fal-ai/wan-25-preview/text-to-video":       {"/video": "generated-video"},
			"fal-ai/ltx/webm":                           {"/video": "generated-video"},
			"fal-ai/nano-banana":                        {"/images/0": "generated-image"},
			"fal-ai/minimax/speech-02-hd":               {"/audio": "generated-audio"},
			"fal-ai/stable-audio":                       {"/audio": "generated-audio"},
			"fal-ai/demucs":                             {"/vocals": "generated-audio", "/drums": "generated-audio", "/bass": "generated-audio", "/other": "generated-audio"},
			"fal-ai/trellis":                            {"/model_mesh": "generated-model"},
			"fal-ai/flux-lora-fast-training":            {"/diffusers_lora_file": "generated-file", "/config_file": "generated-file"},
			"fal-ai/sam2/video":                         {"/video": "generated-video", "/boundingbox_frames_zip": "generated-file"},
			"fal-ai/whisper":                            {},
			"workflows/someone/flux-then-something/one": {"/images/0": "generated-image"},
		} {
			s := w.submit(model, `{"prompt":"a dog","text":"hello"}`)
			time.Sleep(5 * time.Second)
			code, _, result := w.call("GET", s.ResponseURL, "")
			files, _ := jobs.Files("fal", result, time.Now())
			if code != 200 || len(files) != len(want) {
				t.Errorf("%s: %d %s", model, code, result)
				continue
			}
			for _, f := range files {
				if kind := want[strings.TrimPrefix(f.Position, "fal:")]; kind != f.MediaType {
					t.Errorf("%s: %s is a %s, want %q", model, f.Position, f.MediaType, kind)
				}
				code, header, data := w.call("GET", f.URL, "")
				if code != 200 || len(data) == 0 || header.Get("Content-Type") == "" {
					t.Errorf("%s: file %s: %d, %d bytes", model, f.URL, code, len(data))
				}
				checkFile(t, header.Get("Content-Type"), data)
			}
		}
	})
}

// checkFile looks at the first bytes, and inside where that is easy; the players' view is
// that of the tests of what reads media.
func checkFile(t *testing.T, contentType string, data []byte) {
	magic := map[string]string{
		"image/png": "\x89PNG", "video/webm": "\x1aE\xdf\xa3", "audio/wav": "RIFF", "audio/ogg": "OggS", "model/gltf-binary": "glTF",
		"application/zip": "PK",
	}[contentType]
	if !bytes.HasPrefix(data, []byte(magic)) {
		t.Errorf("%s begins with %q", contentType, data[:8])
	}
	switch contentType {
	case "video/mp4":
		if string(data[4:8]) != "ftyp" {
			t.Errorf("mp4 begins with %q", data[:8])
		}
	case "application/zip":
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil || len(z.File) != 3 {
			t.Errorf("zip: %v", err)
		}
	}
}

func TestDataURI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standin.Options{})
		s := w.submit("fal-ai/flux", `{"prompt":"x","sync_mode":true,"output_format":"jpeg","image_size":"square"}`)
		time.Sleep(time.Minute)
		var result struct{ Images []struct{ URL string } }
		_, _, body := w.call("GET", s.ResponseURL, "")
		if err := json.Unmarshal(body, &result); err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(result.Images[0].URL, "data:image/jpeg;base64,")
		data, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("%.60s: %v", result.Images[0].URL, err)
		}
		if img, format, err := image.Decode(bytes.NewReader(data)); err != nil || format != "jpeg" || img.Bounds().Dx() != 512 {
			t.Errorf("%s, %v", format, err)
		}
	})
}

func TestFileFaults(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{Work: -1, Queue: -1})
	t.Cleanup(f.Close)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	link := func(fault string) string {
		req, _ := http.NewRequest("POST", srv.URL+"/fal-ai/veo3.1", strings.NewReader(`{"prompt":"x","standin":{"fault":"`+fault+`"}}`))
		req.Header.Set("Authorization", "Key k")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var s submitted
		_ = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		req, _ = http.NewRequest("GET", s.ResponseURL, nil)
		req.Header.Set("Authorization", "Key k")
		if resp, err = client.Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var r struct{ Video struct{ URL string } }
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r.Video.URL
	}
	for fault, check := range map[string]func(*http.Response, []byte, error) bool{
		"file-gone": func(r *http.Response, _ []byte, _ error) bool { return r.StatusCode == 410 },
		"file-cut":  func(r *http.Response, data []byte, err error) bool { return err != nil && len(data) > 0 },
		"file-redirect": func(r *http.Response, _ []byte, _ error) bool {
			return r.StatusCode == 302 && strings.HasPrefix(r.Header.Get("Location"), "/files/")
		},
		"file-escape": func(r *http.Response, _ []byte, _ error) bool {
			return r.StatusCode == 302 && strings.Contains(r.Header.Get("Location"), "169.254.169.254")
		},
	} {
		resp, err := client.Get(link(fault))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !check(resp, data, err) {
			t.Errorf("%s: %s, %d bytes, %v", fault, resp.Status, len(data), err)
		}
	}
	// A whole one can be asked for in parts.
	req, _ := http.NewRequest("GET", link(""), nil)
	req.Header.Set("Range", "bytes=4-7")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, _ := io.ReadAll(resp.Body); resp.StatusCode != 206 || string(data) != "ftyp" {
		t.Errorf("range: %s %q", resp.Status, data)
	}
}

// Pages read files and upload them, from any origin; the rest is for pages of this
// machine.
func TestPagesReadStandins(t *testing.T) {
	t.Parallel()
	f := standin.NewFal(standin.Options{URL: "http://fal.test", Key: "k"})
	defer f.Close()
	l := standin.NewLastFrame("secret", standin.Options{URL: "http://lf.test"})
	defer l.Close()
	for name, c := range map[string]struct {
		host         http.Handler
		path, origin string
		status       int
		allowed      bool
	}{
		"an upload":               {f, "/upload/x.png", "https://app.example.com", 204, true},
		"a file":                  {f, "/files/b/lion/x.png", "https://app.example.com", 204, true},
		"a file of Last Frame":    {l, "/files/b/lion/x.png", "http://127.0.0.1:3001", 204, true},
		"a local page's submit":   {f, "/fal-ai/flux/dev", "http://localhost:3001", 204, true},
		"another page's submit":   {f, "/fal-ai/flux/dev", "https://evil.example", 401, false},
		"a name that looks local": {f, "/fal-ai/flux/dev", "https://localhost.evil.example", 401, false},
	} {
		r := httptest.NewRequest("OPTIONS", c.path, nil)
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Access-Control-Request-Method", "PUT")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
		w := httptest.NewRecorder()
		c.host.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.status || (got == c.origin) != c.allowed {
			t.Errorf("%s is answered %d, for %q", name, w.Code, got)
		}
		if c.allowed && (!strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "PUT") || w.Header().Get("Access-Control-Allow-Headers") != "content-type") {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}
