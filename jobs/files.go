package jobs

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gaff/internal/jsonpointer"
	"gaff/internal/jsonscan"
)

const (
	maxFiles     = 1000
	maxFileDepth = 32
	maxMetadata  = 32 // fields of one file
)

// Files walks a provider's result and returns the files in it: every object with a
// "url", and every text under a name that ends in "_url", or in a map whose name ends in
// "_urls", if it is a link. Names may be written as imageUrl, too. A picture of a file, such
// as the "poster" beside its "url", is a file as well; addresses of pages, streams and APIs
// are not. provider and the JSON pointer make the position, such as "acme:/images/0"; at is
// the metadata's generatedAt.
//
// The other plain fields of a file's object are its metadata, numbers as written. A
// result that is not valid JSON has no files. Files returns the first 1,000 files; total
// counts them all, for [Update].FilesTotal.
func Files(provider string, result json.RawMessage, at time.Time) (files []Media, total int) {
	w := fileWalk{provider: provider, at: at.UTC().Format(time.RFC3339Nano)}
	return w.walk(result, "", false)
}

// FilesOf is [Files] for a value that is known to be the output: every link in it is a file,
// under any name, unless it is that of a page, a stream or an API. pointer is the value's
// place in the body.
func FilesOf(provider string, output json.RawMessage, pointer string, at time.Time) (files []Media, total int) {
	w := fileWalk{provider: provider, at: at.UTC().Format(time.RFC3339Nano), links: true, path: []byte(pointer)}
	return w.walk(output, pointer[strings.LastIndexByte(pointer, '/')+1:], true)
}

type fileWalk struct {
	provider, at string
	links        bool   // every link is a file
	path         []byte // the JSON pointer of the current value
	files        []Media
	total        int
}

func (w *fileWalk) walk(doc []byte, name string, link bool) (files []Media, total int) {
	if doc = bytes.TrimSpace(doc); jsonscan.Valid(doc) {
		w.value(doc, name, link, 0)
	}
	return w.files, w.total
}

// value looks at one value of a valid document. name is the member that it belongs to; link
// reports that a text here is a link.
func (w *fileWalk) value(raw []byte, name string, link bool, depth int) {
	if depth > maxFileDepth {
		return
	}
	switch raw[0] {
	case '{':
		w.object(raw, name, depth)
	case '[':
		inURLs, i, end := link || strings.HasSuffix("_"+snake(name), "_urls"), int64(0), len(w.path)
		_ = jsonscan.Items(raw, func(item []byte) error {
			if mayHoldLink(item) {
				w.path = strconv.AppendInt(append(w.path[:end], '/'), i, 10)
				w.value(item, name, inURLs, depth+1)
			}
			i++
			return nil
		})
		w.path = w.path[:end]
	case '"':
		if !link && !w.links {
			return
		}
		if url := linkIn(raw); url != "" && !isStream(url) && !isPage(name) && w.count() {
			w.add(url, name, "", 0, nil)
		}
	}
}

// member is a member of an object, its name decoded.
type member struct {
	name  string
	value []byte
}

// object looks at the members in the order of their names. Of members with the same name the
// last one counts.
func (w *fileWalk) object(raw []byte, name string, depth int) {
	var members []member
	var own []byte            // the value of "url"
	seen := map[string]bool{} // the names in members, quoted
	_ = jsonscan.Members(raw, func(quoted, value []byte) error {
		if mayHoldLink(value) || seen[string(quoted)] {
			members = append(members, member{text(quoted), value})
			seen[string(quoted)] = true
		}
		return nil
	})
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i := range members {
		if members[i].name == "url" {
			own = members[i].value
		}
	}
	url := linkIn(own)
	isFile := url != "" && !isStream(url)
	if isFile && w.count() {
		w.file(raw, url, name)
	}
	inURLs, end := strings.HasSuffix(snake(name), "_urls"), len(w.path)
	for i, m := range members {
		if i+1 < len(members) && members[i+1].name == m.name {
			continue
		}
		if isFile && (bytes.Equal(m.value, own) || linkIn(m.value) == url) { // itself, or its link again
			continue
		}
		w.path = append(append(w.path[:end], '/'), jsonpointer.Escape(m.name)...)
		isURL := inURLs || strings.HasSuffix(snake(m.name), "_url") || isFile && slices.Contains(pictures, m.name)
		w.value(m.value, m.name, isURL, depth+1)
	}
	w.path = w.path[:end]
}

// mayHoldLink reports whether a value has to be looked at; false for most values that are or
// contain no link.
func mayHoldLink(value []byte) bool {
	switch value[0] {
	case '{', '[':
		return bytes.IndexByte(value, '"') >= 0
	case '"':
		c := value[1]
		return c <= ' ' || c >= 0x80 || strings.IndexByte(`hHdD\`, c) >= 0
	}
	return false
}

// linkIn is the content of a JSON string that is a link; empty for anything else.
func linkIn(raw []byte) string {
	if len(raw) > 0 && raw[0] == '"' && mayHoldLink(raw) {
		if url := text(raw); isLink(url) {
			return url
		}
	}
	return ""
}

// pictures are members beside a "url" that hold the link of a picture of it.
var pictures = []string{"cover", "poster", "preview", "snapshot", "thumbnail"}

// pages are words before "_url" that name a page, a stream or an API instead of a file.
var pages = []string{
	"api", "callback", "cancel", "checkout", "dash", "dashboard", "docs", "edit", "editor", "embed", "hls", "hosted", "iframe", "live", "m3u8",
	"page", "permalink", "player", "polling", "queue", "redirect", "response", "rtmp", "self", "share", "status", "stream", "upload", "viewer",
	"web", "webhook", "webrtc", "website", "websocket",
}

// isPage reports whether a name such as video_share_page_url is that of a page.
func isPage(name string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(snake(name), "s"), "_url")
	return slices.Contains(pages, name[strings.LastIndexByte(name, '_')+1:])
}

// isStream reports whether a link is that of a playlist, which lists files.
func isStream(link string) bool {
	link, _, _ = strings.Cut(link, "?")
	link, _, _ = strings.Cut(link, "#")
	ext := strings.ToLower(path.Ext(link))
	return ext == ".m3u8" || ext == ".mpd"
}

// snake writes a name like imageUrl or imageURL as image_url.
func snake(name string) string {
	if !strings.ContainsFunc(name, unicode.IsUpper) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			if i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') && name[i-1] != '_' {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// count counts a file, and reports whether it is one of the first.
func (w *fileWalk) count() bool {
	w.total++
	return len(w.files) < maxFiles
}

// file adds the object of a file.
func (w *fileWalk) file(raw []byte, url, name string) {
	var plain []member // the metadata: the first of the plain members, by name
	var size, fileName, contentType []byte
	_ = jsonscan.Members(raw, func(quoted, value []byte) error {
		switch name := text(quoted); name {
		case "url", "file_data":
		case "content_type":
			contentType = value
		case "file_size":
			size = value
		default:
			if name == "file_name" {
				fileName = value
			}
			i, known := slices.BinarySearchFunc(plain, name, byName)
			if known {
				plain = slices.Delete(plain, i, i+1)
			}
			if len(value) <= 1024 && value[0] != '{' && value[0] != '[' && value[0] != 'n' && i < maxMetadata {
				plain = slices.Insert(plain, i, member{name, value})
				plain = plain[:min(len(plain), maxMetadata)]
			}
		}
		return nil
	})
	if long := text(fileName); long != "" {
		name = long
	}
	w.add(url, name, text(contentType), fileSize(size), plain)
}

// fileSize reads a number, or a number in a text; 0 if it is not a size.
func fileSize(raw []byte) int64 {
	var number json.Number
	if len(raw) == 0 || json.Unmarshal(raw, &number) != nil {
		return 0
	}
	size, err := number.Int64()
	if err != nil {
		return 0
	}
	return max(size, 0)
}

// add adds a file. Its metadata are plain members in the order of their names.
func (w *fileWalk) add(url, hint, contentType string, size int64, metadata []member) {
	url = strings.TrimSpace(url)
	pointer := string(w.path)
	w.files = append(w.files, Media{
		Position: w.provider + ":" + pointer, URL: url, MediaType: MediaTypeOf(contentType, url, hint+" "+pointer),
		ContentType: contentType, Size: size, Metadata: w.encode(metadata),
	})
}

// encode writes metadata and generatedAt as [json.Marshal] writes a map.
func (w *fileWalk) encode(metadata []member) json.RawMessage {
	const generatedAt = "generatedAt"
	i, known := slices.BinarySearchFunc(metadata, generatedAt, byName)
	if known {
		metadata = slices.Delete(metadata, i, i+1)
	}
	metadata = slices.Insert(metadata, i, member{generatedAt, []byte(`"` + w.at + `"`)})
	doc := bytes.NewBuffer(make([]byte, 0, 256))
	for i, m := range metadata {
		doc.WriteByte("{,"[min(i, 1)])
		writeName(doc, m.name)
		doc.WriteByte(':')
		json.HTMLEscape(doc, m.value)
	}
	doc.WriteByte('}')
	return bytes.Clone(doc.Bytes())
}

// writeName writes a name as [json.Marshal] does, which takes longer.
func writeName(doc *bytes.Buffer, name string) {
	if strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c) }) {
		text, _ := json.Marshal(name) // a text has no error
		doc.Write(text)
		return
	}
	doc.WriteByte('"')
	doc.WriteString(name)
	doc.WriteByte('"')
}

func byName(m member, name string) int { return strings.Compare(m.name, name) }

func isLink(text string) bool {
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"https://", "http://", "data:"} {
		if len(text) > len(prefix) && strings.EqualFold(text[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// text is the content of a JSON string, in valid UTF-8; empty for anything else.
func text(raw []byte) string {
	if len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is valid
	return s
}
