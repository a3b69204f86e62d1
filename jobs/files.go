package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/internal/jsonscan"
)

const (
	maxFiles     = 1000
	maxFileDepth = 32
	maxMetadata  = 32 // fields of one file
)

// errTooManyFiles is the reason to refuse a result rather than to keep a part of it.
var errTooManyFiles = errors.New("the result names more than 1,000 files")

// Files walks a provider's result and returns the files in it: every object with a
// "url", and every text under a name that ends in "_url", or in a map whose name ends in
// "_urls", if it is a link. Names may be written as imageUrl, too. A picture of a file, such
// as the "poster" beside its "url", is a file as well; addresses of pages, streams and APIs
// are none. provider and the JSON pointer make the position, such as "fal:/images/0"; at is
// the metadata's generatedAt.
//
// The other plain fields of a file's object are its metadata, numbers as written. A
// result that is no valid JSON has no files; more than 1,000 are an error.
func Files(provider string, result json.RawMessage, at time.Time) ([]Media, error) {
	w := fileWalk{provider: provider, at: at.UTC().Format(time.RFC3339Nano)}
	if err := w.value(result, "", "", false, 0); err != nil {
		return nil, err
	}
	return w.files, nil
}

// FilesOf is Files for a value of which it is known that it is what was made: every link in
// it is a file, whatever its name, unless it is that of a page, a stream or an API. pointer
// is the value's place in the body.
func FilesOf(provider string, output json.RawMessage, pointer string, at time.Time) ([]Media, error) {
	w := fileWalk{provider: provider, at: at.UTC().Format(time.RFC3339Nano), links: true}
	name := pointer[strings.LastIndexByte(pointer, '/')+1:]
	if err := w.value(output, pointer, name, true, 0); err != nil {
		return nil, err
	}
	return w.files, nil
}

type fileWalk struct {
	provider, at string
	links        bool // every link is a file
	files        []Media
}

// value looks at one value. name is the member it stands under; link tells that a text
// here is a link.
func (w *fileWalk) value(raw json.RawMessage, pointer, name string, link bool, depth int) error {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 || depth > maxFileDepth {
		return nil
	}
	switch raw[0] {
	case '{':
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return nil
		}
		own := text(members["url"])
		isFile := isLink(own) && !isStream(own)
		if isFile {
			if err := w.file(members, pointer, name); err != nil {
				return err
			}
		}
		for _, member := range sorted(members) {
			if isFile && text(members[member]) == own { // itself, or its link again
				continue
			}
			isURL := strings.HasSuffix(snake(member), "_url") || strings.HasSuffix(snake(name), "_urls") || isFile && slices.Contains(pictures, member)
			if err := w.value(members[member], pointer+"/"+escape(member), member, isURL, depth+1); err != nil {
				return err
			}
		}
	case '[':
		if bytes.IndexByte(raw, '"') < 0 || depth == 0 && !jsonscan.Valid(raw) {
			return nil // without a text there is no link
		}
		inURLs, i := link || strings.HasSuffix("_"+snake(name), "_urls"), 0
		return jsonscan.Items(raw, func(item []byte) error {
			at := i
			i++
			if c := item[0]; c != '{' && c != '[' && c != '"' {
				return nil
			}
			return w.value(item, pointer+"/"+strconv.Itoa(at), name, inURLs, depth+1)
		})
	case '"':
		if one := text(raw); (link || w.links) && isLink(one) && !isStream(one) && !isPage(name) {
			return w.add(text(raw), pointer, name, "", 0, nil)
		}
	}
	return nil
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

// isStream reports whether a link is that of a playlist, which is no file but a list of them.
func isStream(link string) bool {
	link, _, _ = strings.Cut(link, "?")
	link, _, _ = strings.Cut(link, "#")
	ext := strings.ToLower(path.Ext(link))
	return ext == ".m3u8" || ext == ".mpd"
}

// snake writes a name like imageUrl or imageURL as image_url.
func snake(name string) string {
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

// file adds the object of a file.
func (w *fileWalk) file(members map[string]json.RawMessage, pointer, name string) error {
	metadata := map[string]json.RawMessage{}
	for _, member := range sorted(members) {
		value := bytes.TrimSpace(members[member])
		plain := len(value) > 0 && len(value) <= 1024 && value[0] != '{' && value[0] != '[' && !bytes.Equal(value, []byte("null"))
		if plain && member != "url" && member != "content_type" && member != "file_size" && member != "file_data" && len(metadata) < maxMetadata {
			metadata[member] = value
		}
	}
	var size json.Number
	if json.Unmarshal(members["file_size"], &size) != nil {
		size = ""
	}
	bytesLong, err := size.Int64()
	if err != nil || bytesLong < 0 {
		bytesLong = 0
	}
	hint := name
	if fileName := text(members["file_name"]); fileName != "" {
		hint = fileName
	}
	return w.add(text(members["url"]), pointer, hint, text(members["content_type"]), bytesLong, metadata)
}

func (w *fileWalk) add(url, pointer, hint, contentType string, size int64, metadata map[string]json.RawMessage) error {
	url = strings.TrimSpace(url)
	if len(w.files) == maxFiles {
		return errTooManyFiles
	}
	if metadata == nil {
		metadata = map[string]json.RawMessage{}
	}
	metadata["generatedAt"] = json.RawMessage(`"` + w.at + `"`)
	encoded, err := json.Marshal(metadata)
	if err != nil {
		return nil // cannot be: every value was decoded from valid JSON
	}
	w.files = append(w.files, Media{
		Position: w.provider + ":" + pointer, URL: url, MediaType: MediaTypeOf(contentType, url, hint+" "+pointer),
		ContentType: contentType, Size: size, Metadata: encoded,
	})
	return nil
}

// MediaTypeOf tells the kind of a file: by its content type, else by the extension of
// its link or name, else by what the words around it say.
func MediaTypeOf(contentType, url, hint string) string {
	data := isDataLink(url)
	if data && contentType == "" {
		contentType, _, _ = strings.Cut(url[len(dataScheme):], ";")
		contentType, _, _ = strings.Cut(contentType, ",")
		contentType = strings.TrimSpace(contentType)
	}
	kind, _, _ := strings.Cut(strings.ToLower(contentType), "/")
	switch kind {
	case "image":
		return MediaImage
	case "video":
		return MediaVideo
	case "audio":
		return MediaAudio
	case "model":
		return MediaModel
	}
	link, _, _ := strings.Cut(url, "?")
	name, _, _ := strings.Cut(hint, " ")
	for _, extension := range []string{path.Ext(link), path.Ext(name)} {
		if t := extensions[strings.ToLower(extension)]; t != "" && !data {
			return t
		}
	}
	hint = strings.ToLower(hint)
	for _, word := range words {
		if strings.Contains(hint, word.text) {
			return word.mediaType
		}
	}
	return MediaFile
}

var extensions = map[string]string{
	".png": MediaImage, ".jpg": MediaImage, ".jpeg": MediaImage, ".webp": MediaImage, ".gif": MediaImage,
	".avif": MediaImage, ".svg": MediaImage, ".bmp": MediaImage, ".tiff": MediaImage, ".heic": MediaImage,
	".mp4": MediaVideo, ".webm": MediaVideo, ".mov": MediaVideo, ".mkv": MediaVideo, ".avi": MediaVideo, ".m4v": MediaVideo,
	".mp3": MediaAudio, ".wav": MediaAudio, ".ogg": MediaAudio, ".flac": MediaAudio, ".m4a": MediaAudio, ".aac": MediaAudio,
	".opus": MediaAudio,
	".glb":  MediaModel, ".gltf": MediaModel, ".obj": MediaModel, ".fbx": MediaModel, ".usdz": MediaModel, ".stl": MediaModel,
	".ply": MediaModel,
	".zip": MediaFile, ".json": MediaFile, ".safetensors": MediaFile, ".txt": MediaFile, ".mtl": MediaFile,
}

// words are looked for in order: "video_thumbnail_image" is an image.
var words = []struct{ text, mediaType string }{
	{"zip", MediaFile}, {"config", MediaFile}, {"lora", MediaFile}, {"lottie", MediaFile},
	{"image", MediaImage}, {"thumbnail", MediaImage}, {"mask", MediaImage}, {"texture", MediaImage}, {"poster", MediaImage}, {"snapshot", MediaImage}, {"spritesheet", MediaImage},
	{"video", MediaVideo}, {"output_url", MediaVideo},
	{"audio", MediaAudio}, {"vocals", MediaAudio}, {"drums", MediaAudio}, {"bass", MediaAudio}, {"guitar", MediaAudio},
	{"piano", MediaAudio}, {"speech", MediaAudio}, {"music", MediaAudio},
	{"mesh", MediaModel}, {"model", MediaModel}, {"glb", MediaModel}, {"character", MediaModel}, {"animation", MediaModel},
}

func isLink(text string) bool {
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"https://", "http://", "data:"} {
		if len(text) > len(prefix) && strings.EqualFold(text[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// text is the content of a JSON string; empty for anything else.
func text(raw json.RawMessage) string {
	var s string
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func sorted(members map[string]json.RawMessage) []string {
	return slices.Sorted(maps.Keys(members))
}

// escape writes a member's name as a part of a JSON pointer.
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
