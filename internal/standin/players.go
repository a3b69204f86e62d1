package standin

import "net/http"

// Player is a running stand-in.
type Player interface {
	http.Handler
	Close()
}

// Service is a service that has a stand-in.
type Service struct {
	// Provider is gaff's name of the service, Title its name for people, and Note follows its
	// URL in the greeting.
	Provider, Title, Note string
	// Start makes the stand-in. secret signs its webhooks if it signs with a shared one.
	Start func(secret string, o Options) Player
	// Settings are the values of gaff's settings that lead to a stand-in at a URL.
	Settings func(url, key string) map[string]string
}

// Services lists the services with a stand-in.
func Services() []Service {
	return []Service{
		{
			Provider: "fal", Title: "fal's stand-in", Note: "  (its jobs: /_standin/jobs)",
			Start: func(_ string, o Options) Player { return NewFal(o) },
			Settings: func(url, key string) map[string]string {
				return map[string]string{
					"GAFF_FAL_QUEUE_URL": url, "GAFF_FAL_JWKS_URL": url + JWKSPath, "GAFF_FAL_RUN_URL": url + RunPath,
					"GAFF_FAL_API_URL": url + "/v1", "FAL_KEY": key,
				}
			},
		},
		{
			Provider: "lastframe", Title: "Last Frame's stand-in",
			Start: func(secret string, o Options) Player { return NewLastFrame(secret, o) },
			Settings: func(url, key string) map[string]string {
				return map[string]string{"GAFF_LASTFRAME_URL": url, "LASTFRAME_KEY": key}
			},
		},
	}
}

// SampleJob is a job for a new user to look at.
type SampleJob struct {
	Provider, Model, Kind string
	Input                 map[string]any
}

// SampleJobs are submitted in order by "gaff dev". One fails as models do.
func SampleJobs() []SampleJob {
	return []SampleJob{
		{"fal", "fal-ai/flux/dev", "image", map[string]any{"prompt": "A lighthouse in a storm, film still", "num_images": 2, "image_size": "landscape_4_3"}},
		{"fal", "fal-ai/nano-banana", "image", map[string]any{"prompt": "The keeper, close up, lamplight", "image_size": "square"}},
		{"fal", "fal-ai/kling-video/v2.5-turbo/pro/text-to-video", "video", map[string]any{"prompt": "The lamp turns, fog rolls in"}},
		{"fal", "fal-ai/minimax/speech-02-hd", "audio", map[string]any{"text": "The light must never go out."}},
		{"fal", "fal-ai/flux/dev", "image", map[string]any{
			"prompt": "Something the model refuses", "standin": map[string]any{"fault": string(ErrorModel)},
		}},
		{"lastframe", "video-stitch", "video", map[string]any{
			"inputs": []map[string]string{{"url": "https://example.com/shot-1.mp4"}, {"url": "https://example.com/shot-2.mp4"}},
		}},
	}
}
