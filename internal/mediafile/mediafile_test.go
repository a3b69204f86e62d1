package mediafile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The durations are those that ffprobe reports.
func TestProbe(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]Info{
		"../standin/samples/clip.mp4":  {ContentType: "video/mp4", Width: 320, Height: 180, Duration: 2},
		"../standin/samples/clip.webm": {ContentType: "video/webm", Width: 320, Height: 180, Duration: 2},
		"../standin/samples/tone.mp3":  {ContentType: "audio/mpeg", Duration: 2.064},
		"../standin/samples/tone.ogg":  {ContentType: "audio/ogg", Duration: 2},
		"testdata/fragmented.mp4":      {ContentType: "video/mp4", Width: 64, Height: 48},
		"testdata/turned.mov":          {ContentType: "video/quicktime", Width: 48, Height: 64, Duration: 1},
		"testdata/sound.m4a":           {ContentType: "audio/x-m4a", Duration: 1.25},
		"testdata/sound.flac":          {ContentType: "audio/flac", Duration: 1.25},
		"testdata/sound.opus.ogg":      {ContentType: "audio/ogg", Duration: 1.25},
		"testdata/sound.webm":          {ContentType: "audio/webm", Duration: 1.258},
		"testdata/variable.mp3":        {ContentType: "audio/mpeg", Duration: 3.03},
		"testdata/constant.mp3":        {ContentType: "audio/mpeg", Duration: 3.03},
		"testdata/picture.webp":        {ContentType: "image/webp", Width: 40, Height: 30},
		"testdata/picture.gif":         {ContentType: "image/gif", Width: 40, Height: 30},
		"testdata/picture.tiff":        {ContentType: "image/tiff", Width: 40, Height: 30},
	} {
		data := read(t, path)
		got, err := Probe(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got.Extension == "" {
			t.Errorf("%s: no extension", path)
		}
		got.Extension = ""
		if math.Abs(got.Duration-want.Duration) > 0.05 {
			t.Errorf("%s: %v s, want %v", path, got.Duration, want.Duration)
		}
		got.Duration = want.Duration
		if got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestProbeOfOtherThings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "text/plain",
		"hello":                   "text/plain",
		"<!doctype html><script>": "text/html",
		`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`: "image/svg+xml",
		"glTF\x02\x00\x00\x00":             "model/gltf-binary",
		"\x00\x01\x02\x03\x04":             "application/octet-stream",
		`{"a":1}`:                          "application/json",
		"ply\nformat ascii 1.0\n":          "model/ply",
		"Kaydara FBX Binary  \x00\x1a\x00": "model/fbx",
		"PXR-USDC\x00\x00":                 "model/vnd.usd",
		"WEBVTT\n\n00:00":                  "text/vtt",
		"PK\x03\x04\x0a\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 16) + "\x06\x00\x00\x00a.usdc": "model/vnd.usdz+zip",
		"PK\x03\x04\x0a\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 16) + "\xff\xff\x00\x00a.usdc": "application/zip",
	} {
		got, err := Probe(strings.NewReader(text), int64(len(text)))
		if err != nil || got.ContentType != want {
			t.Errorf("%q: %s %v, want %s", text, got.ContentType, err, want)
		}
	}
	if _, err := Probe(broken{}, 100); err == nil {
		t.Error("Probe of an unreadable file returned no error")
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	const octets, plain, zipped = "application/octet-stream", "text/plain", "application/zip"
	for _, c := range []struct {
		sniffed     string
		said, names []string
		want        string
	}{
		{"image/png", []string{"model/obj"}, []string{"a.obj"}, "image/png"},
		{zipped, []string{"", "Model/vnd.USDZ+zip; a=b"}, nil, "model/vnd.usdz+zip"},
		{zipped, []string{"application/octet-stream"}, []string{"a.usdz"}, "model/vnd.usdz+zip"},
		{zipped, []string{"application/x-thing"}, []string{"a.obj"}, zipped},
		{zipped, []string{"application/epub+zip"}, nil, "application/epub+zip"},
		{plain, []string{"text/plain", "text/plain"}, []string{"", "e.obj"}, "model/obj"},
		{plain, []string{"model/mtl"}, []string{"a.obj"}, "model/mtl"},
		{plain, []string{"text/vtt"}, nil, "text/vtt"},
		{plain, []string{"text/html", "image/svg+xml", "application/javascript", "text/xml"}, []string{"a.html"}, plain},
		{plain, []string{"image/png", "video/mp4"}, []string{"a.png"}, plain},
		{"application/json", []string{"application/json"}, []string{"a.gltf"}, "model/gltf+json"},
		{"application/json", []string{"application/x-thing"}, nil, "application/json"},
		{octets, []string{"application/x-weights"}, []string{"a.fbx"}, "application/x-weights"},
		{octets, []string{"binary/octet-stream", "image/png"}, []string{"A.FBX"}, "model/fbx"},
		{octets, []string{"audio/pcm"}, nil, "audio/pcm"},
		{octets, []string{"application/pdf", "application/xhtml+xml", "no type"}, nil, octets},
		{"text/html", []string{"model/obj"}, []string{"a.obj"}, "text/html"},
	} {
		if got := Kind(c.sniffed, c.said, c.names); got != c.want {
			t.Errorf("%s said to be %q, called %q: %s, want %s", c.sniffed, c.said, c.names, got, c.want)
		}
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

// Every prefix of a file, and the file with each byte of its head spoiled, must leave the
// process alive; the fuzz test goes on from here.
func TestProbeDamaged(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t) {
		data := read(t, path)
		for n := 0; n < len(data); n += 1 + n/20 {
			_, _ = Probe(bytes.NewReader(data[:n]), int64(n))
		}
		for i := range min(len(data), 600) {
			damaged := bytes.Clone(data)
			damaged[i] ^= 0xff
			_, _ = Probe(bytes.NewReader(damaged), int64(len(damaged)))
		}
	}
}

func samples(t testing.TB) []string {
	own, err := filepath.Glob("testdata/*.*")
	if err != nil || len(own) == 0 {
		t.Fatal("no samples", err)
	}
	others, _ := filepath.Glob("../standin/samples/*")
	return append(own, others...)
}

func FuzzProbe(f *testing.F) {
	for _, path := range samples(f) {
		f.Add(read(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Probe(bytes.NewReader(data), int64(len(data)))
		if err != nil || info.ContentType == "" || info.Width < 0 || info.Height < 0 || info.Duration < 0 || info.Duration > maxDuration {
			t.Errorf("%+v %v", info, err)
		}
	})
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	encode := func(w, h int) []byte {
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		for i := range img.Pix {
			img.Pix[i] = 0xff
		}
		img.Set(0, 0, color.RGBA{})
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct{ w, h, tw, th int }{{2048, 1024, 512, 256}, {30, 700, 21, 512}, {100, 50, 100, 50}, {3000, 1, 512, 1}} {
		data := encode(c.w, c.h)
		small, err := Thumbnail(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		got, format, err := image.DecodeConfig(bytes.NewReader(small))
		if err != nil || format != "jpeg" || got.Width != c.tw || got.Height != c.th {
			t.Errorf("%dx%d became %s %dx%d, want %dx%d", c.w, c.h, format, got.Width, got.Height, c.tw, c.th)
		}
	}
	// A bomb: a small file that says it is a huge picture.
	bomb := encode(1, 1)
	binary.BigEndian.PutUint32(bomb[16:], 100_000)
	binary.BigEndian.PutUint32(bomb[20:], 100_000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	if c, err := png.DecodeConfig(bytes.NewReader(bomb)); err != nil || c.Width != 100_000 {
		t.Fatalf("the bomb does not tick: %v", err)
	}
	clip := read(t, "../standin/samples/clip.mp4")
	for name, data := range map[string][]byte{"bomb": bomb, "film": clip, "nothing": nil, "cut": encode(64, 64)[:60]} {
		if _, err := Thumbnail(bytes.NewReader(data), int64(len(data))); !errors.Is(err, ErrNoThumbnail) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
