package jobs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"gaff/internal/jsonscan"
	"gaff/internal/payload"
)

const (
	dataScheme = "data:"
	hashMark   = ";sha256="
	// maxDataLink is how long a "data:" link in a row may be.
	maxDataLink = 4 << 10
)

// ReadDataLink returns what a link holds that begins with "data:". The content type is as
// it says, and may be empty. It is read as browsers do: base64 may lack its padding, hold
// white space and escapes, or be of the alphabet for URLs, and a fragment may follow; a %
// that begins no escape stays.
func ReadDataLink(link string) (contentType string, data []byte, err error) {
	if !isDataLink(link) {
		return "", nil, errors.New("not a data: link")
	}
	head, body, ok := strings.Cut(link[len(dataScheme):], ",")
	if !ok {
		return "", nil, errors.New("the data: link has no comma")
	}
	contentType, encoded := cutBase64(head)
	if !encoded {
		return contentType, payload.Unpercent(body), nil
	}
	body, _, _ = strings.Cut(body, "#") // a fragment; no letter of base64
	if strings.Contains(body, "%") {
		body = string(payload.Unpercent(body))
	}
	if data, err = payload.Base64(body); err != nil {
		return "", nil, errors.New("the data: link is not base64")
	}
	return contentType, data, nil
}

// cutBase64 cuts the mark of base64 from a data: link's head.
func cutBase64(head string) (contentType string, encoded bool) {
	i := strings.LastIndexByte(head, ';')
	if i < 0 || !strings.EqualFold(strings.TrimSpace(head[i+1:]), "base64") {
		return strings.TrimSpace(head), false
	}
	return strings.TrimSpace(head[:i]), true
}

func isDataLink(link string) bool {
	return len(link) > len(dataScheme) && strings.EqualFold(link[:len(dataScheme)], dataScheme)
}

// shortLink replaces a data: link that is too long for a row:
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

// WholeLink finds the data: link in a result that a row's URL replaces.
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
func eachDataLink(doc json.RawMessage, yield func(link string) bool) {
	for s := (jsonscan.Scanner{Data: doc}); ; {
		from := bytes.IndexByte(doc[s.Pos:], '"') + s.Pos
		if from < s.Pos {
			return
		}
		s.Pos = from
		if !s.Text() {
			return
		}
		if raw := doc[from:s.Pos]; len(raw) > maxDataLink && mayHoldLink(raw) {
			if link := strings.TrimSpace(text(raw)); len(link) > maxDataLink && isDataLink(link) && !yield(link) {
				return
			}
		}
	}
}

// shorten keeps megabytes out of the rows of files: the job's result has the data: links anyway.
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
