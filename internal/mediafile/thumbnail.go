package mediafile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"

	"golang.org/x/image/draw"
)

const (
	// ThumbnailSide is the longer side of a thumbnail, in pixels.
	ThumbnailSide = 512
	// maxDecoded bounds, in bytes, the memory that decoders use for one picture at once; the
	// file's own size does not matter.
	maxDecoded = 200 << 20
)

// decoding is held while a picture is decoded: one at a time, so that the memory of many
// thumbnails is that of one.
var decoding = make(chan struct{}, 1)

// decodedSize estimates what decoding takes. Decoders hold a picture twice if it is
// interlaced, and the header does not say; of 16 bits a pixel takes eight bytes.
func decodedSize(c image.Config) int64 {
	perPixel := int64(4)
	switch c.ColorModel {
	case color.RGBA64Model, color.NRGBA64Model:
		perPixel = 8
	case color.Gray16Model:
		perPixel = 2
	}
	return 2 * perPixel * int64(c.Width) * int64(c.Height)
}

// ErrNoThumbnail means that the file is not a picture that can be scaled down here.
var ErrNoThumbnail = errors.New("no thumbnail can be made")

// Thumbnail makes a JPEG of at most ThumbnailSide pixels a side.
func Thumbnail(r io.ReaderAt, size int64) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil { // of a decoder
			data, err = nil, fmt.Errorf("%w: %v", ErrNoThumbnail, p)
		}
	}()
	c, _, err := image.DecodeConfig(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoThumbnail, err)
	}
	if c.Width <= 0 || c.Height <= 0 || int64(c.Width) > maxDecoded/int64(c.Height) || decodedSize(c) > maxDecoded {
		return nil, fmt.Errorf("%w: %d by %d pixels", ErrNoThumbnail, c.Width, c.Height)
	}
	decoding <- struct{}{}
	defer func() { <-decoding }()
	img, _, err := image.Decode(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoThumbnail, err)
	}
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	if longer := max(w, h); longer > ThumbnailSide {
		w, h = max(w*ThumbnailSide/longer, 1), max(h*ThumbnailSide/longer, 1)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	// JPEG has no transparency: what shows through is light grey.
	draw.Draw(small, small.Bounds(), image.NewUniform(color.Gray{0xee}), image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(small, small.Bounds(), img, img.Bounds(), draw.Over, nil)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: 82}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoThumbnail, err)
	}
	return out.Bytes(), nil
}
