package standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// input is what the stand-in reads of a model's input. Everything else is taken as it is.
type input struct {
	Prompt       string          `json:"prompt"`
	Text         string          `json:"text"`
	ImageURL     string          `json:"image_url"`
	ImageSize    json.RawMessage `json:"image_size"`
	NumImages    int             `json:"num_images"`
	Seed         json.Number     `json:"seed"`
	SyncMode     bool            `json:"sync_mode"`
	OutputFormat string          `json:"output_format"`
	Standin      struct {
		Fault   string   `json:"fault"`
		Seconds *float64 `json:"seconds"`
	} `json:"standin"`
}

// sizes are fal's names for measures of images.
var sizes = map[string][2]int{
	"square_hd": {1024, 1024}, "square": {512, 512}, "portrait_4_3": {768, 1024}, "portrait_16_9": {576, 1024},
	"landscape_4_3": {1024, 768}, "landscape_16_9": {1024, 576},
}

func (in *input) size() (w, h int) {
	var name string
	var exact struct{ Width, Height int }
	if json.Unmarshal(in.ImageSize, &name) == nil && sizes[name] != [2]int{} {
		return sizes[name][0], sizes[name][1]
	}
	if json.Unmarshal(in.ImageSize, &exact) == nil && exact.Width > 0 && exact.Height > 0 {
		return min(max(exact.Width, 16), 2048), min(max(exact.Height, 16), 2048)
	}
	return 1024, 768
}

// kinds has what a model makes, by a word in its name; the first word that matches counts.
var kinds = []struct {
	word   string
	result func(*maker) any
}{
	{"whisper", (*maker).text}, {"any-llm", (*maker).text}, {"demucs", (*maker).stems}, {"training", (*maker).lora}, {"trainer", (*maker).lora},
	{"sam2/video", (*maker).frames}, {"trellis", (*maker).mesh}, {"hunyuan3d", (*maker).mesh}, {"3d", (*maker).mesh},
	{"wan", (*maker).videoFile}, {"veo", (*maker).video}, {"kling", (*maker).video}, {"hailuo", (*maker).video}, {"video", (*maker).video},
	{"sora", (*maker).video}, {"ltx", (*maker).webm}, {"speech", (*maker).speech}, {"tts", (*maker).speech},
	{"stable-audio", (*maker).audio}, {"audio", (*maker).audio}, {"music", (*maker).audio}, {"nano-banana", (*maker).banana},
}

// makeResult returns a result of the shape that the model's results have.
func makeResult(j *falJob) (any, *failure) {
	m := &maker{j: j, seed: j.seedOf(), caption: j.args.Prompt}
	if m.caption == "" {
		m.caption = j.args.Text
	}
	result := (*maker).flux
	pictures := true
	for _, k := range kinds {
		if strings.Contains(j.model, k.word) {
			result, pictures = k.result, k.word == "nano-banana"
			break
		}
	}
	if pictures && j.args.Prompt == "" && j.args.ImageURL == "" {
		return nil, modelError("value_error.missing", "field required", "body", "prompt")
	}
	return result(m), nil
}

// maker makes the files of a job and the objects that describe them.
type maker struct {
	j       *falJob
	seed    uint64
	caption string
}

func (m *maker) file(kind, format string, n int) *file {
	return &file{Kind: kind, Format: format, Seed: m.seed + uint64(n), Caption: clip(m.caption, 80), Fault: m.j.faults.file()}
}

func (m *maker) link(f *file) string { return m.j.base + f.path() }

// whole describes a file as most models do.
func (m *maker) whole(f *file, name string) map[string]any {
	return map[string]any{"url": m.link(f), "content_type": f.contentType(), "file_name": name, "file_size": len(f.bytes())}
}

// urlOnly describes a file by its URL alone, as some models do.
func (m *maker) urlOnly(f *file) map[string]any { return map[string]any{"url": m.link(f)} }

// pictures makes as many pictures as were asked for, from 1 to 4.
func (m *maker) pictures() (files []*file) {
	format := "png"
	if m.j.args.OutputFormat == "jpeg" || m.j.args.OutputFormat == "jpg" {
		format = "jpeg"
	}
	w, h := m.j.args.size()
	for i := range min(max(m.j.args.NumImages, 1), 4) {
		f := m.file("image", format, i)
		f.Width, f.Height = w, h
		files = append(files, f)
	}
	return files
}

// dataLink is the URL of a picture in a result of sync_mode.
func dataLink(f *file) string {
	return "data:" + f.contentType() + ";base64," + base64.StdEncoding.EncodeToString(f.bytes())
}

func (m *maker) flux() any {
	images, nsfw := []any{}, []any{}
	for _, f := range m.pictures() {
		image := map[string]any{"url": m.link(f), "width": f.Width, "height": f.Height, "content_type": f.contentType()}
		if m.j.args.SyncMode {
			image["url"] = dataLink(f)
		}
		images, nsfw = append(images, image), append(nsfw, false)
	}
	return map[string]any{
		"images": images, "timings": map[string]any{"inference": 1.2345678901234567}, "seed": m.seed, "has_nsfw_concepts": nsfw,
		"prompt": m.j.args.Prompt,
	}
}

func (m *maker) banana() any {
	images := []any{}
	for i, f := range m.pictures() {
		image := m.whole(f, fmt.Sprintf("output_%d.%s", i, f.Format))
		if m.j.args.SyncMode {
			image = map[string]any{"url": dataLink(f), "width": f.Width, "height": f.Height, "content_type": f.contentType()}
		}
		images = append(images, image)
	}
	return map[string]any{"images": images, "description": "Here is your picture: " + m.caption}
}

func (m *maker) video() any {
	return map[string]any{"video": m.whole(m.file("clip", "mp4", 0), "output.mp4")}
}

func (m *maker) videoFile() any {
	video := map[string]any{"url": m.link(m.file("clip", "mp4", 0)), "duration": 2.0, "fps": 12, "width": 320, "height": 180, "num_frames": 24}
	return map[string]any{"video": video, "seed": m.seed, "actual_prompt": m.caption + ", cinematic"}
}

func (m *maker) webm() any {
	return map[string]any{"video": m.whole(m.file("clip", "webm", 0), "output.webm")}
}

func (m *maker) frames() any {
	return map[string]any{
		"video": m.urlOnly(m.file("clip", "mp4", 0)), "boundingbox_frames_zip": m.whole(m.file("frames", "zip", 0), "frames.zip"),
	}
}

func (m *maker) speech() any {
	audio := map[string]any{"url": m.link(m.file("tone", "mp3", 0)), "content_type": "audio/mpeg"}
	return map[string]any{"audio": audio, "duration_ms": 2000}
}

func (m *maker) audio() any {
	return map[string]any{"audio": m.urlOnly(m.file("tone", "wav", 0)), "seed": m.seed}
}

func (m *maker) stems() any {
	return map[string]any{
		"vocals": m.urlOnly(m.file("tone", "wav", 0)), "drums": m.urlOnly(m.file("tone", "ogg", 1)),
		"bass": m.urlOnly(m.file("tone", "wav", 2)), "other": m.urlOnly(m.file("tone", "mp3", 3)),
	}
}

func (m *maker) mesh() any {
	mesh := m.whole(m.file("mesh", "glb", 0), "mesh.glb")
	mesh["content_type"] = "application/octet-stream"
	return map[string]any{"model_mesh": mesh, "timings": map[string]any{}}
}

func (m *maker) lora() any {
	return map[string]any{
		"diffusers_lora_file": m.whole(m.file("weights", "safetensors", 0), "pytorch_lora_weights.safetensors"),
		"config_file":         m.whole(m.file("config", "json", 0), "config.json"),
	}
}

func (m *maker) text() any {
	chunk := map[string]any{"timestamp": []any{0, 2.0}, "text": "A quiet tone."}
	return map[string]any{"text": "A quiet tone.", "chunks": []any{chunk}}
}

// billableUnits is what fal bills a result by; here one for each file.
func billableUnits(result any) string {
	m, _ := result.(map[string]any)
	if images, ok := m["images"].([]any); ok {
		return strconv.Itoa(len(images))
	}
	return "1"
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

var _ http.Handler = (*Fal)(nil)
