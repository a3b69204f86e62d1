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

// kinds tells from a model's name what it makes; the first word that it holds counts.
var kinds = []struct{ word, kind string }{
	{"whisper", "text"}, {"any-llm", "text"}, {"demucs", "stems"}, {"training", "lora"}, {"trainer", "lora"},
	{"sam2/video", "frames"}, {"trellis", "mesh"}, {"hunyuan3d", "mesh"}, {"3d", "mesh"},
	{"wan", "videofile"}, {"veo", "video"}, {"kling", "video"}, {"hailuo", "video"}, {"video", "video"}, {"sora", "video"},
	{"ltx", "webm"}, {"speech", "speech"}, {"tts", "speech"}, {"stable-audio", "audio"}, {"audio", "audio"}, {"music", "audio"},
	{"nano-banana", "banana"},
}

// makeResult makes what the model's kind returns, in its own shape.
func makeResult(j *falJob) (any, *failure) {
	kind := "images"
	for _, k := range kinds {
		if strings.Contains(j.model, k.word) {
			kind = k.kind
			break
		}
	}
	in, seed := j.args, j.seedOf()
	caption := in.Prompt
	if caption == "" {
		caption = in.Text
	}
	made := func(kind, format string, n int) *file {
		return &file{Kind: kind, Format: format, Seed: seed + uint64(n), Caption: clip(caption, 80), Fault: j.faults.file()}
	}
	link := func(f *file) string { return j.base + f.path() }
	plain := func(f *file, name string) map[string]any {
		return map[string]any{"url": link(f), "content_type": f.contentType(), "file_name": name, "file_size": len(f.bytes())}
	}
	bare := func(f *file) map[string]any { return map[string]any{"url": link(f)} }
	switch kind {
	case "images", "banana":
		if in.Prompt == "" && in.ImageURL == "" {
			return nil, modelError("value_error.missing", "field required", "body", "prompt")
		}
		format := "png"
		if in.OutputFormat == "jpeg" || in.OutputFormat == "jpg" {
			format = "jpeg"
		}
		w, h := in.size()
		images, nsfw := []any{}, []any{}
		for i := range min(max(in.NumImages, 1), 4) {
			f := made("image", format, i)
			f.Width, f.Height = w, h
			image := map[string]any{"url": link(f), "width": w, "height": h, "content_type": f.contentType()}
			switch {
			case in.SyncMode:
				image["url"] = "data:" + f.contentType() + ";base64," + base64.StdEncoding.EncodeToString(f.bytes())
			case kind == "banana":
				image = plain(f, fmt.Sprintf("output_%d.%s", i, format))
			}
			images, nsfw = append(images, image), append(nsfw, false)
		}
		if kind == "banana" {
			return map[string]any{"images": images, "description": "Here is your picture: " + caption}, nil
		}
		return map[string]any{
			"images": images, "timings": map[string]any{"inference": 1.2345678901234567}, "seed": seed, "has_nsfw_concepts": nsfw,
			"prompt": in.Prompt,
		}, nil
	case "video":
		return map[string]any{"video": plain(made("clip", "mp4", 0), "output.mp4")}, nil
	case "videofile":
		video := map[string]any{"url": link(made("clip", "mp4", 0)), "duration": 2.0, "fps": 12, "width": 320, "height": 180, "num_frames": 24}
		return map[string]any{"video": video, "seed": seed, "actual_prompt": caption + ", cinematic"}, nil
	case "webm":
		return map[string]any{"video": plain(made("clip", "webm", 0), "output.webm")}, nil
	case "frames":
		return map[string]any{
			"video": bare(made("clip", "mp4", 0)), "boundingbox_frames_zip": plain(made("frames", "zip", 0), "frames.zip"),
		}, nil
	case "speech":
		f := made("tone", "mp3", 0)
		return map[string]any{"audio": map[string]any{"url": link(f), "content_type": "audio/mpeg"}, "duration_ms": 2000}, nil
	case "audio":
		return map[string]any{"audio": bare(made("tone", "wav", 0)), "seed": seed}, nil
	case "stems":
		return map[string]any{
			"vocals": bare(made("tone", "wav", 0)), "drums": bare(made("tone", "ogg", 1)), "bass": bare(made("tone", "wav", 2)),
			"other": bare(made("tone", "mp3", 3)),
		}, nil
	case "mesh":
		f := made("mesh", "glb", 0)
		mesh := plain(f, "mesh.glb")
		mesh["content_type"] = "application/octet-stream"
		return map[string]any{"model_mesh": mesh, "timings": map[string]any{}}, nil
	case "lora":
		return map[string]any{
			"diffusers_lora_file": plain(made("weights", "safetensors", 0), "pytorch_lora_weights.safetensors"),
			"config_file":         plain(made("config", "json", 0), "config.json"),
		}, nil
	default:
		return map[string]any{"text": "A quiet tone.", "chunks": []any{map[string]any{"timestamp": []any{0, 2.0}, "text": "A quiet tone."}}}, nil
	}
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
