package mediafile

import (
	"path"
	"slices"
	"strings"
)

// What the bytes of a general file look like: formats of 3D models are plain text, weights
// plain bytes, packages a zip archive.
const (
	octets  = "application/octet-stream"
	text    = "text/plain"
	archive = "application/zip"
	json    = "application/json"
)

// formats are file types that their bytes do not give away, by the ending of a name, with
// what their bytes look like.
var formats = map[string]struct {
	contentType string
	looks       []string
}{
	".usdz": {"model/vnd.usdz+zip", []string{archive}},
	".3mf":  {"model/3mf", []string{archive}},
	".obj":  {"model/obj", []string{text, octets}},
	".mtl":  {"model/mtl", []string{text}},
	".ply":  {"model/ply", []string{text, octets}},
	".stl":  {"model/stl", []string{text, octets}},
	".fbx":  {"model/fbx", []string{text, octets}},
	".gltf": {"model/gltf+json", []string{json, text}},
	".glb":  {"model/gltf-binary", []string{octets}},
	".usda": {"model/vnd.usda", []string{text}},
	".usdc": {"model/vnd.usd", []string{octets}},
	".usd":  {"model/vnd.usd", []string{text, octets}},
	".srt":  {"application/x-subrip", []string{text}},
	".vtt":  {"text/vtt", []string{text}},
	".ass":  {"text/x-ssa", []string{text}},
	".ssa":  {"text/x-ssa", []string{text}},
	".csv":  {"text/csv", []string{text}},
	".tsv":  {"text/tab-separated-values", []string{text}},
	".md":   {"text/markdown", []string{text}},
	".pcm":  {"audio/pcm", []string{octets}},
	".exr":  {"image/x-exr", []string{octets}},
}

// plainKinds are the text types that may be believed of plain text: no browser runs them.
var plainKinds = []string{"text/vtt", "text/srt", "text/x-ssa", "text/csv", "text/tab-separated-values", "text/markdown"}

// Kind is a file's content type by all that is known of it. The bytes go first; if they show
// only a general format, the declared type counts (the provider's before the host's), then
// the name's extension. A declared type that a browser would execute is never believed.
func Kind(sniffed string, said, names []string) string {
	if !slices.Contains([]string{octets, text, archive, json}, sniffed) {
		return sniffed
	}
	for _, one := range said {
		if one, _, _ = strings.Cut(one, ";"); believable(sniffed, strings.ToLower(strings.TrimSpace(one))) {
			return strings.ToLower(strings.TrimSpace(one))
		}
	}
	for _, name := range names {
		if f, ok := formats[strings.ToLower(path.Ext(name))]; ok && slices.Contains(f.looks, sniffed) {
			return f.contentType
		}
	}
	return sniffed
}

// believable reports whether bytes that look like a general form may be of a type.
func believable(sniffed, said string) bool {
	kind, sub, ok := strings.Cut(said, "/")
	if !ok || sub == "" || len(said) > 100 || strings.ContainsFunc(said, notToken) || scriptable(said) || general(said) {
		return false
	}
	for _, f := range formats {
		if f.contentType == said {
			return slices.Contains(f.looks, sniffed)
		}
	}
	switch sniffed {
	case archive:
		return kind == "model" || strings.HasSuffix(sub, "+zip")
	case json:
		return kind == "model" || strings.HasSuffix(sub, "+json")
	case text:
		return kind == "model" || kind == "application" || slices.Contains(plainKinds, said)
	}
	return kind == "model" || kind == "application"
}

// general reports whether a type says nothing that the bytes do not.
func general(said string) bool {
	return slices.Contains([]string{
		octets, text, archive, json, "application/x-zip-compressed", "application/x-zip", "application/binary", "application/download",
		"application/force-download", "application/x-download", "application/unknown", "application/x-www-form-urlencoded",
	}, said)
}

// scriptable are the types that a browser may run.
func scriptable(contentType string) bool {
	for _, word := range []string{"html", "xml", "svg", "script", "flash", "pdf", "css", "xsl"} {
		if strings.Contains(contentType, word) {
			return true
		}
	}
	return false
}

func notToken(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<=>?@[\]{}`, r) }

// magic recognizes what the library for types does not.
func magic(sniffed string, head []byte) string {
	begins := func(prefix string) bool { return strings.HasPrefix(string(head), prefix) }
	switch {
	case sniffed == archive && usdz(head):
		return "model/vnd.usdz+zip"
	case begins("ply\n"), begins("ply\r"):
		return "model/ply"
	case begins("Kaydara FBX Binary"):
		return "model/fbx"
	case begins("PXR-USDC"):
		return "model/vnd.usd"
	case begins("WEBVTT"), begins("\ufeffWEBVTT"):
		return "text/vtt"
	case begins("v/1\x01"):
		return "image/x-exr"
	}
	return sniffed
}

// usdz reports whether an archive's first file is a USD scene, stored without compression,
// as the format has it.
func usdz(head []byte) bool {
	if len(head) < 30 || head[8] != 0 || head[9] != 0 {
		return false
	}
	end := 30 + int(head[26]) + int(head[27])<<8
	if end > len(head) {
		return false
	}
	switch strings.ToLower(path.Ext(string(head[30:end]))) {
	case ".usd", ".usda", ".usdc":
		return true
	}
	return false
}
