package standin

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// The clips and tones were made for this purpose: two seconds of moving colours, 320 by
// 180 at 12 frames a second, and a tone of 330 Hz.
//
//go:embed samples
var samples embed.FS

// file is one that a stand-in serves. Its address describes it completely, so nothing is
// kept and the same address has the same bytes in every run.
type file struct {
	Kind    string `json:"k"` // image, clip, tone, mesh, frames, weights, config
	Format  string `json:"f"` // the extension
	Width   int    `json:"w,omitempty"`
	Height  int    `json:"h,omitempty"`
	Seed    uint64 `json:"s"`
	Caption string `json:"c,omitempty"`
	Fault   Fault  `json:"x,omitempty"`
}

var animals = []string{"lion", "zebra", "koala", "panda", "tiger", "rabbit", "elephant", "penguin", "kangaroo", "monkey"}

// path has the form of fal's own, "/files/b/lion/….png".
func (f *file) path() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // plain fields
	}
	return "/files/b/" + animals[f.Seed%uint64(len(animals))] + "/" + base64.RawURLEncoding.EncodeToString(text) + "." + f.Format
}

func parseFile(path string) (*file, bool) {
	name := path[strings.LastIndexByte(path, '/')+1:]
	name, _, _ = strings.Cut(name, ".")
	text, err := base64.RawURLEncoding.DecodeString(name)
	f := &file{}
	if err != nil || json.Unmarshal(text, f) != nil || f.Width > 2048 || f.Height > 2048 || f.Width < 0 || f.Height < 0 {
		return nil, false
	}
	return f, contentTypes[f.Format] != ""
}

var contentTypes = map[string]string{
	"png": "image/png", "jpeg": "image/jpeg", "mp4": "video/mp4", "webm": "video/webm", "mp3": "audio/mpeg", "wav": "audio/wav",
	"ogg": "audio/ogg", "glb": "model/gltf-binary", "zip": "application/zip", "safetensors": "application/octet-stream",
	"json": "application/json",
}

func (f *file) contentType() string { return contentTypes[f.Format] }

func serveFile(w http.ResponseWriter, r *http.Request) {
	f, ok := parseFile(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	clean := *f
	clean.Fault = ""
	switch f.Fault {
	case FileGone:
		http.Error(w, "expired", http.StatusGone)
		return
	case FileRedirect:
		http.Redirect(w, r, clean.path(), http.StatusFound)
		return
	case FileEscape:
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		return
	default: // the others are about the bytes, below
	}
	data := f.bytes()
	w.Header().Set("Content-Type", f.contentType())
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	switch {
	case f.Fault == FileCut && r.Header.Get("Range") == "":
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	case f.Fault == FileSlow:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		for len(data) > 0 {
			n := min(256, len(data))
			if _, err := w.Write(data[:n]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			data = data[n:]
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// bytes makes the file.
func (f *file) bytes() []byte {
	switch f.Kind {
	case "image":
		return f.paint()
	case "clip":
		data, _ := samples.ReadFile("samples/clip." + f.Format)
		note := fmt.Sprintf("%s (%d)", f.Caption, f.Seed)
		if f.Format == "webm" {
			// An EBML Void element after the segment: players skip it.
			return append(append(data, 0xec, byte(0x40|len(note)>>8), byte(len(note))), note...)
		}
		box := binary.BigEndian.AppendUint32(nil, uint32(8+len(note)))
		return append(append(append(data, box...), "free"...), note...)
	case "tone":
		if f.Format == "wav" {
			return f.wave()
		}
		data, _ := samples.ReadFile("samples/tone." + f.Format)
		return data
	case "mesh":
		return f.mesh()
	case "frames":
		return f.frames()
	case "config":
		text, _ := json.Marshal(map[string]any{"trigger_word": f.Caption, "seed": f.Seed, "rank": 16})
		return text
	default:
		r := rand.New(rand.NewPCG(f.Seed, 1))
		data := make([]byte, 4096)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		// The head of the safetensors format: its length, then JSON.
		head := `{"__metadata__":{"format":"pt"}}`
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), data...)
	}
}

// paint makes a picture of soft waves whose colours and shapes come from the seed and the
// caption, with the caption written below.
func (f *file) paint() []byte {
	w, h := max(f.Width, 16), max(f.Height, 16)
	var words uint64 = 14695981039346656037
	for _, b := range []byte(f.Caption) {
		words = (words ^ uint64(b)) * 1099511628211
	}
	r := rand.New(rand.NewPCG(f.Seed, words))
	const shades = 128
	palette := make(color.Palette, shades, shades+2)
	from, to, third := hue(r.Float64()), hue(r.Float64()), hue(r.Float64())
	for i := range palette {
		t := float64(i) / (shades - 1)
		a, b, u := from, to, t*2
		if t > 0.5 {
			a, b, u = to, third, t*2-1
		}
		mix := func(k int) uint8 { return uint8(a[k]*(1-u) + b[k]*u) }
		palette[i] = color.RGBA{mix(0), mix(1), mix(2), 255}
	}
	palette = append(palette, color.RGBA{20, 20, 24, 255}, color.RGBA{245, 245, 240, 255})
	img := image.NewPaletted(image.Rect(0, 0, w, h), palette)
	column := make([]float64, w)
	fx, fy, fd := 2+r.Float64()*6, 2+r.Float64()*6, 1+r.Float64()*4
	px, py, pd := r.Float64()*7, r.Float64()*7, r.Float64()*7
	for x := range column {
		column[x] = math.Sin(fx*float64(x)/float64(w) + px)
	}
	diagonal := make([]float64, w+h)
	for i := range diagonal {
		diagonal[i] = math.Sin(fd*float64(i)/float64(w) + pd)
	}
	for y := range h {
		row := math.Sin(fy*float64(y)/float64(h) + py)
		for x := range w {
			v := (column[x] + row + diagonal[x+y] + 3) / 6
			img.Pix[y*img.Stride+x] = uint8(v * (shades - 1))
		}
	}
	if h >= 64 && f.Caption != "" {
		strip := image.Rect(0, h-24, w, h)
		draw.Draw(img, strip, image.NewUniform(palette[shades]), image.Point{}, draw.Src)
		d := font.Drawer{Dst: img, Src: image.NewUniform(palette[shades+1]), Face: basicfont.Face7x13, Dot: fixed.P(8, h-8)}
		d.DrawString(f.Caption)
	}
	var out bytes.Buffer
	if f.Format == "jpeg" {
		_ = jpeg.Encode(&out, img, &jpeg.Options{Quality: 85})
	} else {
		_ = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, img)
	}
	return out.Bytes()
}

// hue is a full colour at a place of the circle.
func hue(at float64) [3]float64 {
	part := func(shift float64) float64 { return 255 * (0.55 + 0.4*math.Cos(2*math.Pi*(at+shift))) }
	return [3]float64{part(0), part(1.0 / 3), part(2.0 / 3)}
}

// wave is two seconds of a tone, 8 kHz, 8 bits, one channel.
func (f *file) wave() []byte {
	const rate, seconds = 8000, 2
	data := make([]byte, rate*seconds)
	pitch := 220 + float64(f.Seed%440)
	for i := range data {
		data[i] = uint8(128 + 60*math.Sin(2*math.Pi*pitch*float64(i)/rate))
	}
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, uint32(36+len(data)))
	b.WriteString("WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate), uint32(rate), uint16(1), uint16(8)} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(data)))
	b.Write(data)
	return b.Bytes()
}

// mesh is a glTF binary of one triangle.
func (f *file) mesh() []byte {
	var points []byte
	for _, v := range []float32{0, 0, 0, 1, 0, 0, 0.5, 1, 0} {
		points = binary.LittleEndian.AppendUint32(points, math.Float32bits(v))
	}
	scene := fmt.Appendf(nil, `{"asset":{"version":"2.0","extras":{"seed":"%d"}},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"mesh":0}],`+
		`"meshes":[{"primitives":[{"attributes":{"POSITION":0}}]}],"buffers":[{"byteLength":36}],"bufferViews":[{"buffer":0,"byteLength":36}],`+
		`"accessors":[{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}]}`, f.Seed)
	for len(scene)%4 != 0 {
		scene = append(scene, ' ')
	}
	b := append([]byte("glTF"), 2, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(12+8+len(scene)+8+len(points)))
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(scene))), "JSON"...)
	b = append(b, scene...)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(points))), "BIN\x00"...)
	return append(b, points...)
}

// frames is a zip of three small pictures.
func (f *file) frames() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 3 {
		w, err := z.Create(fmt.Sprintf("frame_%03d.png", i))
		if err == nil {
			picture := file{Kind: "image", Format: "png", Width: 64, Height: 36, Seed: f.Seed + uint64(i)}
			_, err = w.Write(picture.bytes())
		}
		if err != nil {
			panic(err) // into memory
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
