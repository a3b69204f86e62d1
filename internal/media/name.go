package media

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gaff/jobs"
)

// extensions for the names of downloads.
var extensions = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/avif": ".avif", "image/heic": ".heic",
	"image/tiff": ".tiff", "image/bmp": ".bmp", "image/jxl": ".jxl", "image/svg+xml": ".svg", "image/x-exr": ".exr",
	"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov", "video/x-matroska": ".mkv", "video/x-m4v": ".m4v",
	"audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/ogg": ".ogg", "audio/flac": ".flac", "audio/aac": ".aac", "audio/x-m4a": ".m4a",
	"audio/mp4": ".m4a", "audio/webm": ".webm", "audio/pcm": ".pcm", "audio/midi": ".mid", "audio/aiff": ".aiff", "audio/amr": ".amr",
	"model/gltf-binary": ".glb", "model/gltf+json": ".gltf", "model/vnd.usdz+zip": ".usdz", "model/3mf": ".3mf", "model/obj": ".obj",
	"model/mtl": ".mtl", "model/ply": ".ply", "model/stl": ".stl", "model/fbx": ".fbx", "model/vnd.usda": ".usda", "model/vnd.usd": ".usd",
	"application/x-subrip": ".srt", "text/vtt": ".vtt", "text/csv": ".csv", "text/x-ssa": ".ass", "text/markdown": ".md",
	"image/heif": ".heif", "image/vnd.adobe.photoshop": ".psd", "image/vnd.radiance": ".hdr", "video/matroska": ".mkv",
	"video/3gpp": ".3gp", "application/x-tar": ".tar",
}

// alike are other extensions of a type: a link's own ending is kept if it is one of them.
var alike = map[string][]string{
	"audio/ogg": {".opus", ".oga"}, "image/jpeg": {".jpeg", ".jfif"}, "image/tiff": {".tif"}, "image/heic": {".heif"},
	"audio/aiff": {".aif"}, "audio/midi": {".midi"}, "audio/mp4": {".m4b"}, "audio/x-m4a": {".m4b"}, "model/vnd.usd": {".usdc"},
}

// general are extensions of types that say little: the link's own ending says more.
var general = map[string]string{
	"application/zip": ".zip", "application/json": ".json", "text/plain": ".txt", "application/gzip": ".gz", "application/pdf": ".pdf",
}

const (
	// maxName is how long a name may be, in bytes: file systems take 255.
	maxName      = 200
	maxExtension = 16
)

// FileName is what a download of the file is called: as the provider called it, else by its
// id with the ending of its type.
func FileName(m *jobs.Media) string {
	safe := safeName(givenName(m))
	if strings.Trim(safe, "._ ") == "" {
		safe = m.ID
	}
	if path.Ext(safe) == "" {
		safe += extensionOf(m)
	}
	safe = strings.TrimLeft(safe, ". ")
	stem, _, _ := strings.Cut(safe, ".")
	if slices.Contains(devices, strings.ToUpper(strings.TrimSpace(stem))) {
		safe = "_" + safe
	}
	return safe
}

// devices are names that Windows keeps for itself, with any ending.
var devices = []string{
	"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
}

func extensionOf(m *jobs.Media) string {
	own := strings.ToLower(path.Ext(linkName(m)))
	if e := extensions[m.ContentType]; e != "" && !slices.Contains(alike[m.ContentType], own) {
		return e
	}
	if len(own) > 1 && len(own) <= maxExtension && !strings.ContainsFunc(own[1:], notAlphanumeric) {
		return own
	}
	return general[m.ContentType]
}

func notAlphanumeric(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }

// givenName is the name that the provider gave, as it wrote it.
func givenName(m *jobs.Media) string {
	var facts struct {
		Name string `json:"file_name"`
	}
	_ = json.Unmarshal(m.Metadata, &facts)
	return path.Base(strings.ReplaceAll(facts.Name, `\`, "/"))
}

// linkName is the last part of the link's path.
func linkName(m *jobs.Media) string {
	if len(m.URL) > 5 && strings.EqualFold(m.URL[:5], "data:") {
		return ""
	}
	link, _, _ := strings.Cut(m.URL, "?")
	link, _, _ = strings.Cut(link, "#")
	_, link, _ = strings.Cut(link, "://")
	_, name, _ := strings.Cut(link, "/")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	return path.Base(name)
}

// safeName leaves letters of every script, and replaces what a file system or a reader may
// misunderstand: separators, quotes, control characters, and those that turn the direction
// of writing.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), strings.ContainsRune(`/\:*?"<>|`, r):
			return '_'
		case r >= 0x200e && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == '\ufeff', r == '\u061c':
			return -1
		case r == '\u00a0', r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if len(name) > maxName {
		ext := path.Ext(name)
		if len(ext) > maxExtension {
			ext = ""
		}
		stem := name[:maxName-len(ext)]
		name = strings.ToValidUTF8(stem, "") + ext
	}
	return strings.TrimRight(name, ". ")
}

// disposition is a Content-Disposition (RFC 6266): a name in ASCII for old readers, and the
// whole name beside it if it has other letters.
func disposition(kind, name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%;`, r) { // old readers undo escapes
			return '_'
		}
		return r
	}, name)
	text := kind + "; filename=" + plain
	if strings.ContainsFunc(plain, notNameToken) {
		text = kind + `; filename="` + plain + `"`
	}
	if plain != name {
		text += "; filename*=UTF-8''" + extValue(name)
	}
	return text
}

func notNameToken(r rune) bool {
	return notAlphanumeric(unicode.ToLower(r)) && !strings.ContainsRune("._-+", r)
}

// extValue escapes a text as RFC 8187 has it.
func extValue(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
