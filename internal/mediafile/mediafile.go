// Package mediafile reads a file's properties from its own bytes: its content type, the
// size of a picture, the size and duration of a film, the duration of a sound. It
// reads heads and tables, never the whole file, and takes every byte for hostile: what it
// does not understand it leaves out.
package mediafile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"strings"

	_ "image/gif"  // decoders for DecodeConfig and Thumbnail
	_ "image/jpeg" //
	_ "image/png"  //

	"github.com/abema/go-mp4"
	"github.com/gabriel-vasile/mimetype"
	_ "golang.org/x/image/bmp"  //
	_ "golang.org/x/image/tiff" //
	_ "golang.org/x/image/webp" //
)

// Info holds the properties that a file's own bytes show. Zero fields are unknown.
type Info struct {
	// ContentType is never empty: "application/octet-stream" for an unrecognised file.
	ContentType string
	// Extension belongs to the content type, with its dot; may be empty.
	Extension     string
	Width, Height int     // pixels, as shown
	Duration      float64 // seconds
}

const (
	// headSize is as much as the recognition of types looks at.
	headSize = 3072
	// maxSteps bounds the walk through a container's parts.
	maxSteps = 20_000
	// maxDuration is longer than anything real, in seconds.
	maxDuration = 30 * 24 * 3600
)

// Probe reads a file of a size. It fails only where r does.
func Probe(r io.ReaderAt, size int64) (info Info, err error) {
	head := make([]byte, min(size, headSize))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return info, fmt.Errorf("read the head: %w", err)
	}
	kind := mimetype.Detect(head)
	info.ContentType, _, _ = strings.Cut(kind.String(), ";")
	info.Extension = kind.Extension()
	if known := magic(info.ContentType, head); known != info.ContentType {
		info.ContentType, info.Extension = known, ""
	}
	defer func() {
		// A parser that stumbles over a hostile file costs the facts, not the process.
		if p := recover(); p != nil {
			info = Info{ContentType: info.ContentType, Extension: info.Extension}
		}
	}()
	f := &reader{ReaderAt: r, size: size}
	switch t := info.ContentType; {
	case strings.HasPrefix(t, "image/"):
		info.picture(f)
	case t == "video/mp4" || t == "audio/mp4" || t == "video/quicktime" || t == "audio/x-m4a" || t == "video/x-m4v" || t == "video/3gpp":
		info.mp4(f)
	case t == "video/webm" || t == "video/x-matroska" || t == "audio/webm":
		info.webm(f)
	case t == "audio/mpeg":
		info.mp3(f)
	case t == "audio/wav":
		info.wav(f)
	case t == "audio/flac":
		info.flac(f)
	case strings.HasSuffix(t, "/ogg"):
		info.ogg(f, head)
	}
	if info.Duration < 0 || info.Duration > maxDuration || math.IsNaN(info.Duration) {
		info.Duration = 0
	}
	// A third digit after the point is all that players show.
	info.Duration = math.Round(info.Duration*1000) / 1000
	return info, nil
}

// reader reads parts of a file; beyond its end there are errors, never short parts.
type reader struct {
	io.ReaderAt
	size int64
}

var errBeyond = errors.New("beyond the end")

func (f *reader) at(offset int64, n int) ([]byte, error) {
	if offset < 0 || n < 0 || int64(n) > f.size || offset > f.size-int64(n) {
		return nil, errBeyond
	}
	b := make([]byte, n)
	if got, err := f.ReadAt(b, offset); got < n {
		return nil, err
	}
	return b, nil
}

func (info *Info) picture(f *reader) {
	c, _, err := image.DecodeConfig(io.NewSectionReader(f, 0, f.size))
	if err == nil && c.Width > 0 && c.Height > 0 {
		info.Width, info.Height = c.Width, c.Height
	}
}

// mp4 reads the tables of an ISO base media file: MP4, QuickTime, M4A.
func (info *Info) mp4(f *reader) {
	steps := 0
	var scale uint32
	_, _ = mp4.ReadBoxStructure(io.NewSectionReader(f, 0, f.size), func(h *mp4.ReadHandle) (any, error) {
		if steps++; steps > maxSteps || len(h.Path) > 8 {
			return nil, errBeyond
		}
		switch h.BoxInfo.Type.String() {
		case "moov", "trak", "mvex":
			return h.Expand()
		case "mvhd", "tkhd", "mehd":
		default:
			return nil, nil
		}
		if h.BoxInfo.Size > 1024 {
			return nil, nil // these have some hundred bytes
		}
		box, _, err := h.ReadPayload()
		if err != nil {
			return nil, err
		}
		switch box := box.(type) {
		case *mp4.Mvhd:
			if scale = box.Timescale; scale > 0 {
				info.Duration = float64(box.GetDuration()) / float64(scale)
			}
		case *mp4.Mehd: // of films in fragments, whose mvhd says nothing
			if scale > 0 && info.Duration == 0 {
				info.Duration = float64(box.GetFragmentDuration()) / float64(scale)
			}
		case *mp4.Tkhd:
			w, h := int(box.Width>>16), int(box.Height>>16)
			if box.Matrix[0] == 0 && box.Matrix[1] != 0 { // turned by a quarter
				w, h = h, w
			}
			if w*h > info.Width*info.Height {
				info.Width, info.Height = w, h
			}
		}
		return nil, nil
	})
	if info.Width == 0 && info.ContentType == "video/mp4" && info.Duration > 0 {
		info.ContentType, info.Extension = "audio/mp4", ".m4a"
	}
}

// Elements of EBML that are looked into or read.
const (
	ebmlSegment  = 0x18538067
	ebmlInfo     = 0x1549A966
	ebmlScale    = 0x2AD7B1
	ebmlDuration = 0x4489
	ebmlTracks   = 0x1654AE6B
	ebmlTrack    = 0xAE
	ebmlVideo    = 0xE0
	ebmlWidth    = 0xB0
	ebmlHeight   = 0xBA
	ebmlCluster  = 0x1F43B675
)

// webm walks the elements of Matroska down to what says length and measures.
func (info *Info) webm(f *reader) {
	scale, length := 1e6, 0.0 // nanoseconds; ticks
	steps := 0
	var walk func(from, to int64) bool
	walk = func(from, to int64) (more bool) {
		for from < to {
			if steps++; steps > maxSteps {
				return false
			}
			id, n, ok := f.vint(from, 4, false)
			if !ok {
				return false
			}
			size, m, ok := f.vint(from+n, 8, true)
			if !ok {
				return false
			}
			body := from + n + m
			end := body + size
			if size < 0 || end > to || end < body { // unknown, or cut off
				end = to
			}
			switch id {
			case ebmlSegment, ebmlInfo, ebmlTracks, ebmlTrack, ebmlVideo:
				if !walk(body, end) {
					return false
				}
			case ebmlScale:
				scale = float64(f.uint(body, end))
			case ebmlDuration:
				length = f.float(body, end)
			case ebmlWidth:
				info.Width = int(min(f.uint(body, end), 1<<20))
			case ebmlHeight:
				info.Height = int(min(f.uint(body, end), 1<<20))
			case ebmlCluster:
				if length > 0 || size < 0 {
					return false // the rest is pictures and sounds
				}
			}
			from = end
		}
		return true
	}
	walk(0, f.size)
	info.Duration = length * scale / 1e9
	if info.Width == 0 && info.ContentType == "video/webm" && info.Duration > 0 {
		info.ContentType = "audio/webm"
	}
}

// vint reads EBML's numbers of varying length. Sizes lose their marker bit; -1 is the
// unknown size.
func (f *reader) vint(at int64, most int, size bool) (value, n int64, ok bool) {
	first, err := f.at(at, 1)
	if err != nil || first[0] == 0 {
		return 0, 0, false
	}
	length := 1
	for mask := byte(0x80); first[0]&mask == 0; mask >>= 1 {
		length++
	}
	if length > most {
		return 0, 0, false
	}
	b, err := f.at(at, length)
	if err != nil {
		return 0, 0, false
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	if size {
		v &^= 1 << (7 * length)
		if v == 1<<(7*length)-1 {
			return -1, int64(length), true
		}
	}
	return int64(v), int64(length), true
}

func (f *reader) uint(from, to int64) uint64 {
	b, err := f.at(from, int(min(to-from, 8)))
	if err != nil {
		return 0
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func (f *reader) float(from, to int64) float64 {
	switch b, err := f.at(from, int(min(to-from, 8))); {
	case err == nil && len(b) == 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case err == nil && len(b) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (info *Info) wav(f *reader) {
	var rate uint32
	for at, steps := int64(12), 0; steps < 1000; steps++ {
		head, err := f.at(at, 8)
		if err != nil {
			return
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if b, err := f.at(at+8, 16); err == nil {
				rate = binary.LittleEndian.Uint32(b[8:])
			}
		case "data":
			if rate > 0 {
				// A stream's header claims more bytes than the file has.
				info.Duration = float64(min(size, f.size-at-8)) / float64(rate)
			}
			return
		}
		at += 8 + size + size%2
	}
}

func (info *Info) flac(f *reader) {
	b, err := f.at(8, 34) // after "fLaC" and the head of STREAMINFO
	if err != nil {
		return
	}
	rate := binary.BigEndian.Uint32(b[10:]) >> 12
	samples := binary.BigEndian.Uint64(b[10:]) & (1<<36 - 1)
	if rate > 0 {
		info.Duration = float64(samples) / float64(rate)
	}
}

// ogg takes the length from the last page: it counts the samples before it.
func (info *Info) ogg(f *reader, head []byte) {
	var rate, skip float64
	if i := bytes.Index(head, []byte("\x01vorbis")); i >= 0 && len(head) >= i+16 {
		rate = float64(binary.LittleEndian.Uint32(head[i+12:]))
	} else if i := bytes.Index(head, []byte("OpusHead")); i >= 0 && len(head) >= i+12 {
		rate, skip = 48000, float64(binary.LittleEndian.Uint16(head[i+10:]))
	}
	tail, err := f.at(max(0, f.size-128<<10), int(min(f.size, 128<<10)))
	i := bytes.LastIndex(tail, []byte("OggS"))
	if err != nil || rate == 0 || i < 0 || len(tail) < i+14 {
		return
	}
	granule := int64(binary.LittleEndian.Uint64(tail[i+6:]))
	info.Duration = max(float64(granule)-skip, 0) / rate
	if info.ContentType == "application/ogg" || info.ContentType == "video/ogg" && !bytes.Contains(head, []byte("theora")) {
		info.ContentType, info.Extension = "audio/ogg", ".ogg"
	}
}

// Bit rates of layers III in kbit/s, of MPEG 1 and of 2 and 2.5; and rates of samples.
var (
	mp3Rates   = [2][15]int{{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}, {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}}
	mp3Samples = [4][3]int{{11025, 12000, 8000}, {}, {22050, 24000, 16000}, {44100, 48000, 32000}}
)

// mp3 takes the length from the table that encoders put into the first frame, else from
// the first frame's bit rate.
func (info *Info) mp3(f *reader) {
	at := int64(0)
	for range 4 { // tags may follow one another
		head, err := f.at(at, 10)
		if err != nil || string(head[:3]) != "ID3" {
			break
		}
		at += 10 + (int64(head[6]&127)<<21 | int64(head[7]&127)<<14 | int64(head[8]&127)<<7 | int64(head[9]&127))
	}
	b, err := f.at(at, int(min(max(f.size-at, 0), 64<<10)))
	if err != nil {
		return
	}
	for i := 0; i+4 <= len(b); i++ {
		h := binary.BigEndian.Uint32(b[i:])
		version, layer := h>>19&3, h>>17&3
		rate, samples := h>>12&15, h>>10&3
		if h>>21 != 0x7ff || version == 1 || layer != 1 || rate == 0 || rate == 15 || samples == 3 {
			continue
		}
		table, perFrame, side := 0, 1152, 32
		if version != 3 {
			table, perFrame, side = 1, 576, 17
		}
		if h>>6&3 == 3 { // one channel
			side = map[int]int{32: 17, 17: 9}[side]
		}
		frequency := mp3Samples[version][samples]
		frames := uint32(0)
		if x := i + 4 + side; len(b) >= x+12 && (string(b[x:x+4]) == "Xing" || string(b[x:x+4]) == "Info") && b[x+7]&1 == 1 {
			frames = binary.BigEndian.Uint32(b[x+8:])
		} else if x := i + 36; len(b) >= x+18 && string(b[x:x+4]) == "VBRI" {
			frames = binary.BigEndian.Uint32(b[x+14:])
		}
		if frames > 0 {
			info.Duration = float64(frames) * float64(perFrame) / float64(frequency)
		} else {
			info.Duration = float64(f.size-at-int64(i)) * 8 / float64(mp3Rates[table][rate]*1000)
		}
		return
	}
}
