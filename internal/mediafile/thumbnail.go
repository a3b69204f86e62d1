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
	// maxPixels is the largest picture that a thumbnail is made of: decoded, it takes four
	// bytes a pixel, whatever the file's own size.
	maxPixels = 25_000_000
)

// ErrNoThumbnail tells that a file is no picture that can be made smaller here.
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
	if c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels/c.Height {
		return nil, fmt.Errorf("%w: %d by %d pixels", ErrNoThumbnail, c.Width, c.Height)
	}
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
