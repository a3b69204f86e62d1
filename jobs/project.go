package jobs

import (
	"encoding/json"
	"time"
)

// Project groups jobs, media and runs. It is created when its id is first used, or on request.
type Project struct {
	ID string // chosen by the caller
	// Name and Owner are for people; empty until someone sets them.
	Name, Owner string
	// Metadata is the caller's JSON object; nil if unset.
	Metadata             json.RawMessage
	CreatedAt, UpdatedAt time.Time
}
