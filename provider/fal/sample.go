package fal

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Types of samples. The first three are bodies in the document's dialect, as the
// application's generateTestPayload makes them; the others are bodies as fal writes them:
// keys sorted, ", " and ": " as separators, a seed beyond 64 bits with sign.
const (
	SampleCompleted    = Completed
	SampleFailed       = Failed
	SampleInProgress   = InProgress
	SampleFalCompleted = "fal:" + Completed
	SampleFalFailed    = "fal:" + Failed
)

// Samples lists the types that [Sample] makes.
var Samples = []string{SampleCompleted, SampleFailed, SampleInProgress, SampleFalCompleted, SampleFalFailed}

type sample struct {
	ID        string         `json:"id"`
	Timestamp string         `json:"timestamp"`
	RequestID string         `json:"request_id"`
	Status    string         `json:"status"`
	Result    *sampleResult  `json:"result,omitempty"`
	Metadata  map[string]any `json:"metadata"`
}

type sampleResult struct {
	Images []sampleImage `json:"images,omitempty"`
	Error  string        `json:"error,omitempty"`
}

type sampleImage struct {
	URL    string `json:"url"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// Sample makes a body of a type, with new ids. The empty type is SampleCompleted. Bodies
// of the "fal:" types are of a request that no gateway knows.
func Sample(eventType string, now time.Time) ([]byte, error) {
	request := uuid.NewString()
	s := sample{
		ID: uuid.NewString(), Timestamp: now.UTC().Format("2006-01-02T15:04:05.000Z"), RequestID: request,
		Metadata: map[string]any{
			"job_id": uuid.NewString(), "project_id": uuid.NewString(), "user_id": uuid.NewString(), "generation_type": "image",
		},
	}
	switch eventType {
	case SampleCompleted, "":
		s.Status = "completed"
		s.Result = &sampleResult{Images: []sampleImage{{"https://example.com/generated-image.jpg", 1024, 1024}}}
	case SampleFailed:
		s.Status, s.Result = "failed", &sampleResult{Error: "The model refused the prompt"}
	case SampleInProgress:
		s.Status = "in_progress"
	case SampleFalCompleted:
		return fmt.Appendf(nil, `{"error": null, "gateway_request_id": %q, "payload": {"has_nsfw_concepts": [false], "images": [{"content_type": "image/jpeg", "height": 1024, "url": "https://v3.fal.media/files/lion/%s.jpeg", "width": 1024}], "prompt": "dog", "seed": 17454220438242315174, "timings": {"inference": 2.107286687077714}}, "request_id": %q, "status": "OK"}`,
			request, request, request), nil
	case SampleFalFailed:
		return fmt.Appendf(nil, `{"error": "Invalid status code: 422", "gateway_request_id": %q, "payload": {"detail": [{"loc": ["body", "prompt"], "msg": "The content could not be processed because it contained material flagged by a content checker.", "type": "content_policy_violation"}]}, "request_id": %q, "status": "ERROR"}`,
			request, request), nil
	default:
		return nil, fmt.Errorf("fal has no sample of type %q; there are %v", eventType, Samples)
	}
	return json.Marshal(s)
}
