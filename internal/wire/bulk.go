package wire

// BulkRequest starts a bulk action, or counts what it would be about.
type BulkRequest struct {
	Action string `json:"action" enum:"retry,replay,rescue" doc:"retry: the failed deliveries of events in error; replay: all handlers again; rescue: the rejected requests of the source that are stored whole."`
	Source string `json:"source,omitempty" minLength:"1"`
	Type   string `json:"type,omitempty" minLength:"1"`
	Status string `json:"status,omitempty" enum:"pending,success,error"`
	Query  string `json:"q,omitempty" minLength:"1"`
	Since  string `json:"since,omitempty" minLength:"1" doc:"As of GET /api/v1/events."`
	Until  string `json:"until,omitempty" minLength:"1"`
	Issue  string `json:"issue,omitempty" minLength:"1" doc:"The dead deliveries (retry) or the rejected requests (rescue) of this issue, in place of other filters."`
	DryRun bool   `json:"dryRun,omitempty" doc:"Only count."`
}

// Bulk is a bulk action.
type Bulk struct {
	ID        string      `json:"id,omitempty" doc:"Dry runs have no id."`
	State     string      `json:"state" enum:"counted,running,done,stopped"`
	Action    string      `json:"action"`
	Filter    BulkRequest `json:"filter"`
	Matches   int         `json:"matches" doc:"How many events match."`
	More      bool        `json:"more" doc:"More match than one bulk action takes: run it again afterwards."`
	Total     int         `json:"total" doc:"The same as matches."`
	Done      int         `json:"done"`
	Skipped   int         `json:"skipped" doc:"There was nothing left to do for them."`
	Failed    int         `json:"failed"`
	LastError Text        `json:"lastError"`
	By        string      `json:"by"`
	StartedAt Time        `json:"startedAt"`
	EndedAt   Time        `json:"endedAt"`
}
