package custom

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Sample makes a body with an id, a timestamp and a type, as the application's
// generateTestPayload does for a source that it does not know.
func Sample(eventType string, now time.Time) ([]byte, error) {
	if eventType == "" {
		eventType = "test"
	}
	return json.Marshal(struct {
		ID        string `json:"id"`
		Timestamp string `json:"timestamp"`
		Type      string `json:"type"`
	}{uuid.NewString(), now.UTC().Format("2006-01-02T15:04:05.000Z"), eventType})
}
