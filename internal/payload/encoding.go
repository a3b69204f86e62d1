package payload

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Errors of [Unpack] and [Reader].
var (
	// ErrTooLarge: the unpacked bytes are over the limit.
	ErrTooLarge = errors.New("the unpacked body is over the limit")
	// ErrEncoding: packed in a way that is not read here.
	ErrEncoding = errors.New("not supported; gzip and deflate are")
)

// maxLayers bounds how often one body is unpacked.
const maxLayers = 3

// noops are values of Content-Encoding that name no compression. Storages hand back what an
// uploader wrote there.
var noops = []string{
	"", "identity", "none", "null", "plain", "text", "binary", "7bit", "8bit", "base64", "aws-chunked", "raw", "no", "false", "undefined",
}

// Encodings returns the compressions that the values of Content-Encoding name, in lower case
// and in the order in which they were applied. Names that compress nothing are left out:
// identity, what storages make up, and charsets.
func Encodings(values []string) (list []string) {
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			name = strings.ToLower(strings.Trim(name, " \t\"'"))
			if !slices.Contains(noops, name) && !KnownCharset(name) {
				list = append(list, strings.TrimPrefix(name, "x-"))
			}
		}
	}
	return list
}

// Packed reports whether a body is packed as its encodings say. Text is not, nor is what does
// not begin as gzip does: a proxy has unpacked it and left the header.
func Packed(encodings []string, body []byte) bool {
	if len(encodings) == 0 || isText(body) {
		return false
	}
	return encodings[len(encodings)-1] != "gzip" || strings.HasPrefix(string(body[:min(2, len(body))]), "\x1f\x8b")
}

// isText reports whether data is plain text.
func isText(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexFunc(data, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' }) < 0
}

// MaxUnpacked is the largest that a packed body can be unpacked, at most limit.
func MaxUnpacked(packed int, limit int64) int64 {
	const ratio = 1032 // of deflate
	return min(limit, int64(packed)*ratio+64)
}

// Unpack undoes encodings, which [Encodings] returned. The result has at most limit bytes. A
// body that is not [Packed] is returned as it is.
func Unpack(encodings []string, body []byte, limit int64) ([]byte, error) {
	if !Packed(encodings, body) {
		return body, nil
	}
	if len(encodings) > maxLayers {
		return nil, fmt.Errorf("%d encodings, at most %d are undone", len(encodings), maxLayers)
	}
	for _, name := range slices.Backward(encodings) {
		r, packed, err := Reader(name, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if !packed {
			return nil, fmt.Errorf("the body is not %s", name)
		}
		data, err := io.ReadAll(io.LimitReader(r, limit+1))
		switch {
		case int64(len(data)) > limit:
			return nil, ErrTooLarge
		case err != nil:
			return nil, fmt.Errorf("the body is not %s: %w", name, err)
		}
		body = data
	}
	return body, nil
}

// Reader undoes one encoding as it reads. packed is false if the bytes do not begin as that
// encoding does: r then reads them as they came.
func Reader(encoding string, from io.Reader) (r io.Reader, packed bool, err error) {
	head := bufio.NewReader(from)
	start, err := head.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch encoding {
	case "gzip":
		if string(start) != "\x1f\x8b" {
			return head, false, nil
		}
		zr, err := gzip.NewReader(head)
		if err != nil {
			return nil, true, fmt.Errorf("gzip: %w", err)
		}
		return zr, true, nil
	case "deflate":
		// zlib's format, says the standard; some senders leave its head out.
		if len(start) == 2 && start[0]&15 == 8 && (uint(start[0])<<8|uint(start[1]))%31 == 0 {
			zr, err := zlib.NewReader(head)
			if err != nil {
				return nil, true, fmt.Errorf("deflate: %w", err)
			}
			return zr, true, nil
		}
		return flate.NewReader(head), true, nil
	}
	return head, false, fmt.Errorf("%.20q is %w", encoding, ErrEncoding)
}
