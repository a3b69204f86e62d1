package lastframe

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Samples lists the types that [Sample] makes.
var Samples = []string{Completed, Failed, InProgress}

type sample struct {
	ID        string         `json:"id"`
	Timestamp string         `json:"timestamp"`
	JobID     string         `json:"job_id"`
	Status    string         `json:"status"`
	Service   string         `json:"service"`
	Result    map[string]any `json:"result,omitempty"`
	Metadata  sampleMetadata `json:"metadata"`
}

type sampleMetadata struct {
	ProjectID     string `json:"project_id"`
	UserID        string `json:"user_id"`
	OriginalJobID string `json:"original_job_id"`
}

// Sample makes a body of a type, as the application's generateTestPayload does, with new
// ids. The empty type is Completed.
func Sample(eventType string, now time.Time) ([]byte, error) {
	s := sample{
		ID: uuid.NewString(), Timestamp: now.UTC().Format("2006-01-02T15:04:05.000Z"), JobID: uuid.NewString(),
		Service:  "video-stitch",
		Metadata: sampleMetadata{uuid.NewString(), uuid.NewString(), uuid.NewString()},
	}
	switch eventType {
	case Completed, "":
		s.Status = "completed"
		s.Result = map[string]any{"output_url": "https://example.com/stitched-video.mp4", "duration": 120}
	case Failed:
		s.Status, s.Result = "failed", map[string]any{"error": "The clips have different frame rates"}
	case InProgress:
		s.Status = "in_progress"
	default:
		return nil, fmt.Errorf("lastframe has no sample of type %q; there are %v", eventType, Samples)
	}
	return json.Marshal(s)
}
