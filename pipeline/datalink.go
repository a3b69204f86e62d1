package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

const (
	dataScheme = "data:"
	hashMark   = ";sha256="
	// maxDataLink is how long a "data:" link in a row may be.
	maxDataLink = 4 << 10
)

// ReadDataLink returns what a link holds that begins with "data:". The content type is as
// it says, and may be empty.
func ReadDataLink(link string) (contentType string, data []byte, err error) {
	if !isDataLink(link) {
		return "", nil, errors.New("the link is no data: link")
	}
	head, body, ok := strings.Cut(link[len(dataScheme):], ",")
	if !ok {
		return "", nil, errors.New("the data: link has no comma")
	}
	contentType, encoded := strings.CutSuffix(head, ";base64")
	if !encoded || strings.Contains(body, "%") {
		if body, err = url.PathUnescape(body); err != nil {
			return "", nil, errors.New("the data: link cannot be read")
		}
	}
	if !encoded {
		return contentType, []byte(body), nil
	}
	if data, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(body, "=")); err != nil {
		return "", nil, errors.New("the data: link is not base64")
	}
	return contentType, data, nil
}

func isDataLink(link string) bool {
	return len(link) > len(dataScheme) && strings.EqualFold(link[:len(dataScheme)], dataScheme)
}

// shortLink stands for a data: link that is too long for a row:
// "data:image/png;sha256=…", with the hash of what it holds. It has no comma, as each
// real one does.
func shortLink(link string) string {
	contentType, data, err := ReadDataLink(link)
	if err != nil {
		data = []byte(link)
	}
	if len(contentType) > 100 {
		contentType = ""
	}
	sum := sha256.Sum256(data)
	return dataScheme + contentType + hashMark + hex.EncodeToString(sum[:])
}

// Shortened reports whether a row's URL stands for a data: link that is in its job's
// result, where [WholeLink] finds it.
func (m *Media) Shortened() bool {
	head, hash, ok := strings.Cut(m.URL, hashMark)
	return ok && isDataLink(m.URL) && len(hash) == 2*sha256.Size && !strings.Contains(head, ",")
}

// WholeLink finds the data: link in a result that a row's URL stands for.
func WholeLink(result json.RawMessage, short string) (link string, ok bool) {
	eachDataLink(result, func(one string) bool {
		if ok = shortLink(one) == short; ok {
			link = one
		}
		return !ok
	})
	return link, ok
}

// eachDataLink calls yield for the long data: links in a JSON text.
func eachDataLink(text json.RawMessage, yield func(link string) bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return
		}
		if link, ok := token.(string); ok && len(link) > maxDataLink && isDataLink(link) && !yield(link) {
			return
		}
	}
}

// shorten keeps megabytes out of the rows of files: what is a data: link is in the job's
// result anyway.
func (u *Update) shorten() {
	long := false
	for i := range u.Files {
		long = long || len(u.Files[i].URL) > maxDataLink && isDataLink(u.Files[i].URL)
	}
	if !long {
		return
	}
	short := map[string]string{}
	eachDataLink(u.Result, func(link string) bool {
		short[link] = shortLink(link)
		return true
	})
	for i := range u.Files {
		if s := short[u.Files[i].URL]; s != "" {
			u.Files[i].URL = s
		}
	}
}
